"""Durations as people write them."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest

from kaigents_nb.authoring.durations import seconds


@pytest.mark.parametrize(
    ("written", "meant_s"),
    [
        (90, 90),
        (0, 0),
        (0.25, 0.25),
        (timedelta(days=2), 172_800),
        (timedelta(milliseconds=5), 0.005),
        ("250 ms", 0.25),
        ("2 milliseconds", 0.002),
        ("90 s", 90),
        ("90s", 90),
        ("1 sec", 1),
        ("30 secs", 30),
        ("1 second", 1),
        ("1.5 seconds", 1.5),
        ("5 m", 300),
        ("5 min", 300),
        ("5 mins", 300),
        ("20 minutes", 1200),
        ("2 h", 7200),
        ("2hours", 7200),
        ("2 d", 172_800),
        ("2 days", 172_800),
        ("1 Day", 86_400),
        ("1 w", 604_800),
        ("3 weeks", 1_814_400),
        ("1h 30min", 5400),
        ("1 h, 30 min, 5 s", 5405),
        ("  2 days ", 172_800),
        ("0 s", 0),
    ],
)
def test_what_people_write(written: Any, meant_s: float) -> None:
    """Numbers are seconds; a timedelta and text with units mean what they say."""
    assert seconds(written) == pytest.approx(meant_s)
    assert isinstance(seconds(written), float)


@pytest.mark.parametrize("written", ["", " ", "soon", "5", "2 days or so", "days", "-5 s", "1..5 s", "5 min!"])
def test_text_that_is_no_duration(written: str) -> None:
    """Text that can't be read is a ValueError that shows how to write one."""
    with pytest.raises(ValueError, match=r"Can't read the duration .* Write 90, '90 s', '2 days'"):
        seconds(written)


@pytest.mark.parametrize("written", ["5 parsecs", "2 months", "1 y", "1e3 s"])
def test_unknown_units(written: str) -> None:
    """A unit that is not known is named, with the known ones."""
    with pytest.raises(ValueError, match=r"Unknown unit .* Known: ms, s, min, h, days, weeks"):
        seconds(written)


@pytest.mark.parametrize("written", [-1, -0.5, math.inf, -math.inf, math.nan, timedelta(seconds=-1)])
def test_what_can_not_be_waited(written: Any) -> None:
    """A negative or endless duration is refused; for ever is written None where that is allowed."""
    with pytest.raises(ValueError, match="can't be negative or infinite"):
        seconds(written)


@pytest.mark.parametrize("written", [None, True, [5], b"5 s", 5j])
def test_what_is_no_duration_at_all(written: Any) -> None:
    """Any other type is a TypeError with the value."""
    with pytest.raises(TypeError, match="A duration is a number of seconds, a timedelta or text, not"):
        seconds(written)
