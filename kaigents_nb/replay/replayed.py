"""The interpreter as a replay runs it: the same code, with a recorder that watches the agent and hears what it asks.

Lines are traced only while the agent's own code is executed. The SDK's and ours run at full speed, which is most of
a replay.
"""

# No `from __future__ import annotations`: the SDK reads this module's annotations as objects.

import sys
from collections.abc import Callable, Coroutine, Generator, Iterable, Mapping, Sequence
from contextvars import ContextVar
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from temporalio import workflow
from temporalio.bridge.proto.workflow_commands import WorkflowCommand
from temporalio.common import RawValue

from kaigents_nb.authoring.agent import Agent
from kaigents_nb.authoring.awaited import Begin
from kaigents_nb.authoring.gate import Decision
from kaigents_nb.authoring.step import Step
from kaigents_nb.gates.question import Question
from kaigents_nb.replay.recorder import Recorder, Tracer
from kaigents_nb.runtime.interpreter import AgentWorkflow
from kaigents_nb.runtime.protocol import STARTED
from kaigents_nb.runtime.recorded import Asked


class Watcher(Protocol):
    """Who watches a replay."""

    def at(self, event_id: int, time: datetime) -> None:
        """Hear at which event what follows is executed, and when."""
        ...

    def asks(self, commands: Iterable[WorkflowCommand]) -> None:
        """Hear what the run asks the server for."""
        ...

    def finish(self) -> None:
        """Hear that the replay is over; what still comes is its dismantling."""
        ...


watching: ContextVar[Watcher] = ContextVar("kaigents_watching")
"""Who watches the workflow that is replayed in this context."""


@workflow.defn(dynamic=True)
class ReplayedWorkflow(AgentWorkflow):
    """A run that is replayed. It must ask the SDK for exactly what the run asked."""

    def __init__(self) -> None:
        super().__init__()
        recorder = watching.get()
        assert isinstance(recorder, Recorder)
        self._recorder = recorder

    @workflow.run
    async def run(self, args: Sequence[RawValue]) -> RawValue:
        """Execute the agent, watched."""
        result: RawValue = await self.watched(super().run(args))
        return result

    def watched(self, work: Coroutine[Any, Any, Any]) -> Coroutine[Any, Any, Any]:
        """Return the work of a task, watched."""
        return _Switched(work, self._recorder, watched=True)

    def asked(self, kind: str, asked: Asked) -> None:
        """Note a call or gate with the line that made it."""
        if asked.number:
            self._recorder.called(kind, asked.name, asked.number)

    def call_step(self, step: Step[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Begin[Any]:
        """Run a step."""
        with _TracedBy(None):
            return partial(self._waited, "step", step.name, super().call_step(step, args, kwargs))

    def call_agent(self, agent: Agent[..., Any, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Begin[Any]:
        """Run another agent."""
        with _TracedBy(None):
            return partial(self._waited, "agent", agent.name, super().call_agent(agent, args, kwargs))

    def start_agent(
        self, agent: Agent[..., Any, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], run_id: str | None
    ) -> Begin[str]:
        """Start a run of its own."""
        with _TracedBy(None):
            begin = super().start_agent(agent, args, kwargs, run_id)
            return partial(self._waited, "agent", STARTED.format(agent=agent.name), begin)

    async def decided(
        self, place: str, question: Question, details: Any, read: Callable[[Any], Any] | None
    ) -> Decision:
        """Wait for a person."""
        begin = partial(super().decided, place, question, details, read)
        decision: Decision = await self._waited("gate", question.question, begin)
        return decision

    def sleep(self, delay_s: float) -> Begin[None]:
        """Wait by a timer."""
        return partial(self._waited, "sleep", "sleep", super().sleep(delay_s))

    async def _waited(self, kind: str, name: str, begin: Begin[Any]) -> Any:
        wait = self._recorder.began(kind, name)
        try:
            return await _Switched(begin(), self._recorder, watched=False)
        finally:
            self._recorder.ended(wait)


class _TracedBy:
    # No generator: a coroutine that ends raises StopIteration through this.
    def __init__(self, trace_function: Tracer | None) -> None:
        self._trace_function = trace_function

    def __enter__(self) -> None:
        self._before = sys.gettrace()
        sys.settrace(self._trace_function)

    def __exit__(self, *error: object) -> None:
        sys.settrace(self._before)


class _Switched(Coroutine[Any, Any, Any]):
    """A coroutine that switches the tracing of lines on or off while it is executed."""

    def __init__(self, work: Coroutine[Any, Any, Any], recorder: Recorder, *, watched: bool) -> None:
        self._work = work
        self._recorder = recorder
        self._watched = watched

    def send(self, value: Any) -> Any:
        with _TracedBy(self._recorder.trace_function if self._watched else None):
            return self._work.send(value)

    def throw(self, *error: Any) -> Any:
        with _TracedBy(self._recorder.trace_function if self._watched else None):
            return self._work.throw(*error)

    def close(self) -> None:
        self._work.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        return self.send(None)
