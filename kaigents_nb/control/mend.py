"""Mend a step in place: new code for it, in the same run."""

from __future__ import annotations

from functools import partial

from kaigents_nb.authoring.step import Step
from kaigents_nb.control.notebook_code import current_code
from kaigents_nb.errors import RunError
from kaigents_nb.history.assemble import view_of
from kaigents_nb.history.observe import Observer
from kaigents_nb.history.observers import observed_with_called
from kaigents_nb.history.view import StepView
from kaigents_nb.runtime.code import Code
from kaigents_nb.runtime.connection import Connection
from kaigents_nb.runtime.protocol import MEND_SIGNAL, RETRY_SIGNAL


def mend(connection: Connection, run_id: str) -> list[str]:
    """Send the notebook's current code of each failing step and start those steps again."""
    observer, failing = connection.run(lambda: _failing(connection, run_id))
    names = list(dict.fromkeys(step.name for step in failing))
    # All of them first: a step that can't be mended leaves the others as they are.
    codes = {name: current_code(connection, Step, name, run_id) for name in names}
    corrected = {name: code for name, code in codes.items() if not _is_same(observer, name, code)}
    if not corrected:
        cells = "cell" if len(names) == 1 else "cells"
        raise RunError(
            f"The {cells} of {', '.join(names)} {'is' if len(names) == 1 else 'are'} unchanged: the run has that code "
            "already. Correct it, execute the cell, then mend() again. run.retry_now() tries once more as it is.",
            run_id=run_id,
        )
    handle = connection.client.get_workflow_handle(run_id)
    for name, code in corrected.items():
        calls = [item.call for item in failing if item.name == name]
        connection.run(partial(handle.signal, MEND_SIGNAL, args=[[name], calls, code.payload()]))
    return list(corrected)


def _is_same(observer: Observer, name: str, code: Code) -> bool:
    """Whether the run executes a step with that code now."""
    payload = next((payload for names, payload in reversed(observer.fold.mends) if name in names), None)
    known = observer.connection.run(lambda: observer.decoder.code(payload))
    if known is None or name not in known.snapshot.steps:
        return False
    here, there = code.snapshot, known.snapshot
    # A step may be part of something: tools.search is known by tools.
    names = [snapshot.step_global(name).partition(".")[0].partition("[")[0] for snapshot in (here, there)]
    return here.content_of(names[0]) == there.content_of(names[1])


async def retry_now(connection: Connection, run_id: str) -> list[str]:
    """Start failing steps again at once."""
    _, failing = await _failing(connection, run_id)
    await connection.client.get_workflow_handle(run_id).signal(RETRY_SIGNAL, [step.call for step in failing])
    return list(dict.fromkeys(step.name for step in failing))


async def _failing(connection: Connection, run_id: str) -> tuple[Observer, list[StepView]]:
    observer = await observed_with_called(connection, run_id)
    # Refused here where this process has another key: the run's worker could not read what we would send.
    await observer.decoder.code()
    view = await view_of(observer)
    failing = [step for step in view.steps if step.status in ("parked", "retrying")]
    if not failing or view.closed:
        advice = (
            " An ended run is not changed any more; run.fork() goes on from any point of it." if view.closed else ""
        )
        raise RunError(
            f"No step of run {run_id!r} is parked or retrying: it is {view.status!r}.{advice}", run_id=run_id
        )
    return observer, failing
