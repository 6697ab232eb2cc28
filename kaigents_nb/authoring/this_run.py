"""``kg.this_run`` and ``kg.publish``: what a run knows of itself, and what it shows to the outside."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kaigents_nb.authoring.context import agent_context, step_context


@dataclass(frozen=True)
class ThisRun:
    """The run that executes the code that asks: ``id``, ``agent``, ``started`` (UTC), and in a step its ``attempt``."""

    id: str
    agent: str
    started: datetime
    """Of the run; in a step of this attempt."""
    attempt: int = 1


def this_run() -> ThisRun:
    """Return what the run is that executes this line, in an agent or a step.

    Raises
    ------
    RuntimeError
        Outside a run.

    Examples
    --------
    ``log.info("ordered by %s", kg.this_run().id)``
    """
    known = agent_context.get() or step_context.get()
    if known is None:
        raise RuntimeError("There is no run here: kg.this_run() is for agents and steps while they are executed.")
    return known.this_run


def publish(**values: Any) -> None:
    """Show values to the outside while the run goes on: on the card, in ``run.published`` and in the terminal.

    A later call with the same names replaces them. They are small: a run says with them where it stands.

    Parameters
    ----------
    **values
        Anything that can be saved.

    Raises
    ------
    RuntimeError
        Outside an agent.
    ValueError
        For values over 16 KiB together; a file or a step's result is the place for those.

    Examples
    --------
    ``kg.publish(phase="negotiating", supplier=best.name)``
    """
    interpreter = agent_context.get()
    if interpreter is None:
        raise RuntimeError("Only an agent publishes: call kg.publish(…) between its steps, with what they returned.")
    interpreter.publish(values)
