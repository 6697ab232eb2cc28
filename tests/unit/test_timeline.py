"""The timeline: its table, its picture and its text, from views that a test writes down."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import pandas as pd
import pytest

from kaigents_nb.display.timeline import Timeline
from kaigents_nb.display.timeline_bars import COLUMNS
from kaigents_nb.display.timeline_lanes import PIECES
from kaigents_nb.display.timeline_looks import LOOKS, SIGNS
from kaigents_nb.display.timeline_scale import Scale, since
from kaigents_nb.history.view import AttemptView, LossView, RunView, SleepView, StepView
from tests.unit.gate_views import a_gate, an_answer

START = datetime(2026, 11, 23, 15, 6, 2, tzinfo=UTC)
SVG = "{http://www.w3.org/2000/svg}"


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def step(call: int, name: str, begin: float, end: float | None, **more: object) -> StepView:
    status = more.pop("status", "completed" if end is not None else "running")
    ended = None if end is None else at(end)
    return StepView(str(call), name, status, more.pop("attempt", 1), at(begin), at(begin), ended, **more)  # type: ignore[arg-type]


DECISION = an_answer(choice="Meyer GmbH", by="anna", at=at(11_500))
VIEW = RunView(
    "run-1",
    "sourcing_agent",
    "completed",
    started=START,
    ended=at(11_640),
    steps=(
        step(1, "load", 0.1, 1.2, worker="7@lab"),
        *(step(2 + number, "quote", 1.3, 3.0 + number) for number in range(3)),
        step(
            5,
            "tariffs",
            6,
            9,
            attempt=4,
            attempts=(
                AttemptView(1, 3, "failed", at(6), at(8), "Traceback\nTimeoutError: customs", lost=True),
                AttemptView(4, 4, "completed", at(8), at(9), worker="8@lab"),
            ),
        ),
        step(6, "negotiator", 9, 20, child_run="run-1/negotiator-6"),
        step(
            7,
            "order",
            11_501,
            11_602,
            attempt=2,
            attempts=(
                AttemptView(1, 1, "parked", at(11_501), at(11_502), "NameError: tottal"),
                AttemptView(2, 2, "completed", at(11_600), at(11_602)),
            ),
        ),
    ),
    gates=(
        a_gate("1", "Which <supplier>?", opened=at(20), answer=DECISION, closed=at(11_500)),
        a_gate("1", "Of another run?", opened=at(12), run_id="run-1/negotiator-6"),
    ),
    sleeps=(SleepView(at(11_603), at(11_633)),),
    losses=(LossView(at(11_499), "7@lab", "had the run in memory and no longer answered"),),
)


def drawing(timeline: Timeline) -> ElementTree.Element:
    """The picture, which has to be well-formed."""
    return ElementTree.fromstring(timeline.picture())


def titles(timeline: Timeline) -> list[str]:
    return [title.text or "" for title in drawing(timeline).iter(f"{SVG}title")]


def test_the_table_says_who_did_what_when() -> None:
    """Steps, failed attempts, parking, gates, sleeps, called agents and deaths are rows, in order."""
    table = Timeline(VIEW).frame
    assert list(table.columns) == list(COLUMNS)
    assert table.attrs["run_id"] == "run-1"
    assert table["kind"].tolist() == [
        *("step", "step", "step", "step"),
        *("step", "attempt", "worker death", "attempt"),
        *("child agent", "wait at gate", "worker death"),
        *("step", "attempt", "parked", "attempt", "sleep"),
    ]
    gate = table[table["kind"] == "wait at gate"].iloc[0]
    assert (gate["name"], gate["status"], gate["duration_s"]) == ("Which <supplier>?", "approved", 11_480)
    assert gate["detail"].startswith("Approved: Meyer GmbH by anna on 2026-11-23 18:17:42")
    tried = table[(table["name"] == "tariffs") & (table["kind"] == "attempt")]
    assert tried["attempt"].tolist() == [3, 4]
    assert tried["status"].tolist() == ["failed", "completed"]
    assert tried["detail"].iloc[0] == "attempts 1 to 3 and the waits between; the last error: TimeoutError: customs"
    parked = table[table["kind"] == "parked"].iloc[0]
    assert (parked["name"], parked["duration_s"], parked["status"]) == ("order", 98, "went on")


def test_an_empty_run_has_the_same_columns() -> None:
    """A run that did nothing has a table with zero rows and the same types, and says so in a picture's place."""
    empty = Timeline(RunView("run-1", "agent", "starting", started=START), now=at(1))
    full = Timeline(VIEW).frame
    assert len(empty.frame) == 0
    assert empty.frame.dtypes.tolist() == full.dtypes.tolist()
    assert "Nothing has happened yet" in repr(empty)
    assert "Nothing has happened yet" in empty._repr_html_()
    assert "<svg" not in empty._repr_html_()
    never = Timeline(RunView("run-1", "agent", "starting"))
    assert len(never.frame) == 0 and repr(never)


def test_what_lasts_has_no_end() -> None:
    """Of an open run, what is not over has no end in the table and reaches until now in the picture."""
    view = RunView(
        "run-1",
        "agent",
        "waiting",
        started=START,
        steps=(
            step(1, "quote", 0.5, 0.9, status="parked", attempts=(AttemptView(1, 1, "parked", at(0.5), at(0.9), "E"),)),
            step(2, "tariffs", 0.5, None, status="retrying", attempts=(AttemptView(1, 2, "failed", at(0.5), at(2)),)),
            step(3, "train", 0.5, None),
            StepView("4", "later", "scheduled", scheduled=at(0.5)),
        ),
        gates=(a_gate("1", "Go on?", opened=at(1)),),
        sleeps=(SleepView(at(2)),),
    )
    timeline = Timeline(view, now=at(12))
    table = timeline.frame.set_index(["kind", "name"])
    assert table["end"].isna().to_dict() == {
        ("step", "quote"): True,
        ("attempt", "quote"): False,
        ("parked", "quote"): True,
        ("step", "tariffs"): True,
        ("attempt", "tariffs"): False,
        ("step", "train"): True,
        ("step", "later"): True,
        ("wait at gate", "Go on?"): True,
        ("sleep", "sleep"): True,
    }
    told = titles(timeline)
    assert "quote: parked, 11.1 s" in told
    assert "train: running, 11.5 s" in told
    assert "later: waiting for a worker, 11.5 s" in told
    assert "Go on?: waiting for a decision, 11.0 s" in told
    assert "retrying" in repr(timeline)


def test_the_picture_speaks() -> None:
    """It has a title, a description, a table beside it and a tooltip on each bar; nothing is fetched or runs."""
    timeline = Timeline(VIEW)
    root = drawing(timeline)
    named = [root.find(f"{SVG}{name}") for name in ("title", "desc")]
    assert root.get("role") == "img"
    assert all(part is not None and part.text for part in named)
    assert root.get("aria-labelledby", "").split() == [part.get("id") for part in named if part is not None]
    assert "tariffs: done, attempt 4, 3.0 s; a worker died" in (named[1].text if named[1] is not None else "")
    told = titles(timeline)
    assert "Which <supplier>?: Approved: Meyer GmbH by anna on 2026-11-23 18:17:42 UTC, 3 h 11 min" in told
    assert any(text.startswith("Only waiting for 3 h") for text in told)
    assert "7@lab had the run in memory and no longer answered" in told
    page = timeline._repr_html_()
    assert "<details><summary" in page and "<table" in page and "<th scope" in page
    assert "<supplier>" not in page and "&lt;supplier&gt;" in page
    lowered = page.lower()
    assert not re.search(r"<script|javascript:|\son\w+=|@import|<link|<image|src=", lowered)
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", lowered)


def test_two_pictures_on_a_page_do_not_share_ids() -> None:
    """Patterns and labels are found by id, so each picture has its own."""
    timeline = Timeline(VIEW)
    ids = [set(re.findall(r' id="([^"]+)"', timeline.picture())) for _ in range(2)]
    assert ids[0] and not ids[0] & ids[1]


def test_the_text_form_is_a_chart() -> None:
    """A terminal gets a line per name, with signs for what happened and what they mean."""
    text = repr(Timeline(VIEW))
    assert "sourcing_agent · completed · started 2026-11-23 15:06:02 UTC · took 3 h 14 min" in text
    assert re.search(r"tariffs +\| +x+!█+ +\| done, attempt 4, 3\.0 s; a worker died", text)
    assert re.search(r"order +\| +x+░+█+ +\|", text)
    assert "! 7@lab had the run in memory and no longer answered" in text
    assert "█ step" in text and "x failed attempts" in text and "⋯ waiting, not to scale" in text
    assert max(map(len, text.splitlines())) < 180


def test_a_long_run_is_bounded_and_says_so() -> None:
    """Ten thousand calls are drawn as at most 400 bars; failures stay visible and the table has every call."""
    one = [step(number, f"step_{number % 3}", number * 0.1, number * 0.1 + 0.08) for number in range(10_000)]
    one[5_000] = replace(one[5_000], status="failed")
    steps = tuple(one)
    view = RunView("run-1", "agent", "failed", started=START, ended=at(1_001), steps=steps)
    timeline = Timeline(view)
    page = timeline._repr_html_()
    assert len(page) < 300_000
    assert page.count("<rect") < PIECES + 20
    assert re.search(r"10,000 bars are drawn as \d+: close neighbours as one", page)
    assert "1 failed" in page
    assert len(timeline.frame) == 10_000
    assert "X" in repr(timeline)


def test_many_names_share_the_last_lane() -> None:
    """Lanes are bounded too."""
    steps = tuple(step(number, f"step_{number}", number, number + 0.5) for number in range(300))
    timeline = Timeline(RunView("run-1", "agent", "completed", started=START, ended=at(300), steps=steps))
    assert "The lane 'others' holds 261 more names." in repr(timeline)
    assert drawing(timeline) is not None


def test_calls_of_the_same_time_have_rows_of_their_own() -> None:
    """A gather shows as many bars below each other; of a hundred the last row holds the rest."""
    steps = tuple(step(number, "quote", 0.1, 2 + number / 100) for number in range(100))
    root = drawing(Timeline(RunView("run-1", "agent", "completed", started=START, ended=at(3), steps=steps)))
    tops = {rect.get("y") for rect in root.iter(f"{SVG}rect") if "brand" in rect.get("style", "")}
    assert len(tops) == 24 + 1  # and the legend's


def test_taken_over_and_odd_states_are_drawn() -> None:
    """Calls a fork took over, cancelled and failed ones, rejected and forgotten gates are told apart in words."""
    view = RunView(
        "run-1",
        "agent",
        "cancelled",
        started=START,
        ended=at(10),
        steps=(
            step(1, "load", 0, 0, reused=True),
            step(2, "quote", 0, 3, status="failed", attempts=(AttemptView(1, 1, "failed", at(0), at(3), "E: x"),)),
            step(3, "train", 3, 10, status="cancelled"),
            step(4, "stuck", 3, 4, status="parked", attempts=(AttemptView(1, 1, "parked", at(3), at(4), "E"),)),
            step(5, "helper", 3, 5, status="failed", child_run="run-1/helper-5", error="KeyError: 'CN'"),
        ),
        gates=(
            a_gate("1", "First?", opened=at(1), answer=an_answer(False, by="bob"), closed=at(2)),
            a_gate("2", "Second?", opened=at(2), withdrawn=True, closed=at(10)),
        ),
    )
    told = titles(Timeline(view))
    assert "load: taken over from the first run, 0.00 s" in told
    assert "quote: attempt 1, failed (E: x), 3.0 s" in told
    assert "train: cancelled, 7.0 s" in told
    assert "stuck: parked, 6.0 s" in told
    assert "helper: called agent run-1/helper-5, failed, 2.0 s" in told
    assert "First?: Rejected by bob, 1.0 s" in told
    assert "Second?: Not decided; the run no longer waits for it, 8.0 s" in told


def test_nine_looks_are_told_apart_in_the_picture_and_in_the_text() -> None:
    """Each has a letter and a word of its own, and both forms explain what they draw with the same words."""
    letters = [*(look.letter for look in LOOKS.values()), *SIGNS]
    assert len(LOOKS) <= 9 and len(set(letters)) == len(letters)
    steps = (step(1, "load", 0, 9, reused=True), step(2, "train", 3, None), step(3, "quote", 3, 9, status="cancelled"))
    gates = (
        a_gate("1", "Yes?", opened=at(1), answer=DECISION, closed=at(9)),
        a_gate("2", "No?", opened=at(1), answer=an_answer(False), closed=at(9)),
        a_gate("3", "Or?", opened=at(1), withdrawn=True, closed=at(9)),
    )
    timeline = Timeline(RunView("run-1", "agent", "running", started=START, steps=steps, gates=gates), now=at(10))
    drawn = {element.text for element in drawing(timeline).iter(f"{SVG}text")}
    assert drawn >= {
        *("taken over from the first run", "step, not over yet", "stopped"),
        *(f"waiting for a person, {how}" for how in ("approved", "rejected", "not decided")),
    }
    explained = repr(timeline).splitlines()[-1]
    assert explained.strip() == (
        "◇ taken over from the first run, █ step, ░ waiting for a person, ■ stopped, "
        "✓ approved, ✕ rejected, – not decided, ▸ not over yet"
    )


def test_hostile_names_are_only_text() -> None:
    """Names, questions and workers with markup or control signs break neither the picture nor the page."""
    nasty = "</title><script>alert(1)</script>\x00\x1b[31m\u202e" + "y" * 5_000
    view = RunView(
        "run<1>",
        nasty,
        "running",
        started=START,
        steps=(step(1, nasty, 0, 1, worker=nasty),),
        gates=(a_gate("1", nasty, opened=at(1)),),
        losses=(LossView(at(1), nasty, "<fell silent>"),),
    )
    timeline = Timeline(view, now=at(2))
    assert drawing(timeline) is not None
    page = timeline._repr_html_()
    assert "<script" not in page and "\x00" not in page and "\u202e" not in page
    assert len(page) < 60_000
    assert "\x1b" not in repr(timeline)


@pytest.mark.parametrize("length_s", [0.0, 0.003, 1, 59, 4_000, 90_000, 4e6, 2e8])
def test_every_length_has_a_readable_axis(length_s: float) -> None:
    """From milliseconds to years there are a few ticks that do not run into each other, in order and on the axis."""
    scale = Scale(START, at(length_s), [], 480)
    ticks = scale.ticks(64)
    assert 1 <= len(ticks) <= 9
    assert all(0 <= tick.x <= 480.001 for tick in ticks)
    assert all(later.x - tick.x >= 50 for tick, later in itertools.pairwise(ticks))
    assert scale.x(at(-5)) == 0 and scale.x(at(length_s + 5)) == 480


def test_long_waits_are_folded_and_short_ones_are_not() -> None:
    """Three days between two seconds of work take little room; times stay in order on the axis."""
    days = 3 * 86_400
    scale = Scale(START, at(days + 2), [(at(0), at(1)), (at(days + 1), at(days + 2))], 480)
    [fold] = [stretch for stretch in scale.stretches if stretch.folded]
    assert (fold.start_s, fold.end_s) == (1, days + 1)
    assert fold.x1 - fold.x0 < 480 * 0.2
    places = [scale.x(at(s)) for s in (0, 0.5, 1, 100, days, days + 1.5, days + 2)]
    assert places == sorted(places) and places[-1] == 480
    even = Scale(START, at(10), [(at(0), at(4)), (at(6), at(10))], 480)
    assert not any(stretch.folded for stretch in even.stretches)


def test_times_since_the_start_are_short() -> None:
    """Ticks read as a person would say it."""
    assert [since(s) for s in (0, 0.05, 15, 245, 11_520)] == ["0 s", "0.05 s", "15 s", "4:05 min", "3 h 12 min"]


def test_clocks_that_differ_do_no_harm() -> None:
    """A gate's clock is the worker's: one that is ahead of the server's gives no negative time."""
    gate = a_gate("1", "Go?", opened=at(5), answer=DECISION, closed=at(4))
    timeline = Timeline(replace(VIEW, gates=(gate,), steps=(), sleeps=(), losses=(), ended=at(4)))
    assert timeline.frame["duration_s"].tolist() == [0]
    assert drawing(timeline) is not None


def test_the_table_in_the_page_is_bounded() -> None:
    """Beyond sixty bars the table has the lanes, and says where each bar is."""
    steps = tuple(step(number, f"step_{number % 2}", number, number + 0.5) for number in range(70))
    page = Timeline(RunView("run-1", "agent", "completed", started=START, ended=at(70), steps=steps))._repr_html_()
    assert "70 bars by name; run.timeline().frame has each" in page
    assert page.count("<tr") == 3


def test_the_timeline_needs_no_widgets() -> None:
    """The command line shows it, so its import must not cost what a card's does."""
    code = "import sys, kaigents_nb.display.timeline; print('ipywidgets' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


def test_the_frame_is_ready_to_be_plotted() -> None:
    """Times are UTC timestamps and durations numbers."""
    table = Timeline(VIEW).frame
    assert isinstance(table["start"].dtype, pd.DatetimeTZDtype) and str(table["start"].dt.tz) == "UTC"
    assert table.groupby("name")["duration_s"].sum()["load"] == pytest.approx(1.1)
