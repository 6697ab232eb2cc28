"""Fork: the prefix is taken over, the rest goes on live."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest

import kaigents_nb as kg
from kaigents_nb.errors import NoSuchMoment
from tests.support import eventually

pytestmark = pytest.mark.usefixtures("replayed")


@kg.step
def work(ledger, n, x):
    with open(ledger, "a") as file:
        file.write(f"{n}\n")
    return x * 2 + n


@kg.agent
async def ten_steps(ledger, start):
    x = start
    for n in range(10):
        x = await work(ledger, n, x)
    return x


@kg.agent
async def gated(ledger):
    first = await work(ledger, 0, 1)
    chance = kg.random().random()
    decision = await kg.approve("Go on?")
    await kg.sleep(0.2)
    return await work(ledger, 1, first), chance, decision.by


@kg.step(retry=kg.Retry(max_attempts=1))
def fails(ledger):
    with open(ledger, "a") as file:
        file.write("f\n")
    raise ValueError("no")


@kg.agent
async def handles_a_failure(ledger):
    try:
        await fails(ledger)
    except ValueError as error:
        seen = str(error)
    return seen, await work(ledger, 9, 1)


@kg.step
def bad_step(x):
    return x.nope


@kg.agent
async def bug_at_the_end(ledger):
    x = await work(ledger, 0, 5)
    return await bad_step(x)


@kg.step
def big_frame(rows):
    return pd.DataFrame({"x": np.random.default_rng(rows).random(rows)})


@kg.step
def total(frame):
    return float(frame["x"].sum())


@kg.agent
async def with_big_values(rows):
    frame = await big_frame(rows)
    return await total(frame), len(frame)


def lines(path):
    return path.read_text().split()


def test_fork_at_every_step_of_ten(tmp_path):
    """Each fork gives the same result, with exactly the later steps executed."""
    ledger = tmp_path / "ledger"
    run = ten_steps.start(str(ledger), 1)
    result = run.result(30)
    assert len(lines(ledger)) == 10
    forks = []
    for occurrence in range(1, 11):
        before = len(lines(ledger))
        fork = run.fork(at=("work", occurrence))
        assert fork.result(30) == result
        assert lines(ledger)[before:] == [str(n) for n in range(occurrence - 1, 10)]
        forks.append(fork)
    steps = forks[4].steps()
    assert len(steps) == 10
    assert steps["attempts"].tolist() == [0] * 4 + [1] * 6


def test_a_fork_of_a_fork(tmp_path):
    """A fork can be forked; nothing of either prefix runs again."""
    ledger = tmp_path / "ledger"
    run = ten_steps.start(str(ledger), 1)
    result = run.result(30)
    fork = run.fork(at=("work", 4))
    assert fork.result(30) == result
    again = fork.fork(at=("work", 10))
    assert again.result(30) == result
    assert lines(ledger)[-1] == "9"


def test_edited_outputs_replace_recorded_ones(tmp_path):
    """values= changes an output; what came later is computed from it."""
    ledger = tmp_path / "ledger"
    run = ten_steps.start(str(ledger), 1)
    run.result(30)
    fork = run.fork(values={("work", 9): 1000})
    assert fork.result(30) == 2009
    assert lines(ledger)[10:] == ["9"]
    lineage = fork.view().lineage
    assert lineage["forked_from"] == run.id
    assert (lineage["forked_at"], lineage["forked_edits"]) == ("call 10", "work (call 9)")
    table = eventually(lambda: (t := kg.runs("ten_steps"))[t["run_id"] == fork.id].to_dict("records"))
    assert table[0]["forked_from"] == run.id


def test_other_arguments(tmp_path):
    """args= starts the same code with other arguments."""
    run = ten_steps.start(str(tmp_path / "ledger"), 1)
    run.result(30)
    fork = run.fork(at="start", args={"ledger": str(tmp_path / "other"), "start": 2})
    assert fork.result(30) == ten_steps.start(str(tmp_path / "third"), 2).result(30)
    assert len(lines(tmp_path / "other")) == 10


def test_decisions_are_asked_again_unless_kept(tmp_path):
    """A fork behind a gate asks again; decisions='keep' takes the old one over and says whose it was."""
    ledger = tmp_path / "ledger"
    run = gated.start(str(ledger))
    run.wait_for_gate(20)
    run.approve(by="ann")
    result = run.result(20)
    asked = run.fork(at=("work", 2))
    asked.wait_for_gate(20)
    asked.approve(by="bob")
    assert asked.result(20) == (*result[:2], "bob")
    kept = run.fork(at=("work", 2), decisions="keep")
    assert kept.result(20) == result
    assert kept.view().gates[0].answer.by == "ann"


@kg.agent
async def pays(ledger, amount, options):
    decision = await kg.approve("Pay\u00a0it?", details={"amount": amount}, options=options)
    await work(ledger, 1, 1)
    return amount, decision.choice, decision.by


@pytest.mark.parametrize("args", [[5_000_000, ["Ann", "Bob"]], [5, ["Eve", "Bob"]]])
def test_a_decision_is_kept_only_for_what_was_shown(tmp_path, args):
    """The same question with other details or options is another one: it is asked, and its answer is what counts."""
    ledger = str(tmp_path / "ledger")
    run = pays.start(ledger, 5, ["Ann", "Bob"])
    run.wait_for_gate(20)
    run.approve(choice="Ann", by="ann")
    assert run.result(20) == (5, "Ann", "ann")
    assert run.fork(at="work", decisions="keep").result(20) == (5, "Ann", "ann")
    fork = run.fork(at="work", args=[ledger, *args], decisions="keep")
    fork.wait_for_gate(20)
    assert fork.status == "waiting"
    fork.approve(choice="Bob", by="bob")
    assert fork.result(20) == (args[0], "Bob", "bob")
    assert fork.view().gates[0].answer.by == "bob"
    assert fork.decisions()["counted"].tolist() == [True]


def test_a_handled_failure_is_taken_over(tmp_path):
    """An error that the agent caught before the point is raised again, not executed again."""
    ledger = tmp_path / "ledger"
    run = handles_a_failure.start(str(ledger))
    assert run.result(20) == ("no", 11)
    assert run.fork(at="work").result(20) == ("no", 11)
    assert lines(ledger) == ["f", "9", "9"]


def test_fork_a_parked_run_at_its_failure(tmp_path, monkeypatch):
    """at='failed' keeps what succeeded and makes the failing call again, here with an edited output."""
    ledger = tmp_path / "ledger"
    run = bug_at_the_end.start(str(ledger))
    eventually(lambda: run.status == "parked")
    fork = run.fork(at="failed")
    eventually(lambda: fork.status == "parked")
    assert fork.view().steps[0].reused
    assert lines(ledger) == ["0"]
    edited = run.fork(values={"bad_step": "mended by hand"})
    assert edited.result(20) == "mended by hand"
    run.terminate()
    fork.terminate()


def test_new_code_parts_where_it_asks_for_another_step(tmp_path, monkeypatch):
    """With current code that calls other steps, the fork says where the two part and goes on live."""
    from tests.integration import rewritten

    ledger = tmp_path / "ledger"
    run = ten_steps.start(str(ledger), 1)
    run.result(30)
    monkeypatch.setitem(vars(sys.modules["__main__"]), "ten_steps", rewritten.ten_steps)
    fork = run.fork(at=("work", 6), code="current")
    assert fork.result(30) == "rewritten after 3 steps: 12"
    [notice] = fork.view().notices
    assert "call 4" in notice
    assert "'summarize'" in notice
    assert len(lines(ledger)) == 10


def test_big_values_are_taken_over_by_reference(data_dir):
    """A fork behind a frame of some MB copies nothing: the file is the same, and the history has its name."""
    run = with_big_values.start(300_000)
    result = run.result(30)
    files = sorted(path.name for path in (data_dir / "blobs").rglob("*"))
    fork = run.fork(at="total")
    assert fork.result(30) == result
    assert sorted(path.name for path in (data_dir / "blobs").rglob("*")) == files
    steps = fork.steps()
    assert steps["attempts"].tolist() == [0, 1]
    assert "300,000" in steps["result"].iloc[0]
    assert fork.fork(at="total").result(30) == result


def test_unknown_points_list_the_known_ones(tmp_path):
    """A misspelt step, a wrong occurrence or event and a run without failure are explained."""
    run = ten_steps.start(str(tmp_path / "ledger"), 1)
    run.result(30)
    for at, text in [
        ("wrk", "Did you mean 'work'"),
        (("work", 11), "10 times"),
        (9999, "Known: 1 to"),
        ("failed", "Nothing failed"),
        ("failure", "Nothing failed"),
    ]:
        with pytest.raises(NoSuchMoment, match=text):
            run.fork(at=at)
    with pytest.raises(ValueError, match="'same' or 'current'"):
        run.fork(at="work", code="new")
