"""A fork equals a direct execution: a call is known by its place, and what was recorded comes as it came."""

from __future__ import annotations

import asyncio

import pytest

import kaigents_nb as kg
from tests.support import eventually

pytestmark = pytest.mark.usefixtures("replayed")


@kg.step
def noted(ledger, name, x=0):
    with open(ledger, "a") as file:
        file.write(f"{name}\n")
    return f"{name}({x})"


@kg.step
async def noted_after(ledger, name, delay_s):
    await asyncio.sleep(delay_s)
    return noted(ledger, name, delay_s)


@kg.step
def never(ledger):
    raise ConnectionError("not yet")


@kg.agent
async def fan_out(ledger):
    async def branch(n):
        first = await noted_after(ledger, f"{n}a", 0.02 * ((7 * n) % 5))
        second = await noted(ledger, f"{n}b", first)
        return await noted(ledger, f"{n}c", second)

    results = await asyncio.gather(*(branch(n) for n in range(24)))
    return await noted(ledger, "sum", results)


@kg.agent
async def first_wins(ledger):
    slow = asyncio.create_task(noted_after(ledger, "slow", 0.3))
    fast = asyncio.create_task(noted_after(ledger, "fast", 0))
    seen = []
    waiting = {slow, fast}
    while waiting:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        seen += [await noted(ledger, "saw", task.result()) for task in done]
    try:
        await asyncio.wait_for(never(ledger), 0.2)
    except TimeoutError:
        seen.append(await noted(ledger, "too late"))
    return await noted(ledger, "end", seen)


@kg.agent
async def gates_at_once(ledger):
    async def branch(name):
        await noted(ledger, f"{name}1")
        decision = await kg.approve(name)
        return await noted(ledger, f"{name}2", decision.by)

    both = await asyncio.gather(branch("a"), branch("b"))
    return await noted(ledger, "end", both)


def lines(path):
    return path.read_text().split("\n")[:-1] if path.exists() else []


def test_a_fork_after_a_fan_out_gives_each_branch_its_own(tmp_path):
    """However the calls of 24 branches interleaved, the fork has each branch's results; no recorded step runs again."""
    ledger = tmp_path / "ledger"
    run = fan_out.start(str(ledger))
    result = run.result(60)
    fork = run.fork(at=("noted", 49))
    assert fork.result(60) == result
    assert lines(ledger)[73:] == ["sum"]
    again = fork.fork(at=("noted", 30))
    before = run.steps()["inputs"].tolist()
    assert again.result(60) == result
    made_again = lines(ledger)[74:]
    assert len(made_again) == len(set(made_again)) < 30
    assert len(before) == 73


def test_a_fork_goes_the_way_of_races(tmp_path):
    """Who came first, what timed out: recorded, not raced again; what the run gave up is not made again."""
    ledger = tmp_path / "ledger"
    run = first_wins.start(str(ledger))
    result = run.result(30)
    assert 0 < result.index("saw(fast") < result.index("saw(slow") < result.index("too late")
    fork = run.fork(at=("noted", 4))
    assert fork.result(30) == result
    assert lines(ledger)[6:] == ["end"]
    assert run.fork(at=("noted", 3)).result(30) == result


def test_gates_asked_again_come_in_the_recorded_order_or_as_they_are_decided(tmp_path):
    """A fork that asks again waits for nobody who was not waited for."""
    ledger = tmp_path / "ledger"
    run = gates_at_once.start(str(ledger))
    eventually(lambda: len(run.pending()) == 2)
    run.approve("2", by="bea")
    eventually(lambda: "b2" in lines(ledger))
    run.approve("1", by="al")
    result = run.result(20)
    for first, then in (("2", "1"), ("1", "2")):
        before = len(lines(ledger))
        fork = run.fork(at=("noted", 5))
        eventually(lambda fork=fork: len(fork.pending()) == 2)
        fork.approve(first, by={"1": "al", "2": "bea"}[first])
        eventually(lambda fork=fork, first=first: first not in fork.pending()["gate"].tolist())
        fork.approve(then, by={"1": "al", "2": "bea"}[then])
        assert fork.result(20) == result
        assert lines(ledger)[before:] == ["end"]
    assert run.fork(at=("noted", 5), decisions="keep").result(20) == result
