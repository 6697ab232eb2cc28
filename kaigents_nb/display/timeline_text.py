"""A timeline as text: one line per name, one character per moment."""

from __future__ import annotations

from typing import Final

from kaigents_nb.display import words
from kaigents_nb.display.timeline_lanes import Lane, Layout
from kaigents_nb.display.timeline_looks import LOOKS, SIGNS

TEXT_WIDTH: Final = 48
_NAME = 24
_MEANINGS: Final = {
    **{look.letter: look.word for look in LOOKS.values()},
    **{sign: word for sign, (word, _) in SIGNS.items()},
    "!": "a worker died",
    "⋯": "waiting, not to scale",
}


def chart_lines(layout: Layout) -> list[str]:
    """Return the chart: an axis, a line per lane, and what the signs mean."""
    name_wide = min(_NAME, max(len(lane.name) for lane in layout.lanes)) if layout.lanes else 0
    axis, drawn = _axis(layout), [_lane(lane) for lane in layout.lanes]
    lines = [f"  {'':{name_wide}} |{axis}|"]
    for lane, signs in zip(layout.lanes, drawn, strict=True):
        lines.append(f"  {words.line(lane.name, name_wide):{name_wide}} |{signs}| {words.line(lane.note, 80)}".rstrip())
    lines += [f"  ! {words.line(title)}" for _, title in layout.deaths]
    used = {*axis, *"".join(drawn)} | ({"!"} if layout.deaths else set())
    meanings = [f"{sign} {meaning}" for sign, meaning in _MEANINGS.items() if sign in used]
    return [*lines, f"  {'':{name_wide}}  {', '.join(meanings)}"]


def _lane(lane: Lane) -> str:
    cells = [" "] * TEXT_WIDTH
    order = list(LOOKS)
    for piece in sorted((piece for row in lane.rows for piece in row), key=lambda piece: order.index(piece.look)):
        first = min(int(piece.x0), TEXT_WIDTH - 1)
        last = max(min(round(piece.x1), TEXT_WIDTH), first + 1)
        cells[first:last] = LOOKS[piece.look].letter * (last - first)
        if piece.sign and last - first > 1:
            cells[last - 1] = piece.sign
    for x, _ in lane.deaths:
        cells[min(int(x), TEXT_WIDTH - 1)] = "!"
    return "".join(cells)


def _axis(layout: Layout) -> str:
    cells = [" "] * TEXT_WIDTH
    for stretch in layout.scale.stretches:
        if stretch.folded:
            cells[min(int((stretch.x0 + stretch.x1) / 2), TEXT_WIDTH - 1)] = "⋯"
    taken = -1
    for tick in layout.scale.ticks(10):
        first, last = int(tick.x), int(tick.x) + len(tick.label)
        if taken < first and last <= TEXT_WIDTH and "⋯" not in cells[first:last]:
            cells[first:last] = tick.label
            taken = last
    return "".join(cells)
