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
    "__builtins__.input": "Use await kg.approve(question).",
    "builtins.input": "Use await kg.approve(question).",
    "__builtins__.print": "Print in a step.",
    "__builtins__.breakpoint": "Debug the function by calling it in a cell, outside the run.",
}
_LOOP = asyncio.AbstractEventLoop.__module__
"""Where asyncio says that a loop can't do something; that of a workflow has neither network nor threads."""


def in_words(error: BaseException) -> BaseException:
    """Return what an agent was refused in the analyst's words, also where a library has put its own error over it.

    The traceback is that of the error which has reached us: it has the agent's line.
    """
    behind: list[BaseException] = [error]
    for cause in behind:  # which grows meanwhile
        if isinstance(cause, RestrictedWorkflowAccessError):
            cause = way_out(cause)
        if isinstance(cause, NotImplementedError):
            cause = _of_the_loop(cause) or cause
        if isinstance(cause, ForbiddenInAgent):
            return cause.with_traceback(error.__traceback__)
        inner = cause.exceptions if isinstance(cause, BaseExceptionGroup) else ()
        behind += (one for one in (cause.__cause__, cause.__context__, *inner) if one is not None and one not in behind)
    return error


def way_out(error: RestrictedWorkflowAccessError) -> ForbiddenInAgent:
    """Return the same error in the analyst's words."""
    name = error.qualified_name
    shown = name.removeprefix("__builtins__.").removesuffix(".__call__")
    return ForbiddenInAgent(
        f"{shown} can't be used in an agent: after a restart it would answer differently, and the run could not be "
        f"replayed. {advice(name)}"
    )


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
    return ForbiddenInAgent(f"The event loop's {name}() can't be used in an agent: {ALL_OVER_AGAIN} {_STEP}")
