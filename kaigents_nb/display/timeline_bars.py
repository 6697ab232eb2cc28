"""Who did what when, as plain data: one bar per step, attempt, wait, called agent and worker that fell silent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import zip_longest
from typing import Any, Final, Literal

from kaigents_nb.display import words
from kaigents_nb.history.frames import UTC_TIME
from kaigents_nb.history.view import AttemptView, GateView, RunView, StepView

Kind = Literal["step", "attempt", "parked", "wait at gate", "sleep", "child agent", "worker death"]

COLUMNS: Final = {
    "kind": "str",
    "name": "str",
    "call": "Int64",
    "attempt": "Int64",
    "start": UTC_TIME,
    "end": UTC_TIME,
    "duration_s": "float64",
    "waited_s": "float64",
    "status": "str",
    "worker": "str",
    "detail": "str",
}

TAKEN_OVER: Final = "taken over from the first run"


@dataclass(frozen=True)
class Bar:
    """Something that took time; ``end`` is None while it lasts."""

    kind: Kind
    name: str
    start: datetime
    end: datetime | None
    status: str
    call: str = ""
    attempt: int = 0
    """The last attempt that it is about."""
    worker: str = ""
    detail: str = ""
    began: datetime | None = None
    """Of a step: when a worker took it (for the last time)."""
    several: bool = False
    """Attempts that the server does not date one by one, and the waits between them."""
    reused: bool = False
    """Taken over from the run that this one was forked from."""
    worked_s: float | None = None
    waited_s: float | None = None
    """Of a call, as in ``run.steps()``."""

    @property
    def duration_s(self) -> float | None:
        """How long it took; of a call, how long its last attempt worked."""
        if self.kind in ("step", "child agent"):
            return self.worked_s
        return (self.end - self.start).total_seconds() if self.end else None

    def lasted_s(self, now: datetime) -> float:
        """Return its duration; of what is not over, for how long it has been going on."""
        if self.duration_s is not None:
            return self.duration_s
        return ((self.end or now) - (self.began or self.start)).total_seconds()

    def row(self) -> dict[str, Any]:
        """Return the bar as a row of the table."""
        call = int(self.call) if self.call.isdigit() else None
        return {**vars(self), "call": call, "attempt": self.attempt or None, "duration_s": self.duration_s}


def bars_of(view: RunView) -> list[list[Bar]]:
    """Return the bars of a run by their starts; the parts of a call follow it, in one group."""
    groups = [list(_call_bars(step)) for step in view.steps]
    groups += [list(_gate_bars(gate)) for gate in view.gates if not gate.run_id]
    groups += [
        [Bar("sleep", "sleep", sleep.started, sleep.ended, "completed" if sleep.ended else "running")]
        for sleep in view.sleeps
        if sleep.started
    ]
    groups += [
        [Bar("worker death", "worker", loss.noticed, loss.noticed, "noticed", worker=loss.worker, detail=loss.told)]
        for loss in view.losses
        if loss.noticed
    ]
    if view.closed:
        groups = [[replace(bar, end=bar.end or max(view.ended or bar.start, bar.start)) for bar in g] for g in groups]
    # Stable, so that calls of the same instant keep the order of the agent.
    return sorted(filter(None, groups), key=lambda group: group[0].start)


def _call_bars(step: StepView) -> Iterator[Bar]:
    start = step.scheduled or step.started
    if start is None:
        return
    kind: Kind = "child agent" if step.child_run else "step"
    ended = None if step.status == "parked" else step.ended
    detail = step.child_run or (TAKEN_OVER if step.reused else words.headline(step.error))
    yield Bar(
        kind, step.name, start, ended, step.status, step.call, step.attempt, step.worker, detail, step.started,
        reused=step.reused, worked_s=step.duration_s, waited_s=step.waited_s,
    )  # fmt: skip
    if step.reused:
        return
    parked: datetime | None = None
    for attempt, following in zip_longest(step.attempts, step.attempts[1:]):
        began = attempt.started or start
        if parked is not None and began > parked:
            yield Bar("parked", step.name, parked, began, "went on", step.call, attempt.first - 1)
        parked = attempt.ended if attempt.status == "parked" else None
        yield _attempt_bar(step, attempt, began, waits=following is not None and following.started == attempt.ended)
        if attempt.lost and attempt.ended:
            # The worker of an attempt that was tried again is not in the history.
            yield Bar(
                "worker death", step.name, attempt.ended, attempt.ended, "noticed", step.call, attempt.last,
                attempt.worker, f"attempt {attempt.last} of {words.line(step.name)} stopped: its worker fell silent",
            )  # fmt: skip
    if parked is not None:
        gone = None if step.status == "parked" else step.ended
        yield Bar("parked", step.name, parked, gone, step.status, step.call, step.attempt)


def _attempt_bar(step: StepView, attempt: AttemptView, began: datetime, *, waits: bool) -> Bar:
    """Return the bar of an attempt; of one that ``waits`` the history has no end but where the next one began."""
    detail = words.headline(attempt.error)
    if attempt.first < attempt.last:
        detail = f"attempts {attempt.first} to {attempt.last} and the waits between; the last error: {detail}"
    elif waits:
        detail = f"attempt {attempt.first} and the wait after it; the error: {detail}"
    return Bar(
        "attempt", step.name, began, attempt.ended, attempt.status, step.call, attempt.last, attempt.worker, detail,
        began, several=attempt.first < attempt.last,
    )  # fmt: skip


def _gate_bars(gate: GateView) -> Iterator[Bar]:
    if gate.opened is None:
        return
    if gate.answer is not None:
        status = "approved" if gate.answer.approved else "rejected"
    else:
        status = "withdrawn" if gate.withdrawn else "open"
    # A gate's clock is the worker's, its end the server's.
    end = None if gate.is_open else max(gate.closed or gate.opened, gate.opened)
    detail = "" if status == "open" else words.verdict(gate.answer)
    yield Bar("wait at gate", words.line(gate.question), gate.opened, end, status, gate.gate, detail=detail)
