"""What a run's memo says: its open gates, what is parked, where it comes from. Needs neither worker nor history.

Every client of the server may write a memo. What can't be read counts as not there, and :func:`problem` says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from temporalio.api.common.v1 import Payload

from kaigents_nb.gates.question import Question
from kaigents_nb.models.spent import Spent
from kaigents_nb.runtime.payloads import plain, reference
from kaigents_nb.runtime.protocol import MEMO_ORIGIN, MEMO_PUBLISHED, MEMO_SPENT, MEMO_STATE


def state(fields: Mapping[str, Payload]) -> dict[str, Any]:
    """Return what the run waits for: ``gates`` and ``parked``, as its interpreter has published."""
    return _read(fields, MEMO_STATE)


def origin(fields: Mapping[str, Payload]) -> dict[str, Any]:
    """Return where the run comes from: its notebook, and the run that it was forked from."""
    return _read(fields, MEMO_ORIGIN)


def published(fields: Mapping[str, Payload]) -> dict[str, Payload]:
    """Return the values that an agent shows to the outside, by name, not decoded."""
    before = MEMO_PUBLISHED.format(name="")
    return {key.removeprefix(before): payload for key, payload in fields.items() if key.startswith(before)}


def spent(fields: Mapping[str, Payload]) -> Spent:
    """Return what the run has spent on models by then."""
    try:
        return Spent.from_wire(_read(fields, MEMO_SPENT))
    except _UNREADABLE:
        return Spent()


def is_ours(fields: Mapping[str, Payload]) -> bool:
    """Whether a workflow is a run of this library: on a shared cluster others are none of our business."""
    return MEMO_ORIGIN in fields or MEMO_STATE in fields


def questions(fields: Mapping[str, Payload], run_id: str, agent: str, queue: str = "") -> list[Question]:
    """Return the open gates that a run's memo names."""
    try:
        gates = state(fields).get("gates", ())
        return [Question.from_wire(gate, run_id=run_id, agent=agent, queue=queue) for gate in gates]
    except _UNREADABLE:
        return []


def parked(fields: Mapping[str, Payload]) -> list[str]:
    """Return the errors of the steps that are parked."""
    try:
        return [str(step["error"]) for step in state(fields).get("parked", ())]
    except _UNREADABLE:
        return []


def problem(fields: Mapping[str, Payload]) -> str:
    """Return why a memo of ours can't be read; ``""`` where it can."""
    try:
        for key in (MEMO_STATE, MEMO_ORIGIN):
            if key in fields:
                dict(plain(_inline(fields[key])))
        for gate in state(fields).get("gates", ()):
            Question.from_wire(gate)
    except _UNREADABLE as error:
        return f"its memo can't be read ({type(error).__name__}: {error}): another program has written it"
    return ""


def _read(fields: Mapping[str, Payload], key: str) -> dict[str, Any]:
    try:
        return dict(plain(_inline(fields[key]))) if key in fields else {}
    except _UNREADABLE:
        return {}


def _inline(payload: Payload) -> Payload:
    if reference(payload) is not None:
        raise ValueError("it lies in a file")
    return payload


_UNREADABLE = (ValueError, TypeError, LookupError, AttributeError)
