"""Requests that may have been paid without an answer on record: each is noted on the disk before it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from kaigents_nb.authoring.context import step_context
from kaigents_nb.errors import ModelRefused, ModelUnreachable
from kaigents_nb.models import journal

_HANDED_ON = (502, 504, 524)
"""What a gateway says that has handed the request on, and does not know what became of it."""


class Ledger:
    """The requests of one call of a step, of all its attempts; outside a step nothing is noted."""

    def __init__(self) -> None:
        self._step = step_context.get()
        self._notes = None if self._step is None else journal.Journal(self._step.ledger)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *error: object) -> None:
        if self._notes is not None:
            self._notes.close()

    @asynccontextmanager
    async def request(self) -> AsyncIterator[None]:
        """Send a request within this block; one that was refused, or did not get there, is taken back."""
        await self._note(1)
        try:
            yield
        except Exception as error:
            if not _may_be_paid(error):
                await self._note(-1)
            raise

    async def _note(self, more: int) -> None:
        if self._step is not None and self._notes is not None:
            await self._notes.append([self._step.call, more])

    async def recorded(self, answers: int) -> None:
        """Say how many answers the call's result has: the others are lost, and the history is told so."""
        if self._step is not None:
            begun = await asyncio.to_thread(requests_begun, self._step.ledger, self._step.call)
            self._step.lost(begun - answers)


def requests_begun(ledger: Path, call: str) -> int:
    """Return how many requests a call has sent that were not refused."""
    return sum(more for noted, more in journal.read(ledger) if noted == call)


def _may_be_paid(error: Exception) -> bool:
    if isinstance(error, ModelRefused):
        return error.status_code in _HANDED_ON
    return isinstance(error, ModelUnreachable) and error.sent
