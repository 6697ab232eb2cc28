"""What a fork takes over from the first run: known by its place, and given to the agent in the order in which it came.

A call that is made where the first run made one of the same name gets what was recorded, in its turn: as long as the
code is the same, the fork then goes the very way of the first run, also where branches race. Where the code asks for
something else, that branch goes its own way from there on; elsewhere a call then gets what was recorded only if it has
the same arguments.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextvars import Context
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue

from kaigents_nb.authoring.tasks import Branch
from kaigents_nb.runtime.payloads import content_digest
from kaigents_nb.runtime.seeds import Seed

_LISTED = 20


class Recorded:
    """Executed in the workflow, so everything here replays."""

    def __init__(self, seeds: Iterable[Seed], is_open: Callable[[str], bool], publish: Callable[[], None]) -> None:
        """``is_open`` says whether a gate waits for a decision."""
        self._seeds = {seed.place: seed for seed in seeds}
        self.numbers = {(seed.place.partition(":")[0], seed.call) for seed in self._seeds.values()}
        """Kinds and numbers of what was recorded; what is new has others."""
        self.parted: dict[str, str] = {}
        """Where this code first asked for something else."""
        self.other_arguments: list[str] = []
        """Calls that took over a result which was computed from other arguments."""
        self._is_open = is_open
        self._publish = publish
        self._reached = -1  # the turn up to which all is handed out
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._over = False
        self._happened = 0  # what came to an end here, and was not recorded

    def at(self, place: str) -> Seed | None:
        """Return what was recorded there."""
        return self._seeds.get(place)

    def take(self, branch: Branch, seed: Seed | None, name: str, arguments: Sequence[RawValue]) -> bool:
        """Whether a call gets what was recorded at its place."""
        if seed is None or branch.own_way:
            return False
        if seed.name != name:
            branch.own_way = True
            if not self.parted:
                self.parted = {"call": seed.call, "recorded": seed.name, "asked": name}
                self._publish()
            return False
        if not seed.is_call:
            return False
        if seed.arguments and not seed.edited and seed.arguments != arguments_digest(arguments):
            if self.parted:
                return False  # computed from what another branch no longer gives
            self.other_arguments = [*self.other_arguments, seed.call][:_LISTED]
        return True

    async def turn(self, seed: Seed) -> None:
        """Wait until it is the turn of what was recorded."""
        if seed.turn > self._reached and not self._over:
            self._waiting[seed.place] = future = asyncio.get_running_loop().create_future()
            await future
            await asyncio.sleep(0)  # as a call and a timer of the server, and as timer() below

    async def end(self, seed: Seed) -> None:
        """Wait until all that was recorded is handed out: the time until which the first run may have given up."""
        if not self._over:
            self._waiting[seed.place] = future = asyncio.get_running_loop().create_future()
            await future

    def timer(self, seed: Seed, callback: Callable[[], Any], context: Context | None) -> asyncio.TimerHandle:
        """Return a timer that fires in its turn, as it did in the first run; the server knows nothing of it."""
        loop = asyncio.get_running_loop()
        handle = _RecordedTimer(loop.time(), callback, (), loop, context)
        if seed.turn <= self._reached or self._over:
            loop.call_soon(handle.fire)
        else:
            self._waiting[seed.place] = future = loop.create_future()
            future.add_done_callback(handle.fire)
        return handle

    def happened(self) -> None:
        """Say that something new came to an end."""
        self._happened += 1

    async def hand_out(self) -> None:
        """Give what was recorded to those who wait for it, turn by turn: the next one when the agent has nothing to do.

        At a gate that is asked again, what came after its decision waits, too; until something else happens first,
        for then it comes otherwise than it was recorded.
        """
        turns: dict[int, list[Seed]] = {}
        for seed in self._seeds.values():
            if seed.turn:
                turns.setdefault(seed.turn, []).append(seed)
        in_order = True
        for turn in sorted(turns):
            await workflow.wait_condition(lambda: True)
            for seed in turns[turn]:
                if in_order and self._is_asked_again(seed):
                    known = self._happened
                    await workflow.wait_condition(lambda: not self._is_asked_again(seed) or self._happened > known)  # noqa: B023
                    in_order = not self._is_asked_again(seed)
            self._reached = turn
            for seed in turns[turn]:
                self._wake(seed.place)
        await workflow.wait_condition(lambda: True)
        self._over = True
        for place in list(self._waiting):
            self._wake(place)
        if self.other_arguments:
            self._publish()

    def _is_asked_again(self, seed: Seed) -> bool:
        return seed.place.startswith("gate:") and self._is_open(seed.call)

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
