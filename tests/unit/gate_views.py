"""Gates as a card sees them, in one line."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from kaigents_nb.gates.answer import Answer
from kaigents_nb.gates.question import Question
from kaigents_nb.history.view import GateView


def a_gate(
    number: str,
    question: str,
    options: tuple[str, ...] = (),
    details: Any = None,
    opened: datetime | None = None,
    answer: Answer | None = None,
    **more: Any,
) -> GateView:
    """Return the view of a gate; ``more`` is what only some have."""
    return GateView(Question(question, options, number, opened), details, answer, **more)


def an_answer(approved: bool = True, choice: str = "approve", **more: Any) -> Answer:
    """Return an answer to gate 1."""
    return Answer("1", approved, choice if approved else "reject", id="a", **more)
