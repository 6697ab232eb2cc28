"""The one way a decision is taken: card, inbox, command line and ``run.approve()`` all end here."""

from __future__ import annotations

import asyncio
import getpass
import os
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.client import WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from kaigents_nb.authoring.gate import APPROVE, REJECT, Decision
from kaigents_nb.errors import AlreadyDecided, GateError, NoOpenGate
from kaigents_nb.history.memo import OpenGate
from kaigents_nb.history.observers import observed
from kaigents_nb.people.open_gates import open_gates
from kaigents_nb.runtime.connection import Connection
from kaigents_nb.runtime.protocol import ALREADY_DECIDED, DECIDE_SIGNAL, DECIDE_UPDATE, to_decision
from kaigents_nb.runtime.served import queue_is_served

_UPDATE_TIMEOUT = timedelta(seconds=5)


def default_by() -> str:
    """Return who decides: the JupyterHub user, else the one of the operating system."""
    return os.environ.get("JUPYTERHUB_USER") or getpass.getuser()


async def decide(
    connection: Connection,
    run_id: str,
    *,
    approved: bool,
    gate: str | None,
    choice: str | None,
    values: Mapping[str, Any] | None,
    comment: str,
    by: str | None,
    seen: Sequence[OpenGate] = (),
) -> Decision:
    """Take a decision; exactly one wins. ``seen`` are gates that the caller knows of; another one is looked up.

    Raises
    ------
    NoOpenGate
        When nothing waits under that name.
    AlreadyDecided
        When somebody else was first; says who and when.
    ValueError
        When the choice is not among the gate's options, or one must be named.
    """
    chosen = _matching(seen, run_id, gate)
    # A gate that the caller has seen is not looked up: whether it is still open, the run itself knows best.
    found = chosen[0] if len(chosen) == 1 else await _find(connection, run_id, gate)
    decision: dict[str, Any] = {
        "id": uuid.uuid4().hex,
        "gate": found.gate,
        "approved": approved,
        "choice": _choice(found, approved, choice),
        "values": dict(values or {}),
        "comment": comment,
        "by": by or default_by(),
        "at": datetime.now(UTC).isoformat(),
    }
    handle = connection.client.get_workflow_handle(found.run_id)
    if await queue_is_served(connection, found.queue):
        try:
            # An asyncio timeout, not the RPC's own: the client repeats timed-out calls by itself.
            await asyncio.wait_for(
                handle.execute_update(DECIDE_UPDATE, decision, id=decision["id"]),
                _UPDATE_TIMEOUT.total_seconds(),
            )
            return to_decision(decision)
        except WorkflowUpdateFailedError as error:
            cause = error.cause
            if isinstance(cause, ApplicationError) and cause.type == ALREADY_DECIDED:
                raise already(dict(cause.details[0])) from None
            raise await _too_late(connection, found) from None
        except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError):
            pass
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                raise await _too_late(connection, found) from None
            if error.status not in (RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED):
                raise
    # Without a worker the server keeps a signal, not an update; the decision's id makes sending both harmless.
    earlier = await taken_decision(connection, found.run_id, found.gate)
    if earlier is not None and earlier["id"] != decision["id"]:
        raise already(earlier)
    await handle.signal(DECIDE_SIGNAL, decision)
    # Two may have come this far; the server has put them in an order.
    first = await taken_decision(connection, found.run_id, found.gate)
    if first is not None and first["id"] != decision["id"]:
        raise already(first)
    return to_decision(decision)


async def _find(connection: Connection, run_id: str, gate: str | None) -> OpenGate:
    gates = await open_gates(connection, run_id)
    chosen = _matching(gates, run_id, gate)
    if len(chosen) == 1:
        return chosen[0]
    if chosen:
        listing = "; ".join(f"{_call(item, run_id)}: {item.question}" for item in chosen)
        raise ValueError(f"Run {run_id!r} waits at {len(chosen)} gates. Name one: {listing}.")
    if decided := await taken_decision(connection, run_id, gate):
        raise already(decided)
    known = ", ".join(repr(item.gate) for item in gates)
    raise NoOpenGate(
        f"Run {run_id!r} has no open gate{f' {gate!r}' if gate else ''}. "
        + (f"Open: {known}." if known else "Nothing waits for a decision; run.status says what it does.")
    )


def _matching(gates: Sequence[OpenGate], run_id: str, gate: str | None) -> list[OpenGate]:
    matching = [item for item in gates if gate is None or gate in (item.gate, item.question)]
    # Gates are numbered in each run: a number means the run's own gate before one of an agent it called.
    return [item for item in matching if gate is not None and item.run_id == run_id] or matching


def _call(gate: OpenGate, run_id: str) -> str:
    return f"gate={gate.gate!r}" if gate.run_id == run_id else f"kg.run({gate.run_id!r}).approve({gate.gate!r})"


async def taken_decision(connection: Connection, run_id: str, gate: str | None) -> dict[str, Any] | None:
    """The decision that a run's history has for a gate (the last one, where none is named)."""
    observer = await observed(connection, run_id)
    found = [
        dict(item.decision)
        for item in observer.fold.gates.values()
        if item.decision is not None and (gate is None or gate in (item.gate, item.question))
    ]
    return found[-1] if found else None


async def _too_late(connection: Connection, gate: OpenGate) -> GateError:
    decided = await taken_decision(connection, gate.run_id, gate.gate)
    if decided:
        return already(decided)
    return NoOpenGate(f"The gate {gate.question!r} is no longer open: the run went on without a decision.")


def _choice(gate: OpenGate, approved: bool, choice: str | None) -> str:
    if not approved:
        return REJECT
    if not gate.options:
        if choice not in (None, APPROVE):
            raise ValueError(f"The gate {gate.question!r} has no options; leave choice={choice!r} out.")
        return APPROVE
    if choice is None and len(gate.options) == 1:
        return gate.options[0]
    if choice not in gate.options:
        said = "Say which" if choice is None else f"No option {choice!r}"
        raise ValueError(f"{said} for {gate.question!r}. Options: {list(gate.options)}.")
    return choice


def already(decision: dict[str, Any]) -> AlreadyDecided:
    """Return the error for whoever came second."""
    verb = "rejected" if not decision["approved"] else f"chose {decision['choice']!r}"
    if decision["choice"] == APPROVE:
        verb = "approved"
    return AlreadyDecided(
        f"Already decided: {decision.get('by') or 'somebody'} {verb} at {decision.get('at', '?')}.",
        decision=decision,
    )
