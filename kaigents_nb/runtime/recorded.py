"""What a fork takes over from the first run: known by its place, and given to the agent in the order in which it came.

A call that is made where the first run made one of the same name gets what was recorded, in its turn: as long as the
code is the same, the fork then goes the very way of the first run, also where branches race. Where the code asks for
something else, that branch goes its own way from there on; elsewhere a call then gets what was recorded only if it has
the same arguments.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue

from kaigents_nb.authoring.awaited import Begin
from kaigents_nb.authoring.tasks import GATE, Branch, kind_of
from kaigents_nb.runtime.payloads import content_digest
from kaigents_nb.runtime.seeds import Seed

_LISTED = 20


@dataclass(frozen=True)
class Asked:
    """What a call asks for, and where."""

    place: str
    number: str
    name: str
    arguments: Sequence[RawValue]


class Recorded:
    """Executed in the workflow, so everything here replays. A run that is no fork has nothing recorded."""

    def __init__(self, seeds: Iterable[Seed] = ()) -> None:
        self._seeds = {seed.place: seed for seed in seeds}
        self._numbers = {(kind_of(seed.place), seed.call) for seed in self._seeds.values()}
        self.parted: dict[str, str] = {}
        """Where this code first asked for something else."""
        self.other_arguments: list[str] = []
        """Calls that took over a result which was computed from other arguments."""
        self._reached = -1  # the turn up to which all is handed out
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._over = not self._seeds
        self._happened = 0  # what came to an end here, and was not recorded

    @property
    def notes(self) -> dict[str, Any]:
        """What a card should say; of calls with other arguments once for all that were made at once."""
        found = {"parted": self.parted, "other_arguments": self.other_arguments if self._over else []}
        return {name: note for name, note in found.items() if note}

    # What the agent asks for.

    def number(self, place: str, new: Callable[[], str]) -> str:
        """Return the number of a call or gate: that of what was recorded there, or one that nothing recorded has."""
        if place in self._seeds:
            return self._seeds[place].call
        while (kind_of(place), number := new()) in self._numbers:
            pass
        return number

    def call(
        self,
        asked: Asked,
        branch: Branch,
        begin: Begin[Any],
        replayed: Callable[[Seed], Coroutine[Any, Any, Any]],
    ) -> Begin[Any]:
        """Return what begins a call: what gives its recorded outcome, in its turn, or else ``begin``."""
        seed = self._seeds.get(asked.place)
        if seed is None or branch.own_way:
            return self._new(begin)
        if seed.name != asked.name:
            branch.own_way = True
            if not self.parted:
                self.parted = {"call": seed.call, "recorded": seed.name, "asked": asked.name}
            return self._new(begin)
        if seed.given_up:
            return partial(self._begin_later, seed, self._new(begin))
        if not seed.has_outcome or not self._fits(seed, asked.arguments):
            return self._new(begin)
        return partial(self._replay, seed, replayed)

    def _fits(self, seed: Seed, arguments: Sequence[RawValue]) -> bool:
        if seed.edited or not seed.arguments or seed.arguments == arguments_digest(arguments):
            return True
        if self.parted:
            return False  # computed from what another branch no longer gives
        self.other_arguments = [*self.other_arguments, seed.call][:_LISTED]
        return True

    def gate(self, place: str, begin: Begin[Any], *, kept: bool) -> Begin[Any]:
        """Return what opens a gate; one whose decision is ``kept`` in its turn."""
        seed = self._seeds.get(place)
        return partial(self._replay, seed, lambda _: begin()) if seed is not None and kept else self._new(begin)

    def sleep(self, place: str, branch: Branch, begin: Begin[None]) -> Begin[None]:
        """Return what begins a wait; one that was over takes its turn only."""
        seed = self._seeds.get(place)
        return self._new(begin) if seed is None or branch.own_way else partial(self._turn, seed)

    def timer(
        self,
        place: str,
        branch: Branch,
        start: Callable[..., asyncio.TimerHandle],
        callback: Callable[[], Any],
        context: Context | None,
    ) -> asyncio.TimerHandle:
        """Start a timer; one that has fired does in its turn, and the server knows nothing of it."""
        seed = self._seeds.get(place)
        if seed is None or branch.own_way:
            return start(callback, context=context)
        loop = asyncio.get_running_loop()
        handle = _RecordedTimer(loop.time(), callback, (), loop, context)
        if self._is_due(seed):
            loop.call_soon(handle.fire)
        else:
            self._wait(seed).add_done_callback(handle.fire)
        return handle

    # Turns.

    def _is_due(self, seed: Seed) -> bool:
        return self._over or seed.turn <= self._reached

    def _wait(self, seed: Seed) -> asyncio.Future[None]:
        self._waiting[seed.place] = future = asyncio.get_running_loop().create_future()
        return future

    async def _turn(self, seed: Seed) -> None:
        if not self._is_due(seed):
            await self._wait(seed)
            await asyncio.sleep(0)  # as a call or timer of the server, and as timer() above

    async def _replay(self, seed: Seed, replayed: Callable[[Seed], Coroutine[Any, Any, Any]]) -> Any:
        await self._turn(seed)
        return await replayed(seed)

    async def _begin_later(self, seed: Seed, begin: Begin[Any]) -> Any:
        """Begin what the first run gave up only if it is still wanted when all that was recorded is handed out."""
        if not self._over:
            await self._wait(seed)
        return await begin()

    def _new(self, begin: Begin[Any]) -> Begin[Any]:
        return partial(self._note_end, begin) if self._seeds else begin

    async def _note_end(self, begin: Begin[Any]) -> Any:
        try:
            return await begin()
        finally:
            self._happened += 1

    async def hand_out(self, is_open: Callable[[str], bool]) -> None:
        """Give what was recorded to those who wait for it, turn by turn: the next one when the agent has nothing to do.

        At a gate that is asked again (``is_open``), what came after its decision waits, too; until something else
        happens first, for then it comes otherwise than it was recorded.
        """
        turns: dict[int, list[Seed]] = {}
        for seed in self._seeds.values():
            if seed.turn:
                turns.setdefault(seed.turn, []).append(seed)
        in_order = True
        for turn in sorted(turns):
            await workflow.wait_condition(lambda: True)
            for seed in turns[turn]:
                if in_order and kind_of(seed.place) == GATE:
                    in_order = await self._asked_again(partial(is_open, seed.call))
            self._reached = turn
            for seed in turns[turn]:
                self._wake(seed.place)
        await workflow.wait_condition(lambda: True)
        self._over = True
        for place in list(self._waiting):
            self._wake(place)

    async def _asked_again(self, is_open: Callable[[], bool]) -> bool:
        """Wait until a gate is decided; False where something else has happened before."""
        known = self._happened
        if is_open():
            await workflow.wait_condition(lambda: not is_open() or self._happened > known)
        return not is_open()

    def _wake(self, place: str) -> None:
        future = self._waiting.pop(place, None)
        if future is not None and not future.done():
            future.set_result(None)


class _RecordedTimer(asyncio.TimerHandle):
    def fire(self, *_: Any) -> None:
        if not self.cancelled():
            self._run()

    def cancel(self) -> None:
        asyncio.Handle.cancel(self)


def arguments_digest(arguments: Sequence[RawValue]) -> str:
    """Return what tells the arguments of a call from others."""
    return " ".join([str(len(arguments)), *(content_digest(item.payload)[:16] for item in arguments)])
