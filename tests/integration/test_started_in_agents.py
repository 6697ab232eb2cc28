"""``await other.start(…)`` in an agent: a run of its own, which goes on when the one that started it is over."""

from __future__ import annotations

import asyncio
import uuid

import pytest

import kaigents_nb as kg
from kaigents_nb.errors import CannotFreeze
from tests.support import eventually

pytestmark = pytest.mark.usefixtures("replayed")


@kg.step
def noted(ledger, text):
    with open(ledger, "a") as file:
        file.write(f"{text}\n")
    return text


@kg.agent
async def follows_up(ledger, who):
    decision = await kg.approve(f"Remind {who}?")
    return await noted(ledger, f"{who} reminded by {decision.by}")


@kg.agent
async def closes(ledger, own_id):
    first = await follows_up.start(ledger, "ann")
    named = await follows_up.start(ledger, who="bob", id=own_id)
    again = await follows_up.start(ledger, "nobody", id=own_id)
    assert again == named
    await noted(ledger, f"started {named.id}")
    return first, named.id


@kg.agent
async def starts_at_once(ledger):
    started = await asyncio.gather(*(follows_up.start(ledger, str(n)) for n in range(3)))
    return [run.id for run in started]


@kg.agent
async def starts_and_waits(ledger, own_id):
    await follows_up.start(ledger, "ann", id=own_id)
    await kg.approve("Done?")


@kg.agent
async def forgets_to_await(ledger):
    follows_up.start(ledger, "nobody")


@kg.agent
async def starts_with_wrong_arguments():
    await follows_up.start(1, 2, 3)


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


def test_it_outlives_the_run_that_started_it(tmp_path):
    """Its id is known, it shows up among the runs, and its gate is decided after the other's end."""
    ledger, own_id = tmp_path / "ledger", f"own-{uuid.uuid4()}"
    run = closes.start(str(ledger), own_id)
    first, named = run.result(20)
    assert named == own_id
    assert first.id.startswith("follows_up-")
    assert run.pending().empty
    for run_id, who in ((first.id, "ann"), (own_id, "bob")):
        follow = kg.run(run_id)
        follow.wait_for_gate(20)
        follow.approve(by="zoe")
        assert follow.result(20) == f"{who} reminded by zoe"
    assert eventually(lambda: {first.id, own_id} <= set(kg.runs("follows_up")["run_id"]))
    steps = run.steps()
    assert steps["step"].tolist() == ["follows_up.start"] * 3 + ["noted"]
    assert steps["status"].tolist() == ["completed"] * 4
    assert steps["child_run"].tolist() == [first.id, own_id, own_id, ""]
    assert steps["result"].tolist()[0] == first.id
    assert run.at("last").variables["first"] == first


def test_a_fork_starts_it_again_only_after_the_point(tmp_path):
    """What was started before the point is taken over with its id; what comes after is started anew."""
    ledger, own_id = tmp_path / "ledger", f"own-{uuid.uuid4()}"
    run = closes.start(str(ledger), own_id)
    first, _ = run.result(20)
    fork = run.fork(at="noted")
    assert fork.result(20) == (first, own_id)
    anew, _ = run.fork(at="start").result(20)
    assert anew.id != first.id
    assert fork.fork(at=("follows_up.start", 2)).result(20)[0] == first
    for started in (first.id, anew.id, own_id):
        kg.run(started).terminate()


def test_many_are_started_at_once(tmp_path):
    """Each of them is a run."""
    ids = starts_at_once.start(str(tmp_path / "ledger")).result(20)
    assert len(set(ids)) == 3
    for run_id in ids:
        kg.run(run_id).cancel()


def test_cancelling_the_one_leaves_the_other(tmp_path):
    """A run of its own is nobody's part; its gate is none of the card's that started it."""
    ledger, own_id = str(tmp_path / "ledger"), f"own-{uuid.uuid4()}"
    run = starts_and_waits.start(ledger, own_id)
    eventually(lambda: run.pending()["question"].tolist() == ["Done?"])
    run.cancel()
    eventually(lambda: run.status == "cancelled")
    follow = kg.run(own_id)
    follow.wait_for_gate(20)
    follow.approve(by="zoe")
    assert follow.result(20) == "ann reminded by zoe"


def test_a_dry_run_executes_it_here(tmp_path):
    """Nobody else would: its steps are called and its gates take the decisions, in order."""
    ledger = tmp_path / "ledger"
    first, named = closes.dry_run(str(ledger), "mine", decisions=["approve"] * 3)
    assert (first.id, named) == ("follows_up-dry-run", "mine")
    assert lines(ledger)[0] == "ann reminded by dry run"


@pytest.mark.parametrize("agent", [forgets_to_await, starts_with_wrong_arguments], ids=lambda agent: agent.name)
def test_what_is_wrong_is_refused(agent, tmp_path):
    """A start that nobody awaited, and arguments that don't fit."""
    arguments = [str(tmp_path / "ledger")] * (agent is forgets_to_await)
    with pytest.raises((CannotFreeze, kg.RunFailed), match=r"follows_up\.start\(\) is not awaited|too many positional"):
        agent.start(*arguments).result(20)
