"""``asyncio`` as an agent's code imports it: what works on sets there has one order here, the same in every replay.

``as_completed()`` puts what it is given into a set before it starts it, and ``wait()`` gives sets. A set has the order
of its items' hashes: for a task of an agent that is a number of the run, for all else its address in memory.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from kaigents_nb.authoring.tasks import AgentTask
from kaigents_nb.errors import ForbiddenInAgent

_BELOW = ("asyncio.tasks", "kaigents_nb.runtime.agent_loop")


def provide() -> None:
    """Have the code that is loaded from now on import this one. In the sandbox: its modules are the run's own."""
    sys.modules["asyncio"] = _ASYNCIO


def refuse_unordered() -> None:
    """Refuse that asyncio's own ``as_completed()``, as a library calls it, starts what it is given: in any order."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__") in _BELOW:
        if frame.f_code.co_qualname.partition(".")[0] in ("as_completed", "_AsCompletedIterator"):
            raise ForbiddenInAgent(
                "asyncio.as_completed() in a library starts what it is given in an order that differs after a restart. "
                "Give it tasks: asyncio.create_task(…)."
            )
        frame = frame.f_back


def _as_completed(fs: Iterable[Any], *, timeout: float | None = None) -> Any:
    if asyncio.isfuture(fs) or asyncio.iscoroutine(fs):
        return asyncio.as_completed(fs, timeout=timeout)  # says what is wrong
    if isinstance(fs, (set, frozenset)) and any(map(asyncio.iscoroutine, fs)):
        raise ForbiddenInAgent(
            "asyncio.as_completed() got a set of calls, which after a restart would be in another order. Give it a "
            "list: asyncio.as_completed([…])."
        )
    tasks = [asyncio.ensure_future(one) for one in dict.fromkeys(fs)]
    _refuse_futures(tasks, "asyncio.as_completed()")
    return asyncio.as_completed(tasks, timeout=timeout)


async def _wait(fs: Iterable[Any], **options: Any) -> Any:
    if not asyncio.isfuture(fs) and not asyncio.iscoroutine(fs):
        fs = list(fs)
        _refuse_futures(fs, "asyncio.wait()")
    return await asyncio.wait(fs, **options)


def _refuse_futures(given: list[Any], what: str) -> None:
    if len(given) > 1 and any(asyncio.isfuture(one) and not isinstance(one, AgentTask) for one in given):
        raise ForbiddenInAgent(
            f"{what} got a future that is no task, such as of asyncio.gather(): after a restart it would come in "
            "another order. Put the gather() into an async def, and give asyncio.create_task() of that."
        )


class _AgentAsyncio(ModuleType):
    as_completed = staticmethod(_as_completed)
    wait = staticmethod(_wait)

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)


_ASYNCIO = _AgentAsyncio("asyncio", asyncio.__doc__)
