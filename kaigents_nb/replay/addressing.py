"""Moments as people name them: a step, a line, a time, an event, the failure, the last one."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TypeVar

import pandas as pd

from kaigents_nb.errors import NoSuchMoment
from kaigents_nb.replay.moment import Moment
from kaigents_nb.replay.trace import Trace

T = TypeVar("T")
Step = str | tuple[str, int]
Line = int | tuple[str, int]

_LISTED = 40
_NAMED = ("last", "first", "failure", "before failure")


def find_moment(
    trace: Trace,
    moment: int | str | None = None,
    *,
    step: Step | None = None,
    occurrence: int | None = None,
    event_id: int | None = None,
    line: Line | None = None,
    time: datetime | str | None = None,
) -> Moment:
    """Return the moment that is meant; see :meth:`Run.at`."""
    given = {"moment": moment, "step": step, "event_id": event_id, "line": line, "time": time}
    named = [name for name, value in given.items() if value is not None]
    if len(named) != 1:
        raise TypeError(
            f"Say one of moment, step, event_id, line or time{', not ' + ' and '.join(named) if named else ''}: "
            "run.at('last'), run.at(step='load'), run.at(event_id=12)."
        )
    if occurrence is not None and step is None and line is None:
        raise TypeError("occurrence= says which call of a step=, or which execution of a line=, is meant.")
    if not trace.rows:
        ended = f"ended ({trace.closed}) before the first line of its agent; run.result() says why."
        open_ = "has executed no line of its agent yet; run.status says what it does."
        raise NoSuchMoment(f"Run {trace.run_id!r} {ended if trace.closed else open_}")
    if step is not None:
        return _by_step(trace, step, occurrence)
    if line is not None:
        return _by_line(trace, line, occurrence)
    if event_id is not None:
        return _by_event(trace, event_id)
    if time is not None:
        return _by_time(trace, time)
    assert moment is not None
    return _by_name(trace, moment) if isinstance(moment, str) else _by_number(trace, moment)


def _by_number(trace: Trace, number: int) -> Moment:
    count = len(trace)
    if not -count <= number < count:
        raise NoSuchMoment(f"Run {trace.run_id!r} has no moment {number}. Known: 0 to {count - 1}, or 'last'.")
    return Moment(trace, number % count)


def _by_name(trace: Trace, name: str) -> Moment:
    if name == "last":
        return Moment(trace, len(trace) - 1)
    if name == "first":
        return Moment(trace, 0)
    if name in ("failure", "failed"):  # the word of run.status too
        return _failure(trace)
    if name == "before failure":
        failed = _failure(trace)
        return Moment(trace, max(trace.before_in_branch(failed.number), 0))
    steps = list(dict.fromkeys(call.name for call in trace.calls))
    hint = f" For the step write run.at(step={name!r})." if name in steps else _meant(name, _NAMED)
    raise NoSuchMoment(f"No moment is called {name!r}.{hint} Known: {', '.join(map(repr, _NAMED))}, or a number.")


def _failure(trace: Trace) -> Moment:
    """Return where a run failed: the line that raised, or the call that is parked or retries."""
    if not trace.closed:
        halted = [call for call in trace.calls if call.kind != "gate" and call.call in trace.halted]
        if halted:
            return Moment(trace, halted[-1].row, halted[-1])
        raise NoSuchMoment(f"Run {trace.run_id!r} has not failed: it is open, and no step of it is parked or retrying.")
    if trace.closed == "completed":
        raise NoSuchMoment(f"Run {trace.run_id!r} has not failed: it completed. run.at('last') is its last line.")
    number = trace.frames[0].failure
    raised = next((row.raised for row in trace.rows if row.raised is not None and row.raised.number == number), None)
    return Moment(trace, raised.row if raised is not None and raised.row >= 0 else len(trace) - 1)


def _by_step(trace: Trace, step: Step, occurrence: int | None) -> Moment:
    name, number = step if isinstance(step, tuple) else (step, 1 if occurrence is None else occurrence)
    calls = [call for call in trace.calls if call.name == name]
    if not calls:
        known = list(dict.fromkeys(call.name for call in trace.calls))
        listing = f"Known: {', '.join(map(repr, known))}." if known else "It has called none yet."
        raise NoSuchMoment(f"Run {trace.run_id!r} has called no step {name!r}.{_meant(name, known)} {listing}")
    call = _nth(calls, number)
    if call is None:
        times = f"{len(calls)} times" if len(calls) > 1 else "once"
        raise NoSuchMoment(
            f"Run {trace.run_id!r} called {name!r} {times}; there is no call {number}. Known: 1 to {len(calls)}, or -1 "
            "for the last."
        )
    return Moment(trace, call.row, call)


def _by_line(trace: Trace, line: Line, occurrence: int | None) -> Moment:
    """Return where a line of a cell was executed; ``(cell or function, line)`` where several cells have such a line."""
    within, wanted = line if isinstance(line, tuple) else (None, line)
    where = f"line {wanted}" if within is None else f"line {wanted} of {within}"
    code_lines = (number for number in range(1, len(trace.source_lines) + 1) if trace.place(number)[1] == wanted)
    starts = {trace.statements.start(number) for number in code_lines}
    rows = [number for number, row in enumerate(trace.rows) if row.line in starts and _is_in(trace, number, within)]
    if not rows:
        places = sorted({trace.place(row.line) for row in trace.rows})
        raise NoSuchMoment(f"Run {trace.run_id!r} has not executed {where}. Executed: {_listed(places)}.")
    cells = sorted({trace.place(trace.rows[number].line)[0] for number in rows})
    if len(cells) > 1:
        choices = " or ".join(f"run.at(line=({cell!r}, {wanted}))" for cell in cells)
        raise NoSuchMoment(f"Run {trace.run_id!r} has executed {where} in {len(cells)} cells. Say which: {choices}.")
    number = 1 if occurrence is None else occurrence
    row = _nth(rows, number)
    if row is None:
        raise NoSuchMoment(f"Run {trace.run_id!r} executed {where} {len(rows)}×; there is no time {number}.")
    return Moment(trace, row)


def _is_in(trace: Trace, number: int, within: str | None) -> bool:
    """Whether a row is in the cell or function of a name."""
    row = trace.rows[number]
    return within in (None, trace.place(row.line)[0], trace.frames[row.frame].function)


def _by_event(trace: Trace, event_id: int) -> Moment:
    first = trace.rows[0].event_id
    if not first <= event_id <= trace.last_event:
        raise NoSuchMoment(
            f"Run {trace.run_id!r} had executed no line at event {event_id}. Known: {first} to {trace.last_event}; "
            "run.events() lists them."
        )
    return Moment(trace, max(number for number, row in enumerate(trace.rows) if row.event_id <= event_id))


def _by_time(trace: Trace, time: datetime | str) -> Moment:
    """Return the last line that had been executed at a time; without a zone it is UTC."""
    stamp = pd.Timestamp(time)
    when = (stamp.tz_localize(UTC) if stamp.tzinfo is None else stamp.tz_convert(UTC)).to_pydatetime()
    rows = [number for number, row in enumerate(trace.rows) if row.time <= when]
    if not rows:
        raise NoSuchMoment(
            f"Run {trace.run_id!r} had executed no line at {when:%Y-%m-%d %H:%M:%S} UTC. Known: from "
            f"{trace.rows[0].time:%Y-%m-%d %H:%M:%S.%f} UTC on."
        )
    return Moment(trace, rows[-1])


def _nth(found: Sequence[T], number: int) -> T | None:
    if 0 < number <= len(found):
        return found[number - 1]
    return found[number] if -len(found) <= number < 0 else None


def _meant(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def _listed(places: Sequence[object]) -> str:
    more = f", … {len(places) - _LISTED} more" if len(places) > _LISTED else ""
    return ", ".join(map(str, places[:_LISTED])) + more
