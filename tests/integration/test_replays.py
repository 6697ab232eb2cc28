"""The replay that ends other tests notices an agent that would not do the same again."""

from __future__ import annotations

import sys

import pytest
from temporalio.workflow import NondeterminismError

import kaigents_nb as kg
from tests.golden.histories import replay_run
from tests.integration.conftest import Executed


@kg.step
def double(x):
    return 2 * x


@kg.agent
async def steady(x):
    return await double(await double(x))


@kg.agent
async def asks_otherwise():
    x = await double(1)
    if sys.getrecursionlimit() > 5_000:
        x = await double(x)
    return x


@kg.agent
async def ends_otherwise():
    await double(1)
    return sys.getrecursionlimit() > 5_000


def execute(agent, executed, *args):
    """Run an agent to its end; return a function that replays it, and how often it was begun."""
    executed.clear()
    agent.start(*args).result(30)
    [(run, begun)] = executed.items()
    connection = kg.connect()
    return lambda: connection.run(lambda: replay_run(connection, *run)), begun


def test_a_worker_that_forgets_begins_a_run_for_each_of_its_tasks(forgetful_worker: Executed) -> None:
    """Two steps one after the other make three tasks, each of which begins at the agent's first line."""
    replay, begun = execute(steady, forgetful_worker, 2)
    assert begun >= 3
    replay()


@pytest.mark.parametrize(("agent", "error"), [(asks_otherwise, NondeterminismError), (ends_otherwise, AssertionError)])
def test_an_agent_that_depends_on_its_process_is_noticed(agent, error, forgetful_worker: Executed) -> None:
    """What the process has other than when the run was executed changes a step, or the result."""
    replay, _ = execute(agent, forgetful_worker)
    replay()
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(5_001)
    try:
        with pytest.raises(error):
            replay()
    finally:
        sys.setrecursionlimit(limit)
