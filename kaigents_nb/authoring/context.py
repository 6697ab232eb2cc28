"""Who executes the code that calls us: an agent's interpreter, a step's attempt, or nobody (plain Python).

The rooms above implement the two protocols and set the variables; authored code only asks.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from kaigents_nb.authoring.agent import Agent
    from kaigents_nb.authoring.awaited import Begin, NotAwaited
    from kaigents_nb.authoring.gate import Decision
    from kaigents_nb.authoring.step import Step
    from kaigents_nb.authoring.this_run import ThisRun
    from kaigents_nb.gates.question import Question


class AgentContext(Protocol):
    """What an agent may ask of its interpreter; every answer replays."""

    @property
    def replaying(self) -> bool:
        """Whether what happens now has happened before."""
        ...

    @property
    def unawaited(self) -> dict[int, NotAwaited[Any]]:
        """The durable calls that nobody has awaited yet, in the order in which they were made."""
        ...

    def place(self, filename: str, line: int) -> str:
        """Return a line of the agent's code as the analyst knows it."""
        ...

    def call_step(self, step: Step[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Begin[Any]:
        """Run a step durably: what this returns begins it, when it is awaited."""
        ...

    def call_agent(self, agent: Agent[..., Any, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Begin[Any]:
        """Run another agent and wait for its result."""
        ...

    def start_agent(
        self, agent: Agent[..., Any, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], run_id: str | None
    ) -> Begin[str]:
        """Start a run that goes on when this one ends; gives its id."""
        ...

    def open_gate(self, question: Question, details: Any, read: Callable[[Any], Any] | None = None) -> Begin[Decision]:
        """Wait for a person; ``read`` refuses a value that is none of those asked for."""
        ...

    def sleep(self, delay_s: float) -> Begin[None]:
        """Wait durably."""
        ...

    def named(self, name: str) -> Step[..., Any] | Agent[..., Any, Any]:
        """Return a step or agent of the run's code."""
        ...

    @property
    def this_run(self) -> ThisRun:
        """What the run is."""
        ...

    def publish(self, values: Mapping[str, Any]) -> None:
        """Show values to the outside."""
        ...

    def now(self) -> datetime:
        """Return the run's time, UTC."""
        ...

    def random(self) -> random.Random:
        """Return the run's own generator."""
        ...

    def uuid4(self) -> uuid.UUID:
        """Return the run's next id."""
        ...


class StepContext(Protocol):
    """What a step's attempt may ask of the worker that executes it."""

    @property
    def call(self) -> str:
        """The number of this call in its run."""
        ...

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt of this call."""
        ...

    @property
    def tracked(self) -> int:
        """How many items an earlier attempt has finished."""
        ...

    @property
    def this_run(self) -> ThisRun:
        """What the run is, and which attempt this."""
        ...

    @property
    def renewed(self) -> bool:
        """Whether a person has started this call again."""
        ...

    def named(self, name: str) -> Step[..., Any] | Agent[..., Any, Any]:
        """Return a step or agent of the run's code."""
        ...

    def resolve(self, module: str, qualname: str) -> type:
        """Return a class that the run's code has."""
        ...

    @property
    def journal(self) -> Path:
        """A private file of this call, for what its attempts have done so far."""
        ...

    @property
    def ledger(self) -> Path:
        """A private file of the run, in which its requests of models are counted."""
        ...

    def lost(self, requests: int) -> None:
        """Have the history say that so many requests of this call may have been paid without an answer on record."""
        ...

    def rate_file(self, name: str) -> Path:
        """Return where all workers of the data directory keep what was used of a rate."""
        ...

    def keep(self, data: bytes) -> str:
        """Save bytes for good and return their name, which is made of their content."""
        ...

    def kept(self, name: str) -> bytes:
        """Return what :meth:`keep` has saved."""
        ...

    def report(
        self, done: float, total: float | None, note: str, *, tracked: int | None = None, text: str = ""
    ) -> None:
        """Save progress with the next heartbeat; ``text`` is what there is so far, to be read."""
        ...


agent_context: ContextVar[AgentContext | None] = ContextVar("kaigents_agent", default=None)
step_context: ContextVar[StepContext | None] = ContextVar("kaigents_step", default=None)

PLAYS, RECORDS = "plays", "records"
Tape: TypeAlias = tuple[str, ...]
"""Where models are recorded or played back: the file, which of the two, and a name of the block of code; or nothing."""
tape: ContextVar[Tape] = ContextVar("kaigents_tape", default=())
