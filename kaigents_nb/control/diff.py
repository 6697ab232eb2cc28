"""Where two runs part."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any

import pandas as pd
from temporalio.api.common.v1 import Payload

from kaigents_nb.authoring.gate import Decision
from kaigents_nb.history.calls import Call, failure_text
from kaigents_nb.history.decoding import Decoder
from kaigents_nb.history.fold import RunFold
from kaigents_nb.history.frames import frame, read
from kaigents_nb.history.observers import observed
from kaigents_nb.history.view import GateView
from kaigents_nb.replay.copies import same
from kaigents_nb.replay.records import Change
from kaigents_nb.replay.trace import Trace, trace_of
from kaigents_nb.runtime.connecting import current
from kaigents_nb.runtime.connection import Connection

if TYPE_CHECKING:
    from kaigents_nb.control.run import Run

DIFF_COLUMNS = {
    "kind": "str",
    "where": "str",
    "a": "object",
    "b": "object",
    "event_a": "Int64",
    "event_b": "Int64",
    "moment_a": "Int64",
    "moment_b": "Int64",
}
_ABSENT = "<nothing>"
_KINDS = ("step input", "step output", "decision", "variable", "line", "result")
"""In the order of cause and effect, for those of one event."""


def diff(a: Run | str, b: Run | str) -> pd.DataFrame:
    """Return where two runs part, one row per difference: (n_differences, 8), the first divergence first.

    Columns: ``kind`` (str: ``line``, ``variable``, ``step input``, ``step output``, ``decision`` or ``result``),
    ``where`` (str: the function and line, variable, step or gate), ``a, b`` (object: what the one and the other had),
    ``event_a, event_b`` (int or NA), ``moment_a, moment_b`` (int or NA, for ``run.at()``).

    Lines are compared by their text, so that code which only moved is no difference, and in each branch up to the
    first line that only one run executed. Of each variable the first difference up to there is listed. Who decided
    and when is no difference; what was decided is. Equal runs give the same columns, zero rows.

    Source: both histories, replayed. ``df.attrs["run_ids"]`` are the two runs.

    Raises
    ------
    HistoryGone, UntrustedCode, ReplayDiverged
        As ``run.trace()``.

    Examples
    --------
    ``kg.diff(run, run.fork(at="failed", code="current"))``
    """
    connection = current()
    ids = [str(getattr(run, "id", run)) for run in (a, b)]
    one, two = (_Side.of(connection, run_id) for run_id in ids)
    rows = [*_lines(one.trace, two.trace), *connection.run(lambda: _records(one, two))]
    rows.sort(key=lambda row: (_first(row), _KINDS.index(row["kind"])))
    table = frame(rows, DIFF_COLUMNS)
    table.attrs["run_ids"] = tuple(ids)
    return table


@dataclass(frozen=True)
class _Side:
    trace: Trace
    fold: RunFold
    decoder: Decoder

    @classmethod
    def of(cls, connection: Connection, run_id: str) -> _Side:
        async def look() -> tuple[RunFold, Decoder]:
            observer = await observed(connection, run_id)
            return observer.fold.snapshot(), observer.decoder

        return cls(trace_of(connection, run_id), *connection.run(look))

    def moment(self, call: str, *kinds: str) -> int | None:
        return next((known.row for known in self.trace.calls if known.call == call and known.kind in kinds), None)

    async def value(self, payload: Payload | None) -> Any:
        return _ABSENT if payload is None else await read(self.decoder, payload, full=False)


def _first(row: dict[str, Any]) -> int:
    return min(event for event in (row["event_a"], row["event_b"], 2**62) if event is not None)


_Found = tuple[Any, int | None, int | None]
"""What one side had, with its event and moment."""


def _difference(kind: str, where: str, a: _Found, b: _Found) -> dict[str, Any]:
    return dict(zip(DIFF_COLUMNS, (kind, where, *chain(*zip(a, b, strict=True))), strict=True))


# Lines and variables.


def _lines(a: Trace, b: Trace) -> Iterator[dict[str, Any]]:
    for branch in sorted(a.branch_rows.keys() | b.branch_rows.keys()):
        known: set[tuple[str, str]] = set()
        for mine, its in zip_longest(a.branch_rows.get(branch, ()), b.branch_rows.get(branch, ())):
            if mine is None or its is None or _statement(a, mine) != _statement(b, its):
                yield _difference("line", _place(a, mine) or _place(b, its), _line(a, mine), _line(b, its))
                break
            yield from _changes(a, mine, b, its, known)


def _statement(trace: Trace, number: int) -> tuple[str, str]:
    row = trace.rows[number]
    return trace.frames[row.frame].function, trace.source(row.line)


def _place(trace: Trace, number: int | None) -> str:
    if number is None:
        return ""
    row = trace.rows[number]
    function = trace.frames[row.frame]
    cell, line = trace.place(row.line)
    branch = f", branch {function.branch}" if function.branch else ""
    return f"{function.function}, {cell or 'run.code()'}, line {line}{branch}"


def _line(trace: Trace, number: int | None) -> _Found:
    if number is None:
        return _ABSENT, None, None
    row = trace.rows[number]
    return trace.source(row.line), row.event_id, number


def _changes(a: Trace, mine: int, b: Trace, its: int, known: set[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    one, two = _made(a, mine), _made(b, its)
    function = a.frames[a.rows[mine].frame].function
    for name in dict.fromkeys([*one, *two]):
        left, right = one.get(name), two.get(name)
        if (function, name) in known or (left and right and same(_taken(left.value), _taken(right.value))):
            continue
        known.add((function, name))
        where = f"{name} in {_place(a, mine)}"
        yield _difference("variable", where, _change(left, a, mine), _change(right, b, its))


def _made(trace: Trace, number: int) -> dict[str, Change]:
    return {change.name: change for change in trace.made_by.get(number, ())}


def _change(change: Change | None, trace: Trace, number: int) -> _Found:
    if change is None:
        return _ABSENT, trace.rows[number].event_id, number
    return change.value, change.event_id, number


def _taken(value: Any) -> Any:
    return replace(value, by="", at=None) if isinstance(value, Decision) else value


# Steps, decisions and results, as recorded.


async def _records(a: _Side, b: _Side) -> list[dict[str, Any]]:
    found = []
    for number, mine in a.fold.calls.items():
        its = b.fold.calls.get(number)
        if its is not None and its.view.name == mine.view.name:
            found += [row async for row in _call(a, mine, b, its)]
    found += _decisions(a, b)
    if not _same_end(a.fold, b.fold):
        found.append(_difference("result", "the run", await _end(a), await _end(b)))
    return found


async def _call(a: _Side, mine: Call, b: _Side, its: Call) -> AsyncIterator[dict[str, Any]]:
    where = f"{mine.view.name}, call {mine.view.call}"
    if mine.seed is None and its.seed is None:  # a call that a fork took over has no arguments of its own
        labels = [*(str(n + 1) for n in range(mine.positional)), *mine.keywords]
        for label, left, right in zip_longest(labels, mine.arguments, its.arguments):
            if not _same_payload(left, right):
                sides = await _input(a, mine, left), await _input(b, its, right)
                yield _difference("step input", f"{where}, argument {label}", *sides)
    if not _same_payload(mine.result, its.result) or (mine.result is None and _error(mine) != _error(its)):
        yield _difference("step output", where, await _output(a, mine), await _output(b, its))


async def _input(side: _Side, call: Call, payload: Payload | None) -> _Found:
    return await side.value(payload), call.scheduled_event or None, side.moment(call.view.call, "step", "agent")


async def _output(side: _Side, call: Call) -> _Found:
    """What came of a call; what a fork took over was there when the line asked for it."""
    shown = await side.value(call.result) if call.result is not None else _error(call) or _ABSENT
    event, moment = call.closed_event or None, side.moment(call.view.call, "step", "agent")
    if call.seed is not None and moment is not None:
        event = side.trace.rows[moment].event_id
    return shown, event, moment


def _error(call: Call) -> str:
    return failure_text(call.failure).strip().rpartition("\n")[2] if call.failure is not None else ""


def _decisions(a: _Side, b: _Side) -> Iterator[dict[str, Any]]:
    for number, gate in a.fold.gates.items():
        other = b.fold.gates.get(number)
        if other is None or other.question != gate.question:
            continue
        mine, its = _decision(a, gate), _decision(b, other)
        if mine[0] != its[0]:
            yield _difference("decision", f"gate {number}: {gate.question}", mine, its)


def _decision(side: _Side, gate: GateView) -> _Found:
    said: Any = _ABSENT
    if gate.answer is not None:
        said = {name: getattr(gate.answer, name) for name in ("approved", "choice", "values", "comment")}
    events = [taken.event_id for taken in side.fold.decisions if taken.counted and taken.answer.gate == gate.gate]
    return said, events[0] if events else None, side.moment(gate.gate, "gate")


def _same_payload(a: Payload | None, b: Payload | None) -> bool:
    if a is None or b is None:
        return a is b
    return a.data == b.data and a.metadata.get("encoding") == b.metadata.get("encoding")


def _same_end(a: RunFold, b: RunFold) -> bool:
    failures = [fold.failure and fold.failure.message for fold in (a, b)]
    return a.closed == b.closed and _same_payload(a.result, b.result) and failures[0] == failures[1]


async def _end(side: _Side) -> _Found:
    fold = side.fold
    if fold.result is not None:
        shown = await side.value(fold.result)
    else:
        shown = f"{fold.closed or 'open'}{': ' + fold.failure.message if fold.failure is not None else ''}"
    return shown, fold.last_event, len(side.trace) - 1 if len(side.trace) else None
