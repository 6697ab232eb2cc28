"""What is told of a run is the same on every face: card, timeline, ``steps()`` and command line."""

from __future__ import annotations

import sys
import time

import pytest

import kaigents_nb as kg
from kaigents_nb.cli.runs import print_steps
from kaigents_nb.display import words
from kaigents_nb.display.blocks_html import root
from kaigents_nb.display.blocks_text import text
from kaigents_nb.display.run_blocks import run_blocks
from kaigents_nb.display.timeline import Timeline
from tests.support import eventually

pytestmark = pytest.mark.usefixtures("replayed")


@kg.step
def quick():
    return 1


@kg.step(retry=kg.Retry(first_wait=0.6, max_wait=0.6))
def third_time_lucky(path):
    with open(path, "a") as file:
        file.write("x")
    with open(path) as file:
        tries = len(file.read())
    time.sleep(0.1)
    if tries < 3:
        raise ConnectionError("the network is down")
    return tries


@kg.step
def buggy(x):
    return x.uper()


@kg.agent
async def below(path):
    return await third_time_lucky(path)


@kg.agent
async def troubled(path):
    await quick()
    await kg.approve("Go on?")
    await below(path)
    await third_time_lucky(path)
    return await buggy("a")


def test_durations_mean_the_same_everywhere(tmp_path, monkeypatch, capsys):
    """A call's duration is how long its last attempt worked; what went before is told beside it, on all four faces."""
    run = troubled.start(str(tmp_path / "tries"))
    run.wait_for_gate(20)
    run.approve()
    eventually(lambda: run.status == "parked", 30)
    parked = run.steps().set_index("step").loc["buggy"]
    assert parked["duration_s"] < 1
    time.sleep(1.2)  # what is waited for is what is measured
    from tests.integration.mended import buggy as mended

    monkeypatch.setitem(vars(sys.modules["__main__"]), "buggy", mended)
    assert run.mend() == ["buggy"]
    assert run.result(20) == "A"

    steps = run.steps()
    calls = {step.name: step for step in run.view().steps}
    assert steps["step"].tolist() == ["quick", "below", "third_time_lucky", "buggy"]
    assert steps["attempts"].tolist() == [1, 1, 1, 2]
    spans = steps.assign(
        worked=(steps["ended"] - steps["started"]).dt.total_seconds(),
        before=(steps["started"] - steps["scheduled"]).dt.total_seconds(),
    )
    assert spans["duration_s"].tolist() == pytest.approx(spans["worked"].tolist())
    assert spans["waited_s"].tolist() == pytest.approx(spans["before"].tolist())
    by_name = spans.set_index("step")
    assert by_name.loc["buggy", "duration_s"] < 1 < by_name.loc["buggy", "waited_s"]
    inner = kg.run(by_name.loc["below", "child_run"]).steps().iloc[0]
    assert inner["attempts"] == 3 and inner["duration_s"] < 0.6 < 1.2 < inner["waited_s"]
    assert by_name.loc["below", "duration_s"] > inner["duration_s"] + inner["waited_s"] - 0.1

    bars = run.timeline().frame
    bars = bars[bars["kind"].isin(["step", "child agent"])].set_index("name")
    card, html, line = text(run_blocks(run.view())), str(root(run_blocks(run.view()))), {}
    capsys.readouterr()
    print_steps(run)
    for row in capsys.readouterr().out.splitlines():
        line[row.split()[0]] = row
    drawn = repr(run.timeline())
    for name, call in by_name.iterrows():
        assert (bars.loc[name, "duration_s"], bars.loc[name, "waited_s"]) == (call["duration_s"], call["waited_s"])
        told = words.duration(call["duration_s"])
        assert words.step_time(calls[name]) == told
        assert told in line[name] and told in html
        assert all(told in row for row in card.splitlines() + drawn.splitlines() if row.split()[:1] == [name])
        assert words.duration(call["waited_s"]) in line[name]
    waited = f"waited {words.duration(by_name.loc['buggy', 'waited_s'])} before"
    assert waited in card and waited in html and waited in drawn


def test_what_is_not_over_has_no_duration(tmp_path):
    """A step that waits for its next attempt or to be mended again has not taken any time yet."""
    run = below.start(str(tmp_path / "tries"))
    view = eventually(lambda: (now := run.view()).status == "retrying" and now, 20)
    [step] = view.steps
    assert (step.duration_s, step.waited_s, words.step_time(step)) == (None, None, "")
    bars = Timeline(view).frame
    assert bars[bars["kind"] == "step"]["duration_s"].isna().tolist() == [True]
    assert run.result(20) == 3


@kg.step(retry=kg.Retry(max_attempts=1))
def fails_at_length():
    raise ValueError("the first line of it\n" + "\n".join(f"detail {number}" for number in range(200)) + "\nthe end")


@kg.agent
async def fails():
    await fails_at_length()


def test_a_long_error_keeps_its_beginning(capsys):
    """On card, command line and timeline the exception is told by the beginning of its message; the end is kept too."""
    run = fails.start()
    with pytest.raises(kg.RunFailed, match="the first line of it"):
        run.result(20)
    view = run.view()
    for page in (text(run_blocks(view)), str(root(run_blocks(view)))):
        assert "ValueError: the first line of it" in page
        assert "the end" in page
        assert "left out" in page
    capsys.readouterr()
    print_steps(run)
    assert "ValueError: the first line of it" in capsys.readouterr().out
    frame = run.timeline().frame
    assert "ValueError: the first line of it" in frame["detail"].tolist()


def test_runs_are_listed_newest_first():
    """However runs ended, and in which order: the one that was started last is first."""
    ids = [agent.start(*args).id for agent, args in [(below, ["/dev/null/x"]), (fails, []), (below, ["/dev/null/x"])]]
    kg.run(ids[2]).terminate()
    kg.run(ids[0]).terminate()

    def listed(**how):
        return [run_id for run_id in kg.runs(limit=50, **how)["run_id"] if run_id in ids]

    eventually(lambda: listed() == listed(since="1 hour") == ids[::-1])
    assert kg.runs()["started"].is_monotonic_decreasing
