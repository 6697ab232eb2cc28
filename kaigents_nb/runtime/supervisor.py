"""Watch over the server of a connection: say since when it is away, have an embedded one started again, wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from temporalio.service import RPCError, RPCStatusCode

from kaigents_nb.errors import ServerNotReady

T = TypeVar("T")

_LOOK_S = 0.25
"""How often it is looked whether an embedded server lives: one lock is tried, no question to anybody."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 1.0

TRANSIENT = frozenset(
    {
        RPCStatusCode.UNAVAILABLE,
        RPCStatusCode.UNKNOWN,
        RPCStatusCode.INTERNAL,
        RPCStatusCode.CANCELLED,
        RPCStatusCode.DEADLINE_EXCEEDED,
        RPCStatusCode.ABORTED,
        RPCStatusCode.DATA_LOSS,
        RPCStatusCode.RESOURCE_EXHAUSTED,
    }
)
"""What another try may mend; everything else is an answer of a server that is there."""


def is_coming_up(error: RPCError) -> bool:
    """Whether a server answers that has just been started: for a moment it does not know its own namespace."""
    return error.status == RPCStatusCode.NOT_FOUND and error.message.startswith("Namespace ")


@dataclass(frozen=True)
class Outage:
    """A server that does not answer."""

    address: str
    since: datetime
    why: str
    final: bool = False
    """This connection will not see it again: it is back elsewhere."""

    @property
    def told(self) -> str:
        """For whoever looks or waits."""
        return f"The server at {self.address} is away since {self.since:%Y-%m-%d %H:%M:%S} UTC. {self.why}"


class Supervisor:
    """Watches over one server; everything here runs on the library's loop, but any thread may read ``outage``.

    Parameters
    ----------
    lives
        Whether the server's process is there; none where that can't be known, for a server of another machine.
    bring_back
        Return when the server answers; raise `ServerNotReady` with the reason where it does not.
    """

    def __init__(
        self,
        address: str,
        lives: Callable[[], bool] | None,
        bring_back: Callable[[], Awaitable[None]],
    ) -> None:
        self._address = address
        self._lives = lives
        self._bring_back = bring_back
        self.changed = asyncio.Event()
        """Set, and replaced, when the server goes away, comes back, or something else is known of why."""
        self.outage: Outage | None = None
        """None while the server is there, as far as is known."""

    async def watch(self) -> None:
        """Notice that the server went away, and have it back; for ever."""
        pause_s = _LOOK_S
        while True:
            await asyncio.sleep(pause_s)
            try:
                if self.outage is None and self._lives is not None and not self._lives():
                    self._note("It is started again; runs are safe and go on by themselves.")
                if self.outage is not None:
                    await self._bring_back()
            except MovedAway as error:
                self._note(str(error), final=True)
            except Exception as error:  # noqa: BLE001 - told to all who wait, and tried again: nobody else would
                self._note(str(error))
                pause_s = min(_LONGEST_PAUSE_S, 2 * pause_s)
            else:
                self._set(None)
                pause_s = _LOOK_S

    async def patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        """Await some work, again when the server went away over it, however long that lasts.

        Raises
        ------
        ServerNotReady
            When the server is back, but at an address of no use to this connection.
        """
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                return await work()
            except RPCError as error:
                if not self.noticed(error):
                    raise
            await self.returned()
            # A server that answers some and fails over this must not be asked all the time.
            await asyncio.sleep(pause_s)
            pause_s = min(_LONGEST_PAUSE_S, 2 * pause_s)

    async def while_there(self, work: Coroutine[Any, Any, T]) -> T:
        """Await some work, but no longer than the server is there: the SDK asks for ten seconds before it gives up.

        Raises
        ------
        ServerNotReady
            When the server went away; the work was cancelled.
        """
        task = asyncio.create_task(work)
        try:
            while self.outage is None:
                change = asyncio.create_task(self.changed.wait())  # of this moment: none is missed
                try:
                    await asyncio.wait((task, change), return_when=asyncio.FIRST_COMPLETED)
                finally:
                    change.cancel()
                if task.done():
                    return task.result()
            raise ServerNotReady(self.outage.told)
        finally:
            task.cancel()

    def noticed(self, error: RPCError) -> bool:
        """Take note of an error; false where the server is there and refuses, so that no other try mends it."""
        if error.status not in TRANSIENT:
            return False
        if self.outage is None:
            self._note(f"It does not answer ({error.message}); waiting for it, nothing is lost.")
        return True

    async def returned(self) -> None:
        """Wait until the server is there.

        Raises
        ------
        ServerNotReady
            When it is back, but at an address of no use to this connection.
        """
        while self.outage is not None:
            if self.outage.final:
                raise ServerNotReady(self.outage.told)
            await self.changed.wait()

    def _note(self, why: str, *, final: bool = False) -> None:
        if self.outage is None:
            self._set(Outage(self._address, datetime.now(UTC), why, final))
        else:
            self._set(replace(self.outage, why=why, final=final))

    def _set(self, outage: Outage | None) -> None:
        if outage != self.outage:
            self.outage = outage
            self.changed.set()
            self.changed = asyncio.Event()


class MovedAway(ServerNotReady):
    """The server is back, but at another address."""
