"""Fork: a new run that takes over what was recorded before a point, and goes on live from there."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from temporalio.common import RawValue

from kaigents_nb.authoring.agent import Agent
from kaigents_nb.authoring.context import PLAYS
from kaigents_nb.authoring.step import Step
from kaigents_nb.control.fork_seeds import NOTHING, Cut, seeds_of
from kaigents_nb.control.notebook_code import current_code
from kaigents_nb.control.prepare import Arguments, prepare
from kaigents_nb.control.submit import submit
from kaigents_nb.errors import NoSuchMoment, RunError
from kaigents_nb.history.calls import Call, failure_details, failure_text, own_failure
from kaigents_nb.history.fold import RunFold
from kaigents_nb.history.observers import observed
from kaigents_nb.runtime.code import Code
from kaigents_nb.runtime.connection import Connection
from kaigents_nb.runtime.payloads import raw
from kaigents_nb.runtime.queue import home
from kaigents_nb.runtime.seeds import Seed, pack_seeds
from kaigents_nb.snapshot.load import load
from kaigents_nb.values.encode import Check

StepKey = str | tuple[str, int]
"""A step by its name (its last call), or ``(name, occurrence)``, the first being 1."""


@dataclass(frozen=True)
class Point:
    """Where a fork begins: before a call, or after an event."""

    text: str
    call: int | None = None
    event_id: int | None = None
    redo: frozenset[str] = frozenset()
    """Calls that are made again wherever they stand."""

    def keeps(self, call: Call) -> bool:
        """Whether the call's recorded outcome is taken over."""
        if call.view.call in self.redo:
            return False
        if self.call is not None:
            return int(call.view.call) < self.call
        return call.seed is not None or 0 < call.closed_event <= (self.event_id or 0)


def fork(
    connection: Connection,
    run_id: str,
    *,
    at: Any,
    values: Mapping[StepKey, Any] | None,
    args: Sequence[Any] | Mapping[str, Any] | None,
    code: Literal["same", "current"],
    decisions: Literal["ask", "keep"],
    id: str | None,
) -> str:
    """Start the fork and return its id; see :meth:`Run.fork`."""
    if code not in ("same", "current"):
        raise ValueError(f"code is 'same' or 'current', not {code!r}.")
    if decisions not in ("ask", "keep"):
        raise ValueError(f"decisions is 'ask' or 'keep', not {decisions!r}.")

    async def look() -> tuple[RunFold, Code | None]:
        observer = await observed(connection, run_id)
        carried = await observer.decoder.code()
        return observer.fold.snapshot(), carried

    fold, carried = connection.run(look)
    if carried is None:
        raise RunError(f"Run {run_id!r} carries no code of ours, so it can't be forked.", run_id=run_id)
    chosen = carried if code == "same" else current_code(connection, Agent, fold.agent, run_id)
    values = values or {}
    point = find_point(fold, at if at is not None else _default_point(fold, values))
    readable = load(chosen.snapshot, [], for_agent=False).check_readable
    edited = _edited(fold, values, readable)
    outcomes = {
        number: seed
        for number, call in fold.calls.items()
        if (seed := edited.get(number) or (_recorded(call) if point.keeps(call) else None))
    }
    edits = [_title(fold.calls[number]) for number in edited]
    edits += ["arguments"] * (args is not None) + ["code"] * (code == "current")
    cut = NOTHING if point.call == 0 and not outcomes else Cut.of(connection, fold, point.call, point.event_id)
    kept = _kept_decisions(fold, cut) if decisions == "keep" else {}
    seeds = seeds_of(cut, outcomes)
    mends = fold.mends if code == "same" else []
    prepared = prepare(
        connection,
        fold.agent,
        chosen,
        _arguments(fold, args, readable),
        agent=chosen.snapshot.root if code == "current" else fold.launch.agent,
        chance=fold.launch.chance,
        plays_from=fold.launch.tape if PLAYS in fold.launch.tape else (),
        more=[*([pack_seeds(seeds)] if seeds else []), *(RawValue(payload) for _, payload in mends)],
        seeded=bool(seeds),
        mended=tuple(names for names, _ in mends),
        decisions=kept,
    )
    origin = {"home": home(), "forked_from": run_id, "forked_at": point.text, "forked_edits": ", ".join(edits)}
    return submit(connection, prepared, id=id, origin=origin)


def _default_point(fold: RunFold, values: Mapping[StepKey, Any]) -> Any:
    """After the first edited output, for what came later was computed from it; else before what failed."""
    edited = [int(find_call(fold, key).view.call) for key in values]
    return Point(f"call {min(edited) + 1}", call=min(edited) + 1) if edited else "failed"


def find_point(fold: RunFold, at: Any) -> Point:
    """Return the point that people mean by ``at``."""
    if isinstance(at, Point):
        return at
    at = getattr(at, "event_id", at)  # a Moment
    if isinstance(at, bool):
        raise TypeError(f"at= is a step's name, (name, occurrence), an event id or a moment, not {at!r}.")
    if isinstance(at, int):
        if not 0 < at <= fold.last_event:
            raise NoSuchMoment(f"No event {at}. Known: 1 to {fold.last_event}.")
        return Point(f"event {at}", event_id=at)
    if at == "start":
        return Point("start", call=0)
    if at in ("failed", "failure"):
        return _failed_point(fold)
    call = find_call(fold, at, also=("start", "failed"))
    return Point(_title(call), call=int(call.view.call))


def _failed_point(fold: RunFold) -> Point:
    """Before the calls that failed, or still fail; everything that succeeded is kept."""
    failing = [call for call in _in_order(fold) if call.view.status in ("parked", "failed", "scheduled", "running")]
    if fold.failure is not None and failing:
        # A step's error that the agent handled is part of what went well; the last one is what ended the run.
        failing = failing[-1:]
    if not failing and fold.failure is None:
        raise NoSuchMoment(
            f"Nothing failed in run {fold.run_id!r}. Fork at a step: {_known(fold)}; at an event id; or at 'start'."
        )
    names = ", ".join(map(_title, failing))
    text = f"the failure: {names}" if names else "the failure"
    return Point(text, event_id=fold.last_event, redo=frozenset(call.view.call for call in failing))


def find_call(fold: RunFold, key: StepKey, also: tuple[str, ...] = ()) -> Call:
    """Return a recorded call by its step's name (the last one), or by name and occurrence.

    ``also`` are words that would have done in its place, for the message.
    """
    name, occurrence = key if isinstance(key, tuple) else (key, None)
    name = name.name if isinstance(name, Step) else name
    same = [call for call in _in_order(fold) if call.view.name == name]
    if not same:
        near = difflib.get_close_matches(str(name), {*(call.view.name for call in fold.calls.values()), *also}, 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        others = f" Or: {', '.join(map(repr, also))}." if also else ""
        raise NoSuchMoment(f"No step {name!r} was called in run {fold.run_id!r}.{hint} Called: {_known(fold)}.{others}")
    if occurrence is None:
        return same[-1]
    if not 1 <= occurrence <= len(same):
        raise NoSuchMoment(f"Step {name!r} was called {len(same)} times in run {fold.run_id!r}, not {occurrence}.")
    return same[occurrence - 1]


def _in_order(fold: RunFold) -> list[Call]:
    """Return the calls by their numbers; those that a fork took over are known before all others."""
    return sorted(fold.calls.values(), key=lambda call: int(call.view.call))


def _known(fold: RunFold) -> str:
    return ", ".join(dict.fromkeys(call.view.name for call in fold.calls.values())) or "no step"


def _title(call: Call) -> str:
    return f"{call.view.name} (call {call.view.call})"


def _edited(fold: RunFold, values: Mapping[StepKey, Any], readable: Check) -> dict[str, Seed]:
    seeds = {}
    for key, value in values.items():
        view = find_call(fold, key).view
        saved = raw(value, f"value for step {view.name}", check=readable)
        seeds[view.call] = Seed(view.call, view.name, saved.payload, edited=True)
    return seeds


def _recorded(call: Call) -> Seed | None:
    """The call's outcome as the agent got it; None where it had none yet."""
    if call.seed is not None:
        return call.seed
    if call.result is not None:
        return Seed(call.view.call, call.view.name, call.result)
    if call.view.status != "failed" or call.failure is None:
        return None
    failure = own_failure(call.failure)
    recorded = {
        "type": failure.application_failure_info.type or "StepFailed",
        "message": failure.message or failure_text(failure),
        "details": failure_details(failure),
    }
    return Seed(call.view.call, call.view.name, failure=recorded)


def _arguments(fold: RunFold, args: Sequence[Any] | Mapping[str, Any] | None, readable: Check) -> Arguments:
    if args is None:
        payloads = tuple(RawValue(payload) for payload in fold.arguments)
        return Arguments(payloads, fold.launch.positional, fold.launch.keywords)
    if isinstance(args, (str, bytes)):
        raise TypeError(f"args= is a list of positional arguments or a dict of named ones: [{args!r}].")
    positional, named = ((), args) if isinstance(args, Mapping) else (args, {})
    return Arguments.of(fold.agent, positional, named, readable)


def _kept_decisions(fold: RunFold, cut: Cut) -> dict[str, Mapping[str, Any]]:
    return {
        gate.gate: replace(gate.answer, question=gate.asked.question).to_wire()
        for gate in fold.gates.values()
        if gate.answer is not None and cut.decided(gate.gate)
    }
