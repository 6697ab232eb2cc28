"""A run from start to result: what agents can write, and what they get back."""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum

import numpy as np
import pandas as pd
import pytest
from pydantic import BaseModel

import kaigents_nb as kg
from kaigents_nb.errors import RunNotFound
from tests.support import eventually

pytestmark = pytest.mark.usefixtures("replayed")


@kg.step
def double(x):
    print("doubling", x)
    return 2 * x


@kg.step
async def later(x, by=0.0):
    await asyncio.sleep(by)
    return x


@kg.agent
async def plain(x: int) -> int:
    return await double(await double(x))


@kg.agent
async def parallel(n):
    both = await asyncio.gather(*[later(i, by=0.02 * (n - i)) for i in range(n)])
    squares = [await double(i) for i in both if i % 2]
    return {"both": both, "squares": squares, "deep": await recurse(3)}


async def recurse(n):
    return 0 if n == 0 else await double(1) + await recurse(n - 1)


@kg.agent
async def parent(x):
    tripled, failed = await plain(x), ""
    try:
        await broken(x)
    except LookupError as error:
        failed = str(error.args[0])
    return tripled, failed


@kg.agent
async def broken(x):
    raise LookupError(f"nothing for {x}")


@kg.agent
async def impatient():
    try:
        await asyncio.wait_for(later(1, by=30), 0.3)
    except TimeoutError:
        return "gave up"


@kg.agent
async def chance():
    await kg.sleep(0.01)
    return kg.now(), kg.random().random(), kg.uuid4()


class Size(Enum):
    SMALL = "s"


@dataclass
class Quote:
    supplier: str
    price: Decimal
    when: dt.datetime


class Offer(BaseModel):
    quote: dict[str, int]
    until: dt.date


@kg.step
def make_everything():
    frame = pd.DataFrame(
        {"a": [1, 2], "t": pd.to_datetime(["2026-01-01", "2026-06-01"]).tz_localize("Europe/Berlin")},
        index=pd.Index(["x", "y"], name="key"),
    )
    return {
        "frame": frame,
        "array": np.arange(6, dtype="int16").reshape(2, 3),
        "scalar": np.float32(1.5),
        "quote": Quote("A", Decimal("1.50"), dt.datetime(2026, 1, 1, tzinfo=dt.UTC)),
        "offer": Offer(quote={"n": 1}, until=dt.date(2026, 2, 3)),
        "size": Size.SMALL,
        "nothing": None,
        "bytes": b"\x00\xff",
        "pair": (1, "two"),
    }


@kg.step
def check_everything(things, frame):
    assert isinstance(things["quote"], Quote)
    assert isinstance(things["offer"], Offer)
    assert things["size"] is Size.SMALL
    pd.testing.assert_frame_equal(things["frame"], frame)
    return things["array"].dtype.name, things["scalar"].dtype.name, things["pair"]


@kg.agent
async def everything():
    things = await make_everything()
    checked = await check_everything(things, frame=things["frame"])
    return things, checked


@kg.step
def big(rows):
    return pd.DataFrame({"x": np.random.default_rng(1).random(rows)})


@kg.step
def total(frame):
    return float(frame["x"].sum())


@kg.agent
async def big_frames(rows):
    frame = await big(rows)
    return await total(frame), await total(frame)


def test_steps_run_durably_and_their_output_is_kept():
    """Steps give their results to the agent, and what they printed stays with them."""
    run = plain.start(3)
    assert run.result(20) == 12
    steps = run.steps()
    assert steps["step"].tolist() == ["double", "double"]
    assert steps["output"].tolist() == ["doubling 3\n", "doubling 6\n"]
    assert steps["attempts"].tolist() == [1, 1]
    assert steps["inputs"].tolist() == [{"x": 3}, {"x": 6}]
    assert steps.attrs["run_id"] == run.id
    assert run.status == "completed"


def test_a_called_step_is_just_the_function():
    """Outside an agent a step is the plain function."""
    assert double(4) == 8


def test_gather_comprehensions_and_recursion():
    """Ordinary async Python works in an agent."""
    result = parallel.start(4).result(20)
    assert result == {"both": [0, 1, 2, 3], "squares": [2, 6], "deep": 6}


def test_agents_call_agents():
    """An awaited agent is a run of its own; its error reaches the caller as its own class."""
    run = parent.start(2)
    assert run.result(20) == (8, "nothing for 2")
    steps = run.steps()
    assert steps["step"].tolist() == ["plain", "broken"]
    assert kg.run(steps["child_run"].iloc[0]).result(5) == 8


def test_wait_for_cancels_the_step():
    """asyncio.wait_for gives up on a step without waiting for it."""
    run = impatient.start()
    assert run.result(20) == "gave up"
    assert run.steps()["status"].tolist() == ["cancelled"]


def test_time_and_chance_come_from_the_run():
    """kg.now, kg.random and kg.uuid4 answer in an agent."""
    moment, number, name = chance.start().result(20)
    assert moment.tzinfo is not None
    assert 0 <= number < 1
    assert name.version == 4


def test_values_keep_their_types():
    """Frames, arrays, classes from cells, decimals, enums and tuples arrive as they left."""
    things, checked = everything.start().result(30)
    assert checked == ("int16", "float32", (1, "two"))
    assert isinstance(things["quote"], Quote)
    assert str(things["frame"]["t"].dt.tz) == "Europe/Berlin"


def test_a_50_mb_frame_passes_between_steps_once(data_dir):
    """A big value lies in a file once, however often it is handed on, and the history stays small."""
    rows = 6_500_000
    run = big_frames.start(rows)
    first, second = run.result(60)
    assert first == second
    files = [path for path in (data_dir / "blobs").rglob("*") if path.is_file() and path.stat().st_size > 40e6]
    assert len(files) == 1
    assert files[0].stat().st_mode & 0o777 == 0o600
    shown = run.steps()["result"].iloc[0]
    assert isinstance(shown, str)
    assert "6,500,000" in shown
    assert len(run.steps(full=True)["result"].iloc[0]) == rows


def test_an_id_starts_once():
    """The same id gives the running run; an ended one is refused with the way out."""
    first = waiting.start(id="only-once")
    assert waiting.start(id="only-once").id == first.id
    first.wait_for_gate(20)
    first.approve()
    first.result(20)
    with pytest.raises(ValueError, match="already ended"):
        waiting.start(id="only-once")


@kg.agent
async def waiting():
    return (await kg.approve("Go on?")).choice


def test_wrong_arguments_fail_in_the_cell():
    """A call that doesn't fit the signature is a TypeError at start, not a failed run."""
    with pytest.raises(TypeError, match="missing"):
        plain.start()


def test_cancel_and_terminate():
    """A cancelled and a terminated run say so in status and result."""
    run, other = waiting.start(), waiting.start()
    run.wait_for_gate(20)
    run.cancel()
    with pytest.raises(kg.RunCancelled):
        run.result(20)
    assert run.status == "cancelled"
    other.terminate("not needed")
    with pytest.raises(kg.RunCancelled, match="not needed"):
        other.result(20)


def test_runs_lists_by_agent_and_status():
    """kg.runs() is a table with fixed columns, filtered on the server."""
    run = waiting.start()
    run.wait_for_gate(20)
    table = kg.runs("waiting", limit=1)
    assert eventually(lambda: _listed(run.id))[0]["waits_for"] == "Go on?"
    assert kg.runs("no-such-agent").columns.tolist() == table.columns.tolist()
    assert len(kg.runs("no-such-agent")) == 0
    with pytest.raises(ValueError, match="Known"):
        kg.runs(status="sleeping")
    run.reject()
    assert run.result(20) == "reject"


def _listed(run_id):
    table = kg.runs("waiting", status="waiting", since="1 hour")
    return table[table["run_id"] == run_id].to_dict("records")


def test_an_unknown_run_is_named():
    """kg.run of a wrong id is an error that says how to list the known ones."""
    with pytest.raises(RunNotFound, match=r"kg.runs\(\)"):
        kg.run("no-such-run")


def test_result_timeout_leaves_the_run_alone():
    """RunTimeout ends the waiting, not the run."""
    run = waiting.start()
    run.wait_for_gate(20)
    with pytest.raises(kg.RunTimeout):
        run.result(timeout="300 ms")
    assert run.status == "waiting"
    run.approve()
    assert run.result(20) == "approve"


def test_events_are_a_table():
    """run.events() has one typed row per server event, the same after the run has ended and is cached."""
    run = plain.start(1)
    run.result(20)
    events = run.events()
    assert events["event_id"].tolist() == list(range(1, len(events) + 1))
    assert str(events["time"].dt.tz) == "UTC"
    assert events.loc[events["type"] == "activity_task_scheduled", "step"].tolist() == ["double", "double"]
    pd.testing.assert_frame_equal(events, run.events())


async def test_await_run():
    """``await run`` gives the result in a cell's own loop."""
    assert await plain.start(1) == 4


def test_runs_are_newest_first():
    """By when they started: whichever is still open, or ended last."""
    started = [impatient.start() for _ in range(4)]
    ids = [run.id for run in started]
    started[2].terminate()
    started[0].terminate()
    eventually(lambda: set(ids) <= set(kg.runs("impatient")["run_id"]))
    eventually(lambda: (kg.runs("impatient", status="terminated")["run_id"].isin(ids)).sum() == 2)
    for table in (kg.runs("impatient"), kg.runs("impatient", since="1 day")):
        assert table["run_id"].tolist()[:4] == ids[::-1]
        assert table["started"].is_monotonic_decreasing
    assert kg.runs("impatient", limit=2)["run_id"].tolist() == ids[:1:-1]
    for run in started:
        run.terminate()
