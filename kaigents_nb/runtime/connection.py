"""A connection: client, event loop and workers of one process on one server."""

from __future__ import annotations

import asyncio
import os
import time
import warnings
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import GetSystemInfoRequest
from temporalio.client import Client
from temporalio.converter import StorageDriverClaim, StorageDriverRetrieveContext
from temporalio.service import RetryConfig, RPCError, RPCStatusCode

from kaigents_nb.errors import ServerNotReady
from kaigents_nb.runtime.attempts import Attempts
from kaigents_nb.runtime.codec import data_converter
from kaigents_nb.runtime.leaving import sdk_core
from kaigents_nb.runtime.loop import LoopThread, in_thread
from kaigents_nb.runtime.output import restore_output, route_output
from kaigents_nb.runtime.payloads import reference
from kaigents_nb.runtime.queue_worker import QueueWorker, identity
from kaigents_nb.runtime.storage import FileStore
from kaigents_nb.runtime.supervisor import MovedAway, Supervisor
from kaigents_nb.server import embedded as server
from kaigents_nb.server import process as server_process
from kaigents_nb.server.attribute import STATE_ATTRIBUTE
from kaigents_nb.snapshot.signing import signing_key
from kaigents_nb.values.preload import preload

T = TypeVar("T")

_CUT_OFF = (RPCStatusCode.UNAVAILABLE, RPCStatusCode.UNKNOWN, RPCStatusCode.CANCELLED, RPCStatusCode.INTERNAL)
"""What the SDK says of a server that dies before a question, or over it."""
_COMING_UP_S = 3.0
_DRAIN_S = 20.0
_LISTED = 5
_PAUSE_S = 0.2

WORKER_ENV = "KAIGENTS_WORKER"
"""Set to ``off``, this process starts runs but executes none."""

# Ten seconds, as the SDK does by itself, but asked every second in the end: who is back is noticed.
_RETRIES = RetryConfig(max_interval_millis=1_000, max_elapsed_time_millis=10_000, max_retries=30)


class Connection:
    """A connected process. ``address``, ``namespace``, ``ui_url`` and ``data_dir`` say to what."""

    def __init__(self, client_config: dict[str, Any], data_dir: Path, embedded: server.ServerInfo | None) -> None:
        self.data_dir = data_dir
        self.embedded = embedded is not None
        self.ui_url = embedded.ui_url if embedded else ""
        self.attempts = Attempts()
        self.key = signing_key(data_dir)
        self._loop = LoopThread("kaigents")
        self._step_loop: LoopThread | None = None
        self._workers: dict[str, QueueWorker] = {}
        self._adopting = asyncio.Lock()
        self._closed = False
        self._instances: dict[type, Any] = {}
        self.store = FileStore(data_dir / "blobs")
        converter = data_converter(self.key, self.store)
        self.address = client_config["target_host"]
        try:
            self.client = self._loop.run(
                Client.connect(
                    **client_config,
                    data_converter=converter,
                    identity=identity(),
                    runtime=sdk_core(),
                    retry_config=_RETRIES,
                ),
                timeout_s=20,
            )
            self.attribute = self._loop.run(self._has_state_attribute(), timeout_s=20)
        except BaseException as error:
            self._loop.stop()
            if isinstance(error, (RuntimeError, RPCError, TimeoutError)):
                raise ServerNotReady(
                    f"No Temporal server answers at {self.address} (namespace "
                    f"{client_config.get('namespace', 'default')!r}): {error}. Check the address, namespace, tls= and "
                    "api_key=; `kaigents-nb doctor` shows what would be used."
                ) from error
            raise
        self.namespace = self.client.namespace
        lives = partial(server_process.is_alive, data_dir) if self.embedded else None
        self.supervisor = Supervisor(self.address, lives, self._bring_back)
        self._loop.post(self.supervisor.watch())

    def __repr__(self) -> str:
        kind = "embedded server" if self.embedded else "server"
        ui = f", web UI {self.ui_url}" if self.ui_url else ""
        return f"<connected to the {kind} at {self.address}, namespace {self.namespace!r}{ui}>"

    def run(self, work: Callable[[], Coroutine[Any, Any, T]], timeout_s: float | None = None) -> T:
        """Run a coroutine on the library's loop and wait.

        An embedded server that went away is started again on the same file, once: the work, which it may have done
        before it could say so, must bear to be begun twice.

        Raises
        ------
        ServerNotReady
            When the server does not answer.
        """
        self._check_open()
        if self.embedded and self.supervisor.outage is not None:
            self.revive()  # one that was stopped says so at once, not after all the attempts of the SDK
        try:
            try:
                return self._loop.run(work(), timeout_s)
            except RPCError as error:
                if not self.embedded or error.status not in _CUT_OFF:
                    raise
            self.revive()
            return self._loop.run(_once_up(work), timeout_s)
        except RPCError as error:
            if error.status != RPCStatusCode.UNAVAILABLE:
                raise
            raise ServerNotReady(
                f"The server at {self.address} does not answer ({error.message}). Runs are safe in its database and "
                "go on when it is back; `kaigents-nb doctor` says what is wrong."
            ) from error

    def revive(self) -> None:
        """Start the embedded server again if it went away.

        Raises
        ------
        ServerNotReady
            When it was stopped on purpose, or another program has taken its port meanwhile, so that this
            connection's address is of no use.
        """
        address = server.revive(self.data_dir).address
        if address != self.address:
            raise MovedAway(
                f"The server is back, but at {address}: its old port {self.address} is taken. Call kg.disconnect() and "
                "go on; runs are safe."
            )

    async def _bring_back(self) -> None:
        if self.embedded:
            await in_thread(self.revive, "kaigents revive")
            return
        try:
            await self.client.workflow_service.get_system_info(GetSystemInfoRequest(), timeout=timedelta(seconds=5))
        except RPCError as error:
            raise ServerNotReady(f"It does not answer ({error.message}); waiting for it, nothing is lost.") from error

    def post(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on the library's loop; returns at once."""
        try:
            self._check_open()
        except ServerNotReady:
            work.close()
            raise
        return self._loop.post(work)

    def soon(self, function: Callable[[], object]) -> None:
        """Call a function on the library's loop, to let go of something; a closed connection has let go of all."""
        with suppress(RuntimeError):
            self._loop.loop.call_soon_threadsafe(function)

    def _check_open(self) -> None:
        if self._closed:
            raise ServerNotReady(
                f"The connection to {self.address} was closed by kg.disconnect() or by connecting elsewhere. Get the "
                "run again: kg.run(id)."
            )

    def instance(self, kind: type[T]) -> T:
        """Return the one object of a kind that belongs to this connection: what an upper room knows of its runs."""
        if kind not in self._instances:
            self._instances.setdefault(kind, kind())  # atomic, for any thread may ask
        found: T = self._instances[kind]
        return found

    async def fetch(self, payload: Payload) -> Payload:
        """Return a payload itself, read from its file where a history has only the reference."""
        claim = reference(payload)
        if claim is None:
            return payload
        [fetched] = await self.store.retrieve(StorageDriverRetrieveContext(), [StorageDriverClaim(claim)])
        return fetched

    def stored(self, name: str) -> bytes:
        """Return what a step has saved beside the values that are too big for a history, checked against its name."""
        return self.store.read(name)

    def serve(self, queue: str, *, explicit: bool = False) -> None:
        """Have a worker for a task queue in this process.

        ``KAIGENTS_WORKER=off`` keeps a process from it, unless it was told explicitly to be a worker.
        """
        if explicit or self.may_serve:
            self._loop.run(self.adopt(queue))

    @property
    def may_serve(self) -> bool:
        """Whether this process executes runs without being told to."""
        return os.environ.get(WORKER_ENV, "").lower() != "off"

    async def adopt(self, queue: str) -> None:
        """Have a worker for a task queue, on the library's loop."""
        async with self._adopting:
            if queue in self.queues:
                return
            # Imported inside a workflow, pandas or pydantic would look like a deadlock or hit the sandbox's guards.
            await in_thread(preload, "kaigents preload")
            if self._step_loop is None:
                self._step_loop = LoopThread("kaigents steps")
                route_output()
            self._workers[queue] = QueueWorker(self.client, queue, self._step_loop, self.attempts, self.supervisor)

    @property
    def queues(self) -> tuple[str, ...]:
        """The task queues that this process serves."""
        return tuple(queue for queue, worker in self._workers.items() if worker.alive)

    def worker_problem(self, queue: str) -> str:
        """Why this process's worker of a queue does not serve it at the moment, or ``""``."""
        worker = self._workers.get(queue)
        return worker.problem if worker else ""

    def close(self) -> None:
        """Drain the workers and end the threads; runs go on with the next worker.

        Warns, and says what is still under way, where something does not end.
        """
        drained, ended = True, True
        try:
            self._loop.run(self._stop_workers(), timeout_s=_DRAIN_S)
        except TimeoutError:
            drained = False
        finally:
            self._closed = True
            under_way = self._under_way()  # before all is cancelled
            restore_output()
            if self._step_loop is not None:
                ended = self._step_loop.stop()
            ended = self._loop.stop() and ended
            self._instances.clear()
        if not (drained and ended):
            warnings.warn(
                f"Disconnected from {self.address}, but {under_way} did not end in time and is left to itself. "
                "Nothing is lost: the server gives what was not done to the next worker.",
                stacklevel=3,
            )

    def _under_way(self) -> str:
        calls = [f"call {attempt.call} of run {attempt.run_id!r}" for attempt in self.attempts.all()]
        more = f" and {len(calls) - _LISTED} more" if len(calls) > _LISTED else ""
        return ", ".join(calls[:_LISTED]) + more if calls else "an agent at work"

    async def _stop_workers(self) -> None:
        workers, self._workers = list(self._workers.values()), {}
        await asyncio.gather(*(worker.stop() for worker in workers))

    async def _has_state_attribute(self) -> bool:
        """Whether runs can say their state in a search attribute; we add it where we may."""
        operator, namespace = self.client.operator_service, self.client.namespace
        try:
            known = await operator.list_search_attributes(ListSearchAttributesRequest(namespace=namespace))
            if STATE_ATTRIBUTE in known.custom_attributes:
                return True
            keyword = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
            await operator.add_search_attributes(
                AddSearchAttributesRequest(namespace=namespace, search_attributes={STATE_ATTRIBUTE: keyword}),
                timeout=timedelta(seconds=5),
            )
        except RPCError as error:
            if error.status == RPCStatusCode.UNAVAILABLE:
                raise
            return False  # no rights: the memo alone carries the state
        return False  # new attributes need a moment until a server knows them; the next connection uses it


async def _once_up(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Await some work of a server that was just started."""
    until = time.monotonic() + _COMING_UP_S
    while True:
        try:
            return await work()
        except RPCError as error:
            if error.status not in _CUT_OFF or time.monotonic() > until:
                raise
        await asyncio.sleep(_PAUSE_S)
