"""The view of a run: its folded history, and what only the server and this process know of the present."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import PendingActivityState, PendingWorkflowTaskState, TaskQueueType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflow.v1 import PendingActivityInfo, PendingChildExecutionInfo
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, DescribeWorkflowExecutionResponse
from temporalio.client import WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from kaigents_nb.errors import KaigentsError, RunNotFound
from kaigents_nb.history.calls import Call, earlier_attempts, failure_text, utc
from kaigents_nb.history.decoding import Decoder
from kaigents_nb.history.fold import RunFold
from kaigents_nb.history.memo import questions
from kaigents_nb.history.view import AttemptView, GateView, Progress, RunView, Status, StepView
from kaigents_nb.runtime.connection import Connection
from kaigents_nb.runtime.payloads import plain, shown
from kaigents_nb.runtime.protocol import DECIDE_SIGNAL
from kaigents_nb.runtime.seeds import unpack_seeds
from kaigents_nb.runtime.worker import identity, identity_is_dead

CALLED_ASKED = 100
"""So many called agents are asked for open gates at a time; the inbox has those of all."""
_NO_WORKER_AFTER_S = 3.0
_POLLER_IS_OLD = timedelta(seconds=90)
"""A live worker asks again at least once a minute."""


def not_found(run_id: str, error: RPCError) -> RunNotFound:
    """Return our error for a run the server does not know."""
    return RunNotFound(
        f"No run {run_id!r} on this server ({error.message}). kg.runs() lists the known ones; runs are deleted when "
        "the server's retention is over.",
        run_id=run_id,
    )


class Observer:
    """Follows one run. All methods run on the library's loop."""

    def __init__(self, connection: Connection, run_id: str) -> None:
        self._connection = connection
        self._run_id = run_id
        self._handle: WorkflowHandle[Any, Any] = connection.client.get_workflow_handle(run_id)
        self.fold = RunFold()
        self.decoder = Decoder(connection, self.fold)
        self._details: dict[str, Any] = {}
        self._called: dict[str, Observer] = {}
        """Called agents that are or were at a gate while this run was looked at."""

    async def catch_up(self) -> None:
        """Read the events that came since the last time."""
        if self.fold.last_event:
            # Cheaper than a long history: has it grown at all?
            description = (await self._handle.describe()).raw_description
            if description.workflow_execution_info.history_length == self.fold.last_event:
                return
        async for event in self._events():
            await self._take(event)

    async def _take(self, event: HistoryEvent) -> bool:
        if event.event_id <= self.fold.last_event:
            return False
        await complete(self._connection, event)
        self.fold.add(event)
        if self.fold.seeds_payload is not None:
            payload = await self.decoder.fetched(self.fold.seeds_payload)
            self.fold.take_seeds(unpack_seeds(payload))
        return True

    async def _events(self, wait: bool = False) -> AsyncIterator[HistoryEvent]:
        try:
            async for event in self._handle.fetch_history_events(wait_new_event=wait):
                yield event
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                raise not_found(self._run_id, error) from None
            raise

    async def follow(self) -> AsyncIterator[None]:
        """Yield whenever the history has grown, until the run has ended; one long poll, no polling."""
        async for event in self._events(wait=True):
            if await self._take(event):
                yield

    async def view(self) -> RunView:
        """Return the state of the run now."""
        fold = self.fold
        steps = {call.view.call: call.view for call in fold.calls.values()}
        problem, status, notices = "", self._closed_status(), fold.notices
        if status is not None:
            await self._look_at_called(())
        else:
            description = (await self._handle.describe()).raw_description
            await self._look_at_called(description.pending_children)
            if len(description.pending_children) > CALLED_ASKED:
                notices += (
                    f"{len(description.pending_children)} called agents are running; the gates of {CALLED_ASKED} are "
                    "shown here, kg.inbox() has all.",
                )
            for pending in description.pending_activities:
                call = fold.calls.get(pending.activity_id.partition(".")[0])
                if call is not None and call.activity_id == pending.activity_id and not call.closed_event:
                    steps[call.view.call] = self._pending(call, pending)
            for attempt in self._connection.attempts.of_run(self._run_id).values():
                if attempt.call in steps and steps[attempt.call].status in (
                    "scheduled",
                    "running",
                    "retrying",
                ):
                    steps[attempt.call] = _beating(steps[attempt.call], attempt.heartbeat())
            problem = await self._problem(description)
        gates = await self.gates()
        if status is None:
            status = self._open_status(tuple(steps.values()), gates, problem)
        return RunView(
            run_id=self._run_id,
            agent=fold.agent,
            status=status,
            started=fold.started,
            ended=fold.ended,
            steps=tuple(sorted(steps.values(), key=lambda step: int(step.call))),
            gates=gates,
            sleeps=tuple(fold.sleeps.values()),
            losses=tuple(fold.losses),
            result=shown(fold.result) if fold.result is not None else "",
            error=failure_text(fold.failure) if fold.failure is not None else "",
            problem=problem,
            notices=notices,
            url=self._url(),
            arguments=_arguments(fold),
            lineage={key: str(text) for key, text in fold.origin.items() if key.startswith("forked")},
        )

    def _closed_status(self) -> Status | None:
        return self.fold.closed or None  # type: ignore[return-value]

    def _open_status(self, steps: tuple[StepView, ...], gates: tuple[GateView, ...], problem: str) -> Status:
        states = {step.status for step in steps}
        if self.fold.task_failure or problem:
            return "stuck"
        if any(gate.is_open for gate in gates):
            return "waiting"
        if "parked" in states:
            return "parked"
        if "retrying" in states:
            return "retrying"
        return "running" if self.fold.worked else "starting"

    def _pending(self, call: Call, pending: PendingActivityInfo) -> StepView:
        """A step that has not ended: only the server's description knows its attempt and last error."""
        number, ended = call.earlier_attempts + pending.attempt, utc(pending.last_attempt_complete_time)
        earlier = earlier_attempts(call, pending.attempt, ended, pending.last_failure)
        view = replace(call.view, attempt=number, attempts=call.view.attempts + earlier)
        if pending.HasField("last_failure"):
            view = replace(view, error=failure_text(pending.last_failure))
        if pending.state == PendingActivityState.PENDING_ACTIVITY_STATE_STARTED:
            view = replace(
                view,
                status="running",
                started=utc(pending.last_started_time),
                worker=pending.last_worker_identity,
            )
            if view.attempts:
                now = AttemptView(number, number, "running", view.started, worker=view.worker)
                view = replace(view, attempts=(*view.attempts, now))
            if pending.HasField("heartbeat_details") and pending.heartbeat_details.payloads:
                view = _beating(view, plain(pending.heartbeat_details.payloads[0]))
        elif pending.attempt > 1:
            view = replace(view, status="retrying", next_retry=utc(pending.scheduled_time))
        return view

    async def gates(self) -> tuple[GateView, ...]:
        """Return the gates of this run, and of called agents those that were open when it was looked at."""
        gates = [replace(gate, details=await self._gate_details(gate.gate)) for gate in self.fold.gates.values()]
        for run_id, called in list(self._called.items()):
            gates += [replace(gate, run_id=gate.run_id or run_id) for gate in await called.gates()]
        return tuple(gates)

    async def _look_at_called(self, pending: Iterable[PendingChildExecutionInfo]) -> None:
        """Find the called agents that are at a gate, and how gates found before were decided."""
        running = [child.workflow_id for child in pending][:CALLED_ASKED]
        for run_id, called in list(self._called.items()):
            if run_id not in running and not called.fold.closed:
                await called.catch_up()
        asked = [self._called.get(run_id) or Observer(self._connection, run_id) for run_id in running]
        answers = await asyncio.gather(*(called._asks() for called in asked))
        self._called |= {run_id: called for run_id, called, asks in zip(running, asked, answers, strict=True) if asks}

    async def _asks(self) -> bool:
        """Whether this run or one it called has a gate; its history is read only when the memo names another one."""
        description = (await self._handle.describe()).raw_description
        memo = description.workflow_execution_info.memo.fields
        named = {question.gate for question in questions(memo, self._run_id, self.fold.agent)}
        if named != {gate.gate for gate in self.fold.gates.values() if gate.is_open}:
            await self.catch_up()
        await self._look_at_called(description.pending_children)
        return bool(self.fold.gates or self._called)

    async def _gate_details(self, gate: str) -> Any:
        if gate not in self._details and gate in self.fold.details:
            try:
                self._details[gate] = await self.decoder.value(self.fold.details[gate])
            except KaigentsError as error:
                self._details[gate] = f"The details can't be shown here: {error}"
        return self._details.get(gate)

    async def _problem(self, description: DescribeWorkflowExecutionResponse) -> str:
        """What keeps the run from going on, and what to do."""
        if self.fold.task_failure:
            return (
                f"No worker could execute the agent: {self.fold.task_failure}. It is tried again by itself; nothing is "
                "lost."
            )
        mine = self._connection.worker_problem(self.fold.queue)
        if mine and self.fold.queue not in self._connection.queues:
            return mine
        task = description.pending_workflow_task
        waiting = (
            description.HasField("pending_workflow_task")
            and task.state == PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_SCHEDULED
            and _older(utc(task.scheduled_time))
        )
        waiting = waiting or any(
            pending.state == PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
            and _older(utc(pending.scheduled_time))
            for pending in description.pending_activities
        )
        if waiting and not await queue_is_served(self._connection, self.fold.queue):
            return (
                f"No worker serves the queue of this run, {self.fold.queue!r}. Open the run in a notebook with "
                f"kg.run({self._run_id!r}), or start `kaigents-nb worker --queue {self.fold.queue}`."
            )
        return ""

    def _url(self) -> str:
        ui = self._connection.ui_url
        return f"{ui}/namespaces/{self._connection.namespace}/workflows/{self._run_id}" if ui else ""


async def complete(connection: Connection, event: HistoryEvent) -> None:
    """Put what a person wrote into the event of the decision: it may be long enough to lie in a file."""
    for payload in _decision(event):
        payload.CopyFrom(await connection.fetch(payload))


def _decision(event: HistoryEvent) -> Sequence[Payload]:
    if event.HasField("workflow_execution_update_accepted_event_attributes"):
        return event.workflow_execution_update_accepted_event_attributes.accepted_request.input.args.payloads
    if event.workflow_execution_signaled_event_attributes.signal_name == DECIDE_SIGNAL:
        return event.workflow_execution_signaled_event_attributes.input.payloads
    return ()


def _arguments(fold: RunFold) -> str:
    texts = [shown(payload) for payload in fold.arguments]
    named = zip(fold.launch.keywords, texts[fold.launch.positional :], strict=False)
    return ", ".join(texts[: fold.launch.positional] + [f"{name}={text}" for name, text in named])


def _older(moment: datetime | None) -> bool:
    return moment is not None and datetime.now(UTC) - moment > timedelta(seconds=_NO_WORKER_AFTER_S)


def _beating(view: StepView, beat: Any) -> StepView:
    """A running step with the progress and output of its last heartbeat."""
    if not isinstance(beat, dict):
        return view
    progress = beat.get("progress")
    return replace(
        view,
        status="running",
        output=beat.get("output", view.output),
        progress=Progress(**progress) if progress else view.progress,
    )


async def queue_is_served(connection: Connection, queue: str) -> bool:
    """Whether some worker, here or elsewhere, polls a task queue."""
    if queue in connection.queues:
        return True
    answer = await connection.client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=connection.namespace,
            task_queue=TaskQueue(name=queue),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
        )
    )
    now = datetime.now(UTC)
    return any(
        now - poller.last_access_time.ToDatetime(tzinfo=UTC) < _POLLER_IS_OLD
        and poller.identity != identity()  # a former worker of this process
        and not identity_is_dead(poller.identity)
        for poller in answer.pollers
    )
