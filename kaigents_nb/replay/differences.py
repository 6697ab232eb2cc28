"""What a replayed agent asks for otherwise than it did: other arguments, another question, another result.

Then it does what can't be replayed, and its variables in a look back need not be those that it had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from kaigents_nb.errors import KaigentsError
from kaigents_nb.history.decoding import Decoder
from kaigents_nb.replay.comparison import Found
from kaigents_nb.replay.copies import same, short
from kaigents_nb.replay.recorder import Recorder
from kaigents_nb.replay.records import Differs
from kaigents_nb.runtime.requests import Part, beside
from kaigents_nb.snapshot.module import Snapshot

_SHOWN = 5


Where = Callable[[Found], tuple[int, str]]
"""Says which row made a difference, and its place in words."""


async def told(found: Iterable[Found], decoder: Decoder, where: Where) -> list[Differs]:
    """Return the differences in words, but for those of two encodings of the same value."""
    texts = []
    for one in found:
        difference = one.difference
        was, now = await _read(difference.was, decoder), await _read(difference.now, decoder)
        if not isinstance(was, Part) and not isinstance(now, Part) and same(was, now):
            continue  # other bytes, as another version of a package writes them
        row, place = where(one)
        values = beside(_text(was), _text(now))
        texts.append(Differs(row, f"{difference.recorded.title}{place}: {difference.label} {values}"))
    return texts


def notice(run_id: str, differs: Sequence[Differs]) -> str:
    """Return all differences as one text; ``""`` for none."""
    if not differs:
        return ""
    listed = "; ".join(one.text for one in differs[:_SHOWN])
    more = f"; and {len(differs) - _SHOWN} more" if len(differs) > _SHOWN else ""
    return (
        f"Replayed, run {run_id!r} does not ask for what it asked for then: {listed}{more}. Its variables may not be "
        "those that it had. Its agent does something that can't be replayed; run.steps() and run.events() show the "
        "record itself."
    )


_NOTHING = Part("", "nothing")


async def _read(part: Part | None, decoder: Decoder) -> object:
    """Return a value; where there is none that can be had here, the part itself."""
    if part is None or part.payload is None:
        return part or _NOTHING
    try:
        return await decoder.value(part.payload)
    except (KaigentsError, ValueError, LookupError, TypeError, AttributeError):
        return part  # of a class that this process does not have


def _text(value: object) -> str:
    return value.text if isinstance(value, Part) else short(value)


def in_rows(recorder: Recorder, snapshot: Snapshot) -> Where:
    """Return how to find the line of a difference in what was recorded of a replay."""
    rows = {(call.kind, call.call): call.row for call in recorder.calls}

    def where(found: Found) -> tuple[int, str]:
        request = found.difference.recorded
        number = rows.get((request.key[0], request.call), found.row)
        if not 0 <= number < len(recorder.rows):
            return number, ""
        row = recorder.rows[number]
        cell, line = snapshot.where(row.line) or ("run.code()", row.line)
        return number, f" ({recorder.frames[row.frame].function}(), {cell}, line {line})"

    return where
