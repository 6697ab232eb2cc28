"""What a fork takes over: what came to an end before its point, by place and in order."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory

from kaigents_nb.errors import ConversionError, ReplayDiverged
from kaigents_nb.history.decoding import Decoder
from kaigents_nb.history.fold import RunFold
from kaigents_nb.replay.comparison import Comparison
from kaigents_nb.replay.differences import notice, told
from kaigents_nb.replay.places import Placed, Places, places_of
from kaigents_nb.runtime.connection import Connection
from kaigents_nb.runtime.seeds import Seed


@dataclass(frozen=True)
class Cut:
    """A run, cut at the point of a fork: ``before`` are the places of what was over, or was made and is still open."""

    places: Places
    before: frozenset[str]
    cancelled: frozenset[str] = frozenset()
    """Numbers of the calls that the run gave up."""

    @classmethod
    def of(cls, connection: Connection, fold: RunFold, call: int | None, event_id: int | None) -> Cut:
        """Cut before a call (by its number) or after an event."""

        async def look() -> tuple[list[HistoryEvent], Places, str]:
            handle = connection.client.get_workflow_handle(fold.run_id)
            events = [event async for event in handle.fetch_history_events(page_size=1000)]
            if not fold.worked:
                return events, NOTHING.places, ""
            places = await places_of(connection, WorkflowHistory(fold.run_id, events))
            differs = await told(places.comparison.found, Decoder(connection, fold), lambda _: (-1, ""))
            return events, places, notice(fold.run_id, differs)

        events, places, differs = connection.run(look)
        if differs:
            warnings.warn(differs, stacklevel=4)
        over = _over_by_event(fold, places, events, event_id) if call is None else _over_by_call(places, call)
        cancelled = frozenset(number for number, one in fold.calls.items() if one.view.status == "cancelled")
        return cls(places, frozenset(one.place for one in over), cancelled)

    def decided(self, gate: str) -> bool:
        """Whether a gate was decided before the point."""
        return any(
            one.kind == "gate" and one.number == gate and one.place in self.before
            for one in self.places.placed.values()
        )


NOTHING = Cut(Places(Comparison(())), frozenset())


def _over_by_call(places: Places, number: int) -> Iterator[Placed]:
    calls = places.calls()
    if str(number) in calls:
        until = calls[str(number)].made
    else:  # behind the last call, whose output is edited: what came later was computed from it
        last = calls.get(str(number - 1))
        until = last.ended + 1 if last is not None and last.ended else places.happened + 1
    for one in places.placed.values():
        if int(one.number) < number if one.kind in ("step", "agent") else 0 < one.ended < until:
            yield one


def _over_by_event(
    fold: RunFold, places: Places, events: Sequence[HistoryEvent], event_id: int | None
) -> Iterator[Placed]:
    until = event_id or 0
    fired = [event.event_id for event in events if event.HasField("timer_fired_event_attributes")]
    decided = {taken.answer.gate: taken.event_id for taken in fold.decisions if taken.counted}
    for one in sorted(places.placed.values(), key=lambda one: one.ended):
        if one.kind in ("step", "agent"):
            call = fold.calls.get(one.number)
            if call is not None and call.scheduled_event <= until:
                yield one
        elif one.kind == "gate":
            if one.ended and decided.get(one.number, 0) <= until:
                yield one
        elif one.ended:
            # A wait was over when its timer fired, which the agent learns a little later.
            known = [event for event in fired if event <= one.event_id]
            if known:
                fired.remove(known[0])
            if (known[0] if known else one.event_id) <= until:
                yield one


def seeds_of(cut: Cut, outcomes: Mapping[str, Seed]) -> list[Seed]:
    """Return what a fork takes over, in the order in which it came to an end: ``outcomes`` of calls, gates and waits.

    Raises
    ------
    ReplayDiverged
        When the recorded code no longer makes a call whose outcome is to be taken over.
    ConversionError
        When a value that the run was given before that call can't be read now.
    """
    calls = cut.places.calls()
    lost = sorted(outcomes.keys() - calls.keys(), key=int)
    if lost and cut.places.unreadable:
        raise ConversionError(
            f"What stands before {outcomes[lost[0]].name} (call {lost[0]}) can't be read, so nothing is forked yet. "
            f"{cut.places.problem}"
        )
    if lost:
        raise ReplayDiverged(
            f"{outcomes[lost[0]].name} (call {lost[0]}) can't be taken over: replaying the recorded code no longer "
            f"makes that call ({cut.places.problem or 'it asks for something else'}). Fork at a point before it."
        )
    seeds = [
        replace(seed, place=calls[number].place, turn=calls[number].turn, arguments=calls[number].arguments)
        for number, seed in outcomes.items()
    ]
    # An output that was put in the place of none comes when all else has come.
    last = max((one.turn for one in cut.places.placed.values()), default=0) + 1
    seeds = [seed if seed.turn else replace(seed, turn=last) for seed in seeds]
    for one in cut.places.placed.values():
        if one.place in cut.before and (one.kind not in ("step", "agent") or one.number not in outcomes):
            again = one.kind in ("step", "agent")
            given_up = again and one.number in cut.cancelled and not one.ended
            seeds.append(Seed(one.number, one.name, place=one.place, turn=0 if again else one.turn, given_up=given_up))
    order = {one.place: one.ended for one in cut.places.placed.values()}
    return sorted(seeds, key=lambda seed: (seed.turn, order[seed.place]))
