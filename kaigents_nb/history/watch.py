"""Follow a run: one history long-poll for all who look at it, at most four views a second."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from functools import partial

from temporalio.service import RPCError

from kaigents_nb.errors import KaigentsError, RunNotFound
from kaigents_nb.history.observe import Observer
from kaigents_nb.history.view import RunView
from kaigents_nb.runtime.connection import Connection
from kaigents_nb.runtime.loop import in_thread

_log = logging.getLogger(__name__)

_SHORTEST_S = 0.25
_ACTIVE_S = 0.5
"""How often progress is looked at while this process executes a step of the run."""
_PENDING_S = 2.0
"""How often the server is asked while steps run elsewhere: attempts and heartbeats are not in the history."""
_IDLE_S = 15.0
_LOST_S = 2.0
_SETTLE_S = 1.0

Callback = Callable[[RunView], None]


class Watch:
    """One followed run; ends by itself when the run has ended or nobody listens."""

    def __init__(self, connection: Connection, run_id: str) -> None:
        self._connection = connection
        self._run_id = run_id
        self._callbacks: dict[int, Callback] = {}
        self._next = 0
        self._last: RunView | None = None
        self._changed = asyncio.Event()
        self._task: Future[None] | None = None

    def subscribe(self, callback: Callback) -> Callable[[], None]:
        """Call back with the view now and on every change, from a background thread; returns the way out."""
        number = self._next = self._next + 1
        self._callbacks[number] = callback
        if self._task is None or self._task.done():
            self._last = None
            self._task = self._connection.post(self._serve())
        elif self._last is not None:
            self._connection.post(self._tell(self._last, only=number))

        def unsubscribe() -> None:
            self._callbacks.pop(number, None)
            if not self._callbacks and self._task is not None:
                self._task.cancel()

        return unsubscribe

    async def settle(self) -> None:
        """Wait, but not long, until those who listen have seen the end of the run."""
        if self._task is not None and not self._task.done():
            await asyncio.wait([asyncio.wrap_future(self._task)], timeout=_SETTLE_S)

    async def _serve(self) -> None:
        while self._callbacks:
            observer = Observer(self._connection, self._run_id)
            follower = asyncio.create_task(self._follow(observer))
            try:
                await self._show(observer, follower)
                return
            except RunNotFound:
                return
            except (RPCError, KaigentsError) as error:
                await self._lost(error)
            finally:
                follower.cancel()

    async def _follow(self, observer: Observer) -> None:
        async for _ in observer.follow():
            self._changed.set()
        self._changed.set()

    async def _show(self, observer: Observer, follower: asyncio.Task[None]) -> None:
        while True:
            self._changed.clear()
            if follower.done() and (error := follower.exception()) is not None:
                raise error
            if observer.fold.last_event:
                view = await observer.view()
                if view != self._last:
                    self._last = view
                    await self._tell(view)
                if view.closed:
                    return
            await asyncio.sleep(_SHORTEST_S)
            try:
                await asyncio.wait_for(self._changed.wait(), self._patience())
            except TimeoutError:
                continue

    def _patience(self) -> float:
        if self._connection.attempts.of_run(self._run_id):
            return _ACTIVE_S
        last = self._last
        # A called agent goes on without a trace in this run's history.
        quiet = (
            last is not None and last.status == "waiting" and not any(s.child_run and not s.ended for s in last.steps)
        )
        return _IDLE_S if quiet else _PENDING_S

    async def _lost(self, error: Exception) -> None:
        """Say on the card that the server went away, bring an embedded one back, and go on."""
        if self._last is not None:
            text = f"The server at {self._connection.address} went away ({error}). Trying again; nothing is lost."
            await self._tell(replace(self._last, problem=text, status="stuck"))
            self._last = None
        if self._connection.embedded:
            try:
                await in_thread(self._connection.revive, "kaigents revive")
            except KaigentsError:
                await asyncio.sleep(_LOST_S)
        await asyncio.sleep(_LOST_S)

    async def _tell(self, view: RunView, only: int | None = None) -> None:
        """Call back in a thread of its own: a card that draws slowly must not hold up the worker."""
        for number, callback in list(self._callbacks.items()):
            if only not in (None, number):
                continue
            try:
                await in_thread(partial(callback, view), "kaigents view")
            except Exception:  # noqa: BLE001 - a listener that breaks must not silence the others
                _log.exception("A listener of run %s failed and is not called again.", self._run_id)
                self._callbacks.pop(number, None)
