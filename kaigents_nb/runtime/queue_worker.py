"""A worker: polls one task queue, replays agents, executes steps; whatever ends it, it comes back."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.worker import Worker

# All that an agent may name as kg.…: a module that a workflow's sandbox imports first keeps its guards for everybody.
from kaigents_nb.authoring import (  # noqa: F401
    agent,
    clock,
    gate,
    mapping,
    options,
    progress,
    resource,
    step,
    this_run,
)
from kaigents_nb.models import any_client, chat, model, rows  # noqa: F401
from kaigents_nb.runtime.attempts import Attempts
from kaigents_nb.runtime.interpreter import AgentWorkflow
from kaigents_nb.runtime.kept_values import ReadingAhead, keep_values
from kaigents_nb.runtime.loop import LoopThread
from kaigents_nb.runtime.protocol import TASK_TIMEOUT
from kaigents_nb.runtime.recheck import Rechecks
from kaigents_nb.runtime.sandbox import sandbox
from kaigents_nb.runtime.steps import StepRunner
from kaigents_nb.runtime.supervisor import Supervisor

# After a worker died, the server keeps its workflow tasks for the dead one this long before it asks others.
_STICKY_TIMEOUT = timedelta(seconds=1)
_HEARTBEAT_THROTTLE = timedelta(seconds=1)
_DEADLOCK_S = int(TASK_TIMEOUT.total_seconds()) - 4
"""An agent that has not yielded by then hangs. Not the SDK's 2 s: values are read and written in the agent's own time,
several big ones at once where it gathers, and all of them when it is replayed. Less than the server's time-out, so that
the card says what is wrong."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
_SETTLED_S = 3.0
"""A worker that runs for so long has begun well."""
MAX_CACHED_RUNS = 1000
"""So many open runs a worker keeps in memory; any other is replayed from its start when something happens to it."""


def identity() -> str:
    """Return this process's name in histories: who executed a step."""
    return f"{os.getpid()}@{socket.gethostname()}"


class QueueWorker:
    """The worker of one task queue in this process; one that fails is started again.

    ``problem`` says why it does not serve, as long as it does not.
    """

    def __init__(
        self, client: Client, queue: str, step_loop: LoopThread, attempts: Attempts, supervisor: Supervisor
    ) -> None:
        self.queue = queue
        self.problem = ""
        self._client = client
        self._runner = StepRunner(client, step_loop, attempts)
        self._supervisor = supervisor
        self._rechecks = Rechecks(client)
        self._worker: Worker | None = None
        self._leaving = asyncio.Event()
        self._keeping = asyncio.create_task(keep_values())
        self._serving = asyncio.create_task(self._serve())

    async def _serve(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while not self._leaving.is_set():
            try:
                # The SDK checks the namespace when a worker begins; one made while the server is away is of no use.
                await self._supervisor.patiently(self._namespace)
                worker = self._worker = self._made_or_kept()
                settled = asyncio.get_running_loop().call_later(_SETTLED_S, self._settled)
                try:
                    await worker.run()
                finally:
                    settled.cancel()
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001 - shown on the cards of its runs
                self.problem = (
                    f"The worker of queue {self.queue!r} stopped: {error}. It is started again by itself; nothing is "
                    "lost."
                )
            if not self.problem:
                pause_s = _FIRST_PAUSE_S
            with suppress(TimeoutError):
                await asyncio.wait_for(self._leaving.wait(), pause_s)
            pause_s = min(_LONGEST_PAUSE_S, 2 * pause_s)

    async def _namespace(self) -> None:
        await self._client.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace=self._client.namespace)
        )

    def _settled(self) -> None:
        self.problem = ""

    def _made_or_kept(self) -> Worker:
        try:
            return self._made()
        except RuntimeError:
            if self._worker is None:
                raise
            return self._worker  # it could not begin, and may again: the SDK takes no other beside it

    def _made(self) -> Worker:
        worker = Worker(
            self._client,
            task_queue=self.queue,
            workflows=[AgentWorkflow],
            activities=[self._runner.run],
            workflow_runner=sandbox(self._rechecks.report),
            identity=identity(),
            max_cached_workflows=MAX_CACHED_RUNS,
            sticky_queue_schedule_to_start_timeout=_STICKY_TIMEOUT,
            max_heartbeat_throttle_interval=_HEARTBEAT_THROTTLE,
            default_heartbeat_throttle_interval=_HEARTBEAT_THROTTLE,
        )
        workflows = worker._workflow_worker  # the SDK has no option for what follows
        assert workflows is not None
        if workflows._deadlock_timeout_seconds is not None:  # it is off under TEMPORAL_DEBUG
            workflows._deadlock_timeout_seconds = _DEADLOCK_S
        converter = self._client.data_converter
        assert converter.payload_codec is not None
        workflows._data_converter = replace(converter, payload_codec=ReadingAhead(converter.payload_codec))
        return worker

    @property
    def alive(self) -> bool:
        """Whether it serves, or will as soon as it can."""
        return not self._serving.done()

    async def stop(self) -> None:
        """Finish what can be finished, hand the rest back to the server."""
        self._leaving.set()
        if self._worker is not None and self._worker.is_running:
            await self._worker.shutdown()
        else:
            self._serving.cancel()
        await self._rechecks.stop()
        await asyncio.gather(self._serving, return_exceptions=True)
        self._keeping.cancel()
        await asyncio.gather(self._keeping, return_exceptions=True)
