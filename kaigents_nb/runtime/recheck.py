"""A run that goes on in another process is replayed there. This sees to it that what it then asks for was recorded so.

Temporal itself compares the order of the calls. Where a replayed call has other arguments than the one that was
executed, the recorded result is not the answer to it: the run is sent a signal that says so, which nothing in it acts
on, but which its history, and so its card, shows from then on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from temporalio.client import Client
from temporalio.service import RPCError

from kaigents_nb.runtime.payloads import plain
from kaigents_nb.runtime.protocol import DIFFERS_SIGNAL
from kaigents_nb.runtime.requests import Request, compare, of_command, of_event

_SENTENCE = (
    "This run was replayed, and no longer asks for what was recorded. {}. What was recorded counts. The agent does "
    "something that can't be replayed."
)
_TOLD = 5
"""So many differences are told of a run; one is reason enough to look at all of them."""


@dataclass(frozen=True)
class Replayed:
    """What a run has asked for while it was replayed."""

    workflow_id: str
    run_id: str
    requests: tuple[Request, ...]


Report = Callable[[Replayed], None]


class ReplayWatch:
    """Collects what one run in this process asks for while it is replayed, and reports it when the run goes on."""

    def __init__(self, workflow_id: str, run_id: str, report: Report) -> None:
        self._place = workflow_id, run_id
        self._report = report
        self._requests: list[Request] = []

    def done(self, activation: Any, completion: Any) -> None:
        """Take what an activation has led to."""
        if activation.is_replaying:
            for command in completion.successful.commands:
                self._requests += of_command(command)
        elif self._requests:
            requests, self._requests = tuple(self._requests), []
            self._report(Replayed(*self._place, requests))


class Rechecks:
    """The replays of one worker, compared with their histories one after the other, beside its work."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Replayed] = asyncio.Queue()
        self._working = asyncio.create_task(self._work())

    def report(self, replayed: Replayed) -> None:
        """Take a replay, from any thread."""
        with suppress(RuntimeError):  # the loop is closed: whoever goes on with the run compares it again
            self._loop.call_soon_threadsafe(self._queue.put_nowait, replayed)

    async def _work(self) -> None:
        while True:
            replayed = await self._queue.get()
            # It has ended meanwhile, the server is away, or another program has written what we can't read.
            with suppress(RPCError, ValueError, TypeError, LookupError):
                await self._compare(replayed)

    async def _compare(self, replayed: Replayed) -> None:
        handle = self._client.get_workflow_handle(replayed.workflow_id, run_id=replayed.run_id)
        recorded: dict[tuple[str, str], Request] = {}
        told: set[str] = set()
        async for event in handle.fetch_history_events(page_size=1000):
            recorded.update((request.key, request) for request in of_event(event))
            signal = event.workflow_execution_signaled_event_attributes
            if signal.signal_name == DIFFERS_SIGNAL:
                told.update(map(str, map(plain, signal.input.payloads)))
        found = [
            difference
            for request in replayed.requests
            if (known := recorded.get(request.key)) is not None
            for difference in compare(known, request)
        ]
        for difference in found[:_TOLD]:
            if not any(difference.about in text for text in told):
                await handle.signal(DIFFERS_SIGNAL, _SENTENCE.format(difference))

    async def stop(self) -> None:
        """Compare no more."""
        self._working.cancel()
        await asyncio.gather(self._working, return_exceptions=True)
