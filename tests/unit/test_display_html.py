"""A run as HTML and as text: every state, hostile text, bounds."""

from __future__ import annotations

import html.parser
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
from markupsafe import Markup

from kaigents_nb.display import words
from kaigents_nb.display.blocks_html import root
from kaigents_nb.display.blocks_text import lines, text
from kaigents_nb.display.details import details_blocks
from kaigents_nb.display.run_blocks import message_blocks, pending_blocks, printed_blocks, run_blocks
from kaigents_nb.gates.question import Question
from kaigents_nb.history.view import Progress, RunView, Status, StepView
from tests.unit.gate_views import a_gate, an_answer

START = datetime(2026, 11, 23, 15, 6, 2, tzinfo=UTC)
TRACEBACK = "Traceback (most recent call last):\n  Cell In[4], line 2, in quote\n    rates['CN']\nKeyError: 'CN'"
VOID = {"br", "img", "hr", "input", "meta", "link", "wbr"}
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'; onmouseover='alert(1)",
    "&lt;b&gt; & &amp;",
    "</pre></details></section><h1>out</h1>",
    "lone \ud800 surrogate \udfff",
    "\x1b[31mred\x1b[0m \x1b]8;;http://evil\x07link",
    "nul \x00 bell \x07",
    "reversed \u202eevil\u202c",
    "javascript:alert(1)",
]


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def a_view(status: Status = "running", **changes: Any) -> RunView:
    view = RunView("run-1", "sourcing_agent", status, started=START, url="http://127.0.0.1:8233/x", arguments="'solar'")
    return replace(view, **changes)


def run_html(view: RunView) -> str:
    return str(root(run_blocks(view)))


def run_text(view: RunView) -> str:
    return text(run_blocks(view))


def details_html(value: Any) -> str:
    return str(root(*details_blocks(value)))


def details_lines(value: Any) -> list[str]:
    return lines(*details_blocks(value))


class Reader(html.parser.HTMLParser):
    """Collects elements, attributes and text, and checks that every element is closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def safe(page: str) -> Reader:
    """Read a page and check that nothing in it can act or be fetched, and that any protocol can carry it."""
    page.encode("utf-8")
    read = Reader(str(page))
    assert not set(read.tags) & {"script", "img", "iframe", "style", "link", "h1", "svg", "form", "input"}
    assert not [name for name, _ in read.attributes if name.startswith("on")]
    assert all(value.startswith(("http://", "https://")) for name, value in read.attributes if name == "href")
    return read


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_text_is_shown_and_never_acts(hostile: str) -> None:
    """Text of models, steps, errors and people is escaped wherever the card shows it."""
    names = pd.Index([hostile], dtype=object)
    frame = pd.DataFrame(
        [[hostile], [hostile]], columns=names, index=pd.Index([hostile, "b"], dtype=object, name=hostile), dtype=object
    )
    step = StepView(
        hostile, hostile, "running", 2, START, START, progress=Progress(1, 2, hostile), output=hostile, error=hostile
    )
    details = {hostile: hostile, "frame": frame, "rows": [{hostile: hostile}], "list": [hostile]}
    decision = an_answer(choice=hostile, comment=hostile, by=hostile, at=START, values={hostile: hostile})
    view = RunView(
        run_id=hostile,
        agent=hostile,
        status="waiting",
        steps=(step, replace(step, call="2", status="parked", child_run=hostile)),
        gates=(a_gate("g", hostile, (hostile,), details), a_gate("h", hostile, (), None, None, decision)),
        result=hostile,
        error=hostile,
        problem=hostile,
        notices=(hostile,),
        url=hostile,
        arguments=hostile,
        lineage={hostile: hostile},
    )
    read = safe(run_html(view))
    assert words.clean(hostile) in read.text
    labels = [value for name, value in read.attributes if name == "aria-label"]
    assert f"Run {words.clean(hostile)} of {words.clean(hostile)}: waiting for a decision" in labels
    run_text(view).encode("utf-8")
    assert not re.search("[\x00\x07\x1b\u202e]", run_html(view) + run_text(view))
    asked = Question(hostile, (hostile,), hostile, START, run_id=hostile, agent=hostile)
    safe(root(pending_blocks([asked])))
    safe(root(*message_blocks(hostile, bad=True)))
    text(pending_blocks([asked])).encode("utf-8")


def test_text_that_claims_to_be_html_is_text() -> None:
    """What a template engine made, or any class with ``__html__``, is escaped like every other text of a user."""

    class Claims(str):
        def __html__(self) -> str:
            return "<script>alert(1)</script>"

    for claimed in (Markup("<script>alert(1)</script>"), Claims("<img src=x>")):
        gate = a_gate("1", claimed, (claimed,), {claimed: claimed, "rows": [{claimed: claimed}], "items": [claimed]})
        view = a_view("waiting", agent=claimed, run_id=claimed, gates=(gate,), result=claimed, problem=claimed)
        assert str(claimed) in safe(run_html(view)).text
        safe(root(pending_blocks([Question(claimed, run_id=claimed, agent=claimed)])))


def test_only_web_addresses_become_links() -> None:
    """A url that is not http is left out instead of linked."""
    assert "<a " in run_html(a_view())
    assert "<a " not in run_html(a_view(url="javascript:alert(1)"))


@pytest.mark.parametrize("status", get_args(Status))
def test_every_state_is_said_in_words(status: Status) -> None:
    """HTML and text both name the agent, the run and the state."""
    view = a_view(status, ended=at(3) if status in ("completed", "failed") else None)
    for shown in (safe(run_html(view)).text, run_text(view)):
        assert "sourcing_agent" in shown
        assert "run-1" in shown
        assert words.state(view) in shown


def test_a_parked_step_says_how_to_mend_it() -> None:
    """The traceback is open and run.mend() is named."""
    view = a_view("parked", steps=(StepView("1", "quote", "parked", 1, START, START, at(1), error=TRACEBACK),))
    assert "<details open" in run_html(view)
    for shown in (safe(run_html(view)).text, run_text(view)):
        assert "run.mend()" in shown
        assert "KeyError: 'CN'" in shown


def test_a_retrying_step_says_when() -> None:
    """Attempt, next try and the way to hurry it are shown."""
    step = StepView("1", "quote", "retrying", 4, START, START, error="OSError: refused", next_retry=at(40))
    for shown in (safe(run_html(a_view("retrying", steps=(step,)))).text, run_text(a_view("retrying", steps=(step,)))):
        assert "attempt 4" in shown
        assert "15:06:42 UTC" in shown
        assert "run.retry_now()" in shown
        assert "OSError: refused" in shown


def test_a_gate_says_how_to_decide_in_code() -> None:
    """The question, the options and the calls are shown; a second gate makes the calls name theirs."""
    gate = a_gate("1", "Contact?", ("ACME", "Beta"), opened=START)
    other = a_gate("2", "Contact?", ("ACME", "Beta"), opened=START)
    one, two = a_view("waiting", gates=(gate,)), a_view("waiting", gates=(gate, other))
    assert "run.approve(choice='ACME') or .reject(comment=\"…\")" in safe(run_html(one)).text
    assert "run.approve('2', choice='ACME') or .reject('2', comment=\"…\")" in run_text(two)


def test_a_decision_says_who_and_when() -> None:
    """What was decided stays on the card; times in ISO form are read."""
    decision = an_answer(choice="ACME", by="anna", at=datetime(2026, 11, 23, 15, 10, tzinfo=UTC), comment="ok")
    view = a_view("completed", gates=(a_gate("1", "Contact?", ("ACME",), answer=decision),))
    for shown in (safe(run_html(view)).text, run_text(view)):
        assert "Approved: ACME by anna on 2026-11-23 15:10:00 UTC" in shown
        assert "ok" in shown


def test_a_gate_of_an_ended_run_is_not_offered() -> None:
    """A cancelled run's gate is past, not open."""
    view = a_view("cancelled", gates=(a_gate("1", "Contact?"),))
    for shown in (safe(run_html(view)).text, run_text(view)):
        assert "run.approve" not in shown
        assert "Not decided" in shown


def test_progress_is_a_bar_with_words() -> None:
    """A running step has a bar, its numbers and its note; without a total only the count."""
    step = StepView("1", "quote", "running", 1, START, START, progress=Progress(3, 6, "India"))
    page, text = run_html(a_view(steps=(step,))), run_text(a_view(steps=(step,)))
    assert 'value="0.500"' in page
    assert "3 of 6 (50 %)India" in safe(page).text
    assert "[#####.....] 3 of 6 (50 %) · India" in text
    step = replace(step, progress=Progress(3))
    assert "3 done" in run_text(a_view(steps=(step,)))


def test_the_text_form() -> None:
    """The text card, whole."""
    steps = (
        StepView("1", "load", "completed", 1, START, START, at(0.25), output="3 files\n"),
        StepView("2", "analyze_tariffs", "running", 2, START, at(1), progress=Progress(1, 2)),
    )
    gate = a_gate("1", "Contact?", (), {"budget": 1500, "note": "duty included"}, START)
    assert run_text(a_view("waiting", steps=steps, gates=(gate,))) == (
        """\
sourcing_agent · waiting for a decision
run run-1 · started 2026-11-23 15:06:02 UTC
arguments: 'solar'

? Contact?
  asked 2026-11-23 15:06:02 UTC
  budget: 1500
  note: duty included
  Decide: run.approve() or .reject(comment="…")

Steps (2)
  load             done                 0.25 s
    │ 3 files
  analyze_tariffs  running  since 15:06:03 UTC  attempt 2 · [#####.....] 1 of 2 (50 %)

Temporal UI: http://127.0.0.1:8233/x"""
    )


def test_a_fork_says_where_it_comes_from_and_what_did_not_run() -> None:
    """The head names the first run, point and edits; steps that were taken over show no time of their own."""
    taken = StepView("1", "load", "completed", 0, START, START, START, reused=True)
    view = a_view(
        "completed",
        steps=(taken, replace(taken, call="2", name="guess", status="failed", error="KeyError: 'x'")),
        lineage={"forked_at": "fit (call 3)", "forked_edits": "", "forked_from": "run-1"},
    )
    text = run_text(view)
    assert "forked from run-1 · at fit (call 3)\n" in text
    assert re.search(r"load +taken over\n +guess +failed, taken over", text)
    read = safe(run_html(view)).text
    assert "forked from run-1 · at fit (call 3)" in " ".join(read.split())
    assert "0.00 s" not in text + read


def test_huge_texts_are_bounded() -> None:
    """A step that prints for ever and a thousand steps don't make a page that stops the browser."""
    huge = "x" * 5_000_000
    step = StepView("1", "quote", "parked", 1, START, START, error=huge, output=huge)
    gate = a_gate("1", huge, tuple(huge[:100_000] for _ in range(3)), huge)
    view = a_view("parked", steps=(step,), gates=(gate,), result=huge, problem=huge, arguments=huge, error=huge)
    assert len(run_html(view)) < 100_000
    assert len(run_text(view)) < 100_000
    many = tuple(StepView(str(n), f"step_{n}", "completed", 1, START, START, START) for n in range(2_000))
    many = (replace(many[0], status="retrying"), *many[1:])
    page = safe(run_html(a_view(steps=many))).text
    assert "1,959 earlier steps" in page
    assert "step_0" in page and "step_1999" in page and "step_5" not in page


def test_what_is_cut_is_counted() -> None:
    """A long problem, detail or comment says how much of it is not shown."""
    long = "x" * 5_000
    decided = a_gate("2", "Contact?", answer=an_answer(comment=long))
    view = a_view("stuck", problem=long, gates=(a_gate("1", long, details=long), decided), result=long)
    for shown in (safe(run_html(view)).text, run_text(view)):
        assert shown.count("… (1,000 more characters)") == 4
        assert shown.count("x") >= 5_000 + 4 * 4_000  # a question is shown whole


def test_bounds_keep_the_end_of_output() -> None:
    """Of a long output the latest is shown, and how much is left out."""
    step = StepView("1", "quote", "running", output="a" * 50_000 + "the end")
    page = root(*printed_blocks(a_view(steps=(step,)))["1"])
    assert "the end" in page
    assert "38,007 characters before this" in page


def test_a_data_frame_is_a_bounded_table() -> None:
    """Rows and columns are bounded and counted; numbers stand right, missing ones are a dash."""
    frame = pd.DataFrame({f"c{n}": np.arange(100.0) for n in range(30)})
    read = safe(details_html(frame))
    assert read.tags.count("tr") == 21
    assert "100 rows × 30 columns; first 20 rows, 12 columns shown" in read.text
    small = pd.DataFrame({"supplier": ["A", "B"], "usd": [1234567.5, np.nan]})
    assert details_lines(small) == ["supplier        usd", "A         1234567.5", "B                 –"]
    assert "text-align: right" in details_html(small)
    assert details_lines(small.set_index("supplier"))[0].startswith("supplier")
    assert details_lines(small.iloc[:0])[-1] == "(no rows)"


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame(),
        pd.DataFrame({"a": [pd.NA, 1], "b": [pd.NaT, pd.Timestamp("2026-01-01")], "c": [[1], {"x": 1}]}),
        pd.DataFrame({"a": [1, 2]}, index=pd.MultiIndex.from_tuples([("x", 1), ("y", 2)], names=["k", None])),
        pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", 1), ("a", 2)])),
        pd.DataFrame([[1, 2]], columns=["same", "same"]),
        pd.Series([1, 2], name="n"),
        pd.DataFrame({"c": pd.Categorical(["u", "v"])}),
    ],
)
def test_any_data_frame_can_be_shown(frame: Any) -> None:
    """Odd indexes, columns and cells are shown, not raised."""
    safe(details_html(frame))
    assert details_lines(frame)


def test_details_of_other_kinds() -> None:
    """Nested mappings, dataclasses, records and lists have a form; deep nesting stays bounded."""

    @dataclass
    class Quote:
        supplier: str
        usd: float

    nested: dict[str, Any] = {}
    for _ in range(500):
        nested = {"inner": nested}
    for details in (Quote("ACME", 0.1 + 0.2), [{"a": 1}, {"b": 2}], ["x", "y"], {"q": {"r": {"s": {}}}}, 7, nested):
        safe(details_html(details))
        details_lines(details)
    assert "usd: 0.3" in details_lines(Quote("ACME", 0.1 + 0.2))


def test_overwritten_lines_keep_their_last_state() -> None:
    """A progress bar printed with carriage returns is one line, not a hundred."""
    assert words.clean("10%\r50%\r100%\ndone\r\n") == "100%\ndone\n"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.004, "0.00 s"),
        (0.997, "1.0 s"),
        (12.34, "12.3 s"),
        (59.96, "1 min 00 s"),
        (3600, "1 h 00 min"),
        (200_000, "2 d 7 h"),
    ],
)
def test_durations_read_well(seconds: float, said: str) -> None:
    """A duration has the unit that fits it."""
    assert words.duration(seconds) == said


def test_a_value_that_cannot_be_printed_does_not_break_the_card() -> None:
    """A class whose text raises is named instead."""

    class Broken:
        def __str__(self) -> str:
            raise RuntimeError("no text")

    view = a_view("waiting", gates=(a_gate("1", "Contact?", details={"quote": Broken()}),))
    assert "its text can't be shown" in safe(run_html(view)).text
    assert "its text can't be shown" in run_text(view)


def test_the_static_forms_are_light() -> None:
    """A terminal that shows a run waits for neither pandas nor widgets."""
    code = (
        "import sys, kaigents_nb.display.blocks_html, kaigents_nb.display.blocks_text, kaigents_nb.display.run_blocks\n"
        "print(sorted({'pandas', 'ipywidgets', 'IPython', 'temporalio'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
