"""The fold of a history, without a server."""

from __future__ import annotations

from temporalio.api.history.v1 import HistoryEvent

from kaigents_nb.history.fold import RunFold


def test_events_are_taken_by_methods_of_their_name() -> None:
    """Each ``_on_…`` is the name of an event that a server sends; one without a method is passed over."""
    known = {field.name for field in HistoryEvent.DESCRIPTOR.oneofs_by_name["attributes"].fields}
    taken = {f"{name.removeprefix('_on_')}_event_attributes" for name in vars(RunFold) if name.startswith("_on_")}
    assert len(taken) > 30 and taken <= known
    fold = RunFold()
    fold.add(HistoryEvent(event_id=7))
    assert fold.last_event == 7
