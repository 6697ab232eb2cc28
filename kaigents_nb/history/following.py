"""Wait for a run to go on, itself or in an agent that it called: long polls, no questions in between.

Nothing is read before somebody wants to know: of a run that makes many steps a second, whoever looks now and then gets
all that happened meanwhile in one page, and not an answer of the server for each step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from functools import partial
from itertools import pairwise
from typing import Any

from kaigents_nb.errors import RunNotFound
from kaigents_nb.history.observe import Observer
from kaigents_nb.history.observers import CALLED_ASKED, observed


class Following:
    """A run and the agents it called, kept up to date while this is entered.

    Whoever follows has tasks of their own; the requests that these wait for are shared by all.
    """

    def __init__(self, observer: Observer) -> None:
        self.observer = observer
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        """Something was read that nobody has asked for yet."""
        self._wanted = asyncio.Event()
        """Somebody waits for more than that."""
        self.error: BaseException | None = None
        """What following has failed with."""

    async def __aenter__(self) -> Following:
        self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        self.stop()

    def start(self) -> None:
        """Follow from now on."""
        self._begin(self.observer.run_id, self._follow(self.observer))

    def stop(self) -> None:
        """Follow no longer; requests that nobody else waits for are closed."""
        for task in self._tasks.values():
            task.cancel()

    async def change(self) -> None:
        """Wait until something has happened since the last time, or until the run has ended.

        Raises
        ------
        RPCError, KaigentsError
            When following has failed.
        """
        if not self._changed.is_set():
            self._wanted.set()
        await self._changed.wait()
        self._changed.clear()
        if self.error is not None:
            raise self.error

    def read_on(self) -> None:
        """Have the next change read, for whoever looks again later instead of waiting for it."""
        self._changed.clear()
        self._wanted.set()

    async def _follow(self, observer: Observer, *callers: Observer) -> None:
        grows = True
        while grows:
            seen = observer.fold.last_event
            if observer.fold.gates:
                for caller, called in pairwise((*callers, observer)):
                    caller.called[called.run_id] = called
            self._changed.set()
            self._wanted.clear()
            for run_id in observer.fold.running_called:
                if run_id not in self._tasks and len(self._tasks) <= CALLED_ASKED:
                    self._begin(run_id, self._follow_called(run_id, *callers, observer))
            await self._wanted.wait()
            grows = await observer.grown(seen)

    async def _follow_called(self, run_id: str, *callers: Observer) -> None:
        with suppress(RunNotFound):  # asked for, but not started yet: the caller's history will go on when it is
            await self._follow(await observed(self.observer.connection, run_id), *callers)

    def _begin(self, run_id: str, work: Coroutine[Any, Any, None]) -> None:
        task = self._tasks[run_id] = asyncio.create_task(work)
        task.add_done_callback(partial(self._over, run_id))

    def _over(self, run_id: str, task: asyncio.Task[None]) -> None:
        del self._tasks[run_id]
        failed = None if task.cancelled() else task.exception()  # asked of each, or the loop complains
        self.error = self.error or failed
        self._changed.set()
