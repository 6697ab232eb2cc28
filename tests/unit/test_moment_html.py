"""A moment as HTML: the line in its code, the variables beside it, all of it bounded and escaped."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd

from kaigents_nb.display.blocks_html import root
from kaigents_nb.display.moment_blocks import LINES, failure_blocks, moment_html
from kaigents_nb.errors import ReplayDiverged
from kaigents_nb.replay.moment import Moment
from kaigents_nb.replay.records import Differs
from tests.unit.moments import SOURCE, a_trace

LOOP = [(8, {"total": 0}), (9, {"price": 3}), (10, {"total": 3}), (9, {"price": 4}), (10, {"total": 7}), (11, {})]


def text_of(page: str) -> str:
    """What is left where a viewer strips all tags."""
    return html.unescape(re.sub(r"<[^>]+>", "", page))


class Checker(HTMLParser):
    """Fails where tags do not close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("br", "progress", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("br", "progress", "img"):
            assert self.open.pop() == tag


def well_formed(page: str) -> bool:
    checker = Checker()
    checker.feed(page)
    return not checker.open


def test_the_line_is_marked_in_its_function() -> None:
    """An arrow and <mark> show the line; the whole function is there with its decorator, and no other."""
    page = moment_html(Moment(a_trace(LOOP, arguments={"product": "bolt"}), 2))
    assert well_formed(page)
    [marked] = re.findall(r"<mark[^>]*>(.*?)</mark>", page)
    assert marked.rstrip() == "→ 10          total = total + price"
    text = text_of(page)
    assert "   6  @kg.agent\n   7  async def buy(product, prices):" in text
    assert " 15      return best(quotes)" in text
    assert "the cheapest one" not in text
    assert "moment 2 of 5 · In [3], line 10 · 2026-11-23 15:06:04 UTC · event 5" in text


def test_a_statement_over_several_lines_is_marked_whole() -> None:
    """All lines of the statement are marked, the arrow is at its first."""
    page = moment_html(Moment(a_trace(LOOP, calls={5: "load"}), 5))
    marked = [text.rstrip() for text in re.findall(r"<mark[^>]*>(.*?)</mark>", page)]
    assert marked == ["→ 11      quotes = await load(", "  12          product,", "  13          total,", "  14      )"]
    assert "calls load" in text_of(page).replace("\xa0", "")
    assert "Waiting for load" in text_of(page)


def test_changes_are_said_in_words() -> None:
    """What changed since the moment before has a word beside it, the rest has not."""
    page = moment_html(Moment(a_trace(LOOP, arguments={"product": "bolt"}), 3))
    text = text_of(page)
    assert "totalchanged3" in text
    assert "product'bolt'" in text
    assert text.count("changed") == 1


def test_frames_are_small_tables() -> None:
    """DataFrames and records show as tables, cut with a note; arrays and the rest as short text."""
    values = {
        "frame": pd.DataFrame({f"c{n}": range(1_000) for n in range(20)}),
        "records": [{"name": "ACME", "price": 3}],
        "array": np.arange(100_000),
        "empty": pd.DataFrame(),
        "long": "x" * 1_000_000,
        "nested": {"a": list(range(10_000))},
    }
    page = moment_html(Moment(a_trace([(8, values), (9, {})]), 1))
    assert well_formed(page)
    text = text_of(page)
    assert "1,000 rows × 20 columns; first 6 rows, 7 columns shown" in text
    assert "namepriceACME3" in text
    assert "array" in text and "empty" in text
    assert len(page) < 40_000


def test_what_could_not_be_copied_says_so() -> None:
    """A client is its short text, with a word about it."""
    text = text_of(moment_html(Moment(a_trace([(8, {"client": "<Client>"}), (9, {})], uncopied=["client"]), 1)))
    assert "client" in text and "<Client>a short text: it could not be copied" in text


def test_callers_are_there_closed() -> None:
    """In a function that the agent called, its own variables are open and the caller's behind a summary."""
    trace = a_trace([*LOOP, (15, {})], inner=[(3, {})], arguments={"product": "bolt"})
    page = moment_html(Moment(trace, 7))
    text = text_of(page)
    assert "best()" in text and "the cheapest one" in text
    assert re.search(r"<details[^>]*><summary[^>]*>.*buy\(\).* called it, In \[3\], line 15</summary>", page)
    assert text.index("Variables of best()") < text.index("Variables of buy()")


def test_an_exception_is_told() -> None:
    """The exception of the line, or its text where it could not be copied."""
    told = [KeyError("C<N>"), "ClientError: gone"]
    pages = [moment_html(Moment(a_trace(LOOP, raised={4: error}), 4)) for error in told]
    assert "This line raised KeyError: 'C<N>'" in text_of(pages[0])
    assert "C<N>" not in pages[0]
    assert "This line raised ClientError: gone" in text_of(pages[1])


def test_long_functions_and_many_variables_are_cut() -> None:
    """A window round the line says how much is not shown; changed variables are never among what is left out."""
    body = "".join(f"    v{n} = {n}\n" for n in range(500))
    lines = [(2 + n, {f"v{n}": n}) for n in range(500)]
    page = moment_html(Moment(a_trace(lines, source=f"def buy():\n{body}"), 400))
    text = text_of(page)
    assert page.count("<mark") == 1 and "→ 402      v400 = 400" in text
    assert len(re.findall(r"^ +\d+      v\d+ = ", text, re.M)) == LINES - 1
    assert "… 371 lines" in text and "… 70 lines" in text
    assert "v399changed399" in text
    assert "370 more in m.variables" in text


def test_hostile_code_and_values_are_only_text() -> None:
    """Markup, control signs and reversed text in code, names and values stay text; a breaking repr does no harm."""

    class Bad:
        def __repr__(self) -> str:
            raise RuntimeError("no repr")

        def __len__(self) -> int:
            raise RuntimeError("no len")

    source = "def buy():\n    x = '</pre><script>alert(1)</script>\u202e'\n    return x\n"
    values = {"x": "<img src=x onerror=alert(1)>", "bad": Bad(), "lone": "\ud800"}
    page = moment_html(Moment(a_trace([(2, values), (3, {})], source=source), 1))
    assert well_formed(page)
    assert "<script" not in page and "<img" not in page and "\u202e" not in page
    page.encode()


def test_code_of_no_cell_and_of_a_newer_python_is_shown() -> None:
    """Without a cell lines are those of run.code(); what can't be parsed is shown round the line."""
    page = moment_html(Moment(a_trace(LOOP, in_cell=False), 0))
    assert "line 8 of run.code()" in text_of(page)
    broken = a_trace([(2, {})], source="def buy(:\n    later syntax\n" + "x\n" * 200)
    page = moment_html(Moment(broken, 0))
    assert "→  2      later syntax" in text_of(page)


def test_why_a_failure_can_not_be_shown() -> None:
    """A replay that fails leaves a sentence, not an exception."""

    class Gone:
        def at(self, moment: str) -> Moment:
            raise ReplayDiverged(f"<{moment}> no longer gives its history.")

    assert "The moment can't be shown: <failure> no longer gives its history." in text_of(root(*failure_blocks(Gone())))


def test_the_moment_of_the_library_is_shown_by_it() -> None:
    """Moment's own display is this one."""
    moment = Moment(a_trace(LOOP), 0)
    assert moment._repr_html_() == moment_html(moment)
    assert SOURCE.splitlines()[7].strip() in moment._repr_html_()


def test_a_replay_that_is_not_what_was_recorded_says_so_above_the_code():
    """On the card and in the explorer too, where no warning is seen."""
    trace = replace(a_trace([(7, {}), (8, {"total": 0})]), differs=(Differs(1, "call 1, load(): argument 1 was 1"),))
    for moment in (Moment(trace, 0), Moment(trace, 1)):
        assert "call 1, load(): argument 1 was 1" in moment._repr_html_()
    assert "other than recorded: call 1, load()" in repr(Moment(trace, 1))
