"""Looking back at runs on a real server: traces, variables, moments, differences."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
import warnings
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pandas as pd
import pytest

import kaigents_nb as kg
from kaigents_nb.control.run import Run
from kaigents_nb.errors import HistoryGone, NoSuchMoment, ReplayDiverged
from kaigents_nb.replay import trace as traces
from kaigents_nb.replay.records import DELETED
from kaigents_nb.replay.trace import TRACE_COLUMNS, VARIABLE_COLUMNS, trace_of
from tests.support import eventually
from tests.workers import kill

pytestmark = pytest.mark.usefixtures("server")


@dataclass
class Quote:
    """An analyst's class."""

    supplier: str
    price: float


@kg.step
def quote(supplier, factor=1.0):
    return Quote(supplier, len(supplier) * factor)


@kg.step
def table(rows):
    return pd.DataFrame({"n": range(rows), "big": ["x" * 100] * rows})


@kg.step(retry=kg.Retry(max_attempts=1))
def refuse(what):
    raise LookupError(f"no {what}")


@kg.agent
async def compare(suppliers):
    """Everything in one: loop, mutation, branches, exceptions, gate, table."""
    quotes = []
    for name in suppliers:
        found = await quote(name)
        quotes.append(found)
    both = await asyncio.gather(
        branch("A", quotes),
        branch("BB", quotes),
    )
    data = await table(3)
    data["n"] = data["n"] * 2
    try:
        await refuse("stock")
    except LookupError as error:
        reason = str(error)
    all_of_them = [await quote(name, factor=2) for name in suppliers]
    decision = await kg.approve("Buy?", options=["yes", "later"])
    await kg.sleep(0.05)
    return both, decision.choice, len(all_of_them), reason


async def branch(name, quotes):
    mine = await quote(name, factor=3)
    quotes.append(mine)
    return mine.price


def test_open_run_and_its_end():
    """An open run's trace is the start of the ended one's; nothing is printed; columns and types are as documented."""
    run = compare.start(["x", "yy"])
    run.wait_for_gate(20)
    before = run.trace()
    assert list(before.columns) == list(TRACE_COLUMNS)
    assert str(before.time.dtype) == "datetime64[us, UTC]" and str(before.code_line.dtype) == "int64"
    assert before.attrs == {"run_id": run.id}
    assert before.source.iloc[-1].startswith("decision = await kg.approve")
    assert run.at("last").waiting_for == ["Buy?"]
    run.approve(choice="yes")
    assert run.result(20)[1] == "yes"
    after = run.trace()
    pd.testing.assert_frame_equal(
        after.drop(columns="changed").iloc[: len(before)], before.drop(columns="changed"), check_freq=False
    )
    assert after.source.iloc[-1].startswith("return both")
    assert after.moment.tolist() == list(range(len(after)))
    assert after.event_id.is_monotonic_increasing and after.time.is_monotonic_increasing
    assert set(after.branch) == {0, 1, 2}
    assert set(after[after.branch > 0].function) == {"branch"}
    cells = after[["cell", "line"]].drop_duplicates()
    assert cells.cell.str.contains("test_trace").all()
    known = trace_of(kg.connect(), run.id)
    assert trace_of(kg.connect(), run.id) is known


def test_values_are_those_of_the_moment():
    """Objects, tables and lists are copies as of each line, though the agent changed them later."""
    run = compare.start(["x", "yy"])
    run.wait_for_gate(20)
    changes = run.variables()
    assert list(changes.columns) == list(VARIABLE_COLUMNS)
    assert changes.copied.all()
    quotes = changes[(changes.variable == "quotes") & (changes.branch == 0)].value.tolist()
    assert [len(value) for value in quotes] == [0, 1, 2, 4]
    assert quotes[1][0] is quotes[3][0] and quotes[3][0].price == 1.0
    tables = changes[changes.variable == "data"].value.tolist()
    assert [list(value["n"]) for value in tables] == [[0, 1, 2], [0, 2, 4]]
    errors = changes[changes.variable == "error"].value.tolist()
    assert isinstance(errors[0], LookupError) and errors[1] is DELETED
    run.terminate()
    assert len(run.variables()) == len(changes)


class Stage(Enum):
    """An analyst's enum."""

    OPEN = 1
    DONE = 2


class Bag(dict):
    """An analyst's dict."""


class Pair(NamedTuple):
    """An analyst's tuple."""

    name: str
    tags: list[str]


@dataclass
class Rule:
    """An analyst's class that holds code."""

    check: Callable[[float], bool]
    limits: list[float]


@kg.agent
async def keep_count():
    """Each value is changed in place, once."""
    zeros = defaultdict(lambda: 0)
    bag = Bag(rows=[])
    stages = Counter([Stage.OPEN])
    place = SimpleNamespace(rows=[])
    pair = Pair("a", [])
    recent = deque([Rule(lambda x: x > 0, [])], maxlen=2)
    zeros["a"] += 1
    bag["rows"].append(1)
    stages[Stage.DONE] += 1
    place.rows.append(1)
    pair.tags.append("b")
    recent[0].limits.append(2.5)
    return zeros["a"]


def test_values_that_pickle_refuses_change_when_they_do():
    """Values with lambdas and of the analyst's own containers have a row when bound and one when changed, no more."""
    run = keep_count.start()
    assert run.result(20) == 1
    changes = run.variables()
    assert changes.copied.all()
    names = ["zeros", "bag", "stages", "place", "pair", "recent"]
    assert changes.variable.tolist() == names * 2
    first, last = (rows.value.tolist() for _, rows in changes.groupby(changes.index >= len(names)))
    assert (first[0], first[1], last[0], last[1]) == ({}, {"rows": []}, {"a": 1}, {"rows": [1]})
    assert [len(value) for value in (first[2], last[2])] == [1, 2]
    assert (first[3].rows, last[3].rows, first[4].tags, last[4].tags) == ([], [1], [], ["b"])
    assert (first[5][0].limits, last[5][0].limits) == ([], [2.5])


def test_moments_by_every_address():
    """A moment is found by step and occurrence, gate, line, cell, event, time, number and name, and all agree."""
    run = compare.start(["x", "yy"])
    run.wait_for_gate(20)
    second = run.at(step="quote", occurrence=2)
    assert second.source == "found = await quote(name)"
    assert (second.step, second.waiting_for, second.function) == ("quote", ["quote"], "compare")
    assert second.variables["name"] == "yy" and len(second.variables["quotes"]) == 1
    assert second == run.at(step=("quote", 2)) == run.at(event_id=second.event_id) == run.at(time=second.time)
    assert (
        second
        == run.at(second.number)
        == run.at(line=second.line, occurrence=2)
        == run.at(line=second.cell, occurrence=2)
    )
    assert run.at(step="quote", occurrence=-1).variables["name"] == "yy"
    third = run.at(step="quote", occurrence=5)
    assert third.source.startswith("all_of_them = ") and third.variables["name"] == "x"
    assert third.next_step().variables["name"] == "yy"
    assert third.next_step().next_step().step == "Buy?" == run.at(step="Buy?").waiting_for[0]
    assert second.next().changes["found"].supplier == "yy"
    assert second.next().prev() == second
    one = run.at(step="quote", occurrence=3)
    assert (one.function, one.branch, one.variables["name"]) == ("branch", 1, "A")
    assert sorted(one.waiting_for) == ["quote", "quote"]
    assert one.frames[0].function == "branch" and "data" not in one.variables
    assert run.at("first").variables == {"suppliers": ["x", "yy"]}
    text = repr(run.at("last"))
    assert "waiting for Buy?" in text and "* all_of_them = [Quote(" in text
    run.terminate()


def test_unknown_moments_name_the_known_ones():
    """Every address that does not exist says which do."""
    run = compare.start(["x"])
    run.wait_for_gate(20)
    cases = [
        ({"step": "qoute"}, "Did you mean 'quote'"),
        ({"step": "quote", "occurrence": 9}, "Known: 1 to 4"),
        ({"line": 1}, "Executed: "),
        ({"line": ("In [7]", 1)}, "Executed: "),
        ({"event_id": 1}, "Known: 3 to"),
        ({"event_id": 10**6}, "Known: 3 to"),
        ({"time": "2001-01-01"}, "Known: from"),
        ({"moment": 10**6}, "Known: 0 to"),
        ({"moment": "quote"}, "run.at(step='quote')"),
        ({"moment": "Last"}, "Did you mean 'last'"),
        ({"moment": "failure"}, "has not failed"),
    ]
    for address, said in cases:
        with pytest.raises(NoSuchMoment, match=said.replace("(", r"\(").replace(")", r"\)")):
            run.at(**address)
    with pytest.raises(TypeError, match="Say one of"):
        run.at()
    with pytest.raises(TypeError, match="not step and line"):
        run.at(step="quote", line=3)
    run.terminate()


@kg.agent
async def uncaught(items):
    total = 0
    for item in items:
        total += await deep(item)
    return total


async def deep(item):
    found = await quote(item)
    if found.price > 2:
        raise ValueError(f"{item} costs {found.price}")
    return found.price


def test_failed_run_and_its_failure():
    """A failed run's failure is the line that raised, innermost, with the callers' variables."""
    run = uncaught.start(["a", "bb", "ccc"])
    with pytest.raises(kg.RunFailed):
        run.result(20)
    failure = run.at("failure")
    assert failure.source.startswith("raise ValueError") and failure == run.at("last")
    assert isinstance(failure.raised, ValueError) and failure.raised.args == ("ccc costs 3.0",)
    assert [frame.function for frame in failure.frames] == ["deep", "uncaught"]
    assert failure.variables["item"] == "ccc" and failure.variables["total"] == 3.0
    assert run.at("before failure").source == "if found.price > 2:"
    raised = run.trace().query("raised != ''")
    assert raised.function.tolist() == ["uncaught", "deep"]


@kg.step
def broken(x):
    return x.nope


@kg.agent
async def parks(x):
    first = await quote(x)
    second = await broken(first)
    return [second]


def test_parked_cancelled_and_terminated_runs():
    """A parked run's failure is the call that is parked; cancelled and terminated runs have theirs."""
    run = parks.start("x")
    eventually(lambda: run.status == "parked")
    failure = run.at("failure")
    assert (failure.step, failure.waiting_for) == ("broken", ["broken"])
    assert failure.variables["first"].supplier == "x"
    run.cancel()
    eventually(lambda: run.status == "cancelled")
    cancelled = run.at("failure")
    assert isinstance(cancelled.raised, asyncio.CancelledError) or cancelled.raised == "CancelledError"
    assert cancelled.source == "second = await broken(first)"
    ended = parks.start("x")
    eventually(lambda: ended.status == "parked")
    ended.terminate("enough")
    eventually(lambda: ended.status == "terminated")
    assert ended.at("failure") == ended.at("last")


@kg.agent
async def family(x):
    inside = await compare(x)
    return [inside]


def test_child_agents_have_traces_of_their_own():
    """The caller's line waits for the agent; the called agent's run has its own lines."""
    run = family.start(["x"])
    gate = run.wait_for_gate(20)
    assert run.at("last").waiting_for == ["compare"] and run.at(step="compare").source == "inside = await compare(x)"
    child = Run(kg.connect(), gate.run_id)
    assert child.at("last").waiting_for == ["Buy?"]
    run.terminate()


def test_histories_that_are_gone():
    """A run that the server does not know says so; an ended one whose trace is still held stays visible."""
    with pytest.raises(HistoryGone, match="retention"):
        Run(kg.connect(), "never-was").trace()
    run = depends.start("x")
    run.result(20)
    lines = run.trace()
    # As it is when the server has deleted it: held here, unknown there.
    [(key, trace)] = [(key, trace) for key, trace in traces._kept.items() if key[2] == run.id]
    traces._kept[(*key[:2], "was-deleted", "its-run")] = trace
    pd.testing.assert_frame_equal(Run(kg.connect(), "was-deleted").trace(), lines)
    traces._kept.clear()
    with pytest.raises(HistoryGone, match="retention"):
        Run(kg.connect(), "was-deleted").at("last")


def test_run_that_no_worker_has_taken(monkeypatch):
    """A run that has not started has an empty trace with all columns, and no moments."""
    monkeypatch.setattr("kaigents_nb.control.submit.task_queue", lambda: "nobody-serves-this")
    monkeypatch.setenv("KAIGENTS_WORKER", "off")
    run = parks.start("x")
    lines, changes = run.trace(), run.variables()
    assert lines.empty and list(lines.columns) == list(TRACE_COLUMNS)
    assert changes.empty and list(changes.columns) == list(VARIABLE_COLUMNS)
    with pytest.raises(NoSuchMoment, match="no line of its agent yet"):
        run.at("last")
    run.terminate()


@kg.agent
async def depends(x):
    first = await quote(x)
    if sys.getrecursionlimit() > 5_000:
        await refuse(first)
    return first.price


def test_diverging_replay_shows_what_it_can():
    """When the code no longer gives the history, a warning says where, and the lines up to there are shown."""
    run = depends.start("x")
    run.result(20)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(5_001)
    try:
        with pytest.warns(UserWarning, match="no longer gives its history"):
            lines = run.trace()
        assert "no longer gives" in lines.attrs["notice"]
        assert lines.source.iloc[1].startswith("if sys.getrecursionlimit")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert run.at(step="quote").variables == {"x": "x"}
    finally:
        sys.setrecursionlimit(limit)
        traces._kept.clear()
    assert len(run.trace()) == 3


def test_diverging_at_the_first_line(monkeypatch):
    """When not even the first line can be replayed, ReplayDiverged says so."""
    run = depends.start("x")
    run.result(20)
    monkeypatch.setattr(traces, "replay", lambda *args: RuntimeError('Nondeterminism("no such step")'))
    with pytest.raises(ReplayDiverged, match="no such step"):
        run.trace()


def test_code_signed_with_another_key(tmp_path):
    """Another key's code is not executed, not even to look at it."""
    run = depends.start("x")
    run.result(20)
    script = f"import kaigents_nb as kg; kg.run({run.id!r}).trace()"
    environment = {**os.environ, "KAIGENTS_SIGNING_KEY": "another key of sixteen characters"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60)
    assert "UntrustedCode" in done.stderr, done.stderr


def test_traces_in_another_process():
    """A run that another process started is traced with the code it carries."""
    run = depends.start("x")
    run.result(20)
    script = (
        f"import kaigents_nb as kg; r = kg.run({run.id!r}); print(*r.trace().source, sep='|'); print(r.at(1).variables)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith("first = await quote(x)|if sys.getrecursionlimit() > 5_000:|return first.price\n")
    assert "Quote(supplier='x', price=1.0)" in done.stdout


@kg.agent
async def talks(n):
    for i in range(n):
        print("round", i)
    return await quote("x")


def test_replay_is_silent(capfd):
    """What the agent printed when it ran is not printed again by looking back."""
    run = talks.start(2)
    run.result(20)
    capfd.readouterr()
    assert len(run.trace()) == 6
    assert capfd.readouterr() == ("", "")


def test_memory_for_values_is_capped():
    """Past the cap values are short texts, and a row and the notice say so."""
    run = compare.start(["x"])
    run.wait_for_gate(20)
    changes = run.variables(max_bytes=2_000)
    assert not changes.copied.all()
    assert "max_bytes" in changes.attrs["notice"]
    limit = changes[changes.variable == "(limit)"]
    assert len(limit) == 1 and limit.value.iloc[0] == changes.attrs["notice"]
    assert run.variables(max_bytes=2**28).copied.all()
    run.terminate()


def test_forked_run_has_the_whole_trace():
    """A fork's trace has the lines before its point too, though no step of them ran again."""
    run = depends.start("x")
    run.result(20)
    fork = run.fork(at="quote", values={"quote": Quote("edited", 9.0)})
    assert fork.result(20) == 9.0
    assert fork.trace().source.tolist() == run.trace().source.tolist()
    assert fork.at("last").variables["first"].supplier == "edited"
    depends_line = depends.fn.__code__.co_firstlineno + 2
    parts = kg.diff(run, fork)
    assert parts[["kind", "where"]].values.tolist()[:2] == [
        ["step output", "quote, call 1"],
        ["variable", f"first in depends, test_trace.py, line {depends_line}"],
    ]


@kg.agent
async def variant(names, extra):
    found = []
    for name in names:
        one = await quote(name)
        found.append(one.price)
    best = max(found)
    if extra:
        best = best + extra
    decision = await kg.approve("Take it?")
    return best if decision else 0


def test_diff_names_where_runs_part():
    """Equal runs differ nowhere; otherwise the first cause comes first, then what followed from it."""

    def run_it(*args, approve=True):
        run = variant.start(*args)
        run.wait_for_gate(20)
        run.approve() if approve else run.reject()
        run.result(20)
        return run

    first, again, other = run_it(["a", "bb"], 0), run_it(["a", "bb"], 0), run_it(["a", "ccc"], 0, approve=False)
    assert kg.diff(first, again.id).empty
    parts = kg.diff(first, other)
    assert list(parts.columns) == ["kind", "where", "a", "b", "event_a", "event_b", "moment_a", "moment_b"]
    assert parts.kind.iloc[0] == "variable" and parts["where"].iloc[0].startswith("names")
    assert set(parts.kind) == {"variable", "step input", "step output", "decision", "result"}
    step = parts[parts.kind == "step input"].iloc[0]
    assert (step.a, step.b, step["where"]) == ("bb", "ccc", "quote, call 2, argument 1")
    assert first.at(int(step.moment_a)).step == "quote"
    assert parts[parts.kind == "decision"].a.iloc[0]["approved"]
    longer = kg.diff(first, run_it(["a", "bb"], 5))
    line = longer[longer.kind == "line"].iloc[0]
    assert (line.a, line.b) == ('decision = await kg.approve("Take it?")', "best = best + extra")


@kg.step
def slow(number, folder):
    Path(folder, f"started-{number}").touch()
    while not Path(folder, f"go-{number}").exists():
        time.sleep(0.02)
    return number * 10


@kg.agent
async def long(folder):
    total = 0
    seen = []
    for number in range(2):
        decision = await kg.approve(f"Go on with {number}?")
        seen.append(decision.choice)
        value = await slow(number, folder)
        total += value
    return total


def test_killed_three_times_is_as_never_killed(workers, tmp_path):
    """A run whose worker was killed three times has the trace of one whose worker never was."""

    def replace_worker():
        kill(workers.started[-1])
        workers.start()

    def go(kills, folder):
        folder.mkdir()
        run = long.start(str(folder))
        for number in range(2):
            run.wait_for_gate(30)
            if kills:
                replace_worker()
            run.approve()
            eventually((folder / f"started-{number}").exists, 30)
            if kills and number == 0:
                replace_worker()
            (folder / f"go-{number}").touch()
        assert run.result(60) == 10
        lines = run.trace()
        return lines.drop(columns=["event_id", "time", "changed"]), [
            {name: value for name, value in row.items() if name not in ("decision",)} for row in lines.changed
        ]

    workers.start()
    killed, killed_values = go(True, tmp_path / "killed")
    whole, whole_values = go(False, tmp_path / "whole")
    assert len(workers.started) == 4
    pd.testing.assert_frame_equal(killed, whole)
    assert killed_values == whole_values
