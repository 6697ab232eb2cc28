"""``concurrency=`` and ``rate=`` of steps: over all runs of a worker, and told on the card while a call waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from kaigents_nb.authoring.options import StepOptions
from kaigents_nb.authoring.rate import Rate, Window


class Turns:
    """Those of one worker, by the name of the step."""

    def __init__(self) -> None:
        self._free: dict[tuple[str, int], asyncio.Semaphore] = {}
        self._windows: dict[tuple[str, Rate], Window] = {}

    @asynccontextmanager
    async def turn(self, step: str, options: StepOptions, tell: Callable[[str], None]) -> AsyncIterator[None]:
        """Wait for the turn of a call; ``tell`` is told what it waits for, and ``""`` when that is over."""
        if options.concurrency is None and options.rate is None:
            yield
            return
        free = self._semaphore(step, options.concurrency)
        if free is not None:
            if free.locked():
                tell(f"waits for its turn: {options.concurrency} of {step} at a time")
            await free.acquire()
        try:
            if options.rate is not None:
                await self._paced(step, options.rate, tell)
            tell("")
            yield
        finally:
            if free is not None:
                free.release()

    def _semaphore(self, step: str, concurrency: int | None) -> asyncio.Semaphore | None:
        if concurrency is None:
            return None
        return self._free.setdefault((step, concurrency), asyncio.Semaphore(concurrency))

    async def _paced(self, step: str, written: str, tell: Callable[[str], None]) -> None:
        rate = Rate.of(written)
        window = self._windows.setdefault((step, rate), Window(rate.per_s))
        _, delay_s = window.reserve(1, rate.amount)
        if delay_s > 0:
            tell(f"waits {delay_s:.0f} s for its turn: {step} at most {written}")
            await asyncio.sleep(delay_s)
