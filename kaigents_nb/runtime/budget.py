"""How much a run hands to the server at a time: past the server's limits it would stop, or end the run."""

from __future__ import annotations

import asyncio
from collections import deque

from kaigents_nb.runtime.storage import THRESHOLD_BYTES

CALLS = 1_000
"""Calls under way; the server takes 2,000."""
BYTES = 1_500_000
"""Their arguments; the server takes 4 MB in one message."""
_HEADER_BYTES = 500


class InFlightBudget:
    """Calls that are under way; the others wait their turn, in the order of their calls, so that it replays."""

    def __init__(self) -> None:
        self._calls = 0
        self._bytes = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def enter(self, size: int) -> None:
        """Wait until a call with so many bytes may go."""
        if not self._waiting and self._fits(size):
            self._take(size)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave(size)
            raise

    def leave(self, size: int, *, calls: int = 1) -> None:
        """A call is over; with ``calls=0`` only its bytes have been sent."""
        self._calls -= calls
        self._bytes -= size
        while self._waiting and (self._waiting[0][1].done() or self._fits(self._waiting[0][0])):
            waiting, turn = self._waiting.popleft()
            if not turn.done():
                self._take(waiting)
                turn.set_result(None)

    def _fits(self, size: int) -> bool:
        return self._calls < CALLS and (not self._bytes or self._bytes + size <= BYTES)

    def _take(self, size: int) -> None:
        self._calls += 1
        self._bytes += size


def message_bytes(sizes: list[int]) -> int:
    """Return what arguments take of a message: big ones go as references to files."""
    return _HEADER_BYTES + sum(size if size < THRESHOLD_BYTES else _HEADER_BYTES for size in sizes)
