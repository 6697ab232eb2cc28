"""What a run's memo says: its open gates, what is parked, where it comes from. Needs neither worker nor history."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from temporalio.api.common.v1 import Payload

from kaigents_nb.gates.question import Question
from kaigents_nb.runtime.payloads import plain
from kaigents_nb.runtime.protocol import MEMO_ORIGIN, MEMO_STATE


def state(fields: Mapping[str, Payload]) -> dict[str, Any]:
    """Return what the run waits for: ``gates`` and ``parked``, as its interpreter has published."""
    return dict(plain(fields[MEMO_STATE])) if MEMO_STATE in fields else {}


def origin(fields: Mapping[str, Payload]) -> dict[str, Any]:
    """Return where the run comes from: its notebook, and the run that it was forked from."""
    return dict(plain(fields[MEMO_ORIGIN])) if MEMO_ORIGIN in fields else {}


def is_ours(fields: Mapping[str, Payload]) -> bool:
    """Whether a workflow is a run of this library: on a shared cluster others are none of our business."""
    return MEMO_ORIGIN in fields or MEMO_STATE in fields


def questions(fields: Mapping[str, Payload], run_id: str, agent: str, queue: str = "") -> list[Question]:
    """Return the open gates that a run's memo names."""
    gates = state(fields).get("gates", ())
    return [Question.from_wire(gate, run_id=run_id, agent=agent, queue=queue) for gate in gates]
