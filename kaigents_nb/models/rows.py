"""``kg.chat_rows``: a model asked once for each row of a table."""

from __future__ import annotations

import string
from collections.abc import Coroutine
from dataclasses import is_dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, get_type_hints

from pydantic import BaseModel

from kaigents_nb.authoring.awaited import durable
from kaigents_nb.authoring.context import agent_context, step_context
from kaigents_nb.authoring.options import check_count
from kaigents_nb.models import type_names
from kaigents_nb.models.batch import in_batches
from kaigents_nb.models.call import Request, maybe
from kaigents_nb.models.model import Model, as_model
from kaigents_nb.models.output import Output
from kaigents_nb.models.row_call import DONE, RowAnswer, ask_rows

if TYPE_CHECKING:
    import pandas as pd

_CHUNK = 5_000
"""Rows of one activity; what it is asked and what it answers stay far below what the server takes."""
_ALWAYS = ("status", "error", "tokens", "cost_usd")


def chat_rows(
    frame: pd.DataFrame,
    template: str,
    *,
    model: Model | str,
    output: Any = None,
    limit: int = 10,
    when: Literal["now", "24h"] = "now",
    **api_options: Any,
) -> Coroutine[Any, Any, pd.DataFrame]:
    """Ask a model once for each row of a table; each answer is saved at once and never asked for again.

    A crash goes on with the rows that are not answered yet. A row that a model can't answer is a row with a ``status``
    and an ``error``, no exception; a server that is away or busy is waited for, a wrong key or model parks the run.

    Parameters
    ----------
    frame
        The table; one request for each row.
    template
        What is asked, with columns in braces: ``"Classify {title}: {text}"``.
    model
        A name, or :func:`kaigents_nb.model`.
    output
        The type of an answer, as in :func:`kaigents_nb.chat`. The fields of a pydantic model, dataclass or TypedDict
        become columns; any other type, and text, the column ``answer``.
    limit
        So many requests at the same time.
    when
        ``"24h"`` hands the rows in as batches, at half the price: waited for with nothing running, collected when the
        provider is done, within a day; ``limit`` is the provider's then.
    **api_options
        Options of the API, passed on whole.

    Returns
    -------
    DataFrame
        One row per row, with the same index: the columns of the answer (None where there is none), ``status`` (str:
        ``"done"``, ``"invalid"``, ``"refused"``, ``"failed"``), ``error`` (str), ``tokens`` (int), ``cost_usd`` (float,
        NaN where no price is known). Empty case: the same columns, zero rows.

    Raises
    ------
    ValueError
        For a template that names no column, or one that the table does not have.

    Examples
    --------
    ``labels = await kg.chat_rows(news, "Topic of {title}?", model="gpt-5-nano", output=Topic, limit=50)``
    """
    names = _columns_in(template, [str(column) for column in frame.columns])
    check_count("limit", limit)
    if when not in ("now", "24h"):
        raise ValueError(f"when is 'now' or '24h', not {when!r}.")
    typed = None if output is None else Output(output)
    request = Request(as_model(model), schema=None if typed is None else typed.schema(), options=api_options)
    rows = zip(*(frame[name] for name in names), strict=True)
    prompts = [template.format_map(dict(zip(names, row, strict=True))) for row in rows]
    work = partial(_answered, frame.index, request, prompts, output, None if when == "24h" else limit)
    interpreter = agent_context.get()
    if interpreter is not None:
        return durable(interpreter, "kg.chat_rows(…)", work)
    if step_context.get() is None:
        print("kg.chat_rows outside a run: nothing is saved, and a failure is raised.")
    return work()


async def _answered(index: Any, request: Request, prompts: list[str], output: Any, limit: int | None) -> pd.DataFrame:
    """Ask for all rows; without a limit in batches."""
    wanted = None if output is None else type_names.written(output)
    answers: list[RowAnswer] = []
    for start in range(0, len(prompts), _CHUNK):
        chunk = prompts[start : start + _CHUNK]
        if limit is None:
            answers += await in_batches(request, chunk, wanted)
        else:
            answers += await maybe(ask_rows(request, chunk, wanted, limit))
    return _table(index, answers, output)


def _table(index: Any, answers: list[RowAnswer], output: Any) -> pd.DataFrame:
    import pandas as pd

    typed = None if output is None else Output(output)
    values = [
        None if answer.status != DONE else answer.text if typed is None else typed.parse(answer.text)
        for answer in answers
    ]
    fields = _fields(output)
    columns: dict[str, Any] = {}
    if fields:
        for name in fields:
            columns[name] = [None if value is None else _get(value, name) for value in values]
    else:
        columns["answer"] = values
    for name in _ALWAYS:
        if name in columns:
            columns[f"{name}_"] = columns.pop(name)
        columns[name] = [getattr(answer, name) for answer in answers]
    table = pd.DataFrame(columns, index=index)
    return table.astype({"status": str, "error": str, "tokens": "int64", "cost_usd": "float64"})


def _fields(output: Any) -> list[str]:
    if isinstance(output, type) and issubclass(output, BaseModel):
        return list(output.model_fields)
    if is_dataclass(output) or hasattr(output, "__required_keys__"):
        return list(get_type_hints(output))
    return []


def _get(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else getattr(value, name)


def _columns_in(template: str, known: list[str]) -> list[str]:
    fields = [field for _, field, _, _ in string.Formatter().parse(template) if field is not None]
    names = list(dict.fromkeys(field.partition(".")[0].partition("[")[0] for field in fields))
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise ValueError(
            f"The template {template!r} names {unknown or 'no column'}. The table has: {', '.join(known) or 'none'}. "
            "Write a column in braces, such as {" + (known[0] if known else "title") + "}."
        )
    return names
