"""Whether a task queue has a worker."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest

from kaigents_nb.runtime.connection import Connection
from kaigents_nb.runtime.queue_worker import identity, identity_is_dead

_POLLER_IS_OLD = timedelta(seconds=90)
"""A live worker asks again at least once a minute."""


async def queue_is_served(connection: Connection, queue: str) -> bool:
    """Whether some worker, here or elsewhere, polls a task queue."""
    if queue in connection.queues:
        return True
    answer = await connection.client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=connection.namespace,
            task_queue=TaskQueue(name=queue),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
        )
    )
    now = datetime.now(UTC)
    return any(
        now - poller.last_access_time.ToDatetime(tzinfo=UTC) < _POLLER_IS_OLD
        and poller.identity != identity()  # a former worker of this process
        and not identity_is_dead(poller.identity)
        for poller in answer.pollers
    )
