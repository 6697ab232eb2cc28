"""``Moment``: a run at one of its lines, with every variable as it was then."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kaigents_nb.errors import NoSuchMoment
from kaigents_nb.replay.copies import short
from kaigents_nb.replay.records import DELETED, CallSite, Raised, Row
from kaigents_nb.replay.trace import Trace

_SHOWN_CHARS = 100


@dataclass(frozen=True)
class StackFrame:
    """One function of a moment's stack: where it is, and its variables."""

    function: str
    line: int
    """Of its cell; where there is none, of ``run.code()``."""
    source: str
    cell: str
    """Such as ``"In [3]"``; ``""`` for code that is in no cell."""
    variables: dict[str, Any]
    uncopied: frozenset[str]
    """Names of variables of which only a short text could be kept."""


class Moment:
    """A run at one line that it executed, just before it did; :meth:`after` is the same line when it was over.

    ``run.at(...)`` gives one. The variables are copies: changing them changes nothing. On the last line of a function
    they are as the function left them, since no later line shows that; but where a step was called,
    ``run.at(step=...)``, they are as before the call on every line.

    Examples
    --------
    >>> m = run.at(step="analyze_tariffs")  # doctest: +SKIP
    >>> m.variables["supplier"]  # doctest: +SKIP
    >>> m.after().variables["tariffs"]  # doctest: +SKIP
    >>> m.next().changes  # doctest: +SKIP
    """

    def __init__(self, trace: Trace, number: int, call: CallSite | None = None, *, over: bool = False) -> None:
        self.trace = trace
        self.number = number
        self._row: Row = trace.rows[number]
        self._after = over
        self._over = over or (call is None and trace.is_last(number))
        if call is None:
            call = next((known for known in trace.calls if known.row == number), None)
        self._call = call
        self._when = (call or self._row).event_id, (call or self._row).time
        if over:
            self._when = max(self._when, trace.end_of(number))
        self._place = (trace, number, self.event_id, self._over)

    # Where.

    @property
    def run_id(self) -> str:
        """The run."""
        return self.trace.run_id

    @property
    def event_id(self) -> int:
        """The event at which the worker executed the line; after it, the one at which it was over."""
        return self._when[0]

    @property
    def time(self) -> datetime:
        """When, UTC."""
        return self._when[1]

    @property
    def function(self) -> str:
        """Name of the function that the line is in."""
        return self.trace.frames[self._row.frame].function

    @property
    def branch(self) -> int:
        """0 for the agent itself; every branch of a ``gather`` and every task has a number of its own."""
        return self.trace.frames[self._row.frame].branch

    @property
    def line(self) -> int:
        """The line in its cell, as Jupyter numbers it; where there is no cell, in ``run.code()``."""
        return self.trace.place(self._row.line)[1]

    @property
    def code_line(self) -> int:
        """The line in the run's code, ``run.code()``."""
        return self._row.line

    @property
    def source(self) -> str:
        """The text of the line."""
        return self.trace.source(self._row.line)

    @property
    def cell(self) -> tuple[str, int] | None:
        """The cell that the line is from and the line in it, such as ``("In [3]", 5)``; None where there is none."""
        return self.trace.cell(self._row.line)

    @property
    def step(self) -> str:
        """Name of the step or agent that the line calls, or question of its gate; ``""`` when it calls none."""
        return self._call.name if self._call else ""

    @property
    def waiting_for(self) -> list[str]:
        """Names of the steps and agents, questions of the gates and ``"sleep"``, for which the run waited then."""
        return [wait.name for wait in self.trace.waiting(self.number, self.event_id, over=self._after)]

    @property
    def raised(self) -> BaseException | str | None:
        """The exception that the line raised or let through: a copy, or its text where it can't be copied."""
        raised: Raised | None = self._row.raised
        return None if raised is None else raised.error if raised.error is not None else raised.text

    # What.

    @functools.cached_property
    def frames(self) -> list[StackFrame]:
        """The functions that were executing in this branch, the innermost first."""
        found: list[StackFrame] = []
        for frame, at in self.trace.stack(self.number):
            code_line = self.trace.rows[at].line if at >= 0 else frame.line
            cell, line = self.trace.place(code_line)
            values: dict[str, tuple[Any, bool]] = {}
            for change in self.trace.changes_until(frame.number, self.number, over=self._over):
                if change.value is DELETED:
                    values.pop(change.name, None)
                else:
                    values[change.name] = change.value, change.copied
            if not found and self._call is not None:
                values.update({name: (value, True) for name, value in self._call.inner.items()})
            found.append(
                StackFrame(
                    frame.function,
                    line,
                    self.trace.source(code_line),
                    cell,
                    {name: value for name, (value, _) in values.items()},
                    frozenset(name for name, (_, copied) in values.items() if not copied),
                )
            )
        return found

    @property
    def variables(self) -> dict[str, Any]:
        """All variables of this branch by name; where functions share a name, that of the innermost one."""
        merged: dict[str, Any] = {}
        for frame in self.frames:
            for name, value in frame.variables.items():
                merged.setdefault(name, value)
        return merged

    @functools.cached_property
    def changes(self) -> dict[str, Any]:
        """The variables that changed since the moment before in this branch, with their values now."""
        after = self.trace.before_in_branch(self.number)
        found: dict[str, Any] = {}
        for frame, _ in self.trace.stack(self.number):
            for change in self.trace.changes_until(frame.number, self.number, over=self._over):
                if change.seen_from > after and change.value is not DELETED:
                    found[change.name] = change.value
        return found

    # Moving.

    def after(self) -> Moment:
        """Return the same line when it was over: for ``x = await load()`` with its result in ``x``.

        Of a line that still waits, it is what it has changed until now.
        """
        return Moment(self.trace, self.number, self._call, over=True)

    def next(self) -> Moment:
        """Return the moment after this one, in any branch."""
        return self._at(self.number + 1, "last")

    def prev(self) -> Moment:
        """Return the moment before this one, in any branch."""
        return self._at(self.number - 1, "first")

    def next_step(self) -> Moment:
        """Return the next moment at which a step, agent or gate is called."""
        calls = self.trace.calls
        if self._call is not None:
            later = list(calls[calls.index(self._call) + 1 :])
        else:
            later = [call for call in calls if call.row > self.number]
        if not later:
            raise NoSuchMoment(f"No step is called after moment {self.number} of run {self.run_id!r}.")
        return Moment(self.trace, later[0].row, later[0])

    def _at(self, number: int, what: str) -> Moment:
        if not 0 <= number < len(self.trace):
            raise NoSuchMoment(f"Moment {self.number} is the {what} one of run {self.run_id!r}.")
        return Moment(self.trace, number)

    # Shown.

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Moment) and self._place == other._place

    def __hash__(self) -> int:
        return hash(self._place)

    def __repr__(self) -> str:
        cell = f"{self.cell[0]}, line {self.line}" if self.cell else f"line {self.line} of run.code()"
        lines = [
            f"Moment {self.number} of {len(self.trace) - 1}, run {self.run_id}, event {self.event_id}, "
            f"{self.time:%Y-%m-%d %H:%M:%S} UTC",
            f"{self.function}(), {cell}" + (f", branch {self.branch}" if self.branch else ""),
            f"→ {self.source}",
        ]
        if self._row.raised is not None:
            lines.append(f"raised {self._row.raised.text}")
        lines += (f"other than recorded: {one.text}" for one in self.trace.differs if one.row == self.number)
        if self.waiting_for:
            lines.append(f"waiting for {', '.join(self.waiting_for)}")
        changed = self.changes
        for name, value in self.variables.items():
            lines.append(f"{'*' if name in changed else ' '} {name} = {short(value)[:_SHOWN_CHARS]}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from kaigents_nb.display.moment_blocks import moment_html

        return moment_html(self)
