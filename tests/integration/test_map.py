"""A step or agent for each of many items; what a run knows of itself and shows."""

from __future__ import annotations

import pandas as pd
import pytest

import kaigents_nb as kg

pytestmark = pytest.mark.usefixtures("server")


@kg.step(retry=kg.Retry(max_attempts=1))
def double(number):
    if number == 3:
        raise LookupError("not three")
    return 2 * number


@kg.step
def itself():
    run = kg.this_run()
    return run.id, run.agent, run.attempt


@kg.agent
async def halve(number):
    return number / 2


@kg.agent
async def doubles(count):
    return await kg.map(double, range(count), limit=7)


@kg.agent
async def halves(numbers):
    return await kg.map(halve, numbers)


@kg.agent
async def tells():
    run = kg.this_run()
    kg.publish(phase="asking", frame={"rows": 3})
    decision = await kg.approve("Go on?")
    kg.publish(phase="done")
    return run.id, run.agent, run.started.tzinfo is not None, await itself(), bool(decision)


def test_one_row_per_item():
    """In order; one that fails is a row."""
    run = doubles.start(5)
    table = run.result(30)
    assert table.columns.tolist() == ["item", "result", "status", "error"]
    assert table["result"].tolist() == [0, 2, 4, None, 8]
    assert table["error"].tolist() == ["", "", "", "LookupError: not three", ""]
    empty = doubles.start(0).result(30)
    assert empty.empty
    assert empty.dtypes.equals(table.dtypes)
    pd.testing.assert_frame_equal(doubles.dry_run(5), table)


def test_agents_are_runs_of_their_own():
    """Each with its row."""
    run = halves.start([1, 2])
    assert run.result(30)["result"].tolist() == [0.5, 1.0]
    assert run.steps()["child_run"].str.len().min() > 0


def test_many_items_are_several_histories():
    """Each far below what a server takes."""
    run = doubles.start(1_100)
    table = run.result(120)
    assert table["result"].dropna().tolist() == [2 * number for number in range(1_100) if number != 3]
    assert run.steps()["step"].tolist() == ["kg.map"] * 3
    assert len(run.events()) < 100
    assert len(kg.run(run.steps()["child_run"][0]).steps()) == 500


def test_a_run_knows_itself_and_shows_values():
    """Its id and agent, the attempt in a step; what it publishes is on the card and in run.published."""
    run = tells.start()
    run.wait_for_gate(20)
    assert run.published == {"phase": "asking", "frame": {"rows": 3}}
    assert run.view().published == {"phase": "'asking'", "frame": "{'rows': 3}"}
    run.approve()
    assert run.result(20) == (run.id, "tells", True, (run.id, "tells", 1), True)
    assert run.published["phase"] == "done"
    with pytest.raises(RuntimeError, match="no run here"):
        kg.this_run()
    with pytest.raises(RuntimeError, match="Only an agent"):
        kg.publish(x=1)
