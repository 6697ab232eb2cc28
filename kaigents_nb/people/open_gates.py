"""The open gates of one run, as its memo says; needs no worker."""

from __future__ import annotations

from kaigents_nb.errors import RunNotFound
from kaigents_nb.gates.question import Question
from kaigents_nb.history import memo
from kaigents_nb.history.observe import describe, running_called
from kaigents_nb.runtime.connection import Connection


async def open_gates(connection: Connection, run_id: str) -> list[Question]:
    """Return the open gates of a run and of the agents it called."""
    described = await describe(connection, run_id)
    info = described.workflow_execution_info
    if info.HasField("close_time"):
        return []
    gates = memo.questions(info.memo.fields, run_id, info.type.name, info.task_queue)
    for called in running_called(described.pending_children):
        try:
            gates += await open_gates(connection, called)
        except RunNotFound:
            continue  # asked for, but not started yet
    return gates
