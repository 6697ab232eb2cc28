"""What a person is asked is what is seen: no sign of a gate's text vanishes."""

from __future__ import annotations

import sys
import unicodedata
from dataclasses import replace

import pytest

from kaigents_nb.gates.question import Question
from kaigents_nb.gates.shown import Shown
from kaigents_nb.gates.visible import label, same_labels, visible


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("Transfer 5,000,000 to Evil?\rTransfer 5 to Ann?", r"Transfer 5,000,000 to Evil?\rTransfer 5 to Ann?"),
        ("a\x1b[8mhidden\x1b[0m", r"a\x1b[8mhidden\x1b[0m"),
        ("\u202e5 yaP\u202c", r"\u202e5 yaP\u202c"),
        ("A\u200bB\u2060\ufeff", r"A\u200bB\u2060\ufeff"),
        ("A\u00a0\u2003B", r"A\xa0\u2003B"),
        ("\u3164\u2800\u115f", r"\u3164\u2800\u115f"),
        ("A\ufe0f\U000e0041", r"A\ufe0f\U000e0041"),
        ("\U0001d159\U00013441", r"\U0001d159\U00013441"),
        ("Pay 5" + "\u0336" * 8, "Pay 5" + "\u0336" * 5 + r"\u0336\u0336\u0336"),
        (" \u0336x\u0301", r" \u0336x" + "\u0301"),
        ("\ud800", r"\ud800"),
        ("two\nlines\tand a tab", r"two" + "\n" + r"lines\tand a tab"),
        ("Straße 東京 Ünïcode ✓ é 🙂 שלום", "Straße 東京 Ünïcode ✓ é 🙂 שלום"),
    ],
)
def test_nothing_vanishes(text: str, seen: str) -> None:
    """Control signs, escapes, directions, odd spaces and blanks are told; letters of every language stay."""
    assert visible(text) == seen


def test_every_sign_is_shown_or_told() -> None:
    """Of all of Unicode, what has no look of its own is written as an escape."""
    for number in range(sys.maxunicode + 1):
        sign = chr(number)
        shown = visible(sign)
        if unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs") and sign not in " \n":
            assert shown.isascii() and shown.startswith("\\"), hex(number)
        else:
            assert shown in (sign, sign.encode("unicode_escape", "replace").decode()), hex(number)


def test_options_that_look_alike() -> None:
    """Spaces, width, case and what lies behind a button's end tell no options apart."""
    assert same_labels(("Pay Ann", "Pay  Ann")) == ("Pay Ann", "Pay  Ann")
    assert same_labels(("Pay", "ＰＡＹ")) == ("Pay", "ＰＡＹ")
    assert same_labels(("x" * 60 + "a", "x" * 60 + "b")) is not None
    assert same_labels(("Helian", "Mekong", "Helian 2")) is None
    assert label("x" * 100) == "x" * 59 + "…"


def test_a_question_tells_itself_as_it_is() -> None:
    """Where a cell shows what wait_for_gate() returned, nothing vanishes either; its token is of this asking alone."""
    asked = Question("Pay?\r\u3164", ("Yes\u2800",), gate="1", execution="a")
    assert r"Pay?\r\u3164" in repr(asked) and r"Yes\u2800" in repr(asked)
    others = [replace(asked, gate="2"), replace(asked, execution="b"), replace(asked, details="x")]
    assert len({one.token for one in (asked, *others)}) == 4
    assert asked.is_called(r"Pay?\r\u3164") and asked.is_called(asked.token) and not asked.is_called(others[0].token)
    assert asked.answer(True, choice=r"Yes\u2800").choice == "Yes\u2800"


def test_what_was_shown_is_what_is_meant() -> None:
    """A look is what is meant until it is decided; without one, all that was shown in passing."""
    first, second = (Question(text, gate=text, run_id="run") for text in "12")
    shown = Shown()
    shown.add("run", [first])
    shown.add("run", [second])
    assert shown.of("run") == [first, second]
    shown.see("run", [second])
    shown.add("run", [first])
    assert shown.of("run") == [second]
    shown.forget(second)
    shown.add("run", [second])  # a view of before, on its way
    assert shown.of("run") == [first]
    assert shown.of("other") == []
    for number in range(2_000):
        shown.see(f"run-{number}", [replace(first, run_id=f"run-{number}")])
    assert shown.of("run") == []
