"""What an agent must not do, and what to write instead."""

from __future__ import annotations

import asyncio
import traceback

from temporalio.worker.workflow_sandbox import RestrictedWorkflowAccessError

from kaigents_nb.errors import ForbiddenInAgent

ALL_OVER_AGAIN = "after a restart, and whenever somebody looks back, it would be done again."
_STEP = "Do it in a @kg.step and await that."
_INSTEAD = {
    "datetime": "Use kg.now().",
    "time.sleep": "Use await kg.sleep(seconds).",
    "time": "Use kg.now().",
    "random": "Use kg.random(), for example kg.random().choice(...).",
    "secrets": "Use kg.random() or kg.uuid4().",
    "uuid": "Use kg.uuid4().",
    "asyncio.as_completed": "Use asyncio.gather().",
    "asyncio.wait": "Use asyncio.gather().",
    "__builtins__.input": "Use await kg.approve(question).",
    "builtins.input": "Use await kg.approve(question).",
    "__builtins__.print": "Print in a step.",
    "__builtins__.breakpoint": "Debug the function by calling it in a cell, outside the run.",
}
_LOOP = asyncio.AbstractEventLoop.__module__
"""Where asyncio says that a loop can't do something; that of a workflow has neither network nor threads."""


def in_words(error: BaseException) -> BaseException:
    """Return what an agent was refused in the analyst's words, also where a library has put its own error over it."""
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        if isinstance(cause, ForbiddenInAgent):
            return cause
        if isinstance(cause, RestrictedWorkflowAccessError):
            return way_out(cause)
        if isinstance(cause, NotImplementedError) and (unable := _of_the_loop(cause)):
            return unable
        seen.append(cause)
        cause = cause.__cause__ or cause.__context__
    return error


def way_out(error: RestrictedWorkflowAccessError) -> ForbiddenInAgent:
    """Return the same error in the analyst's words; the line is in its traceback."""
    name = error.qualified_name
    shown = name.removeprefix("__builtins__.").removesuffix(".__call__")
    forbidden = ForbiddenInAgent(
        f"{shown} can't be used in an agent: after a restart it would answer differently, and the run could not be "
        f"replayed. {advice(name)}"
    )
    return forbidden.with_traceback(error.__traceback__)


def advice(name: str) -> str:
    """Return what to write instead of a dotted name."""
    parts = name.split(".")
    return next(
        (_INSTEAD[prefix] for prefix in (".".join(parts[:n]) for n in range(len(parts), 0, -1)) if prefix in _INSTEAD),
        _STEP,
    )


def _of_the_loop(error: NotImplementedError) -> ForbiddenInAgent | None:
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    if not frames or frames[-1].f_globals.get("__name__") != _LOOP:
        return None
    name = frames[-1].f_code.co_name
    forbidden = ForbiddenInAgent(f"The event loop's {name}() can't be used in an agent: {ALL_OVER_AGAIN} {_STEP}")
    return forbidden.with_traceback(error.__traceback__)
