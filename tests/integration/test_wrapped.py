"""A step or agent that is wrapped once more from outside works as it is written, or is refused at start."""

from __future__ import annotations

import functools
import os
import sys

import pytest

import kaigents_nb as kg
from kaigents_nb.errors import CannotFreeze
from tests.integration import mended
from tests.support import eventually

pytestmark = pytest.mark.usefixtures("replayed")


def logged(fn):
    @functools.wraps(fn)
    def call(*args):
        return fn(*args)

    return call


def doubled(fn):
    @functools.wraps(fn)
    async def call(*args):
        return 2 * await fn(*args)

    return call


def silent(fn):
    def call(*args):
        return fn(*args)

    return call


class Kept:
    def __init__(self, fn):
        self.fn = fn

    def __call__(self, *args):
        return self.fn(*args)


@kg.step
def add(a, b=10):
    return a + b


@logged
@kg.step
def logged_step(n):
    open(os.devnull).close()  # what an agent may not do
    return n + 1


@doubled
@kg.step(retry=kg.Retry(max_attempts=3))
def doubled_step(n):
    return n + 1


@logged
@doubled
@kg.step
@logged
def sandwich(n):
    return n + 1


@functools.singledispatch
@kg.step
def dispatched(n):
    return n + 1


@kg.step
@functools.lru_cache
def cached_below(n):
    return n + 1


@functools.wraps(add)
def by_hand(n):
    return add(n, 100)


@logged
@kg.agent
async def logged_agent(n):
    return await add(n)


bound = functools.partial(add, 3)
logged_later = logged(add)
doubled_later = doubled(add)
silent_later = silent(add)
by_lambda = lambda n: add(n, 5)  # noqa: E731 - as analysts write it
in_dict = {"add": functools.partial(add, 4)}

WORKS = {
    "logged_step": (lambda: logged_step(1), 2, "logged_step"),
    "doubled_step": (lambda: doubled_step(1), 4, "doubled_step"),
    "sandwich": (lambda: sandwich(1), 4, "sandwich"),
    "dispatched": (lambda: dispatched(1), 2, "dispatched"),
    "cached_below": (lambda: cached_below(1), 2, "cached_below"),
    "by_hand": (lambda: by_hand(1), 101, "add"),
    "logged_agent": (lambda: logged_agent(1), 11, "logged_agent"),
    "bound": (lambda: bound(), 13, "add"),
    "logged_later": (lambda: logged_later(1), 11, "add"),
    "doubled_later": (lambda: doubled_later(1), 22, "add"),
    "silent_later": (lambda: silent_later(1), 11, "add"),
    "by_lambda": (lambda: by_lambda(1), 6, "add"),
    "in_dict": (lambda: in_dict["add"](), 14, "add"),
}


@kg.agent
async def calls(how):
    call, *_ = WORKS[how]
    return await call()


def test_what_wraps_a_step_is_carried():
    """The wrapper's code is executed in the agent, and the call inside is a step, found by any worker."""
    for how, (_, expected, step) in WORKS.items():
        run = calls.start(how)
        assert run.result(20) == expected, how
        assert run.steps()["step"].tolist() == [step], how


@functools.lru_cache
@kg.step
def cached_above(n):
    return n + 1


cached_later = functools.lru_cache(add)


@silent
@kg.step
def silent_above(n):
    return n + 1


@Kept
@kg.step
def kept_above(n):
    return n + 1


@functools.cache
@kg.agent
async def cached_agent(n):
    return await add(n)


@kg.agent
async def uses_cached_above():
    return await cached_above(1)


@kg.agent
async def uses_cached_later():
    return await cached_later(1)


@kg.agent
async def uses_silent_above():
    return await silent_above(1)


@kg.agent
async def uses_kept_above():
    return await kept_above(1)


@kg.agent
async def uses_cached_agent():
    return await cached_agent(1)


REFUSED = {
    uses_cached_above: r"cached_above remembers calls of the step .* Write @kg\.step\(cache=",
    uses_cached_later: r"cached_later remembers calls of the step 'add'.* Write @kg\.step\(cache=",
    uses_silent_above: r"silent_above wraps the step .* Put @kg\.step above the other decorators.* functools\.wraps",
    uses_kept_above: r"kept_above wraps the step .* Put @kg\.step above the other decorators",
    uses_cached_agent: r"cached_agent remembers calls of the agent .* Take it away",
}


@pytest.mark.parametrize("agent", REFUSED, ids=lambda agent: agent.name)
def test_what_can_not_work_is_refused_at_start(agent):
    """It names the wrapper, the line that uses it, and the way out."""
    with pytest.raises(CannotFreeze, match=REFUSED[agent]) as refused:
        agent.start()
    line = agent.fn.__code__.co_firstlineno + 2
    assert f"Used in {agent.name}(), test_wrapped.py, line {line}." in str(refused.value)


@kg.agent
async def forgets_to_await():
    logged_step(1)
    return await add(1)


def test_a_forgotten_await_is_seen_through_the_wrapper():
    """As before a step."""
    with pytest.raises(kg.KaigentsError, match=r"logged_step\(\) is not awaited"):
        forgets_to_await.start()


@logged
@kg.step
def logged_buggy(x):
    return x.uper()


@kg.agent
async def calls_a_bug():
    return await logged_buggy("ab")


def test_a_wrapped_step_is_mended(monkeypatch):
    """mend() finds it behind its wrapper, in the notebook and in the run."""
    run = calls_a_bug.start()
    eventually(lambda: run.status == "parked", 20)
    monkeypatch.setitem(vars(sys.modules["__main__"]), "logged_buggy", mended.logged_buggy)
    assert run.mend() == ["logged_buggy"]
    assert run.result(20) == "AB"
