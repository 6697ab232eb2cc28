"""The time axis of a timeline: to scale where something is executed, folded where a run only waits for long."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from typing import Final

from kaigents_nb.display import words

_FOLDS: Final = 40
_SHORTEST_FOLD_S = 1.0
_WAITING_SHARE = 0.6
"""More of the axis than this is not given to waiting."""
_STEPS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800,
            3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800, 2_592_000)  # fmt: skip


@dataclass(frozen=True)
class Stretch:
    """A part of the axis, in seconds since the start and in units of its width."""

    start_s: float
    end_s: float
    x0: float
    x1: float
    folded: bool


@dataclass(frozen=True)
class Tick:
    """A mark on the axis."""

    x: float
    label: str


class Scale:
    """Places times on an axis of ``width`` units.

    ``busy`` are the times at which something is executed. A gate that is open for three days would leave no room
    for the seconds before and after it, so the longest waits are folded until waiting takes 60 % of the axis at most.
    """

    def __init__(self, start: datetime, end: datetime, busy: Iterable[tuple[datetime, datetime]], width: float) -> None:
        self._start, self.width = start, width
        self.length_s = max((end - start).total_seconds(), 1e-3)
        spans = sorted((self._seconds(began), self._seconds(ended)) for began, ended in busy)
        folded = _chosen(_gaps(spans, self.length_s), self.length_s) if spans else []
        rest_s = self.length_s - sum(gap_end - gap for gap, gap_end in folded)
        fold_s = rest_s * min(0.12, 0.5 / max(len(folded), 1))
        self._unit = width / (rest_s + fold_s * len(folded))
        self.stretches: list[Stretch] = []
        at_s = x = 0.0
        for begin_s, end_s in [*sorted(folded), (self.length_s, self.length_s)]:
            for until_s, wide in ((begin_s, (begin_s - at_s) * self._unit), (end_s, fold_s * self._unit)):
                if until_s > at_s:
                    self.stretches.append(Stretch(at_s, until_s, x, x + wide, until_s > begin_s))
                    at_s, x = until_s, x + wide

    def _seconds(self, time: datetime) -> float:
        return min(max((time - self._start).total_seconds(), 0.0), self.length_s)

    def x(self, time: datetime) -> float:
        """Return where a time is; times outside the axis are at its ends."""
        at_s = self._seconds(time)
        stretch = self.stretches[max(bisect_right(self.stretches, at_s, key=lambda stretch: stretch.start_s) - 1, 0)]
        share = (at_s - stretch.start_s) / (stretch.end_s - stretch.start_s)
        return stretch.x0 + share * (stretch.x1 - stretch.x0)

    def ticks(self, apart: float) -> list[Tick]:
        """Return marks for the time since the start, at least ``apart`` units from each other."""
        step_s = next((step for step in _STEPS_S if step * self._unit >= apart), _STEPS_S[-1])
        found: list[Tick] = []
        for stretch in self.stretches:
            if stretch.folded:
                continue
            number = -(-stretch.start_s // step_s)
            while number * step_s <= stretch.end_s:
                x = stretch.x0 + (number * step_s - stretch.start_s) * self._unit
                label = since(number * step_s)
                if not found or (x - found[-1].x >= apart * 0.8 and label != found[-1].label):
                    found.append(Tick(x, label))
                number += 1
        return found


def since(seconds: float) -> str:
    """Return a time since the start, such as ``0.2 s``, ``15 s``, ``4:05 min`` or ``3 h 12 min``."""
    if seconds < 60:
        return f"{seconds:.6g} s"
    if seconds < 3600:
        return f"{int(seconds // 60)}:{int(seconds % 60):02} min"
    return words.duration(seconds)


def _gaps(spans: list[tuple[float, float]], length_s: float) -> list[tuple[float, float]]:
    """What is left between spans, which come by their beginning and may overlap."""
    ends = accumulate((end for _, end in spans), max, initial=0.0)
    gaps = zip(ends, [*(begin for begin, _ in spans), length_s], strict=True)
    return [(end, begin) for end, begin in gaps if begin > end]


def _chosen(gaps: list[tuple[float, float]], length_s: float) -> list[tuple[float, float]]:
    """The longest gaps, as many as it takes."""
    left_s, waiting_s = length_s, sum(end - begin for begin, end in gaps)
    chosen: list[tuple[float, float]] = []
    for begin, end in sorted(gaps, key=lambda gap: gap[0] - gap[1])[:_FOLDS]:
        if end - begin < _SHORTEST_FOLD_S or waiting_s <= _WAITING_SHARE * left_s:
            break
        chosen.append((begin, end))
        left_s, waiting_s = left_s - (end - begin), waiting_s - (end - begin)
    return chosen
