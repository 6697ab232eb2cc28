"""Who looks at a run: one observer for each run and connection, up to date whenever it is asked for."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from weakref import WeakValueDictionary

from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionResponse

from kaigents_nb.errors import RunNotFound
from kaigents_nb.history import memo
from kaigents_nb.history.observe import Observer, describe, running_called
from kaigents_nb.runtime.connection import Connection

CALLED_ASKED = 100
"""So many called agents are asked for open gates at a time; the inbox has those of all."""
_KEPT = 8
"""So many are kept though nobody holds them: the next look at the same run often comes by a new handle."""


class Observers:
    """The observers of a connection. Those that nobody uses are let go, but for the last few."""

    def __init__(self) -> None:
        self._used: WeakValueDictionary[str, Observer] = WeakValueDictionary()
        self._kept: OrderedDict[str, Observer] = OrderedDict()

    def of(self, connection: Connection, run_id: str, description: DescribeWorkflowExecutionResponse) -> Observer:
        """Return the observer of the execution that the server describes."""
        execution = description.workflow_execution_info.execution.run_id
        observer = self._used.get(run_id)
        if observer is None or observer.execution != execution:
            observer = self._used[run_id] = Observer(connection, run_id, execution)
        return observer

    def queue(self, run_id: str) -> str:
        """Return the task queue of a run as far as it is known, else ``""``."""
        observer = self._used.get(run_id)
        return observer.fold.queue if observer is not None else ""

    def keep(self, observer: Observer) -> None:
        """Hold one that was just asked for."""
        self._kept[observer.run_id] = observer
        self._kept.move_to_end(observer.run_id)
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)


async def observed(connection: Connection, run_id: str) -> Observer:
    """Return the observer of a run, up to date: one question, and a page for what is new.

    Raises
    ------
    RunNotFound
        When the server does not know the run (any more).
    """
    description = await describe(connection, run_id)
    observers = connection.instance(Observers)
    observer = observers.of(connection, run_id, description)
    observers.keep(observer)
    await observer.take(description)
    return observer


async def observed_with_called(connection: Connection, run_id: str) -> Observer:
    """Return the observer of a run, up to date, also with the gates of the agents that it called."""
    observer = await observed(connection, run_id)
    await look_at_called(observer)
    return observer


async def look_at_called(observer: Observer) -> None:
    """Find the called agents that are at a gate, and how gates found before were decided."""
    pending = () if observer.fold.closed else observer.description.pending_children
    running = running_called(pending)[:CALLED_ASKED]
    for run_id, called in list(observer.called.items()):
        if run_id not in running and not called.ended:
            await called.catch_up()
    found = await asyncio.gather(*(_at_gate(observer.connection, run_id) for run_id in running))
    observer.called |= {called.run_id: called for called in found if called is not None}


async def _at_gate(connection: Connection, run_id: str) -> Observer | None:
    """Return the observer of a called agent if it, or one that it called, has a gate.

    A history that was never read is read only when the run's memo names a gate.
    """
    try:
        description = await describe(connection, run_id)
    except RunNotFound:
        return None  # asked for, but not started yet
    called = connection.instance(Observers).of(connection, run_id, description)
    if called.fold.last_event or memo.questions(description.workflow_execution_info.memo.fields, run_id, ""):
        await called.take(description)
    else:
        called.description = description
    await look_at_called(called)
    return called if called.fold.gates or called.called else None
