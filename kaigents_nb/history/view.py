"""The state of a run at one moment, as plain data: what the card, the CLI and ``run.status`` all show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from kaigents_nb.gates.answer import Answer
from kaigents_nb.gates.policy import Standing
from kaigents_nb.gates.question import Question
from kaigents_nb.gates.visible import visible
from kaigents_nb.models.spent import Spent

Status = Literal[
    "starting",  # accepted by the server, no worker has taken it yet
    "running",
    "waiting",  # at a gate
    "retrying",  # a step failed and will be tried again by itself
    "parked",  # a step has a bug; mend it
    "stuck",  # the worker can't execute the agent: see `problem`
    "completed",
    "failed",
    "cancelled",
    "terminated",
    "timed out",
]
CLOSED: frozenset[str] = frozenset({"completed", "failed", "cancelled", "terminated", "timed out"})

StepStatus = Literal["scheduled", "running", "retrying", "parked", "completed", "failed", "cancelled"]


@dataclass(frozen=True)
class Progress:
    """How far a running step says it is."""

    done: float
    total: float | None = None
    note: str = ""
    text: str = ""
    """What there is so far, to be read: the end of an answer that comes in parts."""


@dataclass(frozen=True)
class MessageView:
    """One message of a conversation with a model, bounded."""

    role: str
    kind: str
    """Of item, as the Responses API has them."""
    tool: str
    """Which one is called; empty for no call."""
    text: str


@dataclass(frozen=True)
class AttemptView:
    """Work on a call from one time to another; ``first`` and ``last`` number the attempts it was.

    The server dates only the last attempt of a call, so those before it are one entry, with their last error.
    """

    first: int
    last: int
    status: StepStatus
    started: datetime | None = None
    ended: datetime | None = None
    error: str = ""
    worker: str = ""
    lost: bool = False
    """Its worker fell silent: killed, cut off, or its machine is gone."""


@dataclass(frozen=True)
class SleepView:
    """One ``kg.sleep``."""

    started: datetime | None
    ended: datetime | None = None
    fired: int = 0
    """The event at which it was over by itself."""


@dataclass(frozen=True)
class LossView:
    """A worker that had the run and no longer answered the server."""

    noticed: datetime | None
    worker: str
    told: str


@dataclass(frozen=True)
class StepView:
    """One call of a step. ``call`` tells calls of one run apart and orders them; all times are UTC."""

    call: str
    name: str
    status: StepStatus
    attempt: int = 0
    scheduled: datetime | None = None
    started: datetime | None = None
    ended: datetime | None = None
    progress: Progress | None = None
    output: str = ""
    error: str = ""
    """Last error, as text with the analyst's traceback; kept while the step retries or is parked."""
    next_retry: datetime | None = None
    worker: str = ""
    reused: bool = False
    """Taken over from the run this one was forked from, not executed again."""
    child_run: str = ""
    """The run id, where the call is another agent."""
    attempts: tuple[AttemptView, ...] = ()
    """What is known of each attempt, where the first one did not simply succeed."""
    note: str = ""
    """What holds it up: an earlier attempt that has not ended yet."""
    said: tuple[MessageView, ...] = ()
    """Where it asked a model: what it said that was not said before, and the answer."""

    @property
    def duration_s(self) -> float | None:
        """How long its last attempt has worked, in seconds; None before that is over, and where nothing was executed.

        The one meaning of a call's duration, on whatever face. For the time from the call to its end add `waited_s`.
        """
        return None if self.reused else _seconds(self.started, self.ended)

    @property
    def waited_s(self) -> float | None:
        """What went before that attempt, in seconds: queueing, parking, earlier attempts, the waits between them."""
        return None if self.reused else _seconds(self.scheduled, self.started or self.ended)


def _seconds(begin: datetime | None, end: datetime | None) -> float | None:
    return max((end - begin).total_seconds(), 0.0) if begin is not None and end is not None else None


@dataclass(frozen=True)
class GateView:
    """One gate, open until it is answered or withdrawn."""

    asked: Question
    details: Any = None
    answer: Answer | None = None
    complete: bool = True
    """Whether ``details`` are here, whole, as they were asked: who has not seen them can't decide."""
    refused: str = ""
    """What is wrong with the last answer that did not count because its value was invalid."""
    withdrawn: bool = False
    """The run went on without a decision: cancelled, or the agent stopped waiting."""
    closed: datetime | None = None
    """When the server took the decision, or the run went on without one."""
    run_id: str = ""
    """The called agent's run whose gate it is; empty for a gate of this run."""

    @property
    def gate(self) -> str:
        """Its number in its run."""
        return self.asked.gate

    @property
    def question(self) -> str:
        """What is asked, as a person must see it."""
        return visible(self.asked.question)

    @property
    def options(self) -> tuple[str, ...]:
        """What may be chosen beside rejecting, where it is more than approving."""
        return self.asked.options

    @property
    def opened(self) -> datetime | None:
        """When it was asked."""
        return self.asked.opened

    @property
    def key(self) -> tuple[str, str]:
        """What tells gates apart: each run numbers its own."""
        return self.run_id, self.gate

    @property
    def is_open(self) -> bool:
        """Whether it waits for a decision."""
        return self.answer is None and not self.withdrawn


@dataclass(frozen=True)
class TakenDecision:
    """One attempt to decide, as the server has recorded it."""

    answer: Answer
    standing: Standing
    event_id: int
    time: datetime | None
    way: str
    """``update`` or ``signal``."""

    @property
    def counted(self) -> bool:
        """Whether it was the one that won."""
        return self.standing is Standing.COUNTS


@dataclass(frozen=True)
class RunView:
    """Everything a person would look at."""

    run_id: str
    agent: str
    status: Status
    started: datetime | None = None
    ended: datetime | None = None
    published: Mapping[str, str] = field(default_factory=dict)
    """What the agent shows to the outside, as short text."""
    steps: tuple[StepView, ...] = ()
    gates: tuple[GateView, ...] = ()
    sleeps: tuple[SleepView, ...] = ()
    losses: tuple[LossView, ...] = ()
    result: str = ""
    """A short text of the result, when completed."""
    error: str = ""
    """Why it failed, with the analyst's traceback."""
    executor: str = ""
    """Who executes it: workers as in histories, or nobody and since when; empty once it has ended."""
    problem: str = ""
    """What keeps it from going on, and what to do: no worker, refused code, a server that went away."""
    notices: tuple[str, ...] = ()
    """Warnings, such as a worker with other package versions."""
    url: str = ""
    arguments: str = ""
    lineage: Mapping[str, str] = field(default_factory=dict)
    spent: Spent = field(default_factory=Spent)
    """On models, by this run itself: agents that it called have their own."""

    @property
    def closed(self) -> bool:
        """Whether the run has ended."""
        return self.status in CLOSED

    @property
    def open_gates(self) -> tuple[GateView, ...]:
        """The gates that wait for a decision: none once the run has ended."""
        return () if self.closed else tuple(gate for gate in self.gates if gate.is_open)
