"""The tasks that an agent's code starts: each is a branch with a place of its own, and none is cut off unnoticed.

A place says where something was asked for, not when: the branch (which task started which, in order), and the order in
it. It is the same in a replay and in a fork, whatever the other branches do meanwhile.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextvars import Context
from typing import Any

from kaigents_nb.values.encoded import RUN_MODULE_PREFIX

CALL, GATE, SLEEP, TIMER = "call", "gate", "sleep", "timer"
"""What has a place; each kind is counted by itself."""


def kind_of(place: str) -> str:
    """Return what was asked for at a place."""
    return place.partition(":")[0]


class Branch:
    """One line of execution: the agent's own, or a task's."""

    def __init__(self, path: str = "", *, own_way: bool = False) -> None:
        self.path = path
        self.own_way = own_way
        """In a fork: whether this code no longer asks for what was recorded; branches that it starts then neither."""
        self._counts: Counter[str] = Counter()

    def next_place(self, kind: str) -> str:
        """Return the place of what is asked for now."""
        self._counts[kind] += 1
        return f"{kind}:{self.path}:{self._counts[kind]}"

    def begin(self) -> Branch:
        """Return the branch of a task that this one starts."""
        self._counts["task"] += 1
        return Branch(f"{self.path}.{self._counts['task']}", own_way=self.own_way)


class AgentTask(asyncio.Task[Any]):
    """A task of an agent. Its hash is a number of the run, so that a set of tasks has one order in every replay."""

    def __init__(
        self,
        work: Coroutine[Any, Any, Any],
        *,
        executed: Coroutine[Any, Any, Any],
        branch: Branch,
        made_at: tuple[str, int],
        number: int,
        **options: Any,
    ) -> None:
        # Before the task begins, for that asks for its hash.
        self.work, self.branch, self.made_at, self._number = work, branch, made_at, number
        super().__init__(executed, **options)

    def __hash__(self) -> int:
        return self._number


class AgentTasks:
    """The tasks of one agent."""

    def __init__(self) -> None:
        self.salt = 0
        """Tells the tasks of one run from those of others, as the process keeps all of them in a set."""
        self._root = Branch()
        self._started = 0
        self._running: dict[AgentTask, None] = {}

    @property
    def branch(self) -> Branch:
        """The branch that is executed."""
        task = asyncio.current_task()
        return task.branch if isinstance(task, AgentTask) else self._root

    def start(
        self, work: Coroutine[Any, Any, Any], watched: Coroutine[Any, Any, Any], context: Context | None, loop: Any
    ) -> AgentTask:
        """Start a task for ``work``, which is executed as ``watched``."""
        self._started += 1
        number = hash((self.salt, self._started))
        made_at, waits = _starter()
        # What is waited for with a time-out has a task only on some versions of Python; it is no branch of its own.
        branch = self.branch if waits else self.branch.begin()
        task = AgentTask(
            work, executed=watched, branch=branch, made_at=made_at, number=number, loop=loop, context=context
        )
        self._running[task] = None
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.pop(task, None)  # type: ignore[call-overload]

    def still_running(self) -> Iterator[AgentTask]:
        """Yield the tasks that have not ended, without those that were asked to stop and what they have started."""
        stopping = [task.branch.path for task in self._running if task.cancelling()]
        for task in self._running:
            if not task.done() and not any(f"{task.branch.path}.".startswith(f"{path}.") for path in stopping):
                yield task

    async def stopped(self, *, everyone: bool = False) -> None:
        """Wait for the tasks that were told to stop, as ``asyncio.run()`` does: their ``finally`` is a part of the run.

        ``everyone`` tells all of them, where the agent has failed or was cancelled itself. If that happens meanwhile,
        all are told, those that know it once more.
        """
        cancelled: asyncio.CancelledError | None = None
        while True:
            for task in list(self._running) if everyone else ():
                if not task.cancelling():
                    task.cancel()
            left = [task for task in self._running if task.cancelling() and not task.done()]
            if not left:
                break
            try:
                await asyncio.wait(left)
            except asyncio.CancelledError as error:
                cancelled, everyone = error, True
                for task in left:
                    task.cancel()
        if cancelled is not None:
            raise cancelled


def tell_but_cancelled(loop: Any, context: dict[str, Any]) -> None:
    """Handle what nobody has handled, as asyncio does, but for one thing.

    Of a ``gather()`` that nobody awaits, and whose tasks were told to stop, it would complain.
    """
    if not isinstance(context.get("exception"), asyncio.CancelledError):
        loop.default_exception_handler(context)


def _starter() -> tuple[tuple[str, int], bool]:
    """Return the line that starts a task, outside asyncio and us, and whether it only waits for it: ``wait_for()``."""
    waits = False
    frame = sys._getframe(1)
    while frame.f_back is not None and _is_machinery(str(frame.f_globals.get("__name__"))):
        waits = waits or frame.f_code is asyncio.wait_for.__code__
        frame = frame.f_back
    return (frame.f_code.co_filename, frame.f_lineno), waits


def _is_machinery(module: str) -> bool:
    """Whether a module is asyncio's or ours; the code of a run is loaded below ours, and is the agent's."""
    return module.startswith(("asyncio.", "kaigents_nb.")) and not module.startswith(RUN_MODULE_PREFIX)
