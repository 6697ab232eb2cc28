"""Who serves a task queue: as workers' heartbeats say, for pids and host names lie."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from temporalio.api.enums.v1 import TaskQueueType, WorkerStatus
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.worker.v1 import WorkerHeartbeat
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, DescribeTaskQueueRequest, ListWorkersRequest
from temporalio.service import RPCError, RPCStatusCode

from kaigents_nb.runtime.connection import Connection
from kaigents_nb.runtime.leaving import WORKER_HEARTBEAT
from kaigents_nb.runtime.queue_worker import identity

SILENT = 5 * WORKER_HEARTBEAT
"""A worker whose last heartbeat is older is gone, or as good as gone."""
_MISSED = 3
"""So many heartbeats must be missing of a worker that sends them at longer intervals."""
_POLLER_IS_OLD = timedelta(seconds=90)
"""Where the server keeps no heartbeats: a live worker asks for work at least once a minute."""
_NO_RIGHTS = (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED, RPCStatusCode.UNIMPLEMENTED)


@dataclass(frozen=True)
class Service:
    """Who serves a task queue now."""

    workers: tuple[str, ...] = ()
    """Identities, as histories have them; none when nobody serves it."""
    heard: datetime | None = None
    """When anybody who serves it, or did, was heard of last, as far as the server knows."""


_NOT_KNOWN = Service(("a worker that this user may not ask for",))
"""Without rights to look, nobody's runs are adopted."""


class _Known:
    """What a connection has heard of queues, and when: many look at the same."""

    def __init__(self) -> None:
        self.services: dict[str, tuple[float, Service]] = {}
        self.heartbeats: bool | None = None
        """Whether the server keeps heartbeats of workers."""


async def service_of(connection: Connection, queue: str, *, known_s: float = 0) -> Service:
    """Return who serves a task queue, here or elsewhere; an answer ``known_s`` old will do."""
    if queue in connection.queues:
        return Service((identity(),))
    known = connection.instance(_Known)
    asked, service = known.services.get(queue, (-math.inf, Service()))
    if time.monotonic() - asked > known_s:
        try:
            service = await _asked(connection, known, queue)
        except RPCError as error:
            if error.status not in _NO_RIGHTS:
                raise
            service = _NOT_KNOWN
        known.services[queue] = time.monotonic(), service
    return service


async def queue_is_served(connection: Connection, queue: str) -> bool:
    """Whether some worker, here or elsewhere, serves a task queue."""
    return bool((await service_of(connection, queue)).workers)


async def _asked(connection: Connection, known: _Known, queue: str) -> Service:
    service, now = connection.client.workflow_service, datetime.now(UTC)
    if known.heartbeats is None:
        described = await service.describe_namespace(DescribeNamespaceRequest(namespace=connection.namespace))
        known.heartbeats = described.namespace_info.capabilities.worker_heartbeats
    heard: dict[str, datetime] = {}
    serving = set()
    for beat in await _heartbeats(connection, queue) if known.heartbeats else ():
        heard[beat.worker_identity] = beat.heartbeat_time.ToDatetime(tzinfo=UTC)
        patience = max(SILENT, _MISSED * beat.elapsed_since_last_heartbeat.ToTimedelta())
        if beat.status == WorkerStatus.WORKER_STATUS_RUNNING and now - heard[beat.worker_identity] < patience:
            serving.add(beat.worker_identity)
    if not serving:
        # A worker asks for work before its first heartbeat.
        patience = SILENT if known.heartbeats else _POLLER_IS_OLD
        request = DescribeTaskQueueRequest(
            namespace=connection.namespace,
            task_queue=TaskQueue(name=queue),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
        )
        for poller in (await service.describe_task_queue(request)).pollers:
            if poller.identity in heard or poller.identity == identity():  # a former worker of this process
                continue
            heard[poller.identity] = poller.last_access_time.ToDatetime(tzinfo=UTC)
            if now - heard[poller.identity] < patience:
                serving.add(poller.identity)
    return Service(tuple(sorted(serving)), max(heard.values(), default=None))


async def _heartbeats(connection: Connection, queue: str) -> list[WorkerHeartbeat]:
    """Return the last heartbeat of each worker of a queue, latest last."""
    quoted = queue.replace("\\", "\\\\").replace("'", "\\'")
    request = ListWorkersRequest(namespace=connection.namespace, page_size=1_000, query=f"TaskQueue='{quoted}'")
    try:
        answer = await connection.client.workflow_service.list_workers(request)
    except RPCError as error:
        if error.status not in _NO_RIGHTS:
            raise
        return []
    beats = (info.worker_heartbeat for info in answer.workers_info)
    return sorted(beats, key=lambda beat: beat.heartbeat_time.ToNanoseconds())
