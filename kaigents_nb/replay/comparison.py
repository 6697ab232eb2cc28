"""A replay beside the history that it replays: what it asks the server for, and what was asked for then."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from temporalio.api.history.v1 import HistoryEvent
from temporalio.bridge.proto.workflow_commands import WorkflowCommand

from kaigents_nb.runtime.requests import Difference, compare, of_command, of_event


@dataclass(frozen=True)
class Found:
    """A difference, and the row that was executed last when it was seen."""

    difference: Difference
    row: int


class Comparison:
    """One replay beside the history that it replays."""

    def __init__(self, events: Iterable[HistoryEvent]) -> None:
        self._recorded = {request.key: request for event in events for request in of_event(event)}
        self.found: list[Found] = []

    def take(self, commands: Iterable[WorkflowCommand], row: int = -1) -> None:
        """Compare what an activation asks for; ``row`` is the last one that was executed, where that is known."""
        for command in commands:
            for request in of_command(command):
                recorded = self._recorded.get(request.key)
                if recorded is not None:
                    self.found += (Found(difference, row) for difference in compare(recorded, request))
