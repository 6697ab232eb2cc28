"""Runs that nobody executes any more, by their task queues."""

from __future__ import annotations

from temporalio.service import RPCError, RPCStatusCode

from kaigents_nb.history import memo
from kaigents_nb.history.observe import not_found
from kaigents_nb.runtime.connection import Connection
from kaigents_nb.runtime.served import queue_is_served


async def orphaned_queue(connection: Connection, run_id: str) -> str:
    """Return the task queue of a run if it is open and no worker polls it, else ``""``.

    Raises
    ------
    RunNotFound
        When the server does not know the run.
    """
    try:
        description = await connection.client.get_workflow_handle(run_id).describe()
    except RPCError as error:
        if error.status in (RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT):
            raise not_found(run_id, error) from None
        raise
    ended = description.close_time is not None
    return "" if ended or await queue_is_served(connection, description.task_queue) else description.task_queue


async def orphaned_queues(connection: Connection) -> list[str]:
    """Return the task queues of open runs that no worker polls.

    Only queues of runs that this library started: on a shared cluster others are none of our business.
    """
    queues: set[str] = set()
    async for execution in connection.client.list_workflows("ExecutionStatus = 'Running'"):
        if memo.is_ours(execution.raw_info.memo.fields):
            queues.add(execution.task_queue)
    return [queue for queue in sorted(queues) if not await queue_is_served(connection, queue)]
