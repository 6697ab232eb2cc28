"""What a trace consists of: lines, changes of variables, calls and waits, as plain records."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


class _Deleted:
    """The value of a variable after ``del``, or after the end of ``except ... as name``."""

    def __repr__(self) -> str:
        return "<deleted>"


DELETED = _Deleted()


@dataclass(slots=True)
class Raised:
    """An exception that passed through a line; ``number`` is the same wherever the same one passed."""

    number: int
    text: str
    error: BaseException | None
    """A copy; None where it can't be copied."""
    row: int
    """The line at which it was seen first: where it was raised, or the await that gave it."""


@dataclass(slots=True)
class Row:
    """One executed line."""

    event_id: int
    time: datetime
    frame: int
    line: int
    changed: dict[str, Any] | None = None
    raised: Raised | None = None


@dataclass(slots=True)
class Change:
    """One change of one variable: visible from moment ``seen_from`` on, made by row ``row`` (-1: an argument)."""

    frame: int
    row: int
    seen_from: int
    event_id: int
    time: datetime
    name: str
    value: Any
    copied: bool


@dataclass(slots=True)
class Frame:
    """One call of a function; ``parent`` is the frame that called it, -1 for none."""

    number: int
    function: str
    branch: int
    parent: int
    line: int
    """Of its ``def``."""
    first_row: int
    last_row: int = -1
    failure: int = -1
    """Number of the exception that ended it."""


@dataclass(slots=True)
class Wait:
    """A step, agent, gate or sleep from its start to its end: the row executed last, and the event."""

    kind: str
    name: str
    began: tuple[int, int]
    ended: tuple[int, int] | None = None


@dataclass(slots=True)
class CallSite:
    """A call of a step, agent or gate, and the row whose line made it."""

    kind: str
    name: str
    call: str
    row: int
    event_id: int
    time: datetime
    inner: dict[str, Any] = field(default_factory=dict)
    """Variables of a comprehension that the call is part of."""


@dataclass(slots=True, frozen=True)
class Differs:
    """What the replay asked for otherwise than was recorded, in words, and the row whose line did."""

    row: int
    text: str
