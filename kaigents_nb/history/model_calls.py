"""What a run asked of models: one row per request, and the conversations themselves."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pandas as pd

from kaigents_nb.history.assemble import view_of
from kaigents_nb.history.calls import Call
from kaigents_nb.history.frames import UTC_TIME, frame
from kaigents_nb.history.observe import Observer
from kaigents_nb.history.view import StepView
from kaigents_nb.models import items as conversation
from kaigents_nb.models import transcript
from kaigents_nb.models.any_client import Got
from kaigents_nb.models.any_client import request as request_of_a_client
from kaigents_nb.models.background import collect
from kaigents_nb.models.call import Asked, Request, ask
from kaigents_nb.models.items import Item
from kaigents_nb.models.model import Model

CALL_COLUMNS = {
    "call": "int64",
    "model": "str",
    "api": "str",
    "status": "str",
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
MESSAGE_COLUMNS = {
    "call": "int64",
    "role": "str",
    "type": "str",
    "tool": "str",
    "text": "str",
    "item": "object",
}


async def calls_frame(observer: Observer) -> pd.DataFrame:
    """See :meth:`Run.calls`."""
    rows = []
    for step, call in await _asked(observer, (ask.name, collect.name, request_of_a_client.name)):
        asked = await observer.decoder.value(call.arguments[0]) if call.arguments else None
        answer = await observer.decoder.value(call.result) if call.result is not None else None
        if answer is None and step.status == "completed":
            continue  # a look at one that the provider still worked on
        rows.append(_row(step, asked.model if isinstance(asked, Request) else asked, answer))
    return frame(rows, CALL_COLUMNS, observer.run_id)


async def messages_frame(observer: Observer, number: int | None) -> pd.DataFrame:
    """See :meth:`Run.messages`."""
    rows: list[dict[str, Any]] = []
    asked = await _asked(observer)
    known = [int(step.call) for step, call in asked if call.arguments]
    if number is not None and number not in known:
        raise LookupError(f"Call {number} of run {observer.run_id!r} asked no model. These did: {known or 'none'}.")
    for step, call in asked:
        if number not in (None, int(step.call)) or not call.arguments:
            continue
        before, items = await observer.decoder.value(call.arguments[1]), await observer.decoder.value(call.arguments[2])
        if number is not None:
            items = [*transcript.items(observer.connection.stored, before), *items]
        else:
            answer = await _answer(observer, call)
            items = [*items, *(answer.items if answer is not None else ())]
        rows += [{"call": int(step.call), **_message(item)} for item in items]
    table = frame(rows, MESSAGE_COLUMNS, observer.run_id)
    if number is not None:
        request = await _request(observer, next(call for step, call in asked if int(step.call) == number))
        if request is not None:
            table.attrs |= {"model": request.model.name, "tools": list(request.tools), "options": request.options}
    return table


async def _asked(observer: Observer, steps: Collection[str] = (ask.name,)) -> list[tuple[StepView, Call]]:
    view = await view_of(observer)
    calls = observer.fold.snapshot().calls
    return [(step, calls[step.call]) for step in view.steps if step.name in steps]


async def _request(observer: Observer, call: Call) -> Request | None:
    """Return what was asked; of an answer that a fork took over the first run has it."""
    found: Request | None = await observer.decoder.value(call.arguments[0]) if call.arguments else None
    return found


async def _answer(observer: Observer, call: Call) -> Asked | None:
    found: Asked | None = None if call.result is None else await observer.decoder.value(call.result)
    return found


def _row(step: StepView, model: Model | None, answer: Asked | Got | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "call": int(step.call),
        "model": model.name if model is not None else "",
        "api": model.speaks if model is not None else "",
        "status": step.status,
        "started": step.started,
        "latency_s": (step.ended - step.started).total_seconds() if step.ended and step.started else None,
        "attempts": step.attempt,
        # Its worker fell silent: what it had asked may have been answered, and paid.
        "repeated": sum(attempt.last - attempt.first + 1 for attempt in step.attempts if attempt.lost),
        "error": step.error,
        "tool_calls": [],
    }
    if answer is not None:
        row |= {
            "model": answer.model,
            "api": answer.api,
            "tokens_in": answer.usage.input,
            "tokens_out": answer.usage.output,
            "tokens_cached": answer.usage.cached,
            "tokens_reasoning": answer.usage.reasoning,
            "cost_usd": answer.cost_usd,
            "price_basis": answer.price_basis,
            "finish": answer.finish,
            "tool_calls": [call["name"] for call in conversation.calls(answer.items)],
        }
    return row


def _message(item: Item) -> dict[str, Any]:
    kind = str(item.get("type") or "message")
    text = conversation.text([item]) if conversation.is_answer(item) else _text(item)
    return {"role": _role(item, kind), "type": kind, "tool": str(item.get("name") or ""), "text": text, "item": item}


def _role(item: Item, kind: str) -> str:
    return str(item.get("role") or ("tool" if kind == conversation.OUTPUT else "assistant"))


def _text(item: Item) -> str:
    if item.get("type") == conversation.CALL:
        return str(item.get("arguments") or "")
    if item.get("type") == conversation.OUTPUT:
        given = item.get("output")
        return given if isinstance(given, str) else _joined(given or ())
    return _joined(conversation.parts(item))


def _joined(parts: Iterable[Any]) -> str:
    return "".join(str(part.get("text") or "") for part in parts if isinstance(part, dict))
