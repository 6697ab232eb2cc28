"""All that a run asks of the server, in its order: as it was recorded, and as a replay asks it.

The SDK's replayer compares the order of kinds. This compares also in which task of the run each is asked for, and what
it is: arguments and options of steps and agents,
what the memo and the search attribute say, how long a timer waits and what it is called, what is given up, what an
update is answered, and how the run ends.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.bridge.proto.workflow_commands import WorkflowCommand

from kaigents_nb.runtime.payloads import plain, reference
from kaigents_nb.runtime.protocol import META_QUESTION

_ENDS = ("completed", "failed", "cancelled")
_LAST = ("complete_workflow_execution", "fail_workflow_execution", "cancel_workflow_execution")
_PATCHES = "TemporalChangeVersion"
"""The search attribute in which the SDK lists patches by itself."""

Thing = dict[str, Any]


class AskedOtherwise(AssertionError):
    """A replay asks for something else than was recorded, or ends otherwise."""


class Asked:
    """What a replay asks for."""

    def __init__(self) -> None:
        self._things: list[tuple[int, Thing]] = []
        self._names: dict[tuple[str, int], str] = {}

    def take(self, task: int, commands: Iterable[WorkflowCommand]) -> None:
        """Hear what an activation asks for, in the task of that number."""
        for command in sorted(commands, key=_is_end):
            match command.WhichOneof("variant"):
                case "schedule_activity":
                    step = command.schedule_activity
                    self._begin(task, step.seq, _step(step, step.activity_type, step.arguments))
                case "start_child_workflow_execution":
                    agent = command.start_child_workflow_execution
                    self._begin(task, agent.seq, _agent(agent, agent.workflow_type, agent.input, agent.memo))
                case "start_timer":
                    timer = command.start_timer
                    self._begin(task, timer.seq, _timer(str(timer.seq), timer, command.user_metadata.summary))
                case "request_cancel_activity":
                    self._give_up(task, "step", command.request_cancel_activity.seq)
                case "cancel_child_workflow_execution":
                    self._give_up(task, "agent", command.cancel_child_workflow_execution.child_workflow_seq)
                case "cancel_timer":
                    self._give_up(task, "timer", command.cancel_timer.seq)
                case _:
                    self._things.append((task, _of_command(command)))

    def compare(self, events: Sequence[HistoryEvent]) -> None:
        """Raise `AskedOtherwise` unless this was recorded; a run that is open may ask for more than that by now."""
        recorded = list(_of_events(events))
        asked = [{**thing, "in task": task} for task, thing in self._things]
        if not recorded or next(iter(recorded[-1])) not in _ENDS:
            asked = asked[: len(recorded)]
        if not _version(events):  # such a run told less of its gates
            asked = [_as_known(was, now) for was, now in zip(recorded, asked, strict=False)] + asked[len(recorded) :]
        was, now = ([json.dumps(thing, ensure_ascii=False) for thing in things] for things in (recorded, asked))
        if was != now:
            raise AskedOtherwise("\n".join(difflib.unified_diff(was, now, "recorded", "replayed", n=0, lineterm="")))

    def _begin(self, task: int, seq: int, thing: Thing) -> None:
        kind, name = next(iter(thing.items()))
        self._names[kind, seq] = name
        self._things.append((task, thing))

    def _give_up(self, task: int, kind: str, seq: int) -> None:
        name = self._names[kind, seq]
        begun = [one for one in self._things if one[0] == task and one[1].get(kind) == name]
        if begun:  # in the same task: the server hears of neither
            self._things.remove(begun[-1])
        else:
            self._things.append((task, {f"gives up {kind}": name}))


def _is_end(command: WorkflowCommand) -> bool:
    """Whether a command ends the run: the server hears of it last."""
    return command.WhichOneof("variant") in _LAST


def _of_command(command: WorkflowCommand) -> Thing:
    match command.WhichOneof("variant"):
        case "modify_workflow_properties":
            return {"memo": _by_name(command.modify_workflow_properties.upserted_memo.fields)}
        case "upsert_workflow_search_attributes":
            fields = command.upsert_workflow_search_attributes.search_attributes.indexed_fields
            return {"attributes": {name: plain(payload) for name, payload in fields.items()}}
        case "set_patch_marker":
            return {"patch": command.set_patch_marker.patch_id}
        case "update_response":
            answered = command.update_response
            if answered.HasField("completed"):
                return {"answers": answered.protocol_instance_id, "with": _value(answered.completed)}
            return {"takes" if answered.HasField("accepted") else "refuses": answered.protocol_instance_id}
        case "complete_workflow_execution":
            return {"completed": _value(command.complete_workflow_execution.result)}
        case "fail_workflow_execution":
            return {"failed": _failure(command.fail_workflow_execution.failure)}
        case "cancel_workflow_execution":
            return {"cancelled": True}
        case other:
            raise NotImplementedError(other)


def _of_events(events: Iterable[HistoryEvent]) -> Iterator[Thing]:
    steps: dict[int, str] = {}
    task = 0
    for event in events:
        if event.HasField("workflow_task_completed_event_attributes"):
            task = event.workflow_task_completed_event_attributes.started_event_id
        if event.HasField("activity_task_scheduled_event_attributes"):
            steps[event.event_id] = event.activity_task_scheduled_event_attributes.activity_id
        yield from ({**thing, "in task": task} for thing in _of_event(event, steps))


def _of_event(event: HistoryEvent, steps: Mapping[int, str]) -> Iterator[Thing]:
    kind = event.WhichOneof("attributes") or ""
    told = getattr(event, kind)
    match kind.removesuffix("_event_attributes"):
        case "activity_task_scheduled":
            yield _step(told, told.activity_type.name, told.input.payloads)
        case "start_child_workflow_execution_initiated":
            yield _agent(told, told.workflow_type.name, told.input.payloads, told.memo.fields)
        case "timer_started":
            yield _timer(told.timer_id, told, event.user_metadata.summary)
        case "activity_task_cancel_requested":
            yield {"gives up step": steps[told.scheduled_event_id]}
        case "request_cancel_external_workflow_execution_initiated":
            yield {"gives up agent": told.workflow_execution.workflow_id}
        case "timer_canceled":
            yield {"gives up timer": told.timer_id}
        case "workflow_properties_modified":
            yield {"memo": _by_name(told.upserted_memo.fields)}
        case "upsert_workflow_search_attributes" if _PATCHES not in told.search_attributes.indexed_fields:
            fields = told.search_attributes.indexed_fields
            yield {"attributes": {name: plain(payload) for name, payload in fields.items()}}
        case "marker_recorded":
            [payload] = told.details["patch-data"].payloads
            yield {"patch": plain(payload)["id"]}
        case "workflow_execution_update_accepted":
            yield {"takes": told.protocol_instance_id}
        case "workflow_execution_update_completed":
            payloads = told.outcome.success.payloads
            answered = {"answers": told.meta.update_id, "with": _value(payloads[0])} if payloads else None
            yield answered or {"refuses": told.meta.update_id}
        case "workflow_execution_completed":
            [payload] = told.result.payloads
            yield {"completed": _value(payload)}
        case "workflow_execution_failed":
            yield {"failed": _failure(told.failure)}
        case "workflow_execution_canceled":
            yield {"cancelled": True}


def _step(asked: Any, name: str, arguments: Iterable[Payload]) -> Thing:
    # How long an attempt may take was told the server once.
    options = _options(asked, "heartbeat_timeout", "retry_policy")
    return {"step": asked.activity_id, "name": name, "arguments": [_value(one) for one in arguments], **options}


def _agent(asked: Any, name: str, arguments: Iterable[Payload], memo: Mapping[str, Payload]) -> Thing:
    header, *rest = arguments
    launch = {key: known for key, known in plain(header).items() if key != "version"}  # always that of today
    options = _options(asked, "parent_close_policy", "workflow_id_reuse_policy")
    values = [launch, *map(_value, rest)]
    return {"agent": asked.workflow_id, "name": name, "arguments": values, "memo": _by_name(memo), **options}


def _timer(number: str, asked: Any, summary: Payload) -> Thing:
    return {"timer": number, "summary": summary.data.decode(), **_options(asked, "start_to_fire_timeout")}


def _failure(failure: Failure) -> Thing:
    # Each Python writes a traceback in its own way.
    details = [plain(payload) for payload in failure.application_failure_info.details.payloads]
    for one in details:
        one.pop("traceback", None)
    return {"type": failure.application_failure_info.type, "message": failure.message, "details": details}


def _options(asked: Message, *names: str) -> Thing:
    known = MessageToDict(asked, preserving_proto_field_name=True)
    return {name: known.get(name) for name in names}


def _by_name(fields: Mapping[str, Payload]) -> Thing:
    return {name: _value(fields[name]) for name in sorted(fields)}


def _value(payload: Payload) -> Thing:
    """Return what a payload says, the same whether its content lies inline or in a file."""
    claim = reference(payload)
    meta: Thing = dict(claim or {key: data.decode("utf-8", "replace") for key, data in payload.metadata.items()})
    digest = meta.pop("digest", None) or hashlib.sha256(payload.data).hexdigest()
    readable = meta.get("encoding", "").startswith("json/") and claim is None and len(payload.data) < 10_000
    if META_QUESTION in meta:
        meta[META_QUESTION] = json.loads(meta[META_QUESTION])
    return {"value": plain(payload) if readable else digest, **{key: meta[key] for key in sorted(meta)}}


def _version(events: Sequence[HistoryEvent]) -> int:
    header = plain(events[0].workflow_execution_started_event_attributes.input.payloads[0])
    return int(header.get("version", 0))


def _as_known(was: Any, now: Any) -> Any:
    """Return what is asked without what the recorded one had no name for."""
    if isinstance(was, dict) and isinstance(now, dict):
        return {name: _as_known(was[name], told) for name, told in now.items() if name in was}
    if isinstance(was, list) and isinstance(now, list):
        return [_as_known(*both) for both in zip(was, now, strict=False)] + now[len(was) :]
    return now
