"""A worker: polls one task queue, replays agents, executes steps."""

from __future__ import annotations

import asyncio
import os
import socket
from datetime import timedelta

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
from kaigents_nb.runtime.loop import LoopThread
from kaigents_nb.runtime.recheck import Rechecks
from kaigents_nb.runtime.sandbox import sandbox
from kaigents_nb.runtime.steps import StepRunner

# After a worker died, the server keeps its workflow tasks for the dead one this long before it asks others.
_STICKY_TIMEOUT = timedelta(seconds=1)
_HEARTBEAT_THROTTLE = timedelta(seconds=1)
_DEADLOCK_S = 8
"""An agent that has not yielded by then hangs. Not the SDK's 2 s: a fork reads and decodes big results it takes over
in one go, as fast as its agent asks for them. Less than the 10 s of the server, so that the card says what is wrong."""
MAX_CACHED_RUNS = 1000
"""So many open runs a worker keeps in memory; any other is replayed from its start when something happens to it."""


def identity() -> str:
    """Return this process's name in histories: who executed a step."""
    return f"{os.getpid()}@{socket.gethostname()}"


def identity_is_dead(name: str) -> bool:
    """Whether a worker with that identity certainly no longer lives: a process of this machine that is gone."""
    pid, _, host = name.partition("@")
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


class QueueWorker:
    """The worker of one task queue in this process. ``problem`` says why it stopped by itself, if it did."""

    def __init__(self, client: Client, queue: str, step_loop: LoopThread, attempts: Attempts) -> None:
        self.queue = queue
        self.problem = ""
        runner = StepRunner(client, step_loop, attempts)
        self._rechecks = Rechecks(client)
        self._worker = Worker(
            client,
            task_queue=queue,
            workflows=[AgentWorkflow],
            activities=[runner.run],
            workflow_runner=sandbox(self._rechecks.report),
            identity=identity(),
            max_cached_workflows=MAX_CACHED_RUNS,
            sticky_queue_schedule_to_start_timeout=_STICKY_TIMEOUT,
            max_heartbeat_throttle_interval=_HEARTBEAT_THROTTLE,
            default_heartbeat_throttle_interval=_HEARTBEAT_THROTTLE,
        )
        workflows = self._worker._workflow_worker  # the SDK has no option for it
        assert workflows is not None
        if workflows._deadlock_timeout_seconds is not None:  # it is off under TEMPORAL_DEBUG
            workflows._deadlock_timeout_seconds = _DEADLOCK_S
        self._serving = asyncio.create_task(self._serve())

    async def _serve(self) -> None:
        try:
            await self._worker.run()
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - shown on the cards of its runs
            self.problem = f"The worker of queue {self.queue!r} stopped: {error}. kg.disconnect() and go on."

    @property
    def alive(self) -> bool:
        """Whether it polls."""
        return not self._serving.done()

    async def stop(self) -> None:
        """Finish what can be finished, hand the rest back to the server."""
        if self.alive:
            await self._worker.shutdown()
        await self._rechecks.stop()
        await asyncio.gather(self._serving, return_exceptions=True)
