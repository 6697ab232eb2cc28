"""Show a run to all who listen in this process: one loop, at most four views a second, none while nothing happens."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

from temporalio.service import RPCError

from kaigents_nb.errors import KaigentsError, RunNotFound
from kaigents_nb.history.assemble import view_of
from kaigents_nb.history.following import Following
from kaigents_nb.history.observe import Observer
from kaigents_nb.history.observers import observed_with_called
from kaigents_nb.history.view import RunView
from kaigents_nb.runtime.connection import Connection
from kaigents_nb.runtime.loop import in_thread

_log = logging.getLogger(__name__)

_SHORTEST_S = 0.25
_ACTIVE_S = 0.5
"""How often progress is looked at while this process executes a step of the run."""
_AT_WORK_S = 2.0
"""How often the server is asked while steps run elsewhere: attempts and heartbeats are not in the history."""
_IDLE_S = 15.0
"""How often what only this process knows is looked at, whether its worker still lives; no question to the server."""
_LOST_S = 2.0
_SETTLE_S = 1.0

Callback = Callable[[RunView], None]


def subscribe(connection: Connection, run_id: str, callback: Callback) -> Callable[[], None]:
    """Call back with the view now and on every change, from a background thread; returns the way out."""
    listener = _Listener(callback)

    async def add() -> None:
        watches = connection.instance(_Watches)
        if run_id not in watches:
            watches[run_id] = _Watch(connection, run_id)
        watches[run_id].add(listener)

    def remove() -> None:
        watch = connection.instance(_Watches).get(run_id)
        if watch is not None and listener in watch.listeners:
            watch.remove(listener)

    def unsubscribe() -> None:
        listener.listens = False
        connection.soon(remove)

    connection.post(add())
    return unsubscribe


async def settle(connection: Connection, run_id: str) -> None:
    """Wait, but not long, until those who listen have seen the end of the run."""
    if watch := connection.instance(_Watches).get(run_id):
        await asyncio.wait([watch.task], timeout=_SETTLE_S)


class _Listener:
    """Somebody who listens, served at their own pace: whoever is slow gets the newest view next."""

    def __init__(self, callback: Callback) -> None:
        self.listens = True
        self._callback = callback
        self._next: RunView | None = None
        self._task: asyncio.Task[None] | None = None

    def tell(self, view: RunView) -> None:
        """Show a view, now or as soon as the one before has been looked at."""
        self._next = view
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._call())

    async def served(self) -> None:
        """Wait until everything has been shown."""
        if self._task is not None:
            await self._task

    async def _call(self) -> None:
        while self.listens and self._next is not None:
            view, self._next = self._next, None
            try:
                # In a thread of its own: a card that draws slowly must not hold up the worker.
                await in_thread(partial(self._callback, view), "kaigents view")
            except Exception:  # noqa: BLE001 - a listener that breaks must not silence the others
                _log.exception("A listener of run %s failed and is not called again.", view.run_id)
                self.listens = False


class _Watch:
    """One followed run; ends by itself when the run has ended or nobody listens. Used on the library's loop."""

    def __init__(self, connection: Connection, run_id: str) -> None:
        self.listeners: list[_Listener] = []
        self.observer: Observer | None = None
        self._connection = connection
        self._run_id = run_id
        self._last: RunView | None = None
        self.task = asyncio.create_task(self._serve())

    def add(self, listener: _Listener) -> None:
        """Serve one more."""
        self.listeners.append(listener)
        if self._last is not None:
            listener.tell(self._last)

    def remove(self, listener: _Listener) -> None:
        """Serve one less."""
        self.listeners.remove(listener)
        if not self.listeners:
            self.task.cancel()
            self._over()

    def _over(self) -> None:
        watches = self._connection.instance(_Watches)
        if watches.get(self._run_id) is self:
            del watches[self._run_id]

    async def _serve(self) -> None:
        try:
            while self._heard():
                try:
                    await self._show()
                except RunNotFound:
                    return
                except (RPCError, KaigentsError) as error:
                    await self._lost(error)
                if self._last is not None and self._last.closed:
                    await asyncio.gather(*(listener.served() for listener in self.listeners))
                    return
        finally:
            self._over()

    def _heard(self) -> bool:
        return any(listener.listens for listener in self.listeners)

    async def _show(self) -> None:
        self.observer = observer = await observed_with_called(self._connection, self._run_id)
        async with Following(observer) as following:
            while self._heard():
                if observer.fold.at_work:
                    await observer.catch_up()
                view = await view_of(observer)
                if view != self._last:
                    self._last = view
                    self._tell(view)
                if view.closed:
                    return
                await asyncio.sleep(_SHORTEST_S)
                with suppress(TimeoutError):
                    await asyncio.wait_for(following.change(), self._patience(observer))

    def _patience(self, observer: Observer) -> float:
        if self._connection.attempts.of_run(self._run_id):
            return _ACTIVE_S
        return _AT_WORK_S if observer.fold.at_work else _IDLE_S

    async def _lost(self, error: Exception) -> None:
        """Say on the card that the server went away, bring an embedded one back, and go on."""
        if self._last is not None:
            text = f"The server at {self._connection.address} went away ({error}). Trying again; nothing is lost."
            self._tell(replace(self._last, problem=text, status="stuck"))
            self._last = None
        if self._connection.embedded:
            try:
                await in_thread(self._connection.revive, "kaigents revive")
            except KaigentsError:
                await asyncio.sleep(_LOST_S)
        await asyncio.sleep(_LOST_S)

    def _tell(self, view: RunView) -> None:
        for listener in self.listeners:
            listener.tell(view)


class _Watches(dict[str, _Watch]):
    """The watches of a connection by run; touched on the library's loop only."""
