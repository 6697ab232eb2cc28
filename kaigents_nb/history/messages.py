"""``run.messages()``: what was said to models and by them, each message where it was said first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from kaigents_nb.history.calls import Call
from kaigents_nb.history.frames import frame
from kaigents_nb.history.model_calls import asked_calls
from kaigents_nb.history.observe import Observer
from kaigents_nb.history.said import Conversations, Said, body_of, message, read, seen
from kaigents_nb.models.any_client import Sent
from kaigents_nb.models.call import Request

MESSAGE_COLUMNS = {
    "call": "int64",
    "row": "Int64",
    "role": "str",
    "type": "str",
    "tool": "str",
    "text": "str",
    "item": "object",
}


async def messages_frame(observer: Observer, number: int | None) -> pd.DataFrame:
    """See :meth:`Run.messages`."""
    known = [made for _, made in await asked_calls(observer)]
    if number is None:
        conversations = Conversations()
        said = [(made, item) for made in known for item in await conversations.said(observer, made)]
        return _table(observer, said)
    made = next((made for made in known if int(made.view.call) == number), None)
    if made is None:
        numbers = [int(made.view.call) for made in known]
        raise LookupError(f"Call {number} of run {observer.run_id!r} asked no model. These did: {numbers or 'none'}.")
    table = _table(observer, [(made, item) for item in await seen(observer, made)])
    table.attrs |= _asked_with(await read(observer, made.arguments[0]), await read(observer, made.arguments[1]))
    return table


def _asked_with(asked: object, sent: object) -> dict[str, Any]:
    if isinstance(asked, Request):
        return {"model": asked.model.name, "tools": list(asked.tools), "options": asked.options}
    body = dict(body_of(sent)) if isinstance(sent, Sent) else {}
    for conversation_of_it in ("input", "messages"):
        body.pop(conversation_of_it, None)
    return {"model": body.pop("model", ""), "tools": body.pop("tools", []), "options": body}


def _table(observer: Observer, said: Iterable[tuple[Call, Said]]) -> pd.DataFrame:
    rows = ({"call": int(made.view.call), "row": row, **message(item)} for made, (row, item) in said)
    return frame(rows, MESSAGE_COLUMNS, observer.run_id)
