"""The layout of a timeline: one lane per name, its bars as pieces on the axis, and a word on each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from kaigents_nb.display import words
from kaigents_nb.display.timeline_bars import Bar, Kind
from kaigents_nb.display.timeline_looks import LASTS, LOOKS, SIGNS, LookName, legend
from kaigents_nb.display.timeline_scale import Scale

PIECES: Final = 400
"""More bars than this are not drawn one by one."""
LANES: Final = 40
_TOLD: Final = ("running", "retrying", "parked", "failed", "cancelled", "open", "rejected", "withdrawn")
_OTHERS: Final[tuple[Kind, str]] = ("step", "")
"""The lane of all names beyond these."""
_HAIRLINE = 0.003
_ROWS = 24
"""Calls of one name at the same time that have a row each."""

_STEP_LOOKS: Final[dict[str, LookName]] = {"scheduled": "waiting", "retrying": "waiting", "cancelled": "stopped"}
_GATE_SIGNS: Final = {"approved": "✓", "rejected": "✕", "withdrawn": "–", "open": LASTS}


@dataclass(frozen=True)
class Piece:
    """Something to draw from ``x0`` to ``x1``; ``count`` bars that were too close to each other are one piece."""

    look: LookName
    x0: float
    x1: float
    title: str
    sign: str = ""
    count: int = 1


@dataclass
class Lane:
    """All bars of one name; those of the same time are in rows of their own."""

    kind: Kind
    name: str
    note: str
    rows: list[list[Piece]]
    deaths: list[tuple[float, str]]


@dataclass(frozen=True)
class Layout:
    """A timeline ready to be drawn."""

    lanes: list[Lane]
    scale: Scale
    deaths: list[tuple[float, str]]
    """Workers that had the run itself."""
    note: str
    """What is not drawn one by one."""

    @property
    def looks(self) -> list[tuple[LookName, str]]:
        """The looks and signs that are drawn, what matters least first."""
        used = {(piece.look, piece.sign) for lane in self.lanes for row in lane.rows for piece in row}
        return [(look, sign) for look in LOOKS for sign in ("", *SIGNS) if (look, sign) in used]


def lay_out(groups: Sequence[list[Bar]], start: datetime, now: datetime, width: float) -> Layout:
    """Place the bars of a run on an axis of ``width`` units; ``now`` is its end."""
    scale = Scale(start, now, _busy(groups, now), width)
    named: dict[tuple[Kind, str], list[list[Bar]]] = {}
    deaths = []
    for group in groups:
        head = group[0]
        if head.kind == "worker death":
            deaths.append((scale.x(head.start), f"{head.worker or 'A worker'} {head.detail}"))
        else:
            key = (head.kind, head.name)
            full = key not in named and len(named) >= LANES - 1
            named.setdefault(_OTHERS if full else key, []).append(group)
    lanes = [_lane(key, found, scale, now) for key, found in named.items()]
    pieces = _count(lanes)
    _thin_out(lanes, width)
    drawn = _count(lanes)
    note = f"{pieces:,} bars are drawn as {drawn:,}: close neighbours as one. " if drawn < pieces else ""
    if _OTHERS in named:
        other = len({(group[0].kind, group[0].name) for group in named[_OTHERS]})
        note += f"The lane 'others' holds {other:,} more names. "
    return Layout(lanes, scale, deaths, note.strip())


def _busy(groups: Iterable[Sequence[Bar]], now: datetime) -> Iterable[tuple[datetime, datetime]]:
    for head, *parts in groups:
        if head.kind != "step":
            continue
        tried = [part for part in parts if part.kind == "attempt"] or [head]
        for bar in tried:
            if bar.began is not None and not bar.several:
                yield bar.began, bar.end or now


def _lane(key: tuple[Kind, str], groups: list[list[Bar]], scale: Scale, now: datetime) -> Lane:
    free: list[datetime] = []
    rows: list[list[Piece]] = []
    for group in groups:
        begin, end = group[0].start, group[0].end or now
        row = next((number for number, until in enumerate(free) if until <= begin), min(len(free), _ROWS - 1))
        if row == len(free):
            free.append(end)
            rows.append([])
        free[row] = max(free[row], end)
        for piece in _pieces(group, scale, now):
            if piece.look != "waiting" or piece.x1 - piece.x0 > scale.width * _HAIRLINE:
                rows[row].append(piece)
    deaths = [(scale.x(bar.start), bar.detail) for group in groups for bar in group if bar.kind == "worker death"]
    kind, name = key
    return Lane(kind, name or "others", _note(groups, now), rows, deaths)


def _pieces(group: list[Bar], scale: Scale, now: datetime) -> list[Piece]:
    head, *parts = group
    found: list[Piece] = []

    def draw(look: LookName, begin: datetime, end: datetime | None, text: str, sign: str = "") -> None:
        lasted = words.duration(((end or now) - begin).total_seconds())
        sign = sign or ("" if end else LASTS)
        found.append(Piece(look, scale.x(begin), scale.x(end or now), f"{head.name}: {text}, {lasted}", sign))

    if head.kind == "sleep":
        draw("asleep", head.start, head.end, "asleep")
    elif head.kind == "wait at gate":
        text = head.detail or "waiting for a decision"
        draw("person", head.start, head.end, text, _GATE_SIGNS[head.status])
    elif head.kind == "child agent":
        look: LookName = "failed" if head.status == "failed" else "called agent"
        draw(look, head.start, head.end, f"called agent {head.detail}, {_state(head)}")
    elif head.reused:
        draw("taken over", head.start, head.end, head.detail)
    if found:
        return found
    tried = [part for part in parts if part.kind != "worker death"] or ([head] if head.began else [])
    at = head.start
    for bar in tried:
        began = bar.began or bar.start
        if began > at:
            draw("waiting", at, began, "waiting for a worker")
        if bar.kind == "parked":
            draw("person", bar.start, bar.end, "parked")
        else:
            look = "failed attempts" if bar.status in ("failed", "parked") else _STEP_LOOKS.get(bar.status, "step")
            if bar is tried[-1] and head.status == "failed":
                look = "failed"
            number = f"attempt {bar.attempt}, " if bar is not head else ""
            why = f" ({bar.detail})" if bar.detail else ""
            draw(look, began, bar.end, bar.detail if bar.several else f"{number}{_state(bar)}{why}")
        at = bar.end or now
    if (head.end or now) > at:
        draw("waiting", at, head.end, f"waiting for {'the next attempt' if tried else 'a worker'}")
    return found


def _state(bar: Bar) -> str:
    return words.STEP_WORDS.get(bar.status, bar.status)


def _note(groups: list[list[Bar]], now: datetime) -> str:
    """What a lane's bars came to, in words."""
    heads = [group[0] for group in groups]
    died = sum(bar.kind == "worker death" for group in groups for bar in group)
    worker = f"; {'a worker' if died == 1 else f'{died} workers'} died" if died else ""
    if len(heads) == 1:
        head = heads[0]
        lasted = words.duration(head.lasted_s(now))
        if head.kind == "wait at gate":
            verdict = head.detail.rpartition(" on ")[0] or head.detail
            return f"{lasted}; {verdict[:1].lower()}{verdict[1:]}" if verdict else f"waiting, {lasted}"
        if head.reused:
            return head.detail
        tries = f", attempt {head.attempt}" if head.attempt > 1 else ""
        waited = f", {told}" if (told := words.waited(head.waited_s)) else ""
        return f"{_state(head) if head.kind != 'sleep' else 'asleep'}{tries}, {lasted}{waited}{worker}"
    total_s = sum(head.lasted_s(now) for head in heads)
    counts = Counter(head.status for head in heads)
    parts = [f"{len(heads):,} {'times' if heads[0].kind in ('sleep', 'wait at gate') else 'calls'}"]
    parts += [f"{counts[status]:,} {status}" for status in _TOLD if counts[status]]
    if heads[0].kind == "step" and (again := sum(head.attempt > 1 for head in heads)):
        parts.append(f"{again:,} tried again")
    return f"{', '.join(parts)}, {words.duration(total_s)} in all{worker}"


def _thin_out(lanes: list[Lane], width: float) -> None:
    """Draw what is close together and looks alike as one, until little enough is left."""
    for share in (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 1.0):
        if _count(lanes) <= PIECES:
            return
        for lane in lanes:
            # Rows tell calls of the same time apart; in so long a run they would only repeat each other.
            row = sorted((piece for row in lane.rows for piece in row), key=lambda piece: piece.x0)
            lane.rows = [_merged(row, share * width, lane.name)]


def _count(lanes: Iterable[Lane]) -> int:
    return sum(len(row) for lane in lanes for row in lane.rows)


def _merged(row: list[Piece], apart: float, name: str) -> list[Piece]:
    """Pieces of a row, merged with the one before of the same look; what matters more comes last, so on top."""
    merged: dict[tuple[LookName, str], list[Piece]] = {(look, sign): [] for look in LOOKS for sign in ("", *SIGNS)}
    for piece in row:
        alike = merged[piece.look, piece.sign]
        if not alike or piece.x0 - alike[-1].x1 > apart:
            alike.append(piece)
            continue
        last, count = alike[-1], alike[-1].count + piece.count
        title = f"{name}: {count:,} × {legend(piece.look, piece.sign)}"
        alike[-1] = Piece(piece.look, last.x0, max(last.x1, piece.x1), title, piece.sign, count)
    return [piece for alike in merged.values() for piece in alike]
