"""What a call said to a model and was told, as it is recorded."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from temporalio.api.common.v1 import Payload

from kaigents_nb.history.calls import Call
from kaigents_nb.history.observe import Observer
from kaigents_nb.history.view import MessageView
from kaigents_nb.models import any_client, background, batch, call, journal, row_call, transcript
from kaigents_nb.models import items as conversation
from kaigents_nb.models.any_client import Got, Sent
from kaigents_nb.models.call import Asked
from kaigents_nb.models.items import Item
from kaigents_nb.models.row_call import RowAnswer
from kaigents_nb.runtime.journals import journal_of

Said: TypeAlias = tuple[int | None, Item]
"""A message, with the row of the table that it is about."""
OF_ROWS = frozenset({row_call.ask_rows.name, batch.collect.name})
"""The steps that ask for many rows."""
CONVERSING = frozenset({call.ask.name, background.submit.name, background.collect.name, any_client.request.name})
"""The steps of a conversation."""
_SHOWN, _SHOWN_CHARS = 12, 2_000
"""So many messages of a call, and so much of each, are shown on a card."""


async def read(observer: Observer, payload: Payload | None) -> Any:
    """Return a recorded value; None for none."""
    return None if payload is None else await observer.decoder.value(payload)


def row_answers(observer: Observer, made: Call, result: list[RowAnswer] | None) -> list[RowAnswer]:
    """Return the answers for rows: those of an unfinished call as they lie on the disk."""
    if result is not None:
        return result
    path = journal_of(observer.connection.store, observer.execution, observer.run_id, made.view.call)
    return [RowAnswer.of_record(record) for record in journal.read(path)]


class Conversations:
    """Reads the calls of a run one after the other, and gives what each has added."""

    def __init__(self) -> None:
        self._known: list[Item] = []  # of a client that sends all of its conversation each time

    async def said(self, observer: Observer, made: Call) -> list[Said]:
        """Return what was said in a call and not before."""
        name, result = made.view.name, await read(observer, made.result)
        if name in OF_ROWS:
            answers = {answer.row: answer for answer in row_answers(observer, made, result)}
            prompts = await _prompts(observer, made)
            return [(row, item) for row, text in prompts for item in _exchange(text, answers.get(row))]
        answered: list[Item] = result.items if isinstance(result, Asked | Got) else []
        if name == any_client.request.name:
            asked = _sent_items(await read(observer, made.arguments[1]))
            known = len(self._known)
            fresh = asked[known:] if list(map(_alike, asked[:known])) == list(map(_alike, self._known)) else asked
            self._known = [*asked, *answered]
            return _plain([*fresh, *answered])
        if name == background.collect.name:
            return _plain(answered)
        return _plain([*await read(observer, made.arguments[2]), *answered])


async def briefly(observer: Observer, made: Call) -> tuple[MessageView, ...]:
    """Return the last messages of those that a call has added, each bounded: what a card shows."""
    if not made.arguments:  # a fork took it over
        return ()
    last = [message(item) for _, item in await Conversations().said(observer, made)][-_SHOWN:]
    return tuple(MessageView(it["role"], it["type"], it["tool"], it["text"][:_SHOWN_CHARS]) for it in last)


async def seen(observer: Observer, made: Call) -> list[Said]:
    """Return what the model saw in a call, from the beginning of its conversation."""
    name = made.view.name
    if name in OF_ROWS:
        answers = {answer.row: answer for answer in row_answers(observer, made, await read(observer, made.result))}
        prompts = await _prompts(observer, made)
        return [(row, item) for row, text in prompts for item in _without_answer(_exchange(text, answers.get(row)))]
    if name == any_client.request.name:
        return _plain(_sent_items(await read(observer, made.arguments[1])))
    before, items = await read(observer, made.arguments[1]), await read(observer, made.arguments[2])
    return _plain([*transcript.items(observer.connection.stored, before), *items])


async def _prompts(observer: Observer, made: Call) -> list[tuple[int, str]]:
    """Return what was asked for each row; of a batch it is with the call that has handed it in."""
    if made.view.name == row_call.ask_rows.name:
        return list(enumerate(await read(observer, made.arguments[1])))
    number = await read(observer, made.arguments[1])
    for other in observer.fold.snapshot().calls.values():
        if other.view.name == batch.submit.name and await read(observer, other.result) == number:
            return list(await read(observer, other.arguments[1]))
    return []


def _exchange(prompt: str, answer: RowAnswer | None) -> list[Item]:
    asked = [conversation.user(prompt)]
    if answer is None:
        return asked
    if answer.said or not answer.text:
        return asked + answer.said
    content = [{"type": "output_text", "text": answer.text}]
    return [*asked, {"type": conversation.MESSAGE, "role": "assistant", "content": content}]


def _without_answer(items: Sequence[Item]) -> Sequence[Item]:
    last = max(place for place, item in enumerate(items) if item.get("role") == "user")
    return items[: last + 1]


def _plain(items: Iterable[Item]) -> list[Said]:
    return [(None, item) for item in items]


def _sent_items(sent: Sent) -> list[Item]:
    """Return the conversation in the body of a request that another client made."""
    body = body_of(sent)
    given = body.get("input", body.get("messages"))
    try:
        return conversation.conversation(given)
    except (TypeError, ValueError):  # none that we know: shown as it is
        return [conversation.user(sent.body)] if sent.body else []


def body_of(sent: Sent) -> Mapping[str, Any]:
    """Return the body of a request that another client made; empty where it is no JSON object."""
    try:
        body = json.loads(sent.body)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def message(item: Item) -> dict[str, Any]:
    """Return a message in the columns of :meth:`Run.messages`."""
    kind = str(item.get("type") or conversation.MESSAGE)
    role = str(item.get("role") or ("tool" if kind == conversation.OUTPUT else "assistant"))
    return {"role": role, "type": kind, "tool": str(item.get("name") or ""), "text": _text(item), "item": item}


def _alike(item: Item) -> tuple[str, ...]:
    """Return what a message says: a client sends an answer back in its own words for it."""
    return tuple(str(message(item)[key]) for key in ("role", "type", "tool", "text"))


def _text(item: Item) -> str:
    if item.get("type") == conversation.CALL:
        return str(item.get("arguments") or "")
    if item.get("type") == conversation.REASONING:
        return conversation.reasoning(item)
    if item.get("type") == conversation.OUTPUT:
        given = item.get("output")
        return given if isinstance(given, str) else "".join(_texts(given or ()))
    return conversation.text([item]) or "".join(_texts(conversation.parts(item)))


def _texts(parts: Iterable[Any]) -> Iterator[str]:
    return (str(part.get("text") or "") for part in parts if isinstance(part, dict))
