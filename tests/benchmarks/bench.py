"""What all topics share: a server of their own, our connection, and the raw SDK beside it in the same process."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

import kaigents_nb as kg
from kaigents_nb.runtime.connection import Connection
from kaigents_nb.runtime.leaving import sdk_core
from kaigents_nb.runtime.loop import LoopThread
from kaigents_nb.runtime.queue_worker import _HEARTBEAT_THROTTLE, _STICKY_TIMEOUT
from kaigents_nb.server import embedded
from tests.benchmarks import raw
from tests.support import ROOT

T = TypeVar("T")
RAW_QUEUE = "raw"


@dataclass
class Bench:
    """A connected benchmark. ``raw_client`` is a plain client of the same server."""

    connection: Connection
    raw_client: Client
    loop: LoopThread
    data_dir: Path
    quick: bool
    known: dict[str, Any] = field(default_factory=dict)
    """What one topic found and another may use."""

    @classmethod
    @contextmanager
    def open(cls, *, quick: bool) -> Iterator[Bench]:
        """Start server and workers; everything is ended and deleted afterwards."""
        with tempfile.TemporaryDirectory(prefix="kaigents-bench-") as folder:
            data_dir = Path(folder)
            os.environ["KAIGENTS_DATA_DIR"] = folder
            for name in ("KAIGENTS_PROFILE", "KAIGENTS_DURABILITY", "TEMPORAL_ADDRESS", "TEMPORAL_PROFILE"):
                os.environ.pop(name, None)
            loop = LoopThread("raw SDK")
            try:
                connection = settled_connection()
                raw_client = loop.run(connect_raw(connection.address))
                with serving_raw(loop, raw_client, RAW_QUEUE):
                    yield cls(connection, raw_client, loop, data_dir, quick)
                kg.disconnect()
            finally:
                loop.stop()
                embedded.stop(data_dir)

    def raw(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine of the raw SDK on its loop and wait, as our API does on ours."""
        return self.loop.run(work)

    async def start_raw(self, workflow: Any, *args: Any, id: str, queue: str = RAW_QUEUE) -> WorkflowHandle[Any, Any]:
        """Start a workflow of the raw SDK."""
        return await self.raw_client.start_workflow(workflow, args=args, id=id, task_queue=queue)

    def rounds(self, quick: int, full: int) -> int:
        """Return how often to measure."""
        return quick if self.quick else full

    def lasted(self, workflow_id: str) -> float:
        """Return the seconds from a run's start to its end, as the server saw them."""

        async def read() -> float:
            handle = self.raw_client.get_workflow_handle(workflow_id)
            description = await handle.describe()
            assert description.close_time is not None
            return (description.close_time - description.start_time).total_seconds()

        return self.raw(read())


def interleaved(
    ours: Callable[[], float], raw: Callable[[], float], rounds: int, *, warm: bool = True
) -> tuple[list[float], list[float]]:
    """Measure both in turns, each first every other time."""
    if warm:
        ours(), raw()
    pairs: list[tuple[float, float]] = []
    for number in range(rounds):
        if number % 2:
            second, first = raw(), ours()
            pairs.append((first, second))
        else:
            pairs.append((ours(), raw()))
    return [a for a, _ in pairs], [b for _, b in pairs]


def settled_connection() -> Connection:
    """Connect as a user does who has connected before: the server knows our search attribute."""
    while not (connection := kg.connect()).attribute:
        kg.disconnect()
    return connection


async def connect_raw(address: str) -> Client:
    """Return a client with the SDK's own settings."""
    return await Client.connect(address, runtime=sdk_core())


def plain_sandbox() -> SandboxedWorkflowRunner:
    """Return the SDK's own sandbox; modules pass through, as in ours, for one that loads them anew takes far longer."""
    return SandboxedWorkflowRunner(SandboxRestrictions.default.with_passthrough_all_modules())


@contextmanager
def serving_raw(loop: LoopThread, client: Client, queue: str) -> Iterator[None]:
    """A worker of the raw SDK with the options of ours."""
    with ThreadPoolExecutor(200) as threads:

        async def make() -> Worker:
            worker = Worker(
                client,
                task_queue=queue,
                workflows=raw.WORKFLOWS,
                activities=raw.ACTIVITIES,
                activity_executor=threads,
                workflow_runner=plain_sandbox(),
                sticky_queue_schedule_to_start_timeout=_STICKY_TIMEOUT,
                max_heartbeat_throttle_interval=_HEARTBEAT_THROTTLE,
                default_heartbeat_throttle_interval=_HEARTBEAT_THROTTLE,
            )
            await worker.__aenter__()
            return worker

        worker = loop.run(make())
        try:
            yield
        finally:
            loop.run(worker.shutdown())


@contextmanager
def python(*args: str) -> Iterator[subprocess.Popen[str]]:
    """A Python process in the checkout, ended by closing its input, else killed."""
    process = subprocess.Popen(
        [sys.executable, *args], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
        assert process.stdin is not None
        process.stdin.close()
        process.wait(20)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
