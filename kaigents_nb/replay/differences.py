"""What a replayed agent asks for otherwise than it did: other arguments, another question, another result.

Then it does what can't be replayed, and its variables in a look back need not be those that it had.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from temporalio.api.history.v1 import HistoryEvent
from temporalio.bridge.proto.workflow_commands import WorkflowCommand

from kaigents_nb.errors import KaigentsError
from kaigents_nb.history.decoding import Decoder
from kaigents_nb.replay.copies import same, short
from kaigents_nb.replay.recorder import Recorder
from kaigents_nb.replay.records import Differs
from kaigents_nb.runtime.requests import Difference, Part, compare, of_command, of_event
from kaigents_nb.snapshot.module import Snapshot

_SHOWN = 5
_SHOWN_CHARS = 120


@dataclass(frozen=True)
class Found:
    """A difference, and the row that was executed last when it was seen."""

    difference: Difference
    row: int


class Comparison:
    """One replay beside the history that it replays."""

    def __init__(self, events: Iterable[HistoryEvent]) -> None:
        self._recorded = {request.key: request for event in events for request in of_event(event)}
        self.found: list[Found] = []

    def take(self, commands: Iterable[WorkflowCommand], row: int) -> None:
        """Compare what an activation asks for; ``row`` is the last one that was executed."""
        for command in commands:
            for request in of_command(command):
                recorded = self._recorded.get(request.key)
                if recorded is not None:
                    self.found += (Found(difference, row) for difference in compare(recorded, request))


async def told(found: Iterable[Found], recorder: Recorder, snapshot: Snapshot, decoder: Decoder) -> list[Differs]:
    """Return the differences in words, but for those of two encodings of the same value."""
    rows = {(call.kind, call.call): call.row for call in recorder.calls}
    texts = []
    for one in found:
        difference = one.difference
        was, now = await _read(difference.was, decoder), await _read(difference.now, decoder)
        if difference.was is not None and difference.now is not None and same(was, now):
            continue  # other bytes, as another version of a package writes them
        request = difference.recorded
        row = rows.get((request.key[0], request.call), one.row)
        values = f"{difference.label} was {_shown(difference.was, was)}, and is {_shown(difference.now, now)} now"
        texts.append(Differs(row, f"{request.title}{_place(row, recorder, snapshot)}: {values}"))
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


def _place(row: int, recorder: Recorder, snapshot: Snapshot) -> str:
    if not 0 <= row < len(recorder.rows):
        return ""
    line = recorder.rows[row].line
    cell, number = snapshot.where(line) or ("the run's code", line)
    return f" ({recorder.frames[recorder.rows[row].frame].function}(), {cell}, line {number})"
