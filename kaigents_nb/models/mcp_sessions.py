"""Connections to servers of tools: one a worker and server, kept while it is used and a minute longer.

A server may know only in the process that it is what a call asked back for, so that process is kept.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from typing import Any

_IDLE_S = 60.0


class _Session:
    """One connection, entered and left by a task of its own, as its library wants it."""

    def __init__(self, client: Any) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        self._users = 0
        self._idle: asyncio.TimerHandle | None = None
        self._entered: asyncio.Future[Any] = self._loop.create_future()
        self._living = self._loop.create_task(self._live(client))

    @property
    def alive(self) -> bool:
        """Whether it can be used."""
        return not (self._over.is_set() or self._living.done())

    async def _live(self, client: Any) -> None:
        try:
            async with client as entered:
                self._entered.set_result(entered)
                await self._over.wait()
        except Exception as error:  # noqa: BLE001 - raised where it is waited for, or over anyway
            if not self._entered.done():
                self._entered.set_exception(error)
        finally:
            self._over.set()
            if not self._entered.done():
                self._entered.cancel()

    async def enter(self) -> Any:
        """Use it."""
        self._users += 1
        if self._idle is not None:
            self._idle.cancel()
        return await asyncio.shield(self._entered)

    def leave(self, *, broken: bool) -> None:
        """Use it no longer; a broken one is not used again by anybody."""
        self._users -= 1
        if broken:
            self._over.set()
        elif not self._users:
            self._idle = self._loop.call_later(_IDLE_S, self._over.set)


_sessions: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, _Session]] = weakref.WeakKeyDictionary()


@asynccontextmanager
async def session(key: Hashable, client: Any) -> AsyncIterator[Any]:
    """Give an entered client of a server: the one that is there, else this one."""
    known = _sessions.setdefault(asyncio.get_running_loop(), {})
    if key not in known or not known[key].alive:
        known[key] = _Session(client)
    mine, broken = known[key], True
    try:
        yield await mine.enter()
        broken = False
    finally:
        mine.leave(broken=broken)
