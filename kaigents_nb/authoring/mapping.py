"""``kg.map``: a step or agent for each of many items, so many at a time."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from kaigents_nb.authoring.agent import Agent
from kaigents_nb.authoring.awaited import durable
from kaigents_nb.authoring.context import agent_context
from kaigents_nb.authoring.dry_run import DryRun
from kaigents_nb.authoring.library_steps import library_agent
from kaigents_nb.authoring.options import check_count
from kaigents_nb.authoring.step import Step

if TYPE_CHECKING:
    import pandas as pd

_CHUNK = 500
"""So many calls in one history: far below the server's 51,200 events, also where each is tried several times."""
DONE, FAILED = "done", "failed"
_Row = tuple[Any, str]


def map(
    callee: Step[..., Any] | Agent[..., Any, Any], items: Iterable[Any], *, limit: int = 10
) -> Coroutine[Any, Any, pd.DataFrame]:
    """Call a step or agent with each item, so many at a time; durable, and for thousands of items.

    What is done stays done, whatever crashes. An item that fails for good is a row with its error; one that parks
    waits, as any step does. Many items are worked on in runs of their own, each with a part of them.

    Parameters
    ----------
    callee
        Takes the item as its only argument.
    items
        Rows of anything that can be saved.
    limit
        So many calls at the same time.

    Returns
    -------
    DataFrame
        One row per item, in their order: ``item`` (object), ``result`` (object, None where it failed), ``status`` (str,
        ``"done"`` or ``"failed"``), ``error`` (str). Empty case: the same columns, zero rows.

    Raises
    ------
    TypeError
        For a callee that is neither step nor agent.

    Examples
    --------
    ``quotes = await kg.map(get_quote, suppliers, limit=20)``
    """
    if not isinstance(callee, Step | Agent):
        raise TypeError(f"kg.map calls a step or an agent, not {callee!r}. Put @kg.step before the function.")
    check_count("limit", limit)
    work = partial(_mapped, callee, list(items), limit)
    interpreter = agent_context.get()
    return durable(interpreter, "kg.map(…)", work) if interpreter is not None else work()


async def _mapped(callee: Step[..., Any] | Agent[..., Any, Any], items: list[Any], limit: int) -> pd.DataFrame:
    import pandas as pd

    interpreter = agent_context.get()
    rows: list[_Row] = []
    for start in range(0, len(items), _CHUNK):
        part = items[start : start + _CHUNK]
        if interpreter is None or isinstance(interpreter, DryRun) or len(items) <= _CHUNK:
            rows += await _called(callee, part, limit)
        else:
            rows += await map_part(callee.name, part, limit)
    table = pd.DataFrame(
        {
            "item": pd.Series(items, dtype=object),
            "result": pd.Series([result for result, _ in rows], dtype=object),
            "status": [FAILED if error else DONE for _, error in rows],
            "error": [error for _, error in rows],
        }
    )
    return table.astype({"status": str, "error": str})


@library_agent("kg.map")
async def map_part(name: str, items: list[Any], limit: int) -> list[_Row]:
    """Call a step or agent of the run's code with some items: a run of its own, with a history of its own."""
    interpreter = agent_context.get()
    assert interpreter is not None
    return await _called(interpreter.named(name), items, limit)


async def _called(callee: Callable[..., Any], items: list[Any], limit: int) -> list[_Row]:
    free = asyncio.Semaphore(limit)

    async def one(item: Any) -> _Row:
        async with free:
            try:
                result = callee(item)
                return (await result if inspect.isawaitable(result) else result), ""
            except Exception as error:  # noqa: BLE001 - the analyst's, of any kind: a row says it
                return None, f"{type(error).__name__}: {error}"

    return list(await asyncio.gather(*(one(item) for item in items)))
