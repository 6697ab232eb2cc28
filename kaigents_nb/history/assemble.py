"""The view of a run: its folded history, and what only the server and this process know of the present."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.api.enums.v1 import PendingActivityState, PendingWorkflowTaskState
from temporalio.api.workflow.v1 import PendingActivityInfo

from kaigents_nb.authoring.context import PLAYS
from kaigents_nb.errors import ConversionError, KaigentsError
from kaigents_nb.history.calls import Call, earlier_attempts, failure_text, lacks_module, utc
from kaigents_nb.history.fold import RunFold
from kaigents_nb.history.observe import Observer
from kaigents_nb.history.observers import CALLED_ASKED
from kaigents_nb.history.said import CONVERSING, briefly
from kaigents_nb.history.view import AttemptView, GateView, Progress, RunView, Status, StepView
from kaigents_nb.runtime.payloads import content_digest, plain, shown
from kaigents_nb.runtime.protocol import MEMO_TOLD
from kaigents_nb.runtime.served import Service, service_of

_NO_WORKER_AFTER_S = 3.0
_SERVICE_KNOWN_S = 1.5
_SHOWN_CALLS = 40
"""Of so many calls of models the view has what was said."""


async def view_of(observer: Observer) -> RunView:
    """Return the state of a run, as of the observer's last look and of what it has read since."""
    service, problem = Service(), ""
    if not observer.fold.closed:
        service = await service_of(observer.connection, observer.fold.queue, known_s=_SERVICE_KNOWN_S)
        problem = _problem(observer, service)
    await _read_details(observer)
    await _read_said(observer)
    # From here on nothing is awaited: the fold would go on meanwhile, and the parts would not fit each other.
    fold = observer.fold
    ui = observer.connection.ui_url
    steps, gates = _steps(observer), _gates(observer)
    return RunView(
        run_id=observer.run_id,
        agent=fold.agent,
        status=fold.closed or _open_status(fold, steps, gates, problem),
        started=fold.started,
        ended=fold.ended,
        steps=steps,
        gates=gates,
        sleeps=tuple(fold.sleeps.values()),
        losses=tuple(fold.losses),
        result=shown(fold.result) if fold.result is not None else "",
        error=failure_text(fold.failure) if fold.failure is not None else "",
        executor="" if fold.closed else _executor(observer, service),
        problem="" if fold.closed else problem,
        notices=(*fold.origin.get(MEMO_TOLD, ()), *fold.notices, *_taped(fold), *_unasked(fold), *_lingering(observer)),
        url=f"{ui}/namespaces/{observer.connection.namespace}/workflows/{observer.run_id}" if ui else "",
        arguments=_arguments(fold),
        published={name: shown(payload) for name, payload in fold.published.items()},
        lineage={key: str(text) for key, text in fold.origin.items() if key.startswith("forked")},
        spent=fold.spent,
    )


def _taped(fold: RunFold) -> Iterator[str]:
    if PLAYS in fold.launch.tape:
        yield f"No model is asked: answers are played back from {fold.launch.tape[0]}, recorded before."
    elif fold.launch.tape:
        yield f"What models answer is recorded in {fold.launch.tape[0]}."


def _open_status(fold: RunFold, steps: tuple[StepView, ...], gates: tuple[GateView, ...], problem: str) -> Status:
    states = {step.status for step in steps}
    if fold.task_failure or problem:
        return "stuck"
    if any(gate.is_open for gate in gates):
        return "waiting"
    if "parked" in states:
        return "parked"
    if "retrying" in states:
        return "retrying"
    return "running" if fold.worked else "starting"


def _steps(observer: Observer) -> tuple[StepView, ...]:
    steps = {call.view.call: call.view for call in observer.fold.calls.values()}
    for call, pending in _pending(observer):
        steps[call.view.call] = _attempted(call, pending)
    for number, said in observer.said.items():
        steps[number] = replace(steps[number], said=said)
    if not observer.fold.closed:
        for attempt in observer.connection.attempts.of_run(observer.run_id).values():
            if attempt.call in steps and steps[attempt.call].status in ("scheduled", "running", "retrying"):
                steps[attempt.call] = _beating(steps[attempt.call], attempt.heartbeat())
    return tuple(sorted(steps.values(), key=lambda step: int(step.call)))


def _pending(observer: Observer) -> list[tuple[Call, PendingActivityInfo]]:
    """Return what was pending at the last look and has not ended since."""
    if observer.fold.closed:  # of a terminated run the server still says what was pending
        return []
    asked = [
        (observer.fold.calls.get(pending.activity_id.partition(".")[0]), pending)
        for pending in observer.description.pending_activities
    ]
    return [
        (call, pending)
        for call, pending in asked
        if call is not None and call.activity_id == pending.activity_id and not call.closed_event
    ]


def _attempted(call: Call, pending: PendingActivityInfo) -> StepView:
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


def _gates(observer: Observer) -> tuple[GateView, ...]:
    """Return the gates of a run, and of called agents those that were open when it was looked at."""
    gates = [
        replace(
            gate,
            details=observer.details.get(gate.gate),
            complete=gate.gate not in observer.unread and (gate.gate in observer.details or not gate.asked.details),
        )
        for gate in observer.fold.gates.values()
    ]
    for run_id, called in observer.called.items():
        gates += [replace(gate, run_id=gate.run_id or run_id) for gate in _gates(called)]
    return tuple(gates)


async def _read_details(observer: Observer) -> None:
    """Decode what the gates ask about, each once."""
    while missing := (observer.fold.gates.keys() & observer.fold.details) - observer.details.keys():
        gate = missing.pop()
        payload, asked = observer.fold.details[gate], observer.fold.gates[gate].asked.details
        try:
            if asked and content_digest(payload) != asked:
                raise ConversionError("they are not those that the run asked with.")
            observer.details[gate] = await observer.decoder.value(payload)
        except KaigentsError as error:
            observer.unread.add(gate)
            observer.details[gate] = f"The details can't be shown here: {error}"
    for called in list(observer.called.values()):
        await _read_details(called)


async def _read_said(observer: Observer) -> None:
    """Decode what was said in the latest calls of models, each once."""
    calls = [call for call in observer.fold.calls.values() if call.view.name in CONVERSING and call.result is not None]
    for call in calls[-_SHOWN_CALLS:]:
        if call.view.call not in observer.said:
            try:
                observer.said[call.view.call] = await briefly(observer, call)
            except (KaigentsError, OSError):
                observer.said[call.view.call] = ()


def _lingering(observer: Observer) -> tuple[str, ...]:
    """What this process still executes of a run that has ended."""
    if not observer.fold.closed:
        return ()
    attempts = observer.connection.attempts.of_run(observer.run_id)
    notes = {call: str(attempt.heartbeat().get("note", "")).partition(";")[0] for call, attempt in attempts.items()}
    names = {call.view.call: call.view.name for call in observer.fold.calls.values()}
    return tuple(f"Step {names.get(call, call)}: {note}." for call, note in notes.items() if note)


def _unasked(fold: RunFold) -> tuple[str, ...]:
    running = len(fold.running_called)
    if running <= CALLED_ASKED:
        return ()
    return (f"{running} called agents are running; the gates of {CALLED_ASKED} are shown here, kg.inbox() has all.",)


def _executor(observer: Observer, service: Service) -> str:
    if observer.fold.queue in observer.connection.queues:
        return f"this process, {', '.join(service.workers)}"
    return ", ".join(service.workers) or f"nobody{_since(service)}"


def _since(service: Service) -> str:
    return f" since {service.heard:%Y-%m-%d %H:%M:%S} UTC" if service.heard else ""


def _problem(observer: Observer, service: Service) -> str:
    """What keeps the run from going on, and what to do."""
    fold, connection = observer.fold, observer.connection
    if fold.task_lacks:
        return fold.task_failure
    if fold.task_failure:
        return f"No worker could execute the agent: {fold.task_failure}. It is tried again by itself; nothing is lost."
    mine = connection.worker_problem(fold.queue)
    if mine:
        return mine
    if (lacking := _lacking(observer)) is not None:
        return lacking
    task = observer.description.pending_workflow_task
    waiting = (
        fold.task_pending
        and task.state == PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_SCHEDULED
        and _older(utc(task.scheduled_time))
    )
    waiting = waiting or any(
        pending.state == PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED and _older(utc(pending.scheduled_time))
        for _, pending in _pending(observer)
    )
    if waiting and not service.workers:
        return (
            f"No worker serves the queue of this run, {fold.queue!r}{_since(service)}. Open the run in a notebook with "
            f"kg.run({observer.run_id!r}), or start `kaigents-nb worker --queue {fold.queue}`."
        )
    return ""


def _lacking(observer: Observer) -> str | None:
    """Return the module that everything waits for which could go on; None where something goes on."""
    calls = observer.fold.calls.values()
    unfinished = [call for call in calls if call.view.status not in ("completed", "failed", "cancelled")]
    lacking = [p.last_failure.message for _, p in _pending(observer) if p.attempt > 1 and lacks_module(p.last_failure)]
    lacking += [call.view.error for call in unfinished if call.is_left_to_others]
    return lacking[0] if lacking and len(lacking) == len(unfinished) else None


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
        note=str(beat.get("note", "")),
    )
