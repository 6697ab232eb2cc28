"""Calls of steps that this process executes or has executed: each is done once here, however often it is asked for."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from temporalio.api.enums.v1 import PendingActivityState
from temporalio.client import Client
from temporalio.common import RawValue
from temporalio.service import RPCError, RPCStatusCode

from kaigents_nb.runtime.attempts import Key
from kaigents_nb.runtime.supervisor import is_coming_up

_ASK_EVERY_S = 10.0
"""How often the server is asked which results it has by now."""
_KEPT_BYTES = 256 * 2**20
"""At most so much is kept, but for the last result, for a server that does not answer."""


def call_of(key: Key) -> tuple[str, str, str]:
    """Return the call that an activity is for: one that is mended or started again gets another activity."""
    return key[0], key[1], key[2].partition(".")[0]


@dataclass
class _Execution:
    task: asyncio.Task[RawValue]
    ended: float = 0.0
    size: int = 0
    given_up: bool = False
    """The server takes no answer of the attempt that it was begun for, and no other has come yet."""


class Executions:
    """Executed calls, by ``(workflow id, workflow run id, activity id)``.

    The server gives up on an attempt when it hears nothing of it: it was away itself, or the step held the interpreter
    lock. The next attempt then joins the one that is still executed, or takes its result: that is kept until the
    run's history has it. A failed attempt is made again.
    """

    def __init__(self, client: Client, stop: Callable[[Key, asyncio.Task[RawValue]], None]) -> None:
        self._client = client
        self._stop = stop
        self._executions: dict[Key, _Execution] = {}
        self._under_way: dict[tuple[str, str, str], dict[Key, asyncio.Task[RawValue]]] = {}  # by call
        self._kept_bytes = 0
        self._asking: asyncio.Task[None] | None = None
        self._checking: set[asyncio.Task[None]] = set()

    def joined(self, key: Key, work: Callable[[], Coroutine[None, None, RawValue]]) -> asyncio.Task[RawValue]:
        """Return the execution of a call, begun with ``work`` if there is none."""
        execution = self._executions.get(key)
        if execution is None:
            execution = self._executions[key] = _Execution(asyncio.create_task(work()))
            execution.task.add_done_callback(partial(self._ended, key))
            self._under_way.setdefault(call_of(key), {})[key] = execution.task
        execution.given_up = False
        return execution.task

    def in_the_way(self, key: Key) -> tuple[Key, asyncio.Task[RawValue]] | None:
        """Return an execution of the same call that was told to stop, or that another activity of it began."""
        for other, task in self._under_way.get(call_of(key), {}).items():
            if not task.done() and (other != key or task.cancelling()):
                return other, task
        return None

    def give_up(self, key: Key) -> None:
        """The server takes no answer of this attempt: go on for the next one, unless there will be none here."""
        if execution := self._executions.get(key):
            execution.given_up = True
            checking = asyncio.create_task(self._check([key]))  # at once: the run may have ended
            self._checking.add(checking)
            checking.add_done_callback(self._checking.discard)
            self._ask_later()

    def _ended(self, key: Key, task: asyncio.Task[RawValue]) -> None:
        under_way = self._under_way[call_of(key)]
        del under_way[key]
        if not under_way:
            del self._under_way[call_of(key)]
        if task.cancelled() or task.exception() is not None:
            del self._executions[key]
            return
        execution = self._executions[key]
        execution.ended, execution.size = time.monotonic(), task.result().payload.ByteSize()
        self._kept_bytes += execution.size
        if self._kept_bytes > _KEPT_BYTES:
            self._make_room(key)
        self._ask_later()

    def _make_room(self, newest: Key) -> None:
        for kept in list(self._executions):
            if self._kept_bytes <= _KEPT_BYTES:
                break
            if kept != newest and self._executions[kept].task.done():
                self._forget(kept)

    def _ask_later(self) -> None:
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())

    async def _ask(self) -> None:
        """Let go of what no attempt here will ask for; ends when that is nothing more."""
        while due := [key for key, item in self._executions.items() if item.ended or item.given_up]:
            await asyncio.sleep(_ASK_EVERY_S)
            await self._check(due)

    async def _check(self, keys: Sequence[Key]) -> None:
        by_run: defaultdict[tuple[str, str], list[Key]] = defaultdict(list)
        for key in keys:
            by_run[key[:2]].append(key)
        for run, asked in by_run.items():
            wanted = await self._wanted(*run)
            for key in asked if wanted is not None else ():
                self._let_go(key, wanted or {})

    def _let_go(self, key: Key, wanted: Mapping[str, str]) -> None:
        execution = self._executions.get(key)
        if execution is None:
            return
        if execution.ended:
            if key[2] not in wanted:
                self._forget(key)
        elif execution.given_up and wanted.get(key[2], "elsewhere") not in ("", self._client.identity):
            self._stop(key, execution.task)

    async def _wanted(self, workflow_id: str, run_id: str) -> dict[str, str] | None:
        """Return the calls that a run waits for, and who executes them now; None where the server does not say."""
        try:
            described = await self._client.get_workflow_handle(workflow_id, run_id=run_id).describe()
        except RPCError as error:
            return {} if error.status == RPCStatusCode.NOT_FOUND and not is_coming_up(error) else None
        if described.close_time is not None:
            return {}  # of an ended run the server may still list calls
        return {
            pending.activity_id: pending.last_worker_identity
            if pending.state == PendingActivityState.PENDING_ACTIVITY_STATE_STARTED
            else ""
            for pending in described.raw_description.pending_activities
        }

    def _forget(self, key: Key) -> None:
        self._kept_bytes -= self._executions.pop(key).size
