"""An exception of a step reaches the agent as it was raised."""

from __future__ import annotations

import pytest

from kaigents_nb.runtime.failures import RAISE, rebuild, to_failure


@pytest.mark.parametrize("message", ["plain", "two\nlines", "tab\tand “quotes”", ""])
def test_message_arrives_as_it_was(message: str) -> None:
    """A message keeps its lines: many errors of libraries have several."""
    arrived = rebuild(to_failure(ValueError(message), "", RAISE), _unknown)
    assert (type(arrived), str(arrived)) == (ValueError, message)


def test_long_message_keeps_its_beginning() -> None:
    """What is cut off a very long message is its end."""
    arrived = rebuild(to_failure(ValueError("first line\n" + "x" * 100_000), "", RAISE), _unknown)
    assert str(arrived).startswith("first line\nxxx")
    assert len(str(arrived)) < 2_000


def test_half_a_character_does_no_harm() -> None:
    """Text that UTF-8 can't express arrives with a question mark in its place."""
    assert str(rebuild(to_failure(ValueError("a\ud800\nb"), "", RAISE), _unknown)) == "a?\nb"


def _unknown(module: str, qualname: str) -> type:
    raise LookupError(module, qualname)
