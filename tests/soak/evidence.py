"""What the server's histories say of the runs, read through the library when the chaos is over."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest

import kaigents_nb as kg
from kaigents_nb.history.assemble import view_of
from kaigents_nb.history.observe import Observer
from kaigents_nb.history.observers import observed
from kaigents_nb.runtime.connection import Connection
from tests.soak.ledger import digest


@dataclass(frozen=True)
class RunFacts:
    """One run, or one of an agent that it called, as its history has it."""

    run_id: str
    agent: str
    closed: str
    """How it ended; empty while it is open."""
    result: dict[str, Any] | None = None
    failure: str = ""
    recorded: dict[str, tuple[float, str]] = field(default_factory=dict)
    """When a step's result was recorded, and its digest, by the key of the call."""
    counted: dict[str, str] = field(default_factory=dict)
    """Whose decision counted, by gate."""

    @property
    def number(self) -> int:
        """The argument that it was started with."""
        return int(self.run_id.split("/")[0].rpartition("-")[2])

    @property
    def called(self) -> bool:
        """Whether another run called it."""
        return "/" in self.run_id


async def run_facts(connection: Connection, run_id: str) -> RunFacts:
    """Read one run."""
    observer = await observed(connection, run_id)
    fold = observer.fold.snapshot()
    recorded = {}
    for number, call in fold.calls.items():
        if call.result is not None and call.view.ended is not None and not call.view.child_run:
            value = await observer.decoder.value(call.result)
            recorded[f"{run_id}/{number}"] = call.view.ended.timestamp(), digest(value)
    return RunFacts(
        run_id,
        fold.agent,
        fold.closed,
        await observer.decoder.value(fold.result) if fold.result is not None else None,
        fold.failure.message if fold.failure is not None else fold.reason,
        recorded,
        {taken.answer.gate: taken.answer.by for taken in fold.decisions if taken.counted},
    )


async def known_runs(connection: Connection) -> set[str]:
    """Return all runs that the server lists."""
    return {execution.id async for execution in connection.client.list_workflows("")}


async def _state_of(connection: Connection, run_id: str) -> str:
    observer = await observed(connection, run_id)
    events = await _last_events(observer)
    described = observer.description
    lines = [f"run {run_id}, {described.workflow_execution_info.history_length} events, the last ones:", *events]
    lines += [
        f"{step.name} {step.status}, attempt {step.attempt}: {step.error[:300]}"
        for step in (await view_of(observer)).steps
        if step.status in ("parked", "retrying")
    ]
    lines += [f"pending activity: {_line(pending)}" for pending in described.pending_activities]
    lines += [f"pending child: {_line(pending)}" for pending in described.pending_children]
    if described.HasField("pending_workflow_task"):
        lines.append(f"pending workflow task: {_line(described.pending_workflow_task)}")
    for kind in (TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY):
        answer = await connection.client.workflow_service.describe_task_queue(
            DescribeTaskQueueRequest(
                namespace=connection.namespace,
                task_queue=TaskQueue(name=described.workflow_execution_info.task_queue),
                task_queue_type=kind,
            )
        )
        lines += [f"poller of {TaskQueueType.Name(kind)}: {_line(poller)}" for poller in answer.pollers]
    return "\n  ".join(lines)


async def _last_events(observer: Observer) -> list[str]:
    handle = observer.connection.client.get_workflow_handle(observer.run_id)
    events = [event async for event in handle.fetch_history_events(page_size=1000)]
    return [
        f"{event.event_id} {event.event_time.ToJsonString()} {event.WhichOneof('attributes')}" for event in events[-12:]
    ]


def _line(message: object) -> str:
    return " ".join(str(message).split())[:600]


def read_runs(run_ids: set[str]) -> tuple[list[RunFacts], list[str]]:
    """Return the facts of these runs and all others that the server has, and those of them it does not know."""
    connection = kg.connect()
    known = connection.run(lambda: known_runs(connection))
    facts, unknown = list[RunFacts](), list[str]()
    for run_id in sorted(known | run_ids):
        try:
            facts.append(connection.run(lambda run_id=run_id: run_facts(connection, run_id)))  # type: ignore[misc]
        except kg.KaigentsError as error:
            unknown.append(f"{run_id}: {error}")
    return facts, unknown


def open_runs(run_ids: set[str]) -> set[str]:
    """Return those that have not ended."""
    connection = kg.connect()

    async def still_open() -> set[str]:
        return {run_id for run_id in run_ids if not (await observed(connection, run_id)).fold.closed}

    return connection.run(still_open)


def state_of(run_id: str) -> str:
    """Say where an open run is: the end of its history, what is pending, and who polls its queue."""
    connection = kg.connect()
    return connection.run(lambda: _state_of(connection, run_id))
