"""Open gates, as the memo of a run says: needs neither a worker nor the history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from kaigents_nb.runtime.payloads import plain
from kaigents_nb.runtime.protocol import MEMO_STATE


@dataclass(frozen=True)
class OpenGate:
    """A gate that waits, as the memo of its run says."""

    run_id: str
    gate: str
    question: str
    options: tuple[str, ...]
    opened: datetime
    agent: str
    queue: str = field(default="", repr=False, compare=False)
    """Task queue of its run, where known: a worker of it is asked to take the decision."""


def gates_in_memo(run_id: str, agent: str, fields: Mapping[str, Any], queue: str = "") -> list[OpenGate]:
    """Return the open gates that a run's memo names."""
    if MEMO_STATE not in fields:
        return []
    return [
        OpenGate(
            run_id,
            gate["gate"],
            gate["question"],
            tuple(gate["options"]),
            datetime.fromisoformat(gate["opened"]),
            agent,
            queue,
        )
        for gate in plain(fields[MEMO_STATE])["gates"]
    ]
