"""The timeline, moments and the failure on the card, of real runs."""

from __future__ import annotations

import asyncio
import os
import time

import pytest

import kaigents_nb as kg
from kaigents_nb.display.blocks_html import root
from kaigents_nb.display.moment_blocks import failure_blocks
from tests.support import eventually
from tests.workers import kill

pytestmark = pytest.mark.usefixtures("server")


@kg.step
def load(name):
    return {"name": name}


@kg.step(retry=kg.Retry(first_wait=0.05))
def third_time_lucky(ledger):
    with open(ledger, "a") as file:
        file.write("x")
    if os.path.getsize(ledger) < 3:
        raise TimeoutError("the customs API did not answer")
    return 7


@kg.agent
async def asks(question):
    decision = await kg.approve(question)
    return decision.by


@kg.agent
async def does_everything(ledger):
    loaded = await asyncio.gather(load("a"), load("b"))
    rate = await third_time_lucky(ledger)
    await kg.sleep(0.2)
    by = await asks("May the helper?")
    decision = await kg.approve("May I?")
    return len(loaded), rate, by, decision.by


@kg.agent
async def fails(prices):
    total = 0
    for price in prices:
        total += price
    loaded = await load("a")
    return loaded["price"] * total


@kg.step
def hangs_once(flag):
    if not os.path.exists(flag):
        open(flag, "w").close()
        time.sleep(600)
    return "went on"


@kg.agent
async def dies(flag):
    return await hangs_once(flag)


@kg.step
def refuses(value):
    raise TypeError(f"no {value}")


@kg.agent
async def parks(value):
    doubled = value * 2
    return await refuses(doubled)


def test_everything_that_happens_is_on_the_timeline(tmp_path):
    """Parallel steps, failed attempts, a sleep, a called agent and a gate with who decided, in order and in time."""
    run = does_everything.start(str(tmp_path / "ledger"))
    run.wait_for_gate(20)
    while_open = run.timeline().frame.set_index("name")
    assert while_open.loc["asks", "kind"] == "child agent" and while_open["end"].isna()["asks"]
    run.approve(by="ann")
    eventually(lambda: run.pending()["question"].tolist() == ["May I?"])
    run.approve(by="bob")
    assert run.result(20) == (2, 7, "ann", "bob")
    timeline = run.timeline()
    table = timeline.frame
    assert table[["kind", "name", "status"]].values.tolist() == [
        ["step", "load", "completed"],
        ["step", "load", "completed"],
        ["step", "third_time_lucky", "completed"],
        ["attempt", "third_time_lucky", "failed"],
        ["attempt", "third_time_lucky", "completed"],
        ["sleep", "sleep", "completed"],
        ["child agent", "asks", "completed"],
        ["wait at gate", "May I?", "approved"],
    ]
    assert table["attempt"].tolist()[2:5] == [3, 2, 3]
    assert "TimeoutError: the customs API did not answer" in table["detail"][3]
    assert 0.15 < table["duration_s"][5] < 2
    assert table["detail"][7].startswith("Approved by bob on ")
    view = run.view()
    assert table["start"].min() >= view.started and table["end"].max() <= view.ended
    assert (table["duration_s"] >= 0).all()
    assert "approved by bob" in repr(timeline) and "x" in repr(timeline)
    assert timeline._repr_html_().count("<svg") == 1


def test_a_parked_step_shows_how_long_it_was_parked():
    """The failed attempt, the time parked and the attempt after it are rows of their own."""
    run = parks.start(3)
    eventually(lambda: run.status == "parked")
    parked = run.timeline().frame
    assert parked[["kind", "status"]].values.tolist() == [
        ["step", "parked"],
        ["attempt", "parked"],
        ["parked", "parked"],
    ]
    assert parked["end"].isna().tolist() == [True, False, True]
    page = root(*failure_blocks(run))
    assert "doubled" in page and "Waiting for refuses" in page
    run.retry_now()
    eventually(lambda: len(run.timeline().frame.query("kind == 'attempt'")) == 2)
    run.terminate()
    eventually(lambda: run.status == "terminated")
    assert not run.timeline().frame["end"].isna().any()


def test_a_killed_worker_is_on_the_timeline(workers, tmp_path):
    """kill -9 in a step: the lost attempt, when it was noticed, and the attempt of the next worker."""
    flag = tmp_path / "flag"
    run = dies.start(str(flag))
    first = workers.start()
    eventually(flag.exists, 40)
    kill(first)
    second = workers.start()
    assert run.result(60) == "went on"
    timeline = run.timeline()
    table = timeline.frame
    call = table[table["call"] == 1]
    assert call[["kind", "status"]].values.tolist() == [
        ["step", "completed"],
        ["attempt", "failed"],
        ["worker death", "noticed"],
        ["attempt", "completed"],
    ]
    lost, noticed, done = call.iloc[1:].itertuples()
    assert lost.start <= noticed.start == lost.end <= done.start
    assert lost.detail.startswith("attempt 1 and the wait after it")
    assert done.worker.startswith(str(second.pid))
    assert "a worker died" in timeline._repr_html_()
    assert "!" in repr(timeline)


def test_a_failure_can_be_looked_at_on_the_card():
    """The failed run's card has the line that raised and the variables there."""
    run = fails.start([1, 2])
    with pytest.raises(kg.RunFailed):
        run.result(20)
    page = root(*failure_blocks(run))
    assert "This line raised KeyError" in page
    assert "→" in page and "loaded[&#34;price&#34;] * total" in page
    assert "total" in page and "<code" in page


def test_a_run_is_explored():
    """run.explore() opens at the failure and walks the real trace."""
    run = fails.start([1, 2])
    with pytest.raises(kg.RunFailed):
        run.result(20)
    explorer = run.explore()
    assert explorer.moment.raised.__class__ is KeyError
    first = run.explore("first")
    assert first.moment.number == 0
    page = first._repr_mimebundle_()["text/html"]
    assert f"moment 0 of {len(run.trace()) - 1}" in page and "<svg" in page
