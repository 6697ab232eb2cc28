"""What a run asks of the server, as it was recorded and as a replay asks it again.

The SDK compares which step comes when, and not what it is given. So this says, of one request, what it was about: its
parts by their labels, each with what tells its content from any other and a short text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.bridge.proto.workflow_commands import WorkflowCommand

from kaigents_nb.errors import ForbiddenInAgent
from kaigents_nb.runtime.payloads import content_digest, metadata, plain, shown
from kaigents_nb.runtime.protocol import MEMO_GATE, META_QUESTION, STARTED, Launch, StepCall, from_wire

_SHOWN_CHARS = 120
_GATE_PREFIX = MEMO_GATE.format(gate="")


@dataclass(frozen=True)
class Part:
    """One argument, or whatever else a request is about."""

    digest: str
    text: str
    payload: Payload | None = None


@dataclass(frozen=True)
class Request:
    """One thing that a run asked for; ``key`` is the same in the history and in every replay."""

    key: tuple[str, str]
    """Its kind (``step``, ``agent``, ``gate``, ``wait`` or ``end``) and which one of these."""
    name: str
    parts: Mapping[str, Part]

    @property
    def call(self) -> str:
        """Number of the call, where it is a step, agent or gate."""
        kind, which = self.key
        return which.rpartition("-")[2] if kind == "agent" else which.partition(".")[0]

    @property
    def title(self) -> str:
        """Which it is, for people."""
        kind = self.key[0]
        if kind in ("step", "agent"):
            return f"call {self.call}, {self.name}()"
        return f"gate {self.call}, {self.name!r}" if kind == "gate" else self.name


@dataclass(frozen=True)
class Difference:
    """A part of a request that a replay gave otherwise than was recorded."""

    recorded: Request
    label: str
    was: Part | None
    now: Part | None

    @property
    def about(self) -> str:
        """Which part of which request, in words."""
        return f"{self.recorded.title}: {self.label}"

    def __str__(self) -> str:
        return (
            f"{self.about} {beside(*(part.text if part is not None else 'nothing' for part in (self.was, self.now)))}"
        )


def beside(was: str, now: str) -> str:
    """Return two texts of a value in words; of long ones what is about the place where they part."""
    if was == now:
        return f"was {was[:_SHOWN_CHARS]}, and has another content now"
    parted = next((at for at, (one, other) in enumerate(zip(was, now, strict=False)) if one != other), 0)
    begin = max(0, parted - _SHOWN_CHARS // 3) if max(len(was), len(now)) > _SHOWN_CHARS else 0
    return f"was {_cut(was, begin)}, and is {_cut(now, begin)} now"


def _cut(text: str, begin: int) -> str:
    end = begin + _SHOWN_CHARS
    return ("…" if begin else "") + text[begin:end] + ("…" if end < len(text) else "")


def compare(recorded: Request, asked: Request) -> Iterator[Difference]:
    """Yield where a replay's request differs from the recorded one of the same key."""
    for label in dict.fromkeys([*recorded.parts, *asked.parts]):
        was, now = recorded.parts.get(label), asked.parts.get(label)
        if was is None or now is None or was.digest != now.digest:
            yield Difference(recorded, label, was, now)


def of_command(command: WorkflowCommand) -> Iterator[Request]:
    """Yield what a command of a workflow asks for."""
    match command.WhichOneof("variant"):
        case "schedule_activity":
            activity = command.schedule_activity
            yield _step(activity.activity_id, activity.activity_type, activity.arguments)
        case "start_child_workflow_execution":
            child = command.start_child_workflow_execution
            yield _agent(child.workflow_id, child.workflow_type, child.input)
        case "start_timer":
            yield _wait(str(command.start_timer.seq), command.start_timer.start_to_fire_timeout.ToTimedelta())
        case "modify_workflow_properties":
            yield from _gates(command.modify_workflow_properties.upserted_memo.fields)
        case "complete_workflow_execution":
            yield _result(command.complete_workflow_execution.result)
        case "fail_workflow_execution":
            yield _failure(command.fail_workflow_execution.failure)


def of_event(event: HistoryEvent) -> Iterator[Request]:
    """Yield what an event of a history says was asked for."""
    match event.WhichOneof("attributes"):
        case "activity_task_scheduled_event_attributes":
            activity = event.activity_task_scheduled_event_attributes
            yield _step(activity.activity_id, activity.activity_type.name, activity.input.payloads)
        case "start_child_workflow_execution_initiated_event_attributes":
            child = event.start_child_workflow_execution_initiated_event_attributes
            yield _agent(child.workflow_id, child.workflow_type.name, child.input.payloads)
        case "timer_started_event_attributes":
            timer = event.timer_started_event_attributes
            yield _wait(timer.timer_id, timer.start_to_fire_timeout.ToTimedelta())
        case "workflow_properties_modified_event_attributes":
            yield from _gates(event.workflow_properties_modified_event_attributes.upserted_memo.fields)
        case "workflow_execution_completed_event_attributes":
            payloads = event.workflow_execution_completed_event_attributes.result.payloads
            yield _result(payloads[0] if payloads else Payload())
        case "workflow_execution_failed_event_attributes":
            yield _failure(event.workflow_execution_failed_event_attributes.failure)


def _step(activity_id: str, name: str, payloads: Sequence[Payload]) -> Request:
    header = from_wire(StepCall, plain(payloads[0]))
    return Request(("step", activity_id), name, _arguments(payloads[1:], header.positional, header.keywords))


def _agent(workflow_id: str, name: str, payloads: Sequence[Payload]) -> Request:
    header = from_wire(Launch, plain(payloads[0]))
    # A run of its own has an id that the agent may have chosen, so that two calls may name the same.
    which, name = (header.call, STARTED.format(agent=name)) if header.call else (workflow_id, name)
    return Request(("agent", which), name, _arguments(payloads[2:], header.positional, header.keywords))


def _arguments(payloads: Iterable[Payload], positional: int, keywords: Sequence[str]) -> dict[str, Part]:
    labels = [*(f"argument {number + 1}" for number in range(positional)), *(f"argument {name!r}" for name in keywords)]
    return {label: _part(payload) for label, payload in zip(labels, payloads, strict=False)}


def _gates(fields: Mapping[str, Payload]) -> Iterator[Request]:
    for key, payload in fields.items():
        asked = metadata(payload, META_QUESTION) if key.startswith(_GATE_PREFIX) else ""
        if asked:
            wire = json.loads(asked)
            parts = {label: _text(wire.get(label)) for label in ("question", "options")}
            parts["details"] = _part(payload)
            yield Request(("gate", key.removeprefix(_GATE_PREFIX)), str(wire.get("question", "")), parts)


def _wait(number: str, delay: Any) -> Request:
    return Request(("wait", number), "a wait", {"its time": _text(f"{delay.total_seconds():g} s")})


def _result(payload: Payload) -> Request:
    return Request(("end", ""), "the end of the run", {"its result": _part(payload)})


def _failure(failure: Failure) -> Request:
    kind = failure.application_failure_info.type
    text = f"{kind}: {failure.message}"
    # How far a library gets before it is refused depends on what this process has imported.
    part = Part(kind if kind == ForbiddenInAgent.__name__ else text, text)
    return Request(("end", ""), "the end of the run", {"its error": part})


def _part(payload: Payload) -> Part:
    return Part(content_digest(payload), shown(payload), payload)


def _text(value: object) -> Part:
    return Part(str(value), str(value))
