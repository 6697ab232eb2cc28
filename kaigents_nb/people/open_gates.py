"""The open gates of one run, as its memo says; needs no worker."""

from __future__ import annotations

from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from kaigents_nb.errors import RunNotFound
from kaigents_nb.gates.question import Question
from kaigents_nb.history import memo
from kaigents_nb.history.observe import not_found
from kaigents_nb.runtime.connection import Connection


async def open_gates(connection: Connection, run_id: str) -> list[Question]:
    """Return the open gates of a run and of the agents it called."""
    try:
        description = await connection.client.get_workflow_handle(run_id).describe()
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            raise not_found(run_id, error) from None
        raise
    if description.status != WorkflowExecutionStatus.RUNNING:
        return []
    fields = description.raw_description.workflow_execution_info.memo.fields
    gates = memo.questions(fields, run_id, description.workflow_type, description.task_queue)
    for child in description.raw_description.pending_children:
        try:
            gates += await open_gates(connection, child.workflow_id)
        except RunNotFound:
            continue  # asked for, but not started yet
    return gates
