"""The gates of one run, where it waits for people: opened, answered by update or signal, closed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from kaigents_nb.errors import InvalidAnswer
from kaigents_nb.gates.answer import VALUE, Answer
from kaigents_nb.gates.policy import Gates, Standing
from kaigents_nb.gates.question import Question
from kaigents_nb.gates.schema import Faults, in_words
from kaigents_nb.runtime.payloads import content_digest, raw
from kaigents_nb.runtime.protocol import (
    ALREADY_DECIDED,
    INVALID_ANSWER,
    KEPT_AS_SHOWN,
    MEMO_GATE,
    META_QUESTION,
    NO_DECISION,
    NO_OPEN_GATE,
    Launch,
)

Read = Callable[[Any], Any]
"""Gives the value that an answer is, or raises ``InvalidAnswer``."""

_LISTED_CHARS = 9_000
_WIRE_CHARS = 250
"""What a gate takes in the memo beside its texts."""
_TOLD_FAULTS = 20


class GateDesk:
    """Executed in the workflow, so everything here replays."""

    def __init__(self, publish: Callable[[Mapping[str, Any]], None]) -> None:
        self._publish = publish
        self._gates = Gates()
        self._kept: dict[str, Answer] = {}
        self._read: dict[str, Read] = {}
        self._refused: dict[str, dict[str, Any]] = {}
        self._opened = 0

    def begin(self, launch: Launch) -> None:
        """Take what a run begins with: the decisions that a fork keeps."""
        self._gates = Gates(bound=launch.version > 0)
        self._kept = {gate: Answer.from_wire(decision) for gate, decision in launch.decisions.items()}

    def check_question(self, question: Question) -> None:
        """Refuse a question that can't be asked."""
        if self._gates.bound:
            question.check()

    def next_number(self) -> str:
        """Return a number for a gate."""
        self._opened += 1
        return str(self._opened)

    def is_open(self, number: str) -> bool:
        """Whether a gate waits for its decision."""
        return number in self._gates.open

    def kept(self, number: str, question: Question, details: Any, read: Read | None = None) -> Answer | None:
        """Return the decision that a fork keeps, if it was one on this question with these options and details."""
        kept = self._kept.get(number)
        if kept is None or kept.question != question.question:
            return None
        # Forks of before have kept it whatever was shown with the question.
        if kept.asked and kept.asked != _with(question, _payload(question, details)).digest:
            return None if workflow.patched(KEPT_AS_SHOWN) else kept
        # The form may be the same, and what the agent's code finds valid another.
        return None if read is not None and kept.approved and _faults(read, kept) else kept

    @property
    def notes(self) -> dict[str, Any]:
        """What a card should say of answers that the server had kept: those that were found to be invalid."""
        return {"refused": list(self._refused.values())} if self._refused else {}

    @property
    def is_waited_at(self) -> bool:
        """Whether a gate is open."""
        return bool(self._gates.open)

    async def open(
        self, number: str, question: Question, details: Any, kept: Answer | None, read: Read | None = None
    ) -> Answer:
        """Wait until a person decides; a decision that is ``kept`` is the answer. ``read`` refuses wrong values."""
        if kept is not None:
            self._gates.keep(kept)
            return kept
        payload = _payload(question, details)
        asked = replace(
            _with(question, payload),
            gate=number,
            opened=workflow.now(),
            execution=workflow.info().first_execution_run_id,
        )
        self._gates.ask(asked)
        if read is not None:
            self._read[number] = read
        payload.payload.metadata[META_QUESTION] = json.dumps(asked.to_wire()).encode()
        self._publish({MEMO_GATE.format(gate=number): payload})
        # No finally: a run that leaves the worker's memory is closed here too, and must not act.
        try:
            await workflow.wait_condition(lambda: number in self._gates.taken)
        except asyncio.CancelledError:
            self._close(number)
            raise
        self._close(number)
        return self._gates.taken[number]

    def _close(self, number: str) -> None:
        self._gates.close(number)
        self._read.pop(number, None)
        self._refused.pop(number, None)
        self._publish({MEMO_GATE.format(gate=number): None})

    def listed(self) -> list[dict[str, Any]]:
        """Return the open gates, oldest first; of very many as many as a memo holds, the rest as those are decided."""
        listed: list[dict[str, Any]] = []
        size = 0
        for question in self._gates.open.values():
            form = [] if question.form is None else [question.form.to_wire()]
            size += len(json.dumps([question.question, *question.options, *form])) + _WIRE_CHARS
            if listed and size > _LISTED_CHARS:
                break
            listed.append(question.to_wire())
        return listed

    # From outside.

    def check(self, decision: Any) -> None:
        """Refuse an update that would not count.

        Raises
        ------
        ApplicationError
            Of the type that says why; with the decision that was first, if there is one.
        """
        try:
            answer = Answer.from_wire(decision)
        except ValueError as error:
            raise ApplicationError(str(error), type=NO_DECISION) from None
        standing = self._gates.standing(answer)
        if standing is Standing.TOO_LATE:
            taken = self._gates.taken[answer.gate]
            raise ApplicationError("The gate is decided.", taken.to_wire(), type=ALREADY_DECIDED)
        if standing is Standing.NOT_OPEN:
            raise ApplicationError(f"No open gate {answer.gate!r}.", type=NO_OPEN_GATE)
        if standing in (Standing.NO_OPTION, Standing.NOT_ASKED):
            raise ApplicationError(f"Not a decision on what gate {answer.gate!r} asks.", type=NO_DECISION)
        if found := self._faults(answer):
            raise ApplicationError(in_words(found), found, type=INVALID_ANSWER)

    def decide(self, decision: Any) -> dict[str, Any]:
        """Take an update's decision, which :meth:`check` has let in; return the one that counts."""
        answer = Answer.from_wire(decision)
        if not self._faults(answer):
            self._gates.take(answer)
        if answer.gate not in self._gates.taken:  # the validator, which a replay does not ask, has let it in
            raise RuntimeError(
                f"Gate {answer.gate!r} was decided, and the agent, replayed, asks something else there: another "
                "question, other options, details or form, or finds the value invalid that it took. It does something "
                "that can't be replayed."
            )
        return self._gates.taken[answer.gate].to_wire()

    def decide_later(self, decision: Any) -> None:
        """Take a decision that the server kept while no worker was there; what does not count is left alone."""
        # An exception in a signal would stop the run for good.
        try:
            answer = Answer.from_wire(decision)
        except ValueError:
            return
        if found := self._faults(answer):
            self._refused[answer.gate] = {"gate": answer.gate, "id": answer.id, "faults": found}
            self._publish({})
        else:
            self._gates.take(answer)

    def _faults(self, answer: Answer) -> Faults:
        """Return what is wrong with a value that would count otherwise."""
        standing, question = self._gates.standing(answer), self._gates.open.get(answer.gate)
        if question is None or question.form is None or not answer.approved:
            return {}
        if standing is Standing.INVALID:
            return dict(list(question.form.faults(answer.values).items())[:_TOLD_FAULTS])
        read = self._read.get(answer.gate)
        return _faults(read, answer) if standing is Standing.COUNTS and read is not None else {}


def _faults(read: Read, answer: Answer) -> Faults:
    try:
        read(answer.values[VALUE])
    except InvalidAnswer as error:
        return dict(list(error.faults.items())[:_TOLD_FAULTS])
    return {}


def _payload(question: Question, details: Any) -> RawValue:
    return raw(details, f"details of the gate {question.question!r}")


def _with(question: Question, details: RawValue) -> Question:
    return replace(question, details=content_digest(details.payload))
