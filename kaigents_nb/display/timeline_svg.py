"""A timeline as inline SVG: shapes and words say what colour says; nothing is fetched and nothing runs.

Text takes the colour of the page. Every piece has a ``<title>``, which browsers show as a tooltip. The chart begins
at x = 0; names stand to the left of it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from markupsafe import Markup

from kaigents_nb.display import words
from kaigents_nb.display.markup import COLOURS, element, joined
from kaigents_nb.display.timeline_lanes import Lane, Layout
from kaigents_nb.display.timeline_looks import LASTS, LOOKS, SIGNS, LookName, legend

CHART: Final = 480
_NAMES, _NOTES, _GAP = 170, 262, 12
_LEFT, _RIGHT = -_NAMES - _GAP, CHART + _GAP + _NOTES
_TOP, _LANE, _BAR = 26, 26, 14
_TICKS_APART = 64
_CHAR = 6.3
"""About the width of a character, to shorten what would not fit."""
_NARROWEST = 2.5
_SAMPLE, _LINE = 24, 18
"""Width of a sample in the legend, height of its lines."""


def svg_of(layout: Layout, title: str, description: str) -> Markup:
    """Return the picture; ``title`` and ``description`` are read out instead of it."""
    mark = f"kg{uuid.uuid4().hex[:8]}"
    heights = [_height(lane) for lane in layout.lanes]
    bottom = _TOP + sum(heights)
    parts = [*_axis(layout, bottom)]
    top = float(_TOP)
    for lane, tall in zip(layout.lanes, heights, strict=True):
        parts += _lane(lane, top, tall, mark)
        top += tall
    parts += (_death(x, _TOP - 1, bottom, told) for x, told in layout.deaths)
    explained, height = _legend(layout, bottom + 24, mark)
    return _svg(
        height,
        element("title", title, id=f"{mark}-t"),
        element("desc", description, id=f"{mark}-d"),
        element("defs", *_hatches(mark)),
        *parts,
        *explained,
        aria_labelledby=f"{mark}-t {mark}-d",
    )


def cursor_of(layout: Layout, time: datetime) -> Markup:
    """Return a mark above the axis at a time; as wide as the picture, so that it fits on top of it."""
    arrow = element("path", d=f"M{layout.scale.x(time) - 6:.1f} 0 h12 l-6 10 z", style=f"fill: {COLOURS['asks']}")
    return _svg(10, arrow, aria_label=words.clock(time))


def _svg(height: float, *parts: Markup, **named: str) -> Markup:
    return element(
        "svg",
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        role="img",
        **named,
        viewBox=f"{_LEFT} 0 {_RIGHT - _LEFT} {height:.0f}",
        width="100%",
        style=f"max-width: {_RIGHT - _LEFT}px; min-width: 640px; height: auto; display: block",
        font_family="var(--jp-ui-font-family, system-ui, sans-serif)",
        font_size="11.5",
        fill="currentColor",
    )


def _hatches(mark: str) -> Iterator[Markup]:
    for look in LOOKS.values():
        if look.hatch is not None:
            colour = COLOURS[look.tone]
            yield element(
                "pattern",
                element("rect", width="5", height="5", style=f"fill: {colour}", fill_opacity="0.14"),
                element("line", x1="0", y1="0", x2="0", y2="5", style=f"stroke: {colour}", stroke_width="2"),
                id=f"{mark}-{look.hatch}",
                width="5",
                height="5",
                patternUnits="userSpaceOnUse",
                patternTransform=f"rotate({look.hatch})",
            )


def _titled(told: str, *parts: Markup) -> Markup:
    return element("g", element("title", told), *parts)


def _text(said: str, x: float, y: float, **more: object) -> Markup:
    return element("text", said, x=f"{x:.1f}", y=f"{y:.1f}", **more)


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, **more: object) -> Markup:
    ends = {"x1": f"{x1:.1f}", "y1": f"{y1:.1f}", "x2": f"{x2:.1f}", "y2": f"{y2:.1f}"}
    return element("line", **ends, style=f"stroke: {colour}", **more)


def _axis(layout: Layout, bottom: float) -> Iterator[Markup]:
    taken: list[tuple[float, float]] = []

    def label(x: float, said: str, *, slanted: bool = False) -> Markup:
        """The text above the axis, where there is still room for it."""
        half = len(said) * _CHAR / 2 + 5
        if any(begin < x + half and end > x - half for begin, end in taken):
            return Markup("")
        taken.append((x - half, x + half))
        return _text(said, x, 14, text_anchor="middle", opacity="0.75", font_style="italic" if slanted else None)

    # The longest first: how long a run waited says more than a tick.
    folds = [stretch for stretch in layout.scale.stretches if stretch.folded]
    for fold in sorted(folds, key=lambda fold: fold.start_s - fold.end_s):
        lasted, wide = words.duration(fold.end_s - fold.start_s), fold.x1 - fold.x0
        middle = (fold.x0 + fold.x1) / 2
        marked = f"⋯ {lasted} ⋯"
        said = label(middle, marked if len(marked) * _CHAR < wide else lasted, slanted=True) or label(middle, "⋯")
        shade = {"x": f"{fold.x0:.1f}", "y": _TOP - 4, "width": f"{wide:.1f}", "height": f"{bottom - _TOP + 4:.1f}"}
        yield _titled(
            f"Only waiting for {lasted}: not to scale", element("rect", **shade, fill_opacity="0.06"), said
        )  # fmt: skip
    for tick in layout.scale.ticks(_TICKS_APART):
        yield _line(tick.x, _TOP - 4, tick.x, bottom, "currentColor", opacity="0.14")
        yield label(tick.x, tick.label)


def _height(lane: Lane) -> float:
    return _LANE if len(lane.rows) <= 1 else len(lane.rows) * _row(lane) + 10


def _row(lane: Lane) -> float:
    """The height of a row: the more at the same time, the thinner."""
    return {1: _BAR + 2, 2: 11, 3: 11}.get(len(lane.rows), 7 if len(lane.rows) <= 8 else 4)


def _lane(lane: Lane, top: float, tall: float, mark: str) -> Iterator[Markup]:
    base = top + tall / 2 + 4
    is_gate = lane.kind == "wait at gate"
    name, slanted = words.line(f"“{lane.name}”" if is_gate else lane.name), "italic" if is_gate else None
    short = words.line(name, int(_NAMES / _CHAR))
    yield _titled(name, _text(short, -_GAP, base, text_anchor="end", font_style=slanted))
    row_tall = _row(lane)
    bar_tall = min(_BAR, row_tall - 1)
    for number, row in enumerate(lane.rows):
        y = top + (tall - len(lane.rows) * row_tall) / 2 + number * row_tall + (row_tall - bar_tall) / 2
        for piece in row:
            x = min(piece.x0, CHART - _NARROWEST)
            wide = max(min(piece.x1, CHART) - x, _NARROWEST)
            yield _titled(piece.told, _shape(piece.look, piece.sign, x, y, wide, bar_tall, mark))
    yield from (_death(x, top + 2, top + tall - 2, told) for x, told in lane.deaths)
    note = words.line(lane.note, int(_NOTES / _CHAR))
    yield _titled(lane.note, _text(note, CHART + _GAP, base, opacity="0.85"))


def _shape(name: LookName, sign: str, x: float, y: float, wide: float, tall: float, mark: str) -> Markup:
    look, lasts = LOOKS[name], sign == LASTS
    colour = COLOURS[look.tone]
    if look.dashes:
        middle = y + tall / 2
        drawn = _line(x, middle, x + wide, middle, colour, stroke_width="1.5", stroke_dasharray=look.dashes)
    else:
        fill = colour if look.hatch is None else f"url(#{mark}-{look.hatch})"
        drawn = element(
            "rect",
            x=f"{x + 0.5:.1f}",
            y=f"{y + 0.5:.1f}",
            width=f"{wide - 1:.1f}",
            height=f"{tall - 1:.1f}",
            rx=f"{min(2.5, tall / 3):.1f}",
            style=f"fill: {fill}; stroke: {colour}",
            fill_opacity=f"{look.opacity * 0.35 if lasts else look.opacity:.2f}",
            stroke_dasharray="3 2" if lasts else None,
        )
    sign = sign or look.sign
    if not sign or wide < 12 or tall < 10:
        return drawn
    tone = SIGNS[sign][1] if sign in SIGNS else None
    shade = COLOURS[tone] if tone else "#fff" if sign != LASTS and look.opacity > 0.8 and look.hatch is None else colour
    return joined(drawn, _letter(sign, x + wide - 7, y + tall / 2, shade))


def _letter(sign: str, x: float, middle: float, colour: str) -> Markup:
    return _text(sign, x, middle + 4, text_anchor="middle", font_weight="700", style=f"fill: {colour}")


def _death(x: float, top: float, bottom: float, told: str) -> Markup:
    middle, red = (top + bottom) / 2 if bottom - top < 2 * _LANE else top, COLOURS["bad"]
    return _titled(
        told,
        _line(x, top, x, bottom, red, stroke_width="1.2", stroke_dasharray="2 2"),
        element("path", d=f"M{x:.1f} {middle - 7:.1f} l7 7 l-7 7 l-7 -7 z", style=f"fill: {red}"),
        _letter("!", x, middle, "#fff"),
    )


def _legend(layout: Layout, top: float, mark: str) -> tuple[list[Markup], float]:
    """What the looks mean, in lines, and how tall the picture is with it."""
    parts: list[Markup] = []
    x, y = 0.0, top

    def place(said: str) -> tuple[float, float]:
        nonlocal x, y
        wide = _SAMPLE + 20 + len(said) * _CHAR
        if x and x + wide > _RIGHT:
            x, y = 0.0, y + _LINE
        parts.append(_text(said, x + _SAMPLE + 6, y + 1, opacity="0.85"))
        x += wide
        return x - wide, y

    for look, sign in layout.looks:
        at, line = place(legend(look, sign))
        parts.append(_shape(look, sign, at, line - 8, _SAMPLE, 10, mark))
    if layout.deaths or any(lane.deaths for lane in layout.lanes):
        at, line = place("a worker died")
        parts.append(_death(at + _SAMPLE / 2, line - 10, line + 4, "a worker died"))
    return parts, y + 14 if parts else top - 12
