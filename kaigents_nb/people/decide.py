"""The one way a decision is taken: card, inbox, command line and ``run.approve()`` all end here."""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.client import WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from kaigents_nb.errors import AlreadyDecided, GateError, InvalidAnswer, NoOpenGate, NotYetKnown
from kaigents_nb.gates.answer import APPROVE, VALUE, Answer
from kaigents_nb.gates.policy import Standing
from kaigents_nb.gates.question import Question
from kaigents_nb.gates.schema import in_words, short
from kaigents_nb.gates.visible import visible
from kaigents_nb.history.fold import RunFold
from kaigents_nb.history.observers import observed
from kaigents_nb.people.open_gates import open_gates
from kaigents_nb.runtime.connection import Connection
from kaigents_nb.runtime.protocol import ALREADY_DECIDED, DECIDE_SIGNAL, DECIDE_UPDATE, INVALID_ANSWER, NO_DECISION
from kaigents_nb.runtime.served import queue_is_served
from kaigents_nb.runtime.storage import THRESHOLD_BYTES
from kaigents_nb.values.encode import classes_of
from kaigents_nb.values.in_json import to_json

_UPDATE_TIMEOUT = timedelta(seconds=5)
_KNOWN_TIMEOUT = timedelta(seconds=60)


def default_by() -> str:
    """Return who decides: the JupyterHub user, else the one of the operating system."""
    return os.environ.get("JUPYTERHUB_USER") or getpass.getuser()


async def find_question(
    connection: Connection, run_id: str, gate: str | None, shown: Sequence[Question] = ()
) -> Question | None:
    """Return the gate that is meant: of those ``shown`` to who decides, else the open one that is named.

    None where none is named and none was shown, though something waits: that must be looked at first. One that was
    shown is not looked up: whether it is still open, the run itself knows best.

    Raises
    ------
    NoOpenGate
        When nothing waits under that name, or what was shown no longer does.
    AlreadyDecided
        When it has been decided; says who and when.
    ValueError
        When several wait and none is named.
    """
    chosen = _matching(shown, run_id, gate)
    if len(chosen) == 1:
        return chosen[0]
    gates = await open_gates(connection, run_id)
    waiting = {(item.run_id, item.token) for item in gates}
    if gone := [item for item in chosen if (item.run_id, item.token) not in waiting]:
        raise await _gone(connection, gone[0])
    if not chosen and gate is not None:
        # A number that nobody was shown means the run's own gate: that of a called agent may be another by now.
        found = _matching(gates, run_id, gate)
        chosen = [item for item in found if item.run_id == run_id or gate != item.gate]
        if found and not chosen:
            raise NoOpenGate(
                f"Run {run_id!r} has no open gate {gate!r} of its own. {_listed(found, run_id)}; look at them with "
                "run.pending(), then decide."
            )
    if len(chosen) == 1:
        return chosen[0]
    if chosen:
        raise ValueError(f"Run {run_id!r} waits at {len(chosen)} gates. Name one: {_listed(chosen, run_id)}.")
    observer = await observed(connection, run_id)
    # The memo is the run's, and follows what the server has kept for it only when a worker executes it.
    taken = {item.asked.token for item in observer.fold.gates.values() if not item.is_open}
    if gate is None and not {item.token for item in gates} <= taken:
        return None
    for item in reversed(observer.fold.gates.values()):
        if item.answer is not None and (gate is None or item.asked.is_called(gate)):
            raise _already(item.answer)
    known = ", ".join(repr(item.gate) for item in gates)
    raise NoOpenGate(
        f"Run {run_id!r} has no open gate{f' {gate!r}' if gate else ''}. "
        + (f"Open: {known}." if known else "Nothing waits for a decision; run.status says what it does.")
    )


async def _gone(connection: Connection, question: Question) -> GateError:
    """Return why a question that was shown is no longer open."""
    fold = (await observed(connection, question.run_id)).fold
    gate = fold.gates.get(question.gate)
    if gate is None or gate.asked.token != question.token:
        return _asks_otherwise(question)
    return _already(gate.answer) if gate.answer is not None else _no_longer_open(question)


def identified(answer: Answer) -> Answer:
    """Return an answer as it is sent: with who and when, and an id by which it is one, however often it is sent."""
    return replace(
        answer, id=answer.id or uuid.uuid4().hex, by=answer.by or default_by(), at=answer.at or datetime.now(UTC)
    )


async def decide(
    connection: Connection, question: Question, answer: Answer, kept: Callable[[], None] = lambda: None
) -> Answer:
    """Take a decision on the question as it was shown, and return when the run's history says that it counts.

    ``kept`` is called where that takes a while: the server has the decision, and nobody knows yet whether it counts.

    Raises
    ------
    NoOpenGate
        When the run no longer waits there.
    AlreadyDecided
        When somebody else was first; says who and when.
    GateError
        When the run asks something else there by now.
    InvalidAnswer
        When its value does not fit what is asked for; the gate stays open.
    NotYetKnown
        When it was sent, and after a minute the history still does not say whether it counts.
    ValueError
        When it is too big to be sent.
    ConversionError
        When one of its values can't be saved, or not read by the run; nothing was sent.
    """
    if answer.approved:
        question.check_values(answer.values)
    answer = identified(replace(answer, values=await _values(connection, question, answer)))
    _check_size(answer)
    served = await queue_is_served(connection, question.queue)
    # From here on it may have arrived, whatever an error says: the same answer is sent until the history has it.
    try:
        async with asyncio.timeout(_KNOWN_TIMEOUT.total_seconds()):
            await connection.supervisor.patiently(lambda: _sent(connection, question, answer, served, kept))
    except TimeoutError:
        raise NotYetKnown(
            f"The decision on {visible(question.question)!r} was sent, and it is not yet known whether it counts: the "
            f"worker of run {question.run_id!r} does not answer. kg.run({question.run_id!r}).decisions() says it when "
            "it does."
        ) from None
    return answer


async def _sent(
    connection: Connection, question: Question, answer: Answer, served: bool, kept: Callable[[], None]
) -> None:
    """Send an answer by update, else by signal, and return when the history says that it counts."""
    if served and await _updated(connection, question, answer):
        return
    # Without a worker the server keeps a signal, not an update; the answer's id makes sending both harmless.
    observer = await observed(connection, question.run_id)
    if not _counts(observer.fold, question, answer):
        try:
            await connection.client.get_workflow_handle(question.run_id).signal(DECIDE_SIGNAL, answer.to_wire())
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise
        await _known(connection, question, answer, kept)


async def _values(connection: Connection, question: Question, answer: Answer) -> dict[str, Any]:
    """Return the values of an answer as JSON that the run reads as they are."""
    values = dict(answer.values)
    if question.form is not None:
        return values
    data: dict[str, Any] = to_json(values, f"values of the decision on {question.question!r}")
    if classes := classes_of(values):
        observer = await observed(connection, question.run_id)
        await observer.decoder.check_readable(classes)
    return data


def _check_size(answer: Answer) -> None:
    size = len(json.dumps(answer.to_wire()).encode())
    if size >= THRESHOLD_BYTES:
        raise ValueError(
            f"A decision with comment and values takes {size / 1024:,.0f} KiB; {THRESHOLD_BYTES // 1024} KiB is the "
            "most. Nothing was sent: shorten the comment, or save what is long where the agent finds it and give its "
            "name."
        )


async def _updated(connection: Connection, question: Question, answer: Answer) -> bool:
    """Ask the run's worker to take an answer; false when it has not said what came of it."""
    handle = connection.client.get_workflow_handle(question.run_id)
    try:
        # An asyncio timeout, not the RPC's own: the client repeats timed-out calls by itself.
        await asyncio.wait_for(
            handle.execute_update(DECIDE_UPDATE, answer.to_wire(), id=answer.id), _UPDATE_TIMEOUT.total_seconds()
        )
    except WorkflowUpdateFailedError as error:
        cause = error.cause
        if isinstance(cause, ApplicationError) and cause.type == ALREADY_DECIDED:
            taken = Answer.from_wire(cause.details[0])
            if taken.id != answer.id:
                raise _already(taken) from None
            return True
        # Refused, but perhaps only the second time: the first answer of the run may have got lost on its way.
        observer = await observed(connection, question.run_id)
        if _counts(observer.fold, question, answer):
            return True
        if isinstance(cause, ApplicationError) and cause.type == NO_DECISION:
            raise _asks_otherwise(question) from None
        if isinstance(cause, ApplicationError) and cause.type == INVALID_ANSWER:
            raise _invalid(question, {str(path): str(told) for path, told in dict(cause.details[0]).items()}) from None
        raise _no_longer_open(question) from None
    except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError):
        return False
    except RPCError as error:
        lost = (RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED, RPCStatusCode.NOT_FOUND)
        if error.status not in lost:
            raise
        return False
    return True


async def _known(connection: Connection, question: Question, answer: Answer, kept: Callable[[], None]) -> None:
    """Wait until the history says that an answer counts.

    Where a worker has a task of the run in hand, the server writes down what it is sent meanwhile only when that is
    over: a moment, or twenty seconds where the worker has died over it.
    """
    told = False
    while True:
        observer = await observed(connection, question.run_id)
        if _counts(observer.fold, question, answer):
            return
        if observer.fold.closed:
            raise _no_longer_open(question)
        if not told:
            told = True
            kept()
        await observer.grown(observer.fold.last_event)


def _counts(fold: RunFold, question: Question, answer: Answer) -> bool:
    """Whether a history says that an answer counts: raises where it says no, false where it says nothing yet."""
    gate = fold.gates.get(answer.gate)
    if gate is not None and gate.answer is not None:
        if gate.answer.id == answer.id:
            return True
        raise _already(gate.answer)
    for taken in fold.decisions:
        if taken.answer.id == answer.id and taken.standing is Standing.KEPT:
            return False
        if taken.answer.id == answer.id and taken.standing is Standing.INVALID:
            raise _invalid(question, {"": gate.refused if gate is not None else ""})
        if taken.answer.id == answer.id:
            raise _asks_otherwise(question) if taken.standing is Standing.NOT_ASKED else _no_longer_open(question)
    if gate is not None and gate.withdrawn:
        raise _no_longer_open(question)
    return False


def _matching(gates: Sequence[Question], run_id: str, gate: str | None) -> list[Question]:
    matching = [item for item in gates if gate is None or item.is_called(gate)]
    # Gates are numbered in each run: a number means the run's own gate before one of an agent it called.
    return [item for item in matching if gate is not None and item.run_id == run_id] or matching


def _listed(gates: Sequence[Question], run_id: str) -> str:
    return "; ".join(f"{_call(item, run_id)}: {visible(item.question)}" for item in gates)


def _call(gate: Question, run_id: str) -> str:
    return f"gate={gate.gate!r}" if gate.run_id == run_id else f"kg.run({gate.run_id!r}).approve({gate.gate!r})"


def _invalid(question: Question, faults: dict[str, str]) -> InvalidAnswer:
    told = faults[""] if set(faults) == {""} else in_words(faults)
    return InvalidAnswer(f"Not an answer to {visible(question.question)!r}: {told}.", faults=faults)


def _asks_otherwise(question: Question) -> GateError:
    return GateError(
        f"The decision was not taken: run {question.run_id!r} does not ask {question.question!r} with these "
        f"options and details at gate {question.gate!r} now. Look again: kg.run({question.run_id!r}).pending()."
    )


def _no_longer_open(question: Question) -> NoOpenGate:
    return NoOpenGate(f"The gate {question.question!r} is no longer open: the run went on without a decision.")


def _already(answer: Answer) -> AlreadyDecided:
    """The error for whoever came second."""
    verb = "rejected" if not answer.approved else f"chose {answer.choice!r}"
    if answer.choice == APPROVE:
        verb = "approved"
    elif answer.is_value:
        verb = f"answered {short(answer.values[VALUE])}"
    when = answer.at.isoformat() if answer.at else "?"
    return AlreadyDecided(
        f"Already decided: {answer.by or 'somebody'} {verb} at {when}.",
        decision=answer.to_wire(),
    )
