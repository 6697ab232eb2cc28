"""The one way a decision is taken: card, inbox, command line and ``run.approve()`` all end here."""

from __future__ import annotations

import asyncio
import getpass
import os
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from temporalio.client import WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from kaigents_nb.errors import AlreadyDecided, GateError, NoOpenGate
from kaigents_nb.gates.answer import APPROVE, Answer
from kaigents_nb.gates.question import Question
from kaigents_nb.history.observers import observed
from kaigents_nb.people.open_gates import open_gates
from kaigents_nb.runtime.connection import Connection
from kaigents_nb.runtime.protocol import ALREADY_DECIDED, DECIDE_SIGNAL, DECIDE_UPDATE, NO_DECISION
from kaigents_nb.runtime.served import queue_is_served

_UPDATE_TIMEOUT = timedelta(seconds=5)


def default_by() -> str:
    """Return who decides: the JupyterHub user, else the one of the operating system."""
    return os.environ.get("JUPYTERHUB_USER") or getpass.getuser()


async def find_question(
    connection: Connection, run_id: str, gate: str | None, seen: Sequence[Question] = ()
) -> Question:
    """Return the open gate that is meant; ``seen`` are gates that the caller knows of, another one is looked up.

    A gate that the caller has seen is not looked up: whether it is still open, the run itself knows best.

    Raises
    ------
    NoOpenGate
        When nothing waits under that name.
    AlreadyDecided
        When it has been decided; says who and when.
    ValueError
        When several wait and none is named.
    """
    chosen = _matching(seen, run_id, gate)
    if len(chosen) == 1:
        return chosen[0]
    gates = await open_gates(connection, run_id)
    chosen = _matching(gates, run_id, gate)
    if len(chosen) == 1:
        return chosen[0]
    if chosen:
        listing = "; ".join(f"{_call(item, run_id)}: {item.question}" for item in chosen)
        raise ValueError(f"Run {run_id!r} waits at {len(chosen)} gates. Name one: {listing}.")
    if decided := await taken_answer(connection, run_id, gate):
        raise already(decided)
    known = ", ".join(repr(item.gate) for item in gates)
    raise NoOpenGate(
        f"Run {run_id!r} has no open gate{f' {gate!r}' if gate else ''}. "
        + (f"Open: {known}." if known else "Nothing waits for a decision; run.status says what it does.")
    )


async def decide(connection: Connection, question: Question, answer: Answer) -> Answer:
    """Take a decision on the question as it was shown; exactly one wins.

    Raises
    ------
    NoOpenGate
        When the run no longer waits there.
    AlreadyDecided
        When somebody else was first; says who and when.
    GateError
        When the run asks something else there by now.
    """
    answer = replace(answer, id=uuid.uuid4().hex, by=answer.by or default_by(), at=datetime.now(UTC))
    handle = connection.client.get_workflow_handle(question.run_id)
    if await queue_is_served(connection, question.queue):
        try:
            # An asyncio timeout, not the RPC's own: the client repeats timed-out calls by itself.
            await asyncio.wait_for(
                handle.execute_update(DECIDE_UPDATE, answer.to_wire(), id=answer.id), _UPDATE_TIMEOUT.total_seconds()
            )
            return answer
        except WorkflowUpdateFailedError as error:
            raise await _refused(connection, question, error.cause) from None
        except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError):
            pass
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                raise await _too_late(connection, question) from None
            if error.status not in (RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED):
                raise
    # Without a worker the server keeps a signal, not an update; the answer's id makes sending both harmless.
    await _unless_taken(connection, question, answer)
    await handle.signal(DECIDE_SIGNAL, answer.to_wire())
    # Two may have come this far; the server has put them in an order.
    await _unless_taken(connection, question, answer)
    return answer


async def _unless_taken(connection: Connection, question: Question, answer: Answer) -> None:
    taken = await taken_answer(connection, question.run_id, question.gate)
    if taken is not None and taken.id != answer.id:
        raise already(taken)


def _matching(gates: Sequence[Question], run_id: str, gate: str | None) -> list[Question]:
    matching = [item for item in gates if gate is None or gate in (item.gate, item.question)]
    # Gates are numbered in each run: a number means the run's own gate before one of an agent it called.
    return [item for item in matching if gate is not None and item.run_id == run_id] or matching


def _call(gate: Question, run_id: str) -> str:
    return f"gate={gate.gate!r}" if gate.run_id == run_id else f"kg.run({gate.run_id!r}).approve({gate.gate!r})"


async def taken_answer(connection: Connection, run_id: str, gate: str | None) -> Answer | None:
    """Return the answer that counts in a run's history for a gate (the last one, where none is named)."""
    observer = await observed(connection, run_id)
    found = [
        item.answer
        for item in observer.fold.gates.values()
        if item.answer is not None and (gate is None or gate in (item.gate, item.question))
    ]
    return found[-1] if found else None


async def _refused(connection: Connection, question: Question, cause: BaseException | None) -> GateError:
    """The error for an update that the run has not let in."""
    if isinstance(cause, ApplicationError) and cause.type == ALREADY_DECIDED:
        return already(Answer.from_wire(cause.details[0]))
    too_late = await _too_late(connection, question)
    if isinstance(too_late, AlreadyDecided):
        return too_late
    if isinstance(cause, ApplicationError) and cause.type == NO_DECISION:
        return GateError(
            f"The decision was not taken: run {question.run_id!r} does not ask {question.question!r} with these "
            f"options and details at gate {question.gate!r} now. Look again: kg.run({question.run_id!r}).pending()."
        )
    return too_late


async def _too_late(connection: Connection, question: Question) -> GateError:
    decided = await taken_answer(connection, question.run_id, question.gate)
    if decided:
        return already(decided)
    return NoOpenGate(f"The gate {question.question!r} is no longer open: the run went on without a decision.")


def already(answer: Answer) -> AlreadyDecided:
    """Return the error for whoever came second."""
    verb = "rejected" if not answer.approved else f"chose {answer.choice!r}"
    if answer.choice == APPROVE:
        verb = "approved"
    when = answer.at.isoformat() if answer.at else "?"
    return AlreadyDecided(
        f"Already decided: {answer.by or 'somebody'} {verb} at {when}.",
        decision=answer.to_wire(),
    )
