"""Where in the agent each call, gate and wait of a run was made, and in which order they came to an end.

A history numbers calls in the order in which they were made, and that is chance where branches run at the same time. A
fork needs to know which branch made them: the recorded code says it, when its history is replayed.
"""

# No `from __future__ import annotations`: the SDK reads this module's annotations as objects.

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from temporalio import workflow
from temporalio.bridge.proto.workflow_commands import WorkflowCommand
from temporalio.client import WorkflowHistory
from temporalio.common import RawValue

from kaigents_nb.authoring.agent import Agent
from kaigents_nb.authoring.awaited import Begin
from kaigents_nb.authoring.gate import Decision
from kaigents_nb.authoring.step import Step
from kaigents_nb.errors import ConversionError
from kaigents_nb.gates.question import Question
from kaigents_nb.replay.comparison import Comparison
from kaigents_nb.replay.replay import headline, replay
from kaigents_nb.replay.replayed import watching
from kaigents_nb.runtime.connection import Connection
from kaigents_nb.runtime.interpreter import AgentWorkflow
from kaigents_nb.runtime.loop import in_thread
from kaigents_nb.runtime.recorded import Asked, arguments_digest


@dataclass
class Placed:
    """A call, gate or wait."""

    place: str
    kind: str
    number: str = ""
    name: str = ""
    arguments: str = ""
    made: int = 0
    """When, counted in what was made or came to an end."""
    ended: int = 0
    """The same; 0 while it has no outcome."""
    turn: int = 0
    """In which turn it ended: each time the agent has nothing to do, the next one begins."""
    event_id: int = 0
    """The last event that the agent knew of when this ended."""


class Places:
    """Watches a replay. ``placed`` is what it saw, by place."""

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison
        self.placed: dict[str, Placed] = {}
        self.problem = ""
        self.unreadable = False
        """Whether the problem is a recorded value that can't be read, whose file is missing for example."""
        self.turn = 1
        self.happened = 0
        self._event_id = 0
        self._finished = False

    def at(self, event_id: int, time: datetime) -> None:
        """See :class:`Watcher`."""
        self._event_id = event_id

    def asks(self, commands: Iterable[WorkflowCommand]) -> None:
        """See :class:`Watcher`."""
        self.comparison.take(commands)

    def finish(self) -> None:
        """See :class:`Watcher`."""
        self._finished = True

    def calls(self) -> Mapping[str, Placed]:
        """Return the calls of steps and agents by their numbers."""
        return {one.number: one for one in self.placed.values() if one.kind in ("step", "agent")}

    def made(self, one: Placed) -> None:
        """Note something that was asked for."""
        self.happened += 1
        one.made = self.happened
        self.placed[one.place] = one

    def ended(self, place: str) -> None:
        """Note that the agent goes on with its outcome."""
        if not self._finished:
            self.happened += 1
            one = self.placed[place]
            one.ended, one.turn, one.event_id = self.happened, self.turn, self._event_id

    def next_turn(self) -> bool:
        """Note that the agent has nothing to do; a condition that never becomes true."""
        self.turn += 1
        return False


@workflow.defn(dynamic=True)
class PlacedWorkflow(AgentWorkflow):
    """A run that is replayed to see its places. It must ask the SDK for exactly what the run asked."""

    def __init__(self) -> None:
        super().__init__()
        places = watching.get()
        assert isinstance(places, Places)
        self._places = places
        self._place = ""

    @workflow.run
    async def run(self, args: Sequence[RawValue]) -> RawValue:
        """Execute the agent."""
        asyncio.create_task(workflow.wait_condition(self._places.next_turn))  # noqa: RUF006 - the loop keeps it
        result: RawValue = await super().run(args)
        return result

    def asked(self, kind: str, asked: Asked) -> None:
        """Note a call, gate or wait."""
        self._place = asked.place
        self._places.made(Placed(asked.place, kind, asked.number, asked.name, arguments_digest(asked.arguments)))

    def call_step(self, step: Step[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Begin[Any]:
        """Run a step."""
        return self._noted(super().call_step(step, args, kwargs))

    def call_agent(self, agent: Agent[..., Any, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Begin[Any]:
        """Run another agent."""
        return self._noted(super().call_agent(agent, args, kwargs))

    def start_agent(
        self, agent: Agent[..., Any, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], run_id: str | None
    ) -> Begin[str]:
        """Start a run of its own."""
        return self._noted(super().start_agent(agent, args, kwargs, run_id))

    def sleep(self, delay_s: float) -> Begin[None]:
        """Wait by a timer."""
        return self._noted(super().sleep(delay_s))

    async def decided(
        self, place: str, question: Question, details: Any, read: Callable[[Any], Any] | None
    ) -> Decision:
        """Wait for a person."""
        decision: Decision = await self._ended(place, partial(super().decided, place, question, details, read))
        return decision

    def timer(
        self, start: Callable[..., asyncio.TimerHandle], callback: Callable[[], Any], context: Context | None
    ) -> asyncio.TimerHandle:
        """Begin a time-out or wait of asyncio's own."""

        def fire() -> None:
            self._places.ended(place)
            callback()

        handle = super().timer(start, fire, context)
        place = self._place
        return handle

    def _noted(self, begin: Begin[Any]) -> Begin[Any]:
        return partial(self._ended, self._place, begin)

    async def _ended(self, place: str, begin: Begin[Any]) -> Any:
        try:
            result = await begin()
        except Exception:
            self._places.ended(place)
            raise
        self._places.ended(place)
        return result


async def places_of(connection: Connection, history: WorkflowHistory) -> Places:
    """Return what a replay of a history shows; ``problem`` says why it ended before the history does."""
    places = Places(Comparison(history.events))
    failure = await in_thread(lambda: replay(connection, history, places, PlacedWorkflow), "kaigents replay")
    places.problem = headline(failure) if failure is not None else ""
    places.unreadable = f'type: "{ConversionError.__name__}"' in str(failure)
    return places
