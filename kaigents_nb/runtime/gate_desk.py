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

from kaigents_nb.gates.answer import Answer
from kaigents_nb.gates.policy import Gates, Standing
from kaigents_nb.gates.question import Question
from kaigents_nb.runtime.payloads import content_digest, raw
from kaigents_nb.runtime.protocol import (
    ALREADY_DECIDED,
    KEPT_AS_SHOWN,
    MEMO_GATE,
    META_QUESTION,
    NO_DECISION,
    NO_OPEN_GATE,
    Launch,
)

_LISTED_CHARS = 9_000
_WIRE_CHARS = 250
"""What a gate takes in the memo beside its texts."""


class GateDesk:
    """Executed in the workflow, so everything here replays."""

    def __init__(self, publish: Callable[[Mapping[str, Any]], None]) -> None:
        self._publish = publish
        self._gates = Gates()
        self._kept: dict[str, Answer] = {}
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

    def kept(self, number: str, question: Question, details: Any) -> Answer | None:
        """Return the decision that a fork keeps, if it was one on this question with these options and details."""
        kept = self._kept.get(number)
        if kept is None or kept.question != question.question:
            return None
        # Forks of before have kept it whatever was shown with the question.
        if kept.asked and kept.asked != _with(question, _payload(question, details)).digest:
            return None if workflow.patched(KEPT_AS_SHOWN) else kept
        return kept

    @property
    def is_waited_at(self) -> bool:
        """Whether a gate is open."""
        return bool(self._gates.open)

    async def open(self, number: str, question: Question, details: Any, kept: Answer | None) -> Answer:
        """Wait until a person decides; a decision that is ``kept`` is the answer."""
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
        self._publish({MEMO_GATE.format(gate=number): None})

    def listed(self) -> list[dict[str, Any]]:
        """Return the open gates, oldest first; of very many as many as a memo holds, the rest as those are decided."""
        listed: list[dict[str, Any]] = []
        size = 0
        for question in self._gates.open.values():
            size += len(json.dumps([question.question, *question.options])) + _WIRE_CHARS
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

    def decide(self, decision: Any) -> dict[str, Any]:
        """Take an update's decision, which :meth:`check` has let in; return the one that counts."""
        answer = Answer.from_wire(decision)
        self._gates.take(answer)
        if answer.gate not in self._gates.taken:  # the validator, which a replay does not ask, has let it in
            raise RuntimeError(
                f"Gate {answer.gate!r} was decided, and the agent, replayed, asks something else there: another "
                "question, other options or details. It does something that can't be replayed."
            )
        return self._gates.taken[answer.gate].to_wire()

    def decide_later(self, decision: Any) -> None:
        """Take a decision that the server kept while no worker was there; what does not count is left alone."""
        # An exception in a signal would stop the run for good.
        try:
            answer = Answer.from_wire(decision)
        except ValueError:
            return
        self._gates.take(answer)


def _payload(question: Question, details: Any) -> RawValue:
    return raw(details, f"details of the gate {question.question!r}")


def _with(question: Question, details: RawValue) -> Question:
    return replace(question, details=content_digest(details.payload))
