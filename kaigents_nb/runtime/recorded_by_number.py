"""How forks of before there were places take over what was recorded: calls by their numbers, waits by their count.

Such runs are still in flight, and go on by the rules that they began with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from contextvars import Context
from functools import partial
from typing import Any

from kaigents_nb.authoring.awaited import Begin
from kaigents_nb.authoring.tasks import Branch
from kaigents_nb.runtime.recorded import Asked, Recorded
from kaigents_nb.runtime.seeds import Seed


class RecordedByNumber(Recorded):
    """``slept`` is how many waits were over."""

    def __init__(self, seeds: Iterable[Seed], slept: int) -> None:
        super().__init__()
        self._by_number = {seed.call: seed for seed in seeds}
        self._awake = slept

    def call(
        self,
        asked: Asked,
        branch: Branch,
        begin: Begin[Any],
        replayed: Callable[[Seed], Coroutine[Any, Any, Any]],
    ) -> Begin[Any]:
        """Return what begins a call. Where the code asks for another step, old and new part for good."""
        seed = self._by_number.pop(asked.number, None)
        if seed is None:
            return begin
        if seed.name != asked.name:
            self._by_number.clear()
            self.parted = {"call": asked.number, "recorded": seed.name, "asked": asked.name}
            return begin
        return partial(replayed, seed)

    def sleep(self, place: str, branch: Branch, begin: Begin[None]) -> Begin[None]:
        """Return what begins a wait."""
        self._awake -= 1
        return begin if self._awake < 0 else partial(asyncio.sleep, 0)

    def gate(self, place: str, begin: Begin[Any], *, kept: bool) -> Begin[Any]:
        """Return what opens a gate."""
        return begin

    def timer(
        self,
        place: str,
        branch: Branch,
        start: Callable[..., asyncio.TimerHandle],
        callback: Callable[[], Any],
        context: Context | None,
    ) -> asyncio.TimerHandle:
        """Start a timer."""
        return start(callback, context=context)
