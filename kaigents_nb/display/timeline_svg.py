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
_FONT = "font-family: var(--jp-ui-font-family, system-ui, sans-serif); font-size: 11.5px"
_LINE = 18
"""Height of a line of the legend."""


def svg_of(layout: Layout, title: str, description: str) -> Markup:
    """Return the picture; ``title`` and ``description`` are read out instead of it."""
    mark = f"kg{uuid.uuid4().hex[:8]}"
    heights = [_LANE if len(lane.rows) <= 1 else len(lane.rows) * _row(lane) + 10 for lane in layout.lanes]
    bottom = _TOP + sum(heights)
    parts = [*_axis(layout, bottom)]
    top = float(_TOP)
    for lane, tall in zip(layout.lanes, heights, strict=True):
        parts += _lane(lane, top, tall)
        top += tall
    parts += (_death(x, _TOP - 1, bottom, title) for x, title in layout.deaths)
    explained = _legend(layout, bottom + 24)
    named = element("title", title, id=f"{mark}-t"), element("desc", description, id=f"{mark}-d")
    height = bottom + 20 + _LINE * ((len(explained) + 1) // 2)
    return _svg(height, *named, *parts, *explained, aria_labelledby=f"{mark}-t {mark}-d")


def cursor_of(layout: Layout, time: datetime) -> Markup:
    """Return a mark above the axis at a time; as wide as the picture, so that it fits on top of it."""
    arrow = element("path", d=f"M{layout.scale.x(time) - 6:.1f} 0 h12 l-6 10 z", style=f"fill: {COLOURS['warning']}")
    return _svg(10, arrow, aria_label=words.clock(time))


def _svg(height: float, *parts: Markup, **named: str) -> Markup:
    width = _RIGHT - _LEFT
    return element(
        "svg",
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        role="img",
        **named,
        viewBox=f"{_LEFT} 0 {width} {height:.0f}",
        width="100%",
        style=f"max-width: {width}px; min-width: 640px; height: auto; display: block; fill: currentColor; {_FONT}",
    )


def _titled(title: str, *parts: Markup) -> Markup:
    return element("g", element("title", title), *parts)


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, **more: object) -> Markup:
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, style=f"stroke: {colour}", **more)


def _axis(layout: Layout, bottom: float) -> Iterator[Markup]:
    taken: list[tuple[float, float]] = []

    def label(x: float, text: str, *, slanted: bool = False) -> Markup:
        """The text above the axis, where there is still room for it."""
        half = len(text) * _CHAR / 2 + 5
        if any(begin < x + half and end > x - half for begin, end in taken):
            return Markup("")
        taken.append((x - half, x + half))
        style = "italic" if slanted else None
        return element("text", text, x=x, y=14, text_anchor="middle", opacity="0.75", font_style=style)

    # The longest first: how long a run waited says more than a tick.
    folds = [stretch for stretch in layout.scale.stretches if stretch.folded]
    for fold in sorted(folds, key=lambda fold: fold.start_s - fold.end_s):
        lasted, wide = words.duration(fold.end_s - fold.start_s), fold.x1 - fold.x0
        middle = (fold.x0 + fold.x1) / 2
        marked = f"⋯ {lasted} ⋯"
        lasts = label(middle, marked if len(marked) * _CHAR < wide else lasted, slanted=True) or label(middle, "⋯")
        shade = element("rect", x=fold.x0, y=_TOP - 4, width=wide, height=bottom - _TOP + 4, fill_opacity="0.06")
        yield _titled(f"Only waiting for {lasted}: not to scale", shade, lasts)
    for tick in layout.scale.ticks(_TICKS_APART):
        yield _line(tick.x, _TOP - 4, tick.x, bottom, "currentColor", opacity="0.14")
        yield label(tick.x, tick.label)


def _row(lane: Lane) -> float:
    """The height of a row: the more at the same time, the thinner."""
    return {1: _BAR + 2, 2: 11, 3: 11}.get(len(lane.rows), 7 if len(lane.rows) <= 8 else 4)


def _lane(lane: Lane, top: float, tall: float) -> Iterator[Markup]:
    base = top + tall / 2 + 4
    is_gate = lane.kind == "wait at gate"
    name, slanted = words.line(f"“{lane.name}”" if is_gate else lane.name), "italic" if is_gate else None
    short = words.line(name, int(_NAMES / _CHAR))
    yield _titled(name, element("text", short, x=-_GAP, y=base, text_anchor="end", font_style=slanted))
    row_tall = _row(lane)
    bar_tall = min(_BAR, row_tall - 1)
    for number, row in enumerate(lane.rows):
        y = top + (tall - len(lane.rows) * row_tall) / 2 + number * row_tall + (row_tall - bar_tall) / 2
        for piece in row:
            x = min(piece.x0, CHART - _NARROWEST)
            wide = max(min(piece.x1, CHART) - x, _NARROWEST)
            yield _titled(piece.title, _shape(piece.look, piece.sign, x, y, wide, bar_tall))
    yield from (_death(x, top + 2, top + tall - 2, title) for x, title in lane.deaths)
    note = words.line(lane.note, int(_NOTES / _CHAR))
    yield _titled(lane.note, element("text", note, x=CHART + _GAP, y=base, opacity="0.85"))


def _shape(name: LookName, sign: str, x: float, y: float, wide: float, tall: float) -> Markup:
    look, lasts = LOOKS[name], sign == LASTS
    colour, middle = COLOURS[look.tone], y + tall / 2
    parts = []
    if look.opacity is not None:
        opacity = f"{look.opacity * 0.35 if lasts else look.opacity:.2f}"
        edge = {"style": f"fill: {colour}; stroke: {colour}", "stroke_dasharray": "3 2" if lasts else None}
        box = {"x": x + 0.5, "y": y + 0.5, "width": wide - 1, "height": tall - 1, "rx": min(2.5, tall / 3)}
        parts.append(element("rect", **box, **edge, fill_opacity=opacity))
    if look.dashes:
        style = {"stroke_width": min(look.thick, tall - 1), "stroke_dasharray": look.dashes}
        parts.append(_line(x, middle, x + wide, middle, colour, **style))
    sign = sign or look.sign
    if sign and wide >= 12 and tall >= 10:
        tone = SIGNS[sign][1] if sign in SIGNS else None
        on_colour = look.opacity is not None and look.opacity > 0.8 and not lasts
        parts.append(_letter(sign, x + wide - 7, middle, COLOURS[tone] if tone else "#fff" if on_colour else colour))
    return joined(*parts)


def _letter(sign: str, x: float, middle: float, colour: str) -> Markup:
    style = f"fill: {colour}; font-weight: 700"
    return element("text", sign, x=x, y=middle + 4, text_anchor="middle", style=style)


def _death(x: float, top: float, bottom: float, title: str) -> Markup:
    middle, red = (top + bottom) / 2 if bottom - top < 2 * _LANE else top, COLOURS["error"]
    return _titled(
        title,
        _line(x, top, x, bottom, red, stroke_width="1.2", stroke_dasharray="2 2"),
        element("path", d=f"M{x:.1f} {middle - 7:.1f} l7 7 l-7 7 l-7 -7 z", style=f"fill: {red}"),
        _letter("!", x, middle, "#fff"),
    )


def _legend(layout: Layout, top: float) -> list[Markup]:
    """What the looks mean, in two columns."""
    samples = [(legend(look, sign), _shape(look, sign, 0, -8, 24, 10)) for look, sign in layout.looks]
    if layout.deaths or any(lane.deaths for lane in layout.lanes):
        samples.append(("a worker died", _death(12, -10, 4, "a worker died")))
    places = ((_RIGHT / 2 * (number % 2), top + _LINE * (number // 2)) for number in range(len(samples)))
    return [
        element("g", drawn, element("text", text, x=30, y=1, opacity="0.85"), transform=f"translate({x:.0f} {y:.0f})")
        for (text, drawn), (x, y) in zip(samples, places, strict=True)
    ]
