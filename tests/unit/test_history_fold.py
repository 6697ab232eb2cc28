"""The fold of a history, without a server."""

from __future__ import annotations

from temporalio.api.history.v1 import HistoryEvent

from kaigents_nb.history.fold import RunFold
from tests.golden.histories import read, recorded


def test_events_are_taken_by_methods_of_their_name() -> None:
    """Each ``_on_…`` is the name of an event that a server sends; one without a method is passed over."""
    known = {field.name for field in HistoryEvent.DESCRIPTOR.oneofs_by_name["attributes"].fields}
    taken = {f"{name.removeprefix('_on_')}_event_attributes" for name in vars(RunFold) if name.startswith("_on_")}
    assert len(taken) > 30 and taken <= known
    fold = RunFold()
    fold.add(HistoryEvent(event_id=7))
    assert fold.last_event == 7


def test_every_event_of_a_recorded_run_can_be_read() -> None:
    """What can't be read is told, and is never one of ours."""
    for path in recorded():
        fold = RunFold()
        for event in read(path).events:
            fold.add(event)
        assert not fold.unreadable, path
        assert fold.last_event


def test_an_event_of_another_program_is_told_and_passed_over() -> None:
    """The rest of the history is read."""
    fold = RunFold()
    event = HistoryEvent(event_id=5)
    event.activity_task_scheduled_event_attributes.input.payloads.add(data=b"garbage")
    fold.add(event)
    assert "Event 5 can't be read" in fold.unreadable[0]
    assert fold.notices == tuple(fold.unreadable)
