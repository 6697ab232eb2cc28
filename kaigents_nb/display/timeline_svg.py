"""A timeline as inline SVG: shapes and words say what colour says; nothing is fetched and nothing runs.

Text takes the colour of the page. Every piece has a ``<title>``, which browsers show as a tooltip.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

from kaigents_nb.display import words
from kaigents_nb.display.markup import ASKS, BAD, BUSY, CALM, GOOD, esc
from kaigents_nb.display.timeline_lanes import Lane, Layout, Look, Piece

NAMES, CHART, NOTES = 170, 480, 262
_GAP = 12
WIDTH: Final = NAMES + CHART + NOTES + 2 * _GAP
_LEFT = NAMES + _GAP
_TOP, _LANE, _BAR = 26, 26, 14
_TICKS_APART = 64
_CHAR = 6.3
"""About the width of a character, to shorten what would not fit."""
_ITALIC = ' font-style="italic"'
_CHILD = "var(--jp-info-color1, #0097a7)"
_FONT = 'font-family="var(--jp-ui-font-family, system-ui, sans-serif)" font-size="11.5"'

_LEGEND: Final[dict[Look, str]] = {
    "work": "step",
    "running": "still running",
    "queued": "waiting for a worker or the next attempt",
    "retried": "failed attempts",
    "failed": "failed for good",
    "parked": "parked",
    "stopped": "stopped",
    "child": "called agent",
    "child running": "called agent, still running",
    "reused": "taken over from the first run",
    "sleep": "asleep",
    "approved": "gate, approved",
    "rejected": "gate, rejected",
    "withdrawn": "gate, not decided",
    "open": "gate, waiting",
}


def svg_of(layout: Layout, title: str, description: str) -> str:
    """Return the picture; ``title`` and ``description`` are read out instead of it."""
    mark = f"kg{uuid.uuid4().hex[:8]}"
    heights = [_height(lane) for lane in layout.lanes]
    bottom = _TOP + sum(heights)
    legend = list(_legend(layout, bottom + 24, mark))
    height = bottom + 12 + (18 * _legend_rows(layout) + 8 if legend else 0)
    parts = [*_axis(layout, bottom)]
    top = float(_TOP)
    for lane, tall in zip(layout.lanes, heights, strict=True):
        parts += _lane(lane, top, tall, mark)
        top += tall
    for x, told in layout.deaths:
        parts.append(_death(x, _TOP - 1, bottom, told))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby="{mark}-t {mark}-d" '
        f'viewBox="0 0 {WIDTH} {height:.0f}" width="100%" style="max-width: {WIDTH}px; min-width: 640px; '
        f'height: auto; display: block" {_FONT} fill="currentColor">'
        f'<title id="{mark}-t">{esc(title)}</title><desc id="{mark}-d">{esc(description)}</desc>'
        f"{_patterns(mark)}{''.join(parts)}{''.join(legend)}</svg>"
    )


def cursor_of(layout: Layout, time: datetime) -> str:
    """Return a mark above the axis at a time; as wide as the picture, so that it fits on top of it."""
    x = _LEFT + layout.scale.x(time)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{esc(words.clock(time))}" '
        f'viewBox="0 0 {WIDTH} 10" width="100%" style="max-width: {WIDTH}px; min-width: 640px; height: auto; '
        f'display: block"><path d="M{x - 6:.1f} 0 h12 l-6 10 z" style="fill: {ASKS}"/></svg>'
    )


def _patterns(mark: str) -> str:
    def hatch(name: str, colour: str, gap: float, turn: int) -> str:
        return (
            f'<pattern id="{mark}-{name}" width="{gap}" height="{gap}" patternUnits="userSpaceOnUse" '
            f'patternTransform="rotate({turn})"><rect width="{gap}" height="{gap}" style="fill: {colour}" '
            f'fill-opacity="0.14"/><line x1="0" y1="0" x2="0" y2="{gap}" style="stroke: {colour}" stroke-width="2"/>'
            "</pattern>"
        )

    dots = (
        f'<pattern id="{mark}-parked" width="5" height="5" patternUnits="userSpaceOnUse"><rect width="5" height="5" '
        f'style="fill: {ASKS}" fill-opacity="0.12"/><circle cx="2.5" cy="2.5" r="0.9" style="fill: {ASKS}"/></pattern>'
    )
    return f"<defs>{hatch('retried', BAD, 5, 45)}{dots}</defs>"


def _axis(layout: Layout, bottom: float) -> Iterator[str]:
    folds = [stretch for stretch in layout.scale.stretches if stretch.folded]
    taken: list[tuple[float, float]] = []

    def label(x: float, text: str, style: str = "") -> str:
        """The text above the axis, where there is still room for it."""
        half = len(text) * _CHAR / 2 + 5
        if any(begin < x + half and end > x - half for begin, end in taken):
            return ""
        taken.append((x - half, x + half))
        return f'<text x="{_LEFT + x:.1f}" y="14" text-anchor="middle" opacity="0.75"{style}>{esc(text)}</text>'

    # The longest first: how long a run waited says more than a tick.
    for fold in sorted(folds, key=lambda fold: fold.start_s - fold.end_s):
        lasted = words.duration(fold.end_s - fold.start_s)
        middle = (fold.x0 + fold.x1) / 2
        marked = f"⋯ {lasted} ⋯"
        text = marked if len(marked) * _CHAR < fold.x1 - fold.x0 else lasted
        said = label(middle, text, _ITALIC) or label(middle, "⋯")
        yield (
            f"<g><title>Only waiting for {esc(lasted)}: not to scale</title>"
            f'<rect x="{_LEFT + fold.x0:.1f}" y="{_TOP - 4}" width="{fold.x1 - fold.x0:.1f}" '
            f'height="{bottom - _TOP + 4:.1f}" fill-opacity="0.06"/>{said}</g>'
        )
    for tick in layout.scale.ticks(_TICKS_APART):
        x = _LEFT + tick.x
        ends = f'x1="{x:.1f}" y1="{_TOP - 4}" x2="{x:.1f}" y2="{bottom:.1f}"'
        yield f'<line {ends} stroke="currentColor" opacity="0.14"/>{label(tick.x, tick.label)}'


def _height(lane: Lane) -> float:
    return _LANE if len(lane.rows) <= 1 else len(lane.rows) * _row(lane) + 10


def _row(lane: Lane) -> float:
    """The height of a row: the more at the same time, the thinner."""
    return {1: _BAR + 2, 2: 11, 3: 11}.get(len(lane.rows), 7 if len(lane.rows) <= 8 else 4)


def _lane(lane: Lane, top: float, tall: float, mark: str) -> Iterator[str]:
    middle = top + tall / 2 + 4
    name = lane.name if lane.kind != "wait at gate" else f"“{lane.name}”"
    yield (
        f'<g><title>{esc(words.line(name))}</title><text x="{NAMES}" y="{middle:.1f}" text-anchor="end"'
        f"{_ITALIC if lane.kind == 'wait at gate' else ''}>{esc(words.line(name, int(NAMES / _CHAR)))}</text></g>"
    )
    row_tall = _row(lane)
    bar_tall = min(_BAR, row_tall - 1)
    at = top + (tall - len(lane.rows) * row_tall) / 2
    for row in lane.rows:
        for piece in row:
            yield _piece(piece, at + (row_tall - bar_tall) / 2, bar_tall, mark)
        at += row_tall
    for x, told in lane.deaths:
        yield _death(x, top + 2, top + tall - 2, told)
    yield (
        f'<g><title>{esc(lane.note)}</title><text x="{_LEFT + CHART + _GAP}" y="{middle:.1f}" opacity="0.85">'
        f"{esc(words.line(lane.note, int(NOTES / _CHAR)))}</text></g>"
    )


def _piece(piece: Piece, y: float, tall: float, mark: str) -> str:
    x0 = _LEFT + min(piece.x0, CHART - 2.5)
    wide = max(min(piece.x1, CHART) - min(piece.x0, CHART - 2.5), 2.5)
    return f"<g><title>{esc(piece.told)}</title>{_shape(piece.look, x0, y, wide, tall, mark, lasts=piece.lasts)}</g>"


def _shape(look: Look, x: float, y: float, wide: float, tall: float, mark: str, *, lasts: bool = False) -> str:
    middle, end = y + tall / 2, x + wide

    def box(fill: str, opacity: float, stroke: str = "", more: str = "") -> str:
        edge = f"; stroke: {stroke}" if stroke else ""
        inset = 0.5 if stroke and wide > 2 else 0.0
        return (
            f'<rect x="{x + inset:.1f}" y="{y + inset:.1f}" width="{wide - 2 * inset:.1f}" '
            f'height="{tall - 2 * inset:.1f}" rx="{min(2.5, tall / 3):.1f}" style="fill: {fill}{edge}" '
            f'fill-opacity="{opacity}"{more}/>'
        )

    def line(colour: str, more: str, thick: float = 1.5) -> str:
        return (
            f'<line x1="{x:.1f}" y1="{middle:.1f}" x2="{end:.1f}" y2="{middle:.1f}" style="stroke: {colour}" '
            f'stroke-width="{thick}"{more}/>'
        )

    def sign(text: str, colour: str, at: float = end - 7) -> str:
        """A sign at the end, where there is room for one."""
        if wide < 12 or tall < 10:
            return ""
        return (
            f'<text x="{at:.1f}" y="{middle + 4:.1f}" text-anchor="middle" font-weight="700" '
            f'style="fill: {colour}">{text}</text>'
        )

    dashed = ' stroke-dasharray="3 2"'
    if look == "work":
        return box(BUSY, 0.85)
    if look == "running":
        return box(BUSY, 0.3, BUSY, dashed) + sign("▸", BUSY)
    if look in ("child", "child running"):
        open_ = look == "child running"
        return box(_CHILD, 0.18, _CHILD, dashed if open_ else "") + (line(_CHILD, "", 1) if tall > 6 else "")
    if look == "queued":
        return line(CALM, ' stroke-dasharray="1.5 2.5"')
    if look == "sleep":
        ends = "".join(
            f'<line x1="{at:.1f}" y1="{middle - 4:.1f}" x2="{at:.1f}" y2="{middle + 4:.1f}" '
            f'style="stroke: {CALM}" stroke-width="1.5"/>'
            for at in ((x,) if lasts else (x, end))
        )
        return line(CALM, "") + ends
    if look == "reused":
        return box("none", 0, CALM)
    if look == "retried":
        return box(f"url(#{mark}-retried)", 1, BAD) + sign("×", BAD, x + 7)
    if look == "failed":
        return box(BAD, 0.85) + sign("×", "#fff")
    if look == "parked":
        return box(f"url(#{mark}-parked)", 1, ASKS, dashed)
    if look == "stopped":
        return box(CALM, 0.4, CALM) + sign("■", CALM)
    signs = {"approved": ("✓", GOOD), "rejected": ("✕", BAD), "open": ("?", ASKS), "withdrawn": ("–", CALM)}
    text, colour = signs[look]
    return box(ASKS, 0.14, ASKS, dashed if look in ("open", "withdrawn") else "") + sign(text, colour)


def _death(x: float, top: float, bottom: float, told: str) -> str:
    at, middle = _LEFT + x, (top + bottom) / 2 if bottom - top < 2 * _LANE else top
    return (
        f'<g><title>{esc(told)}</title><line x1="{at:.1f}" y1="{top:.1f}" x2="{at:.1f}" y2="{bottom:.1f}" '
        f'style="stroke: {BAD}" stroke-width="1.2" stroke-dasharray="2 2"/>'
        f'<path d="M{at:.1f} {middle - 7:.1f} l7 7 l-7 7 l-7 -7 z" style="fill: {BAD}"/>'
        f'<text x="{at:.1f}" y="{middle + 4:.1f}" text-anchor="middle" font-weight="700" style="fill: #fff">!</text>'
        "</g>"
    )


_LEGEND_WIDTH = 44


def _used(layout: Layout) -> list[Look | None]:
    looks = {piece.look for lane in layout.lanes for row in lane.rows for piece in row}
    used: list[Look | None] = [look for look in _LEGEND if look in looks]
    return used + ([None] if layout.deaths or any(lane.deaths for lane in layout.lanes) else [])


def _legend_rows(layout: Layout) -> int:
    return len(_placed(_used(layout)))


def _placed(used: Iterable[Look | None]) -> list[list[tuple[float, Look | None, str]]]:
    """The legend's entries in lines, each with its place."""
    lines: list[list[tuple[float, Look | None, str]]] = [[]]
    x = 0.0
    for look in used:
        text = _LEGEND[look] if look else "a worker died"
        wide = _LEGEND_WIDTH + len(text) * _CHAR
        if x + wide > WIDTH - _LEFT and lines[-1]:
            lines.append([])
            x = 0.0
        lines[-1].append((x, look, text))
        x += wide
    return lines if lines[0] else []


def _legend(layout: Layout, top: float, mark: str) -> Iterator[str]:
    for number, entries in enumerate(_placed(_used(layout))):
        y = top + 18 * number
        for x, look, text in entries:
            if look is None:
                yield _death(x + 12, y - 10, y + 4, text)
            else:
                yield _shape(look, _LEFT + x, y - 8, 24, 10, mark)
            yield f'<text x="{_LEFT + x + 30:.1f}" y="{y + 1:.1f}" opacity="0.85">{esc(text)}</text>'
