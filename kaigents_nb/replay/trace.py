"""The trace of a run: every executed line and every change of a variable, as data that can't change any more."""

from __future__ import annotations

import functools
import warnings
from bisect import bisect_left, bisect_right
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

import pandas as pd
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowExecutionDescription, WorkflowHistory
from temporalio.service import RPCError, RPCStatusCode

from kaigents_nb.errors import HistoryGone, KaigentsError, ReplayDiverged
from kaigents_nb.history.decoding import Decoder
from kaigents_nb.history.fold import RunFold
from kaigents_nb.history.frames import UTC_TIME, frame
from kaigents_nb.history.observe import complete
from kaigents_nb.replay.changes import KEPT_BYTES
from kaigents_nb.replay.comparison import Comparison
from kaigents_nb.replay.differences import in_rows, notice, told
from kaigents_nb.replay.recorder import Enough, Recorder
from kaigents_nb.replay.records import CallSite, Change, Differs, Frame, Row, Wait
from kaigents_nb.replay.replay import headline, replay
from kaigents_nb.replay.statements import Statements
from kaigents_nb.runtime.connection import Connection
from kaigents_nb.runtime.loop import in_thread
from kaigents_nb.snapshot.module import Snapshot

T = TypeVar("T")

TRACE_COLUMNS = {
    "event_id": "int64",
    "time": UTC_TIME,
    "function": "str",
    "line": "int64",
    "source": "str",
    "changed": "object",
    "raised": "str",
    "branch": "int64",
    "cell": "str",
    "code_line": "int64",
    "moment": "int64",
}
VARIABLE_COLUMNS = {
    "event_id": "int64",
    "time": UTC_TIME,
    "function": "str",
    "line": "int64",
    "variable": "str",
    "value": "object",
    "copied": "bool",
    "branch": "int64",
    "cell": "str",
    "moment": "int64",
}
LIMIT_ROW = "(limit)"
"""The name in ``variables()`` of the row that says that the memory for values was used up."""

_KEPT_TRACES = 4
_kept: OrderedDict[tuple[str, str, str, str], Trace] = OrderedDict()
"""The last few traces; together they take about the memory that one may take."""


@dataclass(frozen=True, eq=False)
class Trace:
    """What a replay of a run showed. Moments are the numbers of ``rows``."""

    run_id: str
    agent: str
    snapshot: Snapshot
    statements: Statements
    rows: Sequence[Row]
    frames: Sequence[Frame]
    changes: Sequence[Change]
    calls: Sequence[CallSite]
    waits: Sequence[Wait]
    last_event: int
    """Of the history that was replayed."""
    closed: str
    """How the run ended, such as ``"failed"``; ``""`` while it is open."""
    parked: tuple[str, ...]
    halted: tuple[str, ...]
    """Calls that are parked or wait for another attempt."""
    max_bytes: int
    size_bytes: int
    limit_row: int
    problem: str
    """Why the trace ends before the history does; ``""`` when it does not."""
    differs: tuple[Differs, ...] = ()
    """What the replay asked for otherwise than was recorded."""

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"<trace of run {self.run_id}: {len(self.rows)} lines, {len(self.changes)} changes>"

    @functools.cached_property
    def source_lines(self) -> list[str]:
        """The run's code by line; line 1 is at index 0."""
        return self.snapshot.source.split("\n")

    def source(self, line: int) -> str:
        """Return a line of the run's code, without its indentation."""
        return self.source_lines[line - 1].strip() if 0 < line <= len(self.source_lines) else ""

    def cell(self, line: int) -> tuple[str, int] | None:
        """Return the cell and the line in it of a line of the run's code."""
        return self.snapshot.where(line)

    def place(self, line: int) -> tuple[str, int]:
        """Return the same; for a line that no cell has, ``""`` and its number in the run's code."""
        return self.snapshot.where(line) or ("", line)

    @functools.cached_property
    def rows_of(self) -> Mapping[int, list[int]]:
        """Numbers of the rows of each frame."""
        return _grouped((row.frame, number) for number, row in enumerate(self.rows))

    @functools.cached_property
    def changes_of(self) -> Mapping[int, list[Change]]:
        """The changes in each frame, in order."""
        return _grouped((change.frame, change) for change in self.changes)

    @functools.cached_property
    def made_by(self) -> Mapping[int, list[Change]]:
        """The changes that each row made; those of a function's arguments count as made by its first row."""
        return _grouped((c.row if c.row >= 0 else self.frames[c.frame].first_row, c) for c in self.changes)

    @functools.cached_property
    def branch_rows(self) -> Mapping[int, list[int]]:
        """Numbers of the rows of each branch."""
        return _grouped((self.frames[row.frame].branch, number) for number, row in enumerate(self.rows))

    def before_in_branch(self, number: int) -> int:
        """Return the row before this one in the same branch, or -1."""
        rows = self.branch_rows[self.frames[self.rows[number].frame].branch]
        position = bisect_left(rows, number)
        return rows[position - 1] if position else -1

    def changes_until(self, frame: int, number: int, *, over: bool = False) -> list[Change]:
        """Return the changes in a frame before a row was executed, or those until it was ``over``."""
        changes = self.changes_of[frame]
        if over and self.rows[number].frame == frame:
            return changes[: bisect_right(changes, number, key=lambda change: change.row)]
        return changes[: bisect_right(changes, number, key=lambda change: change.seen_from)]

    def is_last(self, number: int) -> bool:
        """Whether a row is the last one of its function, so that no later moment shows what it changed."""
        return self.frames[self.rows[number].frame].last_row == number

    def stack(self, number: int) -> Iterator[tuple[Frame, int]]:
        """Yield the function that executes a row and those that called it, each with the row it is at."""
        at = self.rows[number].frame
        while at >= 0:
            rows = self.rows_of[at]
            position = bisect_right(rows, number)
            # A caller that is still at its first statement's call has at least that row.
            yield self.frames[at], rows[position - 1] if position else -1
            at = self.frames[at].parent

    def end_of(self, number: int) -> tuple[int, datetime]:
        """Return the event at which a row was over, and when, as far as its changes and waits show it."""
        ends = [change.event_id for change in self.made_by.get(number, ())]
        ends += [wait.ended[1] for wait in self.waits if wait.began[0] == number and wait.ended is not None]
        event_id = max(ends, default=self.rows[number].event_id)
        position = bisect_left(self.rows, event_id, key=lambda row: row.event_id)
        return event_id, self.rows[min(position, len(self.rows) - 1)].time

    def waiting(self, number: int, event_id: int, *, over: bool = False) -> list[Wait]:
        """Return what the run waited for when the line of a row was left waiting, or when it was ``over``."""
        rows = self.rows_of[self.rows[number].frame]
        position = bisect_right(rows, number)
        until = rows[position] - 1 if position < len(rows) else len(self.rows) - 1
        until = number if over else until
        return [
            wait
            for wait in self.waits
            if wait.began[0] <= until
            and wait.began[1] <= event_id
            and (wait.ended is None or (wait.ended[0] >= number and wait.ended[1] > event_id))
        ]

    @property
    def unlike(self) -> str:
        """Where the replay is not what was recorded; ``""`` when it is."""
        return " ".join(text for text in (notice(self.run_id, self.differs), self.problem) if text)

    @functools.cached_property
    def notice(self) -> str:
        """What a reader of this trace should know; ``""`` for nothing."""
        texts = [self.unlike] if self.unlike else []
        if self.limit_row >= 0:
            texts.append(
                f"The values of this trace take more than {self.max_bytes / 2**20:,.0f} MB: from moment "
                f"{self.limit_row} on, values that need more are short texts (copied is False). "
                "run.trace(max_bytes=...) keeps more."
            )
        return " ".join(texts)

    # As DataFrames.

    def table(self) -> pd.DataFrame:
        """See :meth:`Run.trace`."""

        def rows() -> Iterator[dict[str, Any]]:
            for number, row in enumerate(self.rows):
                function = self.frames[row.frame]
                cell, line = self.place(row.line)
                yield {
                    "event_id": row.event_id,
                    "time": row.time,
                    "function": function.function,
                    "line": line,
                    "source": self.source(row.line),
                    "changed": row.changed or {},
                    "raised": row.raised.text if row.raised else "",
                    "branch": function.branch,
                    "cell": cell,
                    "code_line": row.line,
                    "moment": number,
                }

        return self._noted(frame(rows(), TRACE_COLUMNS, self.run_id))

    def variables_table(self) -> pd.DataFrame:
        """See :meth:`Run.variables`."""

        def rows() -> Iterator[dict[str, Any]]:
            told = self.limit_row < 0
            for change in self.changes:
                function = self.frames[change.frame]
                cell, line = self.place(function.line if change.row < 0 else self.rows[change.row].line)
                row = {
                    "event_id": change.event_id,
                    "time": change.time,
                    "function": function.function,
                    "line": line,
                    "variable": change.name,
                    "value": change.value,
                    "copied": change.copied,
                    "branch": function.branch,
                    "cell": cell,
                    "moment": function.first_row if change.row < 0 else change.row,
                }
                if not told and not change.copied and change.row >= self.limit_row:
                    told = True
                    yield {**row, "variable": LIMIT_ROW, "value": self.notice}
                yield row

        return self._noted(frame(rows(), VARIABLE_COLUMNS, self.run_id))

    def _noted(self, table: pd.DataFrame) -> pd.DataFrame:
        if self.notice:
            table.attrs["notice"] = self.notice
        return table


def _grouped(pairs: Iterable[tuple[int, T]]) -> Mapping[int, list[T]]:
    found: defaultdict[int, list[T]] = defaultdict(list)
    for key, value in pairs:
        found[key].append(value)
    return found


def trace_of(connection: Connection, run_id: str, max_bytes: int | None = None) -> Trace:
    """Return the trace of a run, replayed now unless it is known and the run has not gone on since.

    Raises
    ------
    HistoryGone
        When the server has no history of the run (any more).
    UntrustedCode
        When its code is not signed with this data directory's key.
    ReplayDiverged
        When the replay differs from the history before the first line; later, a warning says where it ended.

    Where it calls the same with other arguments, a warning says which.
    """
    trace = connection.run(lambda: _trace(connection, run_id, max_bytes))
    if trace.problem and not trace.rows:
        raise ReplayDiverged(trace.problem)
    if trace.unlike:
        warnings.warn(trace.unlike, stacklevel=3)
    return trace


async def _trace(connection: Connection, run_id: str, max_bytes: int | None) -> Trace:
    handle = connection.client.get_workflow_handle(run_id)
    place = (connection.address, connection.namespace, run_id)
    try:
        description = await handle.describe()
        key = (*place, description.run_id)
        known = _kept.get(key)
        length = description.raw_description.workflow_execution_info.history_length
        if known is not None and known.last_event == length and (max_bytes or known.max_bytes) == known.max_bytes:
            if (halted := _halted(known.parked, description)) != known.halted:
                known = _kept[key] = replace(known, halted=halted)
            _kept.move_to_end(key)
            return known
        events = [event async for event in handle.fetch_history_events(page_size=1000)]
    except RPCError as error:
        if error.status != RPCStatusCode.NOT_FOUND:
            raise
        kept = [trace for key, trace in _kept.items() if key[:3] == place and trace.closed]
        if kept:
            return kept[-1]
        raise HistoryGone(
            f"The server at {connection.address} has no history of run {run_id!r}: it was deleted when its retention "
            "was over, or there never was a run of that id. kg.runs() lists the known ones."
        ) from None
    trace = await _replayed(connection, run_id, events, max_bytes or KEPT_BYTES)
    trace = replace(trace, halted=_halted(trace.parked, description))
    _kept.pop(key, None)
    _kept[key] = trace
    while len(_kept) > 1 and (len(_kept) > _KEPT_TRACES or sum(t.size_bytes for t in _kept.values()) > KEPT_BYTES):
        _kept.popitem(last=False)
    return trace


def _halted(parked: tuple[str, ...], description: WorkflowExecutionDescription) -> tuple[str, ...]:
    pending = description.raw_description.pending_activities
    retrying = tuple(p.activity_id.partition(".")[0] for p in pending if p.HasField("last_failure"))
    return parked + retrying


async def _replayed(connection: Connection, run_id: str, events: list[HistoryEvent], max_bytes: int) -> Trace:
    fold = RunFold()
    for event in events:
        await complete(connection, event)
        fold.add(event)
    decoder = Decoder(connection, fold)
    code = await decoder.code()
    if code is None:
        raise KaigentsError(f"{run_id!r} is a workflow of another program: it carries no code of ours to look at.")
    snapshot = code.snapshot
    statements = Statements(snapshot.source)
    comparison = Comparison(events)
    recorder = Recorder(snapshot.filename, statements, max_bytes, comparison=comparison)
    failure = None
    if fold.worked:
        history = WorkflowHistory(run_id, events)
        failure = await in_thread(lambda: replay(connection, history, recorder), "kaigents replay")
    return Trace(
        run_id=run_id,
        agent=fold.agent,
        snapshot=snapshot,
        statements=statements,
        rows=tuple(recorder.rows),
        frames=tuple(recorder.frames),
        changes=tuple(recorder.log.changes),
        calls=tuple(recorder.calls),
        waits=tuple(recorder.waits),
        last_event=fold.last_event,
        closed=fold.closed,
        parked=tuple(call.view.call for call in fold.calls.values() if call.view.status == "parked"),
        halted=(),
        max_bytes=max_bytes,
        size_bytes=recorder.log.size_bytes,
        limit_row=recorder.log.limit_row,
        problem=_problem(run_id, recorder, failure),
        differs=tuple(await told(comparison.found, decoder, in_rows(recorder, snapshot))),
    )


def _problem(run_id: str, recorder: Recorder, failure: Exception | None) -> str:
    seen = f"What was executed until event {recorder.rows[-1].event_id} can still be seen." if recorder.rows else ""
    if isinstance(recorder.problem, Enough):
        return f"The trace of run {run_id!r} is not whole: {recorder.problem}."
    if failure is not None:
        return (
            f"Replaying run {run_id!r} no longer gives its history: {headline(failure)}. "
            f"{seen or 'No line can be seen.'} This happens when another version of Python, of a package or of "
            "kaigents-nb behaves otherwise, or when the agent does what can't be replayed; run.steps() and "
            "run.events() show the record itself."
        )
    if recorder.problem is not None:
        return f"Recording run {run_id!r} stopped: {recorder.problem!r}. {seen}"
    return ""
