"""The workflow's event loop, as far as an agent's own code uses it: its tasks and timers have their places."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from functools import partial
from typing import Any, Protocol

from kaigents_nb.authoring.context import AgentContext, agent_context
from kaigents_nb.authoring.tasks import AgentTasks, tell_but_cancelled
from kaigents_nb.runtime.agent_asyncio import refuse_unordered


class TimedAgent(AgentContext, Protocol):
    """An interpreter that hears of tasks and timers."""

    def watched(self, work: Coroutine[Any, Any, Any]) -> Coroutine[Any, Any, Any]:
        """Return the work of a task as it is executed."""
        ...

    def timer(
        self, start: Callable[..., asyncio.TimerHandle], callback: Callable[[], Any], context: Context | None
    ) -> asyncio.TimerHandle:
        """Start a timer."""
        ...


def serve(loop: Any, agent: TimedAgent, tasks: AgentTasks) -> None:
    """Have the agent's tasks and timers made here; the SDK's own are left alone."""
    create_task, call_later = loop.create_task, loop.call_later

    def create(
        work: Coroutine[Any, Any, Any], *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[Any]:
        if agent_context.get() is not agent:
            task: asyncio.Task[Any] = create_task(work, name=name, context=context)
            return task
        try:
            refuse_unordered()
        except BaseException:
            work.close()
            raise
        own = tasks.start(work, agent.watched(work), context, loop)
        # The SDK takes no factory of tasks; this is what it does with those that it makes.
        loop._register_task(own, name=name)
        return own

    def later(
        delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        if agent_context.get() is not agent:
            timer: asyncio.TimerHandle = call_later(delay, callback, *args, context=context)
            return timer
        return agent.timer(partial(call_later, delay), partial(callback, *args), context)

    loop.create_task, loop.call_later = create, later
    loop.set_exception_handler(tell_but_cancelled)
