"""An exception of a step reaches the agent as it was raised."""

from __future__ import annotations

import pytest

from kaigents_nb.runtime.failures import RAISE, details, rebuild, to_failure


@pytest.mark.parametrize("message", ["plain", "two\nlines", "tab\tand “quotes”", ""])
def test_message_arrives_as_it_was(message: str) -> None:
    """A message keeps its lines: many errors of libraries have several."""
    arrived = rebuild(to_failure(ValueError(message), "", RAISE), _unknown)
    assert (type(arrived), str(arrived)) == (ValueError, message)


def test_long_message_keeps_its_beginning() -> None:
    """What is cut out of a very long message is its middle, and the text says how much."""
    failure = to_failure(ValueError("first line\n" + "x" * 100_000 + "\nlast line"), "", RAISE)
    for text in (failure.message, str(rebuild(failure, _unknown))):
        assert text.startswith("first line\nxxx") and text.endswith("xxx\nlast line")
        assert "characters left out" in text and len(text) <= 1_000


def test_long_traceback_keeps_both_ends() -> None:
    """A traceback that is too long for the server begins and ends as it did, and says how much is missing."""
    lines = [f"  In [{number}], line 1, in f" for number in range(1_000)]
    whole = "\n".join(["Traceback (most recent call last):", *lines, "ValueError: the reason"])
    text = details(to_failure(ValueError("the reason"), whole, RAISE, limit=500))["traceback"]
    assert text.startswith("Traceback (most recent call last):\n  In [0]") and text.endswith("ValueError: the reason")
    before, after = text.split("\n… ")[0], text.split(" …\n")[1]
    assert f"{len(whole) - len(before) - len(after):,} characters left out" in text and len(text) <= 500


def test_half_a_character_does_no_harm() -> None:
    """Text that UTF-8 can't express arrives with a question mark in its place."""
    assert str(rebuild(to_failure(ValueError("a\ud800\nb"), "", RAISE), _unknown)) == "a?\nb"


def _unknown(module: str, qualname: str) -> type:
    raise LookupError(module, qualname)
