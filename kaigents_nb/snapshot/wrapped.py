"""Steps and agents behind what wraps them: a decorator above ``@step``, or a call of one in a cell."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from kaigents_nb.authoring.agent import Agent
from kaigents_nb.authoring.step import Step
from kaigents_nb.snapshot import live

_WRAPPED = ".__wrapped__"
_DEEPEST = 20
_CACHES: tuple[type, ...] = (type(functools.lru_cache(maxsize=None)(lambda: None)), functools.cached_property)

StepOrAgent = Step[..., Any] | Agent[..., Any, Any]


def behind(path: str, value: object) -> tuple[str, StepOrAgent] | None:
    """Return the step or agent that a wrapper of ``functools.wraps`` holds, with the expression that reaches it."""
    for _ in range(_DEEPEST):
        value, path = live.wrapped_in(value), path + _WRAPPED
        if isinstance(value, (Step, Agent)):
            return path, value
    return None


def name_in_code(path: str) -> str:
    """Return the name under which code calls what a path reaches."""
    return path.partition(_WRAPPED)[0]


def refusal(name: str, value: object, known: set[int]) -> str | None:
    """Return why a wrapper's step or agent can't be called in a run; ``known`` are those that a worker finds."""
    found = next((item for item in _held(value) if isinstance(item, (Step, Agent))), None)
    if found is None:
        return None
    kind = "step" if isinstance(found, Step) else "agent"
    if any(isinstance(item, _CACHES) for item in _held(value)):
        advice = "Write @kg.step(cache='1 day'), or put the cache below it." if kind == "step" else "Take it away."
        what = f"{name} remembers calls of the {kind} {found.name!r}, not results, and no call can be awaited twice"
        return f"{what}. {advice}"
    if id(found) not in known:
        return (
            f"{name} wraps the {kind} {found.name!r} in something that does not say so, and no worker could find it. "
            f"Put @kg.{kind} above the other decorators, or have the wrapper made with functools.wraps(fn)."
        )
    return None


def _held(value: object) -> Iterator[object]:
    """Yield a callable and what it is built upon, down to steps and agents."""
    stack, seen = [value], set[int]()
    while stack and len(seen) < _DEEPEST:
        item = stack.pop()
        if id(item) in seen or isinstance(item, type) or not (callable(item) or isinstance(item, _CACHES)):
            continue
        seen.add(id(item))
        yield item
        if not isinstance(item, (Step, Agent)):
            stack += [live.wrapped_in(item), *live.parts_of(item)]
