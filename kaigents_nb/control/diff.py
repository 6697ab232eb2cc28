"""Where two runs part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import pandas as pd
from temporalio.api.common.v1 import Payload

from kaigents_nb.authoring.gate import Decision
from kaigents_nb.gates.answer import Answer
from kaigents_nb.history.calls import Call, failure_text
from kaigents_nb.history.decoding import Decoder
from kaigents_nb.history.fold import RunFold
from kaigents_nb.history.frames import frame, read
from kaigents_nb.history.observers import observed
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
    one, two = (_Side(connection, run_id) for run_id in ids)
    rows = [*_lines(one.trace, two.trace), *connection.run(lambda: _records(one, two))]
    rows.sort(key=lambda row: (_first(row), _KINDS.index(row["kind"])))
    table = frame(rows, DIFF_COLUMNS)
    table.attrs["run_ids"] = tuple(ids)
    return table


async def _read(connection: Connection, run_id: str) -> tuple[RunFold, Decoder]:
    observer = await observed(connection, run_id)
    return observer.fold.snapshot(), observer.decoder


class _Side:
    def __init__(self, connection: Connection, run_id: str) -> None:
        self.trace = trace_of(connection, run_id)
        self.fold, self.decoder = connection.run(lambda: _read(connection, run_id))

    def moment(self, call: str, kinds: tuple[str, ...]) -> int | None:
        return next((known.row for known in self.trace.calls if known.call == call and known.kind in kinds), None)

    def ended(self, call: Call, moment: int | None) -> int | None:
        """The event that brought a call's outcome; what a fork took over was there when the line asked for it."""
        if call.seed is not None and moment is not None:
            return self.trace.rows[moment].event_id
        return call.closed_event or None


def _first(row: dict[str, Any]) -> int:
    return min(event for event in (row["event_a"], row["event_b"], 2**62) if event is not None)


def _difference(
    kind: str, where: str, a: tuple[Any, int | None, int | None], b: tuple[Any, Any, Any]
) -> dict[str, Any]:
    return {
        "kind": kind, "where": where, "a": a[0], "b": b[0],
        "event_a": a[1], "event_b": b[1], "moment_a": a[2], "moment_b": b[2],
    }  # fmt: skip


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
    return f"{function.function}, line {row.line}" + (f", branch {function.branch}" if function.branch else "")


def _line(trace: Trace, number: int | None) -> tuple[Any, int | None, int | None]:
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
        sides = [
            (change.value, change.event_id, number) if change else (_ABSENT, trace.rows[number].event_id, number)
            for change, trace, number in ((left, a, mine), (right, b, its))
        ]
        yield _difference("variable", f"{name} in {_place(a, mine)}", sides[0], sides[1])


def _taken(value: Any) -> Any:
    return replace(value, by="", at=None) if isinstance(value, Decision) else value


def _made(trace: Trace, number: int) -> dict[str, Change]:
    return {change.name: change for change in trace.made_by.get(number, ())}


# Steps, decisions and results, as recorded.


async def _records(a: _Side, b: _Side) -> list[dict[str, Any]]:
    found = []
    for number, mine in a.fold.calls.items():
        its = b.fold.calls.get(number)
        if its is not None and its.view.name == mine.view.name:
            found += await _call(a, mine, b, its)
    found += _decisions(a, b)
    if not _same_end(a, b):
        ends = [(await _end(side), side.fold.last_event, _last(side)) for side in (a, b)]
        found.append(_difference("result", "the run", ends[0], ends[1]))
    return found


async def _call(a: _Side, mine: Call, b: _Side, its: Call) -> list[dict[str, Any]]:
    number, name = mine.view.call, mine.view.name
    moments = [side.moment(number, ("step", "agent")) for side in (a, b)]
    found = []
    if mine.seed is None and its.seed is None:  # a call that a fork took over has no arguments of its own
        labels = [*(str(n + 1) for n in range(mine.positional)), *mine.keywords]
        for label, left, right in zip_longest(labels, mine.arguments, its.arguments):
            if not _same_payload(left, right):
                sides = [
                    (await _value(side, payload), call.scheduled_event or None, moment)
                    for side, payload, call, moment in ((a, left, mine, moments[0]), (b, right, its, moments[1]))
                ]
                found.append(_difference("step input", f"{name}, call {number}, argument {label}", sides[0], sides[1]))
    if not _same_payload(mine.result, its.result) or (mine.result is None and _error(mine) != _error(its)):
        sides = [
            (
                await _value(side, call.result) if call.result is not None else _error(call) or _ABSENT,
                side.ended(call, moment),
                moment,
            )
            for side, call, moment in ((a, mine, moments[0]), (b, its, moments[1]))
        ]
        found.append(_difference("step output", f"{name}, call {number}", sides[0], sides[1]))
    return found


def _error(call: Call) -> str:
    return failure_text(call.failure).strip().rpartition("\n")[2] if call.failure is not None else ""


def _decisions(a: _Side, b: _Side) -> list[dict[str, Any]]:
    found = []
    for number, gate in a.fold.gates.items():
        other = b.fold.gates.get(number)
        if other is None or other.question != gate.question:
            continue
        shown = [_ABSENT if g.answer is None else _said(g.answer) for g in (gate, other)]
        if shown[0] != shown[1]:
            sides = [
                (text, _decision_event(side, number), side.moment(number, ("gate",)))
                for text, side in zip(shown, (a, b), strict=True)
            ]
            found.append(_difference("decision", f"gate {number}: {gate.question}", sides[0], sides[1]))
    return found


def _said(answer: Answer) -> dict[str, Any]:
    return {
        "approved": answer.approved,
        "choice": answer.choice,
        "values": dict(answer.values),
        "comment": answer.comment,
    }


def _decision_event(side: _Side, gate: str) -> int | None:
    events = [d.event_id for d in side.fold.decisions if d.answer.gate == gate and d.counted]
    return events[0] if events else None


def _same_payload(a: Payload | None, b: Payload | None) -> bool:
    if a is None or b is None:
        return a is b
    return a.data == b.data and a.metadata.get("encoding") == b.metadata.get("encoding")


async def _value(side: _Side, payload: Payload | None) -> Any:
    return _ABSENT if payload is None else await read(side.decoder, payload, full=False)


def _same_end(a: _Side, b: _Side) -> bool:
    one, two = a.fold, b.fold
    failures = [None if f is None else f.message for f in (one.failure, two.failure)]
    return one.closed == two.closed and _same_payload(one.result, two.result) and failures[0] == failures[1]


async def _end(side: _Side) -> Any:
    fold = side.fold
    if fold.result is not None:
        return await _value(side, fold.result)
    return f"{fold.closed or 'open'}{': ' + fold.failure.message if fold.failure is not None else ''}"


def _last(side: _Side) -> int | None:
    return len(side.trace) - 1 if len(side.trace) else None
