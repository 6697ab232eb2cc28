"""Runs that nobody executes any more, by their task queues."""

from __future__ import annotations

from kaigents_nb.history.observe import queue_is_served
from kaigents_nb.runtime.connection import Connection
from kaigents_nb.runtime.protocol import MEMO_ORIGIN, MEMO_STATE


async def orphaned_queues(connection: Connection) -> list[str]:
    """Return the task queues of open runs that no worker polls.

    Only queues of runs that this library started: on a shared cluster others are none of our business.
    """
    queues: set[str] = set()
    async for execution in connection.client.list_workflows("ExecutionStatus = 'Running'"):
        memo = execution.raw_info.memo.fields
        if MEMO_ORIGIN in memo or MEMO_STATE in memo:
            queues.add(execution.task_queue)
    return [queue for queue in sorted(queues) if not await queue_is_served(connection, queue)]
