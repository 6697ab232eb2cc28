"""What travels between client, workflow and activity: names and shapes, stated once.

A run's input is ``[Launch, code, *args, *seeds, *mended]``, where ``seeds`` (one payload) is there only for a fork and
``mended`` only where it takes over mended steps; a step's is ``[StepCall, *args, *code]``, the last one only for a
mended step. Every argument is a payload of its own, so that a big value which is handed on
is stored once. Changing a shape here breaks runs in flight: the golden histories in the tests guard it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Any, TypeVar

CODE_ENCODING = "binary/kaigents-code"
"""Payload encoding of packed, signed code."""

INTERPRETER_VERSION = 6
"""Which interpreter a new run begins with; runs go on by the rules that they began with.

0: of before there were numbers. 1: a decision must carry the digest of what was asked. 2: a fork takes over what was
recorded by its place and in its order, and an agent does not end while something that it started still runs. 3: an
agent may not reach for the world through libraries. 4: an agent gets the arguments that were passed, whatever it is
annotated with. 5: an agent ends when the tasks that it has stopped have ended, and stops those that are left when it
fails; what an ``async def`` of its own gives must be awaited as a step's call must. 6: a run's memo says what it has
spent on models.
"""

MEMO_STATE = "kaigents"
"""Memo key: ``{"gates": [...], "parked": [...]}``, what an inbox needs without a worker.

With ``refused``: what the run found of answers that the server had kept, ``{"gate", "id", "faults"}`` each."""
MEMO_GATE = "kaigents_gate_{gate}"
"""Memo key: the details of one open gate."""
MEMO_PUBLISHED = "kaigents_published_{name}"
"""Memo key: a value that the agent shows to the outside."""
MEMO_SPENT = "kaigents_spent"
"""Memo key: what the run has spent on models so far."""
MEMO_ORIGIN = "kaigents_origin"
"""Memo key, set at start: where the run comes from (notebook, fork)."""
MEMO_TOLD = "told"
"""In that: sentences on what does not travel with the code."""

DECIDE_UPDATE = "decide"
DECIDE_SIGNAL = "decide_later"
MEND_SIGNAL = "mend"
RETRY_SIGNAL = "retry_now"
DIFFERS_SIGNAL = "replayed_otherwise"
"""Tells the history of a run that a worker which replayed it came to other arguments; the run does nothing about it."""

STARTED = "{agent}.start"
"""Name of a call by which an agent starts a run of its own."""

UNREADABLE_SIGNAL = "kaigents-unreadable-{number}"
"""Patch marker: a run has left its signal of that number alone, because it could not be read."""

SLEEP_SUMMARY = "kg.sleep"
"""Summary of the timer of a ``kg.sleep``."""

HEARTBEAT_TIMEOUT = timedelta(seconds=6)
"""A worker that died in a step is noticed after this time; the library heartbeats every second."""

TASK_TIMEOUT = timedelta(seconds=20)
"""An agent's task has this long on a worker: what it may take to read and write several big values, once more all of
them when the run is replayed. Only after it the server asks another worker, where one dies with a task in hand, or asks
again, where a task fails."""

META_OUTPUT = "kaigents-output"
"""Payload metadata of a step's result: what the step printed."""
META_QUESTION = "kaigents-question"
"""Payload metadata of a gate's details in the memo: the question itself, as JSON."""
META_REPEATED = "kaigents-repeated"
"""Payload metadata of a step's result: so many requests of a model may have been paid without an answer on record."""
META_NOTICE = "kaigents-notice"
"""Payload metadata of a step's result: a warning for the card."""

KEPT_AS_SHOWN = "kept decisions as shown"
"""A patch: a fork keeps a decision only where options and details are those that were shown, too."""

# Failure types, as the server stores them.
ALREADY_DECIDED = "AlreadyDecided"
NO_OPEN_GATE = "NoOpenGate"
NO_DECISION = "NoDecision"
INVALID_ANSWER = "InvalidAnswer"
"""With what does not fit, by field."""

T = TypeVar("T")


@dataclass(frozen=True)
class Launch:
    """The header of a run."""

    agent: str
    """The agent's global name in the carried code."""
    code: str
    """Digest of the carried code."""
    positional: int = 0
    keywords: tuple[str, ...] = ()
    attribute: bool = True
    """Whether the server knows our search attribute."""
    chance: int = 0
    """Seed of the run's random generator; a fork has that of the first run, so that it takes the same turns."""
    seeded: bool = False
    """Whether recorded calls follow the arguments."""
    mended: tuple[tuple[str, ...], ...] = ()
    """Names of mended steps, for each mended code that follows."""
    slept: int = 0
    """So many waits (``kg.sleep``) were over before the point of the fork; from version 2 on the seeds say which."""
    decisions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Decisions that are kept from the run this one was forked from, by gate."""
    version: int = 0
    """``INTERPRETER_VERSION`` when the run began."""
    call: str = ""
    """The number of the call by which an agent has started this run of its own."""
    tape: tuple[str, ...] = ()
    """The cassette that the run's models are recorded on or played back from; see ``authoring.context.Tape``."""


@dataclass(frozen=True)
class StepCall:
    """The header of a step's activity."""

    step: str
    call: str
    code: str
    positional: int = 0
    keywords: tuple[str, ...] = ()
    carries_code: bool = False
    """Whether the last argument is the code itself (a mended step)."""
    library: bool = False
    """Whether the step is the library's own, so that the run's code says only what its values are made of."""
    tape: tuple[str, ...] = ()
    """That of the run."""


_DEFAULTS = {kind: {item.name: item.default for item in fields(kind)} for kind in (Launch, StepCall)}


def launch(
    agent: str,
    code: str,
    *,
    positional: int,
    keywords: tuple[str, ...],
    attribute: bool,
    chance: int,
    tape: tuple[str, ...],
    **taken_over: Any,
) -> Launch:
    """Return the header of a new run, executed by the interpreter of today; ``taken_over`` is what only a fork has."""
    return Launch(
        agent=agent,
        code=code,
        positional=positional,
        keywords=keywords,
        attribute=attribute,
        chance=chance,
        tape=tape,
        version=INTERPRETER_VERSION,
        **taken_over,
    )


def to_wire(header: Launch | StepCall) -> dict[str, Any]:
    """Return the JSON form, without what has its default value."""
    values = vars(header)
    return {
        name: values[name] for name, default in _DEFAULTS[type(header)].items() if values[name] not in (default, {})
    }


def from_wire(kind: type[T], data: Mapping[str, Any]) -> T:
    """Read a header; what a newer version added is ignored."""
    known = kind.__dataclass_fields__  # type: ignore[attr-defined]
    return kind(**{key: _frozen(value) for key, value in data.items() if key in known})


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value
