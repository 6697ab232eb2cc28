"""Durations as people write them: seconds, timedelta or ``"2 days"``."""

from __future__ import annotations

import math
import re
from datetime import timedelta

Duration = float | int | str | timedelta

_UNITS_S = {
    "ms": 0.001, "millisecond": 0.001,
    "s": 1, "sec": 1, "second": 1,
    "m": 60, "min": 60, "minute": 60,
    "h": 3600, "hour": 3600,
    "d": 86400, "day": 86400,
    "w": 604800, "week": 604800,
}  # fmt: skip
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)")


def seconds(value: Duration) -> float:
    """Return a duration in seconds.

    Parameters
    ----------
    value
        A number of seconds, a ``timedelta``, or text such as ``"2 days"``, ``"1h 30min"``, ``"250 ms"``.

    Raises
    ------
    ValueError
        When the text can't be read, or the duration is negative or not finite.

    Examples
    --------
    >>> seconds("1h 30min")
    5400.0
    """
    if isinstance(value, timedelta):
        result = value.total_seconds()
    elif isinstance(value, str):
        result = _parse(value)
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"A duration is a number of seconds, a timedelta or text, not {value!r}.")
    else:
        result = float(value)
    if not math.isfinite(result) or result < 0:
        raise ValueError(f"A duration can't be negative or infinite: {value!r}.")
    return result


def _parse(text: str) -> float:
    rest, total = text.strip().lower(), 0.0
    parts = _PART.findall(rest)
    if not parts or _PART.sub("", rest).strip(" ,"):
        raise ValueError(f"Can't read the duration {text!r}. Write 90, '90 s', '2 days' or '1h 30min'.")
    for number, unit in parts:
        factor = _UNITS_S.get(unit) or _UNITS_S.get(unit.removesuffix("s"))
        if factor is None:
            raise ValueError(f"Unknown unit {unit!r} in {text!r}. Known: ms, s, min, h, days, weeks.")
        total += float(number) * factor
    return total
