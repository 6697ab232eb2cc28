"""How a run ended: its result, or its failure as the analyst's own exception."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from temporalio.client import WorkflowFailureError
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError, CancelledError, TerminatedError
from temporalio.service import RPCError, RPCStatusCode

from kaigents_nb.errors import ConversionError, RunCancelled, RunFailed
from kaigents_nb.history.attending import attended
from kaigents_nb.history.observe import Observer, not_found
from kaigents_nb.history.observers import observed
from kaigents_nb.runtime.connection import Connection
from kaigents_nb.runtime.failures import details, headline, rebuild
from kaigents_nb.runtime.payloads import value


async def outcome(connection: Connection, run_id: str) -> Any:
    """Wait for a run's end and return its result, or raise what it failed with."""
    handle = connection.client.get_workflow_handle(run_id, result_type=RawValue)
    try:
        async with attended(connection, run_id):
            result = await connection.supervisor.patiently(handle.result)
    except WorkflowFailureError as error:
        observer = await observed(connection, run_id)
        await observer.decoder.code()
        own = rebuild(error.cause, observer.decoder.resolve)
        own.__cause__ = None  # its traceback is part of our message; once is enough
        raise _failure(run_id, error.cause, observer) from own
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            raise not_found(run_id, error) from None
        raise
    payload = await connection.fetch(result.payload)
    strange: list[str] = []

    def resolve(module: str, qualname: str) -> type:
        strange.append(qualname)
        raise LookupError(qualname)

    with suppress(ConversionError):
        found = value(payload, resolve)
        if not strange:
            return found
    # Only where the result has classes of the run's own code does that code have to be fetched.
    observer = await observed(connection, run_id)
    return await observer.decoder.value(payload)


def _failure(run_id: str, cause: BaseException | None, observer: Observer) -> Exception:
    if isinstance(cause, CancelledError):
        return RunCancelled(f"Run {run_id!r} was cancelled.", run_id=run_id)
    if isinstance(cause, TerminatedError):
        return RunCancelled(f"Run {run_id!r} was terminated: {observer.fold.reason}", run_id=run_id)
    text = headline(cause) if isinstance(cause, ApplicationError) else str(cause)
    traceback = details(cause).get("traceback", "")
    return RunFailed(f"Run {run_id!r} failed: {text}\n\n{traceback}".rstrip(), run_id=run_id)
