"""Calls that a leaving worker can't end: held as long as they are in C code, and only then handed back.

Handed back at once, another worker of the queue would begin the next attempt beside them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any, Protocol

from temporalio.client import AsyncActivityCancelledError, Client
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.service import RPCError

from kaigents_nb.runtime.loop import LoopThread

HAND_OVER = timedelta(milliseconds=100)
"""After so long the server gives out again what this process has given back."""
_AFTER_EXIT = timedelta(seconds=2)
"""The same for what ends only with the process."""
_LOOKS_EVERY_S, _BEATS_EVERY = 0.1, 10
_LAST_WORDS_S = 3.0

_loop: LoopThread | None = None
_held: dict[asyncio.Task[None], None] = {}
_leaving = False


class Lingering(Protocol):
    """An attempt that was told to stop."""

    @property
    def is_under_way(self) -> bool:
        """Whether its call has not returned."""
        ...

    def heartbeat(self) -> dict[str, Any]:
        """What the server is told."""
        ...


def worker_stopped(after: timedelta = HAND_OVER) -> ApplicationError:
    """Return what gives an attempt back to the server."""
    return ApplicationError(
        "The worker was stopped.",
        type="WorkerStopped",
        next_retry_delay=after,
        category=ApplicationErrorCategory.BENIGN,
    )


def hold(client: Client, token: bytes, attempt: Lingering, *, cancelled: bool) -> None:
    """Keep an attempt from the next one until its call has returned; its worker may go, this process stays."""
    global _loop
    if _loop is None:
        _loop = LoopThread("kaigents held")

    async def begin() -> None:
        task = asyncio.create_task(_until_ended(client, token, attempt, cancelled))
        _held[task] = None
        task.add_done_callback(lambda done: _held.pop(done, None))

    _loop.post(begin()).result()


async def _until_ended(client: Client, token: bytes, attempt: Lingering, cancelled: bool) -> None:
    handle = client.get_async_activity_handle(task_token=token)
    looks = 0
    while attempt.is_under_way and not _leaving:
        if looks % _BEATS_EVERY == 0:
            try:
                await handle.heartbeat(attempt.heartbeat())
            except AsyncActivityCancelledError:
                cancelled = True
            except RPCError:
                pass  # the server is away, or waits for it no longer
        looks += 1
        await asyncio.sleep(_LOOKS_EVERY_S)
    with suppress(RPCError, AsyncActivityCancelledError):
        if cancelled:
            await handle.report_cancellation()
        else:
            await handle.fail(worker_stopped(_AFTER_EXIT if attempt.is_under_way else HAND_OVER))


def leave(drain: Callable[[], None]) -> None:
    """Drain this process and hand back what it still holds: it ends, and with it all calls."""
    global _leaving
    _leaving = True
    drain()
    if _loop is not None:

        async def all_told() -> None:
            if _held:
                await asyncio.wait(list(_held), timeout=_LAST_WORDS_S)

        with suppress(TimeoutError):
            _loop.post(all_told()).result(_LAST_WORDS_S + 1)


def forget() -> object:
    """In a forked process: let go of what is its parent's, and return it."""
    global _loop
    parents, _loop = (_loop, dict(_held)), None
    _held.clear()
    return parents
