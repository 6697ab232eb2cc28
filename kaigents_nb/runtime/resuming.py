"""An opened notebook goes on with its runs: its kernel serves its queue as soon as it connects, if runs wait there."""

from __future__ import annotations

from contextlib import suppress

from temporalio.service import RPCError

from kaigents_nb.runtime.connection import Connection
from kaigents_nb.runtime.queue import in_kernel, task_queue


def resume(connection: Connection) -> None:
    """Have a kernel serve its own notebook's queue if open runs are there; returns at once.

    Only a kernel does so: a command or script of the same folder may be there to look.
    """
    if in_kernel() and connection.may_serve:
        connection.post(_resume(connection, task_queue()))


async def _resume(connection: Connection, queue: str) -> None:
    query = f"TaskQueue = '{queue}' AND ExecutionStatus = 'Running'"
    with suppress(RPCError):  # no index, or no rights to it: kg.run(id) adopts
        if (await connection.supervisor.patiently(lambda: connection.client.count_workflows(query))).count:
            await connection.adopt(queue)
