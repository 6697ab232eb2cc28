"""Steps and agents that are the library's own, such as a call of a model: found here by name."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from kaigents_nb.authoring.agent import Agent
from kaigents_nb.authoring.options import StepOptions
from kaigents_nb.authoring.step import Step
from kaigents_nb.errors import SnapshotError

_registered: dict[str, Step[..., Any]] = {}


def library_step(name: str, options: StepOptions | None = None) -> Callable[[Callable[..., Any]], Step[..., Any]]:
    """Register a function of this package as a step: called in an agent, it is an activity of this name.

    Every worker has it by importing the module that registers it, so no code of it travels with a run, and a run that
    is in flight gets the newer one. The name has a dot, as in ``kg.chat``, which no function of an analyst has.
    """
    if "." not in name or name in _registered:
        raise ValueError(f"A library step has its own name with a dot, not {name!r}. Known: {sorted(_registered)}.")

    def register(function: Callable[..., Any]) -> Step[..., Any]:
        _registered[name] = Step(function, options or StepOptions(), name)
        return _registered[name]

    return register


_agents: dict[str, Agent[..., Any, Any]] = {}


def library_agent(name: str) -> Callable[[Callable[..., Coroutine[Any, Any, Any]]], Agent[..., Any, Any]]:
    """Register a coroutine function of this package as an agent: awaited in another one it is a run of its own."""

    def register(function: Callable[..., Coroutine[Any, Any, Any]]) -> Agent[..., Any, Any]:
        _agents[name] = Agent(function)
        _agents[name].name = name
        return _agents[name]

    return register


def agent_of_the_library(name: str) -> Agent[..., Any, Any] | None:
    """Return the library's own agent of a name, or None."""
    return _agents.get(name)


def is_library_step(step: Step[..., Any]) -> bool:
    """Whether a step is the library's own."""
    return _registered.get(step.name) is step


def named(name: str) -> Step[..., Any]:
    """Return the library's step of a name.

    Raises
    ------
    SnapshotError
        When this version of the library has none.
    """
    if name not in _registered:
        raise SnapshotError(
            f"This version of kaigents-nb has no step {name!r} of its own. Known: {sorted(_registered)}. Let a worker "
            "with the version that started the run go on with it."
        )
    return _registered[name]
