"""Leaving while something is under way that does not end: it is said in words, and everything goes on afterwards."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

import kaigents_nb as kg
from kaigents_nb.control import submit
from kaigents_nb.runtime import connection, loop
from tests.support import eventually

pytestmark = pytest.mark.usefixtures("server")


ROUNDS = 20_000_000


@kg.agent
async def counts(rounds):
    return sum(number % 7 for number in range(rounds))


@kg.step
async def blocks(seconds):
    time.sleep(seconds)  # as an analyst may write it
    return "done"


@kg.agent
async def calls_what_blocks(seconds):
    return await blocks(seconds)


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(connection, "_DRAIN_S", 0.5)
    monkeypatch.setattr(loop, "_STOPS_S", 0.3)
    monkeypatch.setattr(submit, "TASK_TIMEOUT", timedelta(seconds=4))


def test_an_agent_that_computes_does_not_break_leaving(impatient):
    """The warning says that an agent is at work; the run ends well with the next worker."""
    run = counts.start(ROUNDS)
    eventually(lambda: "workflow_task_started" in set(run.events()["type"]))
    with pytest.warns(UserWarning, match=r"an agent at work did not end in time.*Nothing is lost"):
        kg.disconnect()
    assert kg.run(run.id).result(60) == sum(number % 7 for number in range(ROUNDS))


def test_an_async_step_that_blocks_does_not_break_leaving(impatient):
    """The warning names the call."""
    run = calls_what_blocks.start(5)
    eventually(lambda: "activity_task_scheduled" in set(run.events()["type"]))
    eventually(lambda: run._connection.attempts.of_run(run.id), message="the step is executed here")
    with pytest.warns(UserWarning, match=rf"call 1 of run '{run.id}' did not end in time"):
        kg.disconnect()
    assert kg.run(run.id).result(60) == "done"
