"""What a run asked of models: the requests as a table, with what they cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd

from kaigents_nb.history.assemble import view_of
from kaigents_nb.history.calls import Call
from kaigents_nb.history.frames import UTC_TIME, frame
from kaigents_nb.history.observe import Observer
from kaigents_nb.history.said import OF_ROWS, read, row_answers
from kaigents_nb.history.view import StepView
from kaigents_nb.models import any_client, background, batch, call, row_call
from kaigents_nb.models import items as conversation
from kaigents_nb.models.answer import Usage
from kaigents_nb.models.any_client import Got
from kaigents_nb.models.call import Asked, Request
from kaigents_nb.models.ledger import requests_begun
from kaigents_nb.models.model import Model
from kaigents_nb.models.row_call import RowAnswer
from kaigents_nb.runtime.journals import ledger_of
from kaigents_nb.runtime.payloads import metadata
from kaigents_nb.runtime.protocol import META_REPEATED

CALL_COLUMNS = {
    "call": "int64",
    "model": "str",
    "api": "str",
    "status": "str",
    "requests": "int64",
    "tokens_in": "Int64",
    "tokens_out": "Int64",
    "tokens_cached": "Int64",
    "tokens_reasoning": "Int64",
    "cost_usd": "float64",
    "price_basis": "str",
    "started": UTC_TIME,
    "latency_s": "float64",
    "attempts": "int64",
    "finish": "str",
    "tool_calls": "object",
    "repeated": "int64",
    "error": "str",
}
ASKING = frozenset(
    step.name
    for step in (
        call.ask, background.submit, background.collect, any_client.request, row_call.ask_rows, batch.collect,
    )
)  # fmt: skip
"""The library's steps that ask models, or bring what was asked before."""


async def calls_frame(observer: Observer) -> pd.DataFrame:
    """See :meth:`Run.calls`."""
    rows: list[dict[str, Any]] = []
    handed_in: dict[str, dict[str, Any]] = {}  # background, by the provider's id: the row of its request
    for step, made in await asked_calls(observer):
        model = await _model(observer, made)
        result = await read(observer, made.result)
        row = _row(observer, step, made, model)
        if step.name == background.submit.name:
            handed_in[str(result)] = row
        elif step.name == background.collect.name:
            if result is None and step.status == "completed":
                continue  # a look at one that the provider still worked on
            before = handed_in.pop(str(await read(observer, made.arguments[3])), None)
            rows.append({**row, **_answered(result), "repeated": (before or row)["repeated"]})
        elif step.name in OF_ROWS:
            rows += _of_rows(row, row_answers(observer, made, result))
        elif not isinstance(result, Got) or result.price_basis:
            rows.append({**row, **_answered(result)})
    rows += ({**row, "status": "running"} if row["status"] == "completed" else row for row in handed_in.values())
    return frame(sorted(rows, key=lambda row: int(row["call"])), CALL_COLUMNS, observer.run_id)


async def asked_calls(observer: Observer) -> list[tuple[StepView, Call]]:
    """Return the calls that asked models; what a fork took over was asked, and paid, by the first run."""
    view = await view_of(observer)
    calls = observer.fold.snapshot().calls  # as the view was made: reading values, the run may go on
    return [
        (step, calls[step.call])
        for step in view.steps
        if step.name in ASKING and not step.reused and calls[step.call].arguments
    ]


async def _model(observer: Observer, made: Call) -> Model:
    asked: Request | Model = await observer.decoder.value(made.arguments[0])
    return asked.model if isinstance(asked, Request) else asked


def _row(observer: Observer, step: StepView, made: Call, model: Model) -> dict[str, Any]:
    return {
        "call": int(step.call),
        "model": model.name,
        "api": model.speaks,
        "status": step.status,
        "requests": 0,
        "started": step.started,
        "latency_s": (step.ended - step.started).total_seconds() if step.ended and step.started else None,
        "attempts": step.attempt,
        "repeated": _repeated(observer, step, made),
        "error": step.error,
        "price_basis": "",
        "finish": "",
        "tool_calls": [],
    }


def _repeated(observer: Observer, step: StepView, made: Call) -> int:
    """Return how many requests may have been paid without an answer on record; of a call under way it is not known."""
    if made.result is not None:
        return int(metadata(made.result, META_REPEATED) or 0)
    if step.status == "running":
        return 0
    begun = requests_begun(ledger_of(observer.connection.store, observer.execution), step.call)
    return max(0, begun - sum(answer.requests for answer in row_answers(observer, made, None)))


def _answered(answer: Asked | Got | None) -> dict[str, Any]:
    if answer is None:
        return {}
    return {
        "model": answer.model,
        "api": answer.api,
        "requests": 1,
        **_took(answer.usage, answer.cost_usd, answer.price_basis),
        "finish": answer.finish,
        "tool_calls": [named["name"] for named in conversation.calls(answer.items)],
    }


def _took(usage: Usage, cost_usd: float | None, price_basis: str) -> dict[str, Any]:
    tokens = {
        "tokens_in": usage.input,
        "tokens_out": usage.output,
        "tokens_cached": usage.cached,
        "tokens_reasoning": usage.reasoning,
    }
    return {**(tokens if usage.total else {}), "cost_usd": cost_usd, "price_basis": price_basis}


def _of_rows(row: dict[str, Any], answers: Iterable[RowAnswer]) -> Iterator[dict[str, Any]]:
    """Yield a row for the requests of each model and price: mostly one, so that known costs can be added up."""
    groups: dict[tuple[str, str], list[RowAnswer]] = {}
    for answer in answers:
        if answer.requests:
            groups.setdefault((answer.model, answer.price_basis), []).append(answer)
    repeated = row["repeated"]
    for (model, basis), group in groups.items():
        usd = [answer.cost_usd for answer in group if answer.cost_usd is not None]
        usage = sum((answer.usage for answer in group), Usage())
        statuses = Counter(answer.status for answer in group)
        yield {
            **row,
            "model": model,
            "requests": sum(answer.requests for answer in group),
            **_took(usage, sum(usd) if usd else None, basis),
            "finish": ", ".join(f"{count:,} {status}" for status, count in statuses.most_common()),
            "repeated": repeated,
        }
        repeated = 0  # counted once
    if not groups:
        yield row
