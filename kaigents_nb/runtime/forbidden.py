"""What an agent must not do, and what to write instead."""

from __future__ import annotations

from temporalio.worker.workflow_sandbox import RestrictedWorkflowAccessError

from kaigents_nb.errors import ForbiddenInAgent

_STEP = "Do it in a @kg.step and await that."
_INSTEAD = {
    "datetime": "Use kg.now().",
    "time.sleep": "Use await kg.sleep(seconds).",
    "time": "Use kg.now().",
    "random": "Use kg.random(), for example kg.random().choice(...).",
    "secrets": "Use kg.random() or kg.uuid4().",
    "uuid": "Use kg.uuid4().",
    "__builtins__.input": "Use await kg.approve(question).",
    "__builtins__.print": "Print in a step.",
    "__builtins__.breakpoint": "Debug the function by calling it in a cell, outside the run.",
}


def way_out(error: RestrictedWorkflowAccessError) -> ForbiddenInAgent:
    """Return the same error in the analyst's words; the line is in its traceback."""
    name = error.qualified_name
    parts = name.split(".")
    advice = next(
        (_INSTEAD[prefix] for prefix in (".".join(parts[:n]) for n in range(len(parts), 0, -1)) if prefix in _INSTEAD),
        _STEP,
    )
    shown = name.removeprefix("__builtins__.").removesuffix(".__call__")
    forbidden = ForbiddenInAgent(
        f"{shown} can't be used in an agent: after a restart it would answer differently, and the run could not be "
        f"replayed. {advice}"
    )
    return forbidden.with_traceback(error.__traceback__)
