"""``rate="20/min"``: so many in any stretch of time."""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from dataclasses import dataclass

_UNITS = {
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "min": 60.0,
    "minute": 60.0,
    "h": 3600.0,
    "hour": 3600.0,
    "day": 86_400.0,
}
_WRITTEN = re.compile(r"\s*(\d+(?:\.\d+)?)\s*/\s*([a-z]+)\s*")


@dataclass(frozen=True)
class Rate:
    """So many in so many seconds."""

    amount: float
    per_s: float

    @classmethod
    def of(cls, text: str) -> Rate:
        """Read a rate.

        Raises
        ------
        ValueError
            With the known units.

        Examples
        --------
        >>> Rate.of("20/min")
        Rate(amount=20.0, per_s=60.0)
        """
        found = _WRITTEN.fullmatch(text) if isinstance(text, str) else None
        if found is None or found[2] not in _UNITS or not float(found[1]) > 0:
            raise ValueError(
                f"A rate is a number in a time, such as '20/min', not {text!r}. Units: {', '.join(_UNITS)}."
            )
        return cls(float(found[1]), _UNITS[found[2]])


class Window:
    """What was used in the time up to any moment, and what is reserved for moments to come. Threads may share it."""

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._lock = threading.Lock()
        self._used: deque[list[float]] = deque()  # [when, amount], in order of time

    def reserve(self, amount: float, limit: float) -> tuple[list[float], float]:
        """Take the earliest moment at which the amount fits, after all that was reserved before.

        Returns
        -------
        entry, delay_s
            ``entry[1]`` is the amount, and may be set to what was really used.
        """
        with self._lock:
            now = time.monotonic()
            while self._used and self._used[0][0] <= now - self._per_s:
                self._used.popleft()
            when = max(now, self._used[-1][0]) if self._used else now
            # One that is bigger than the limit goes alone: it would never fit.
            for start, _ in list(self._used):
                inside = sum(used for at, used in self._used if at > when - self._per_s)
                if inside == 0 or inside + amount <= limit:
                    break
                when = max(when, start + self._per_s)
            entry = [when, amount]
            self._used.append(entry)
            return entry, when - now
