"""What there is to show, as plain data: described once, then rendered as HTML or as text.

Blocks carry text as it came; the renderers clean, bound and escape it. A block that holds blocks nests them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from markupsafe import Markup

Tone = Literal["success", "active", "warning", "error", "muted", "info", "border"]
"""What a colour means; a word beside it always says the same."""

Role = Literal["note", "status", "alert"]
"""What something set off is to a screen reader."""

_STATES: Final[Mapping[Tone, tuple[str, ...]]] = {
    "success": ("completed",),
    "active": ("running",),
    "warning": ("waiting", "retrying"),
    "error": ("parked", "stuck", "failed", "timed out"),
}


def tone_of(status: str) -> Tone:
    """Return the tone of a run's or a step's state."""
    return next((tone for tone, states in _STATES.items() if status in states), "muted")


@dataclass(frozen=True)
class Strong:
    """Words that stand out."""

    text: str


@dataclass(frozen=True)
class Code:
    """Code to be copied, a name from it, or a value in short."""

    text: str


@dataclass(frozen=True)
class State:
    """A state's word, with its colour where there are colours."""

    text: str
    tone: Tone


@dataclass(frozen=True)
class Meter:
    """How much is done, from 0 to 1, with the words for it."""

    share: float
    text: str


@dataclass(frozen=True)
class Link:
    """A page; only web addresses can be followed."""

    text: str
    url: str


Inline: TypeAlias = str | Strong | Code | State | Meter | Link
Cell: TypeAlias = Inline | tuple[Inline, ...]
"""Of a table; several are below each other, or beside each other with a dot between."""


@dataclass(frozen=True)
class Heading:
    """What it is about, and what belongs beside it."""

    title: str
    after: tuple[Inline, ...] = ()


@dataclass(frozen=True)
class Line:
    """A sentence or paragraph; line breaks in it stay."""

    parts: tuple[Inline, ...]
    quiet: bool = False


@dataclass(frozen=True)
class Aside:
    """Something set off from the rest by an edge, or by a sign before its first line."""

    blocks: Blocks
    tone: Tone
    sign: str = ""
    role: Role | None = None


@dataclass(frozen=True)
class Pre:
    """Text as it was printed; of a long one its end, its beginning, or both."""

    text: str
    tail: bool = True
    lines: int | None = None
    """So many of its last lines where it can't be scrolled."""
    both_ends: bool = False


@dataclass(frozen=True)
class Fold:
    """A part that can be opened and closed where there is a pointer."""

    title: tuple[Inline, ...]
    blocks: Blocks
    opened: bool = False
    tone: Tone | None = None
    """Of its edge."""


@dataclass(frozen=True)
class Table:
    """Rows of cells, bounded; ``note`` says what was left out."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numeric: tuple[bool, ...]
    """Which columns are numbers or times, so stand to the right."""
    note: str = ""
    caption: str = ""
    """With one, the cells speak for themselves: the text form has it in place of the columns' names."""
    listed: bool = False
    """Its cells are too long to stand beside each other in a terminal."""
    under: tuple[tuple[Fold, ...], ...] = ()
    """What belongs to each row: below it in a terminal, below the table on a page."""


@dataclass(frozen=True)
class Pair:
    """A name and what it stands for."""

    name: str | Code
    blocks: Blocks
    changed: bool = False


@dataclass(frozen=True)
class Pairs:
    """Names and values, one below the other."""

    pairs: tuple[Pair, ...]


@dataclass(frozen=True)
class Items:
    """A list."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class CodeLine:
    """A line of a listing; ``mark`` is an arrow at the first line of the marked statement, a space at its others."""

    number: str
    text: str
    mark: str = ""


@dataclass(frozen=True)
class Listing:
    """Code with a statement marked; lines without a number say how many are left out."""

    title: str
    lines: tuple[CodeLine, ...]


@dataclass(frozen=True)
class Picture:
    """A drawing that is HTML already; the text form has none."""

    drawn: Markup


@dataclass(frozen=True)
class Beside:
    """Two parts beside each other where there is room."""

    first: Blocks
    second: Blocks


@dataclass(frozen=True)
class Section:
    """A whole: framed, named for screen readers, its parts set apart."""

    label: str
    parts: tuple[Blocks, ...]
    tone: Tone | None = None
    width: int = 900


Block: TypeAlias = Heading | Line | Aside | Pre | Fold | Table | Pairs | Items | Listing | Picture | Beside | Section
Blocks: TypeAlias = tuple[Block, ...]


def more(count: int, of: str = "") -> Blocks:
    """Return a line about what is left out; none where nothing is."""
    return (line(f"… {count:,} more{of}", quiet=True),) if count > 0 else ()


def line(*parts: Inline, quiet: bool = False) -> Line:
    """Return a line of these parts."""
    return Line(parts, quiet)


def callout(text: str, tone: Tone, role: Role = "note") -> Aside:
    """Return a sentence that is set off."""
    return Aside((line(text),), tone, "! ", role)
