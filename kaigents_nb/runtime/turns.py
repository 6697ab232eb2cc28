"""``concurrency=`` of steps, over all runs of a worker, and ``rate=``, over all workers of a queue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from kaigents_nb.authoring.options import StepOptions
from kaigents_nb.authoring.rate import Rate, Window


class Waits(Protocol):
    """An attempt at a step, as far as it waits for its turn."""

    queue: str

    def tell(self, note: str) -> None:
        """Say what holds it up."""
        ...

    def rate_file(self, name: str) -> Path:
        """Return where all workers keep what was used of a rate."""
        ...


class Turns:
    """Those of one worker, by the name of the step."""

    def __init__(self) -> None:
        self._free: dict[tuple[str, int], asyncio.Semaphore] = {}
        self._windows: dict[tuple[str, str], Window] = {}

    @asynccontextmanager
    async def turn(self, step: str, options: StepOptions, attempt: Waits) -> AsyncIterator[None]:
        """Wait for the turn of a call, which is told what it waits for, and ``""`` when that is over."""
        if options.concurrency is None and options.rate is None:
            yield
            return
        free = self._semaphore(step, options.concurrency)
        if free is not None:
            if free.locked():
                attempt.tell(f"waits for its turn: {options.concurrency} of {step} at a time")
            await free.acquire()
        try:
            if options.rate is not None:
                await self._paced(step, options.rate, attempt)
            attempt.tell("")
            yield
        finally:
            if free is not None:
                free.release()

    def _semaphore(self, step: str, concurrency: int | None) -> asyncio.Semaphore | None:
        if concurrency is None:
            return None
        return self._free.setdefault((step, concurrency), asyncio.Semaphore(concurrency))

    async def _paced(self, step: str, written: str, attempt: Waits) -> None:
        rate = Rate.of(written)
        if (step, written) not in self._windows:
            path = attempt.rate_file(f"step {attempt.queue} {step} {written}")
            self._windows[step, written] = Window(path, rate.per_s)

        def waits(delay_s: float | None) -> None:
            attempt.tell(
                f"waits {'' if delay_s is None else f'{delay_s:.0f} s '}for its turn: {step} at most {written}"
            )

        await self._windows[step, written].wait(1, rate.amount, waits)
