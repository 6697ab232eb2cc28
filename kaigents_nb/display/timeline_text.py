"""A timeline as text: one line per name, one character per moment."""

from __future__ import annotations

from typing import Final

from kaigents_nb.display import words
from kaigents_nb.display.timeline_lanes import Lane, Layout, Look

TEXT_WIDTH: Final = 48
_NAME = 24
_SIGNS: Final[dict[Look, str]] = {
    "queued": "·",
    "reused": "◇",
    "sleep": "~",
    "parked": "░",
    "retried": "x",
    "work": "█",
    "child": "▓",
    "approved": "─",
    "withdrawn": "─",
    "rejected": "─",
    "open": "─",
    "running": "▒",
    "child running": "▒",
    "stopped": "■",
    "failed": "X",
}
"""In the order in which they are drawn: later ones cover earlier ones."""
_MEANINGS: Final = {
    "·": "waiting for a worker or the next attempt",
    "◇": "taken over",
    "~": "asleep",
    "█": "step",
    "▓": "called agent",
    "─": "gate",
    "▒": "still running",
    "■": "stopped",
    "x": "failed attempts",
    "░": "parked",
    "X": "failed for good",
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
    lines += [f"  ! {words.line(told)}" for _, told in layout.deaths]
    used = {*axis, *"".join(drawn)} | ({"!"} if layout.deaths else set())
    meanings = [f"{sign} {told}" for sign, told in _MEANINGS.items() if sign in used]
    return [*lines, f"  {'':{name_wide}}  {', '.join(meanings)}"]


def _lane(lane: Lane) -> str:
    cells = [" "] * TEXT_WIDTH
    pieces = sorted((piece for row in lane.rows for piece in row), key=lambda piece: list(_SIGNS).index(piece.look))
    for piece in pieces:
        first = min(int(piece.x0), TEXT_WIDTH - 1)
        last = max(min(round(piece.x1), TEXT_WIDTH), first + 1)
        cells[first:last] = _SIGNS[piece.look] * (last - first)
    for x, _ in lane.deaths:
        cells[min(int(x), TEXT_WIDTH - 1)] = "!"
    return "".join(cells)


def _axis(layout: Layout) -> str:
    cells = [" "] * TEXT_WIDTH
    taken = -1
    for stretch in layout.scale.stretches:
        if stretch.folded:
            middle = int((stretch.x0 + stretch.x1) / 2)
            cells[min(middle, TEXT_WIDTH - 1)] = "⋯"
    for tick in layout.scale.ticks(10):
        first = int(tick.x)
        label = tick.label
        if first <= taken or first + len(label) > TEXT_WIDTH or "⋯" in cells[first : first + len(label)]:
            continue
        cells[first : first + len(label)] = label
        taken = first + len(label)
    return "".join(cells)
