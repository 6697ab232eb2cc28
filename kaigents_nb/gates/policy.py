"""Who may answer and when it is decided: one rule, for the run that asks and for all who read its history."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum

from kaigents_nb.gates.answer import REJECT, Answer
from kaigents_nb.gates.question import Question


class Standing(Enum):
    """What an answer is worth at the moment it arrives."""

    COUNTS = "counts"
    AGAIN = "again"
    """It is the one that has counted, sent once more."""
    TOO_LATE = "too late"
    """Another answer has counted."""
    NOT_OPEN = "not open"
    """Nothing waits under that gate: not yet, or no longer."""
    NO_OPTION = "no option"
    """It is no answer to what the gate asks."""
    NOT_ASKED = "not asked"
    """It answers something else than what the gate asks: another question, other options, details or form."""
    INVALID = "invalid"
    """Its value does not fit what is asked for: the gate stays open."""
    KEPT = "kept"
    """Only the run can say whether its value is valid, and has not said so yet."""


class Gates:
    """The gates of one run: asked, answered, withdrawn, in the order in which that happened.

    The run itself keeps one to go on by, and whoever reads its history keeps one to tell what happened. With
    ``bound``, an answer must carry the digest of what was asked; runs that an older version started take others too.
    """

    def __init__(self, *, bound: bool = False) -> None:
        self.bound = bound
        self.open: dict[str, Question] = {}
        self.taken: dict[str, Answer] = {}
        """The answers that count, by gate."""

    def ask(self, question: Question) -> None:
        """Open a gate."""
        self.open[question.gate] = question

    def keep(self, answer: Answer) -> None:
        """Have a gate answered from the start: by a decision that a fork takes over."""
        self.taken[answer.gate] = answer

    def close(self, gate: str) -> None:
        """The run no longer waits there: it has the answer, or went on without one."""
        self.open.pop(gate, None)

    def standing(self, answer: Answer) -> Standing:
        """Return what an answer that arrives now is worth."""
        taken, question = self.taken.get(answer.gate), self.open.get(answer.gate)
        if taken is not None:
            return Standing.AGAIN if taken.id == answer.id else Standing.TOO_LATE
        if question is None:
            return Standing.NOT_OPEN
        if answer.choice not in (question.choices if answer.approved else (REJECT,)):
            return Standing.NO_OPTION
        if not self._is_about(question, answer):
            return Standing.NOT_ASKED
        invalid = answer.approved and question.form is not None and question.form.faults(answer.values)
        return Standing.INVALID if invalid else Standing.COUNTS

    def take(self, answer: Answer) -> Standing:
        """Let an answer arrive: the first that counts decides."""
        standing = self.standing(answer)
        if standing is Standing.COUNTS:
            self.taken[answer.gate] = replace(answer, question=self.open[answer.gate].question)
        return standing

    def _is_about(self, question: Question, answer: Answer) -> bool:
        if not (answer.asked or answer.execution):
            return not self.bound
        return (answer.asked, answer.execution) == (question.digest, question.execution)
