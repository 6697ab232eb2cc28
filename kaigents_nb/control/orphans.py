"""Runs that nobody executes any more, by their task queues."""

from __future__ import annotations

from kaigents_nb.history import memo
from kaigents_nb.history.observe import describe
from kaigents_nb.runtime.connection import Connection
from kaigents_nb.runtime.queue import in_kernel, task_queue
from kaigents_nb.runtime.served import queue_is_served


async def adoptable_queue(connection: Connection, run_id: str) -> str:
    """Return the task queue of an open run that this process has to serve, else ``""``.

    That is one that nobody serves, and for a kernel that of its own notebook: who serves that too may be a zombie.

    Raises
    ------
    RunNotFound
        When the server does not know the run.
    """
    info = (await describe(connection, run_id)).workflow_execution_info
    if info.HasField("close_time"):
        return ""
    own = in_kernel() and info.task_queue == task_queue()
    return info.task_queue if own or not await queue_is_served(connection, info.task_queue) else ""


async def orphaned_queues(connection: Connection) -> list[str]:
    """Return the task queues of open runs that no worker serves.

    Only queues of runs that this library started: on a shared cluster others are none of our business.
    """
    queues: set[str] = set()
    async for execution in connection.client.list_workflows("ExecutionStatus = 'Running'"):
        if memo.is_ours(execution.raw_info.memo.fields):
            queues.add(execution.task_queue)
    return [queue for queue in sorted(queues) if not await queue_is_served(connection, queue)]
