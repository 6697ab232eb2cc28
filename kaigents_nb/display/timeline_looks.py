"""How what happened is drawn, in the picture and in the text alike: one row per look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from kaigents_nb.display.blocks import Tone

LookName = Literal[
    "waiting", "asleep", "taken over", "step", "called agent", "person", "stopped", "failed attempts", "failed"
]  # fmt: skip


@dataclass(frozen=True)
class Look:
    """A bar is a box, a line or both; shapes and signs say what its colour says."""

    word: str
    """In the legend."""
    letter: str
    """The text form repeats it."""
    tone: Tone
    opacity: float | None = 0.85
    """Of the box; None for a line only."""
    sign: str = ""
    """At its end in the picture."""
    dashes: str = ""
    """Of the line; ``none`` for one without gaps."""
    thick: float = 1.5


LOOKS: Final[Mapping[LookName, Look]] = {
    "waiting": Look("waiting for a worker or the next attempt", "·", "muted", None, dashes="1.5 2.5"),
    "asleep": Look("asleep", "~", "muted", None, dashes="none"),
    "taken over": Look("taken over from the first run", "◇", "muted", 0),
    "step": Look("step", "█", "active"),
    "called agent": Look("called agent", "▓", "info", 0.18, dashes="none"),
    "person": Look("waiting for a person", "░", "warning", 0.14),
    "stopped": Look("stopped", "■", "muted", 0.4, "■"),
    "failed attempts": Look("failed attempts", "x", "error", 0.14, dashes="2 3", thick=14),
    "failed": Look("failed for good", "X", "error", sign="×"),
}
"""Later ones matter more and are drawn on top."""

LASTS: Final = "▸"
SIGNS: Final[Mapping[str, tuple[str, Tone | None]]] = {
    "✓": ("approved", "success"),
    "✕": ("rejected", "error"),
    "–": ("not decided", "muted"),
    LASTS: ("not over yet", None),
}
"""What a bar's own sign means, with its tone where it isn't the bar's."""


def legend(look: LookName, sign: str) -> str:
    """Return what a look means, with a sign or none."""
    return f"{LOOKS[look].word}, {SIGNS[sign][0]}" if sign else LOOKS[look].word
