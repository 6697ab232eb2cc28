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
from kaigents_nb.runtime.requests import Part
from kaigents_nb.snapshot.module import Snapshot

_SHOWN = 5
_SHOWN_CHARS = 120


Where = Callable[[Found], tuple[int, str]]
"""Says which row made a difference, and its place in words."""


async def told(found: Iterable[Found], decoder: Decoder, where: Where) -> list[Differs]:
    """Return the differences in words, but for those of two encodings of the same value."""
    texts = []
    for one in found:
        difference = one.difference
        was, now = await _read(difference.was, decoder), await _read(difference.now, decoder)
        if difference.was is not None and difference.now is not None and same(was, now):
            continue  # other bytes, as another version of a package writes them
        row, place = where(one)
        values = f"{difference.label} was {_shown(difference.was, was)}, and is {_shown(difference.now, now)} now"
        texts.append(Differs(row, f"{difference.recorded.title}{place}: {values}"))
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


async def _read(part: Part | None, decoder: Decoder) -> object:
    if part is None:
        return "nothing"
    if part.payload is None:
        return part.text
    try:
        return await decoder.value(part.payload)
    except (KaigentsError, ValueError, LookupError, TypeError, AttributeError):
        return part.text  # of a class that is not to be had here


def _shown(part: Part | None, value: object) -> str:
    text = str(value) if part is None or part.payload is None else short(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[: _SHOWN_CHARS - 1]}…"


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
