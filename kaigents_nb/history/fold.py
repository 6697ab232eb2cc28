"""A history, event by event, folded into the state of the run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import replace
from datetime import datetime
from operator import attrgetter
from typing import Any, Literal

from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import TimeoutType
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent

from kaigents_nb.errors import KaigentsError
from kaigents_nb.gates.answer import Answer
from kaigents_nb.gates.policy import Gates, Standing
from kaigents_nb.gates.question import Question
from kaigents_nb.gates.schema import in_words
from kaigents_nb.history import memo
from kaigents_nb.history.calls import (
    Call,
    earlier_attempts,
    failure_details,
    failure_text,
    lacks_module,
    utc,
)
from kaigents_nb.history.view import (
    AttemptView,
    GateView,
    LossView,
    SleepView,
    Status,
    StepStatus,
    StepView,
    TakenDecision,
)
from kaigents_nb.models.spent import Spent
from kaigents_nb.runtime.failures import PARK
from kaigents_nb.runtime.lacking import ELSEWHERE
from kaigents_nb.runtime.payloads import metadata, plain, raw
from kaigents_nb.runtime.protocol import (
    DECIDE_SIGNAL,
    DECIDE_UPDATE,
    DIFFERS_SIGNAL,
    MEMO_GATE,
    MEMO_SPENT,
    MEMO_STATE,
    MEND_SIGNAL,
    META_NOTICE,
    META_OUTPUT,
    META_QUESTION,
    SLEEP_SUMMARY,
    STARTED,
    Launch,
    StepCall,
    from_wire,
)
from kaigents_nb.runtime.repeats import fell_silent
from kaigents_nb.runtime.seeds import Seed

_NOT_OURS = (ValueError, TypeError, LookupError, AttributeError, KaigentsError)
"""What reading an event raises that another program has written."""
_GATE_PREFIX = MEMO_GATE.format(gate="")


class RunFold:
    """The state that a history gives; feed it events in order. ``_on_…`` takes the event of that name."""

    def __init__(self) -> None:
        self.launch = Launch(agent="", code="")
        self.agent = ""
        self.queue = ""
        self.run_id = ""
        self.started: datetime | None = None
        self.ended: datetime | None = None
        self.closed: Status | Literal[""] = ""
        self.reason = ""
        self.arguments: tuple[Payload, ...] = ()
        self.code_payload: Payload | None = None
        self.seeds_payload: Payload | None = None
        """Recorded calls of a fork, until :meth:`take_seeds`."""
        self.mends: list[tuple[tuple[str, ...], Payload]] = []
        """Names of mended steps and their code, in order."""
        self.parted: dict[str, str] = {}
        self.published: dict[str, Payload] = {}
        """What the agent shows to the outside, by name."""
        self.spent = Spent()
        """On models, so far."""
        self.differs: list[str] = []
        """What a worker that replayed the run found to be otherwise than recorded."""
        self.other_arguments: list[str] = []
        """Calls of a fork that took over a result which was computed from other arguments."""
        self.sleeps: dict[int, SleepView] = {}
        """By the event that started them."""
        self.losses: list[LossView] = []
        self.origin: dict[str, Any] = {}
        self.unreadable: list[str] = []
        """What in this history can't be read, and why."""
        self.calls: dict[str, Call] = {}
        self.gates: dict[str, GateView] = {}
        self.details: dict[str, Payload] = {}
        self.decisions: list[TakenDecision] = []
        self._kept: set[str] = set()
        """The gates for which a fork has brought a decision, and which it has not asked."""
        self._policy = Gates()
        self._unsure: dict[str, tuple[Answer, ...]] = {}
        """By gate: answers of which only the run can say whether they are valid, and has not said it yet."""
        self.result: Payload | None = None
        self.failure: Failure | None = None
        self.task_failure = ""
        self.task_lacks = False
        self.task_pending = False
        """Whether a worker has, or is to get, the agent to execute."""
        self.worked = False
        self.last_event = 0
        self._by_event: dict[int, Call] = {}
        self._task_worker = ""

    def add(self, event: HistoryEvent) -> None:
        """Take the next event."""
        self.last_event = event.event_id
        name = (event.WhichOneof("attributes") or "").removesuffix("_event_attributes")
        if handler := getattr(self, f"_on_{name}", None):
            try:
                handler(event)
            except _NOT_OURS as error:
                # Every client of the server may start and send what it likes; the rest of the run is shown.
                self.unreadable.append(f"Event {event.event_id} can't be read: {type(error).__name__}: {error}")

    # The run itself.

    def _on_workflow_execution_started(self, event: HistoryEvent) -> None:
        data = event.workflow_execution_started_event_attributes
        payloads = data.input.payloads
        self.agent, self.queue = data.workflow_type.name, data.task_queue.name
        self.run_id, self.started = data.workflow_id, utc(event.event_time)
        self.origin = memo.origin(data.memo.fields)
        if len(payloads) < 2:
            return
        self.launch = launch = from_wire(Launch, plain(payloads[0]))
        self.code_payload = payloads[1]
        count = launch.positional + len(launch.keywords)
        self.arguments = tuple(payloads[2 : 2 + count])
        rest = list(payloads[2 + count :])
        self.seeds_payload = rest.pop(0) if launch.seeded else None
        self.mends = list(zip(launch.mended, rest, strict=False))
        self._policy = Gates(bound=launch.version > 0)
        for gate, decision in launch.decisions.items():
            answer = Answer.from_wire(decision)
            self._policy.keep(answer)
            self._kept.add(gate)
            asked = Question(answer.question, gate=gate, opened=self.started, run_id=self.run_id, agent=self.agent)
            self.gates[gate] = GateView(asked, answer=answer, closed=self.started)

    def take_seeds(self, seeds: Iterable[Seed]) -> None:
        """Show the calls that a fork took over, beside its own; the fold can't read their file itself."""
        for seed in filter(attrgetter("has_outcome"), seeds):
            status: StepStatus = "completed" if seed.result is not None else "failed"
            output = metadata(seed.result, META_OUTPUT) if seed.result is not None else ""
            view = StepView(
                seed.call,
                seed.name,
                status,
                scheduled=self.started,
                started=self.started,
                ended=self.started,
                output=output,
                error=str(seed.failure.get("message", "")),
                reused=True,
            )
            self.calls.setdefault(seed.call, Call(view, result=seed.result, code=self.launch.code, seed=seed))
        self.seeds_payload = None

    def _on_workflow_task_scheduled(self, event: HistoryEvent) -> None:
        self.task_pending = True

    def _on_workflow_task_started(self, event: HistoryEvent) -> None:
        self._task_worker = event.workflow_task_started_event_attributes.identity

    def _on_workflow_task_timed_out(self, event: HistoryEvent) -> None:
        began = event.workflow_task_timed_out_event_attributes.timeout_type == TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE
        told = "fell silent while it executed the agent" if began else "had the run in memory and no longer answered"
        self.losses.append(LossView(utc(event.event_time), self._task_worker, told))

    def _on_workflow_task_completed(self, event: HistoryEvent) -> None:
        # Only now: one that failed or timed out is handed out again, without a trace in the history.
        self.worked, self.task_failure, self.task_pending, self.task_lacks = True, "", False, False

    def _on_workflow_task_failed(self, event: HistoryEvent) -> None:
        failure = event.workflow_task_failed_event_attributes.failure
        self.task_failure, self.task_lacks = failure.message, lacks_module(failure)

    def _close(self, status: Status, event: HistoryEvent) -> None:
        self.closed, self.ended = status, utc(event.event_time)
        for number, gate in self.gates.items():
            if gate.is_open:
                self.gates[number] = replace(gate, withdrawn=True, closed=self.ended)
        self.sleeps = {number: replace(one, ended=one.ended or self.ended) for number, one in self.sleeps.items()}
        for call in self.calls.values():
            if not call.closed_event and call.seed is None:
                call.view = replace(call.view, status="cancelled", ended=self.ended)

    def _on_workflow_execution_completed(self, event: HistoryEvent) -> None:
        self._close("completed", event)
        payloads = event.workflow_execution_completed_event_attributes.result.payloads
        self.result = payloads[0] if payloads else None

    def _on_workflow_execution_failed(self, event: HistoryEvent) -> None:
        self._close("failed", event)
        self.failure = event.workflow_execution_failed_event_attributes.failure

    def _on_workflow_execution_canceled(self, event: HistoryEvent) -> None:
        self._close("cancelled", event)

    def _on_workflow_execution_terminated(self, event: HistoryEvent) -> None:
        self._close("terminated", event)
        self.reason = event.workflow_execution_terminated_event_attributes.reason

    def _on_workflow_execution_timed_out(self, event: HistoryEvent) -> None:
        self._close("timed out", event)

    # Steps.

    def _on_activity_task_scheduled(self, event: HistoryEvent) -> None:
        data = event.activity_task_scheduled_event_attributes
        header = from_wire(StepCall, plain(data.input.payloads[0]))
        int(header.call)  # calls are numbered
        count = header.positional + len(header.keywords)
        call = self.calls.get(header.call)
        when = utc(event.event_time)
        if call is None or call.seed is not None:
            view = StepView(header.call, header.step, "scheduled", scheduled=when)
            call = self.calls[header.call] = Call(view)
            call.scheduled_event = event.event_id
        else:
            call.earlier_attempts = call.view.attempt
            call.view = replace(call.view, status="scheduled", started=None, ended=None, next_retry=None)
        call.keywords, call.positional, call.code = header.keywords, header.positional, header.code
        call.arguments = tuple(data.input.payloads[1 : 1 + count])
        call.activity_id, call.failure, call.closed_event = data.activity_id, None, 0
        call.activity_scheduled, call.activity_event = when, event.event_id
        self._by_event[event.event_id] = call

    def _on_activity_task_started(self, event: HistoryEvent) -> None:
        data = event.activity_task_started_event_attributes
        call = self._by_event[data.scheduled_event_id]
        started = utc(event.event_time)
        call.view = replace(
            call.view,
            status="running",
            attempt=call.earlier_attempts + data.attempt,
            attempts=call.view.attempts + earlier_attempts(call, data.attempt, started, data.last_failure),
            started=started,
            worker=data.identity,
        )

    def _on_activity_task_completed(self, event: HistoryEvent) -> None:
        data = event.activity_task_completed_event_attributes
        call = self._by_event[data.scheduled_event_id]
        call.result = data.result.payloads[0] if data.result.payloads else None
        output = metadata(call.result, META_OUTPUT) if call.result is not None else ""
        self._end(call, event, "completed", output=output, error="")

    def _on_activity_task_failed(self, event: HistoryEvent) -> None:
        data = event.activity_task_failed_event_attributes
        call = self._by_event[data.scheduled_event_id]
        known = failure_details(data.failure)
        call.failure = data.failure
        does: dict[object, StepStatus] = {PARK: "parked", ELSEWHERE: "retrying"}
        status = does.get(known.get("do"), "failed")
        self._end(call, event, status, error=failure_text(data.failure), output=str(known.get("output", "")))

    def _on_activity_task_timed_out(self, event: HistoryEvent) -> None:
        data = event.activity_task_timed_out_event_attributes
        call = self._by_event[data.scheduled_event_id]
        call.failure = data.failure
        self._end(call, event, "failed", error=failure_text(data.failure))

    def _on_activity_task_cancel_requested(self, event: HistoryEvent) -> None:
        call = self._by_event[event.activity_task_cancel_requested_event_attributes.scheduled_event_id]
        if not call.closed_event:
            call.view = replace(call.view, status="cancelled", ended=utc(event.event_time))

    def _on_activity_task_canceled(self, event: HistoryEvent) -> None:
        scheduled = event.activity_task_canceled_event_attributes.scheduled_event_id
        call = self._by_event[scheduled]
        if scheduled == call.activity_event:  # else it has been started again, mended or by hand
            self._end(call, event, "cancelled")

    def _end(self, call: Call, event: HistoryEvent, status: StepStatus, **changes: Any) -> None:
        call.closed_event, ended = event.event_id, utc(event.event_time)
        call.view = view = replace(call.view, status=status, ended=ended, **changes)
        if not view.child_run and (view.attempts or status != "completed"):
            # Of a call that simply succeeded, the call itself says it all.
            lost = call.failure is not None and fell_silent(call.failure)
            last = AttemptView(
                view.attempt, view.attempt, status, view.started, ended, changes.get("error", ""), view.worker, lost
            )
            call.view = replace(view, attempts=(*view.attempts, last))

    # Agents called by the agent.

    def _on_start_child_workflow_execution_initiated(self, event: HistoryEvent) -> None:
        data = event.start_child_workflow_execution_initiated_event_attributes
        launch = from_wire(Launch, plain(data.input.payloads[0]))
        number = launch.call or data.workflow_id.rpartition("-")[2]
        name = data.workflow_type.name
        view = StepView(
            number,
            STARTED.format(agent=name) if launch.call else name,
            "scheduled",
            scheduled=utc(event.event_time),
            child_run=data.workflow_id,
        )
        count = launch.positional + len(launch.keywords)
        call = Call(view, launch.keywords, launch.positional, tuple(data.input.payloads[2 : 2 + count]))
        call.code, call.scheduled_event, call.detached = launch.code, event.event_id, bool(launch.call)
        self.calls[number] = self._by_event[event.event_id] = call

    def _on_child_workflow_execution_started(self, event: HistoryEvent) -> None:
        data = event.child_workflow_execution_started_event_attributes
        call = self._by_event[data.initiated_event_id]
        call.view = replace(call.view, status="running", attempt=1, started=utc(event.event_time))
        if call.detached:
            self._detached(call, event)

    def _on_start_child_workflow_execution_failed(self, event: HistoryEvent) -> None:
        # A run of that id is there already.
        call = self._by_event[event.start_child_workflow_execution_failed_event_attributes.initiated_event_id]
        if call.detached:
            self._detached(call, event)

    def _detached(self, call: Call, event: HistoryEvent) -> None:
        """A run of its own was started, and that was the call; what becomes of it, its own history says."""
        call.result = raw(call.view.child_run, "id of a run").payload
        self._end(call, event, "completed")

    def _on_child_workflow_execution_completed(self, event: HistoryEvent) -> None:
        data = event.child_workflow_execution_completed_event_attributes
        call = self._by_event[data.initiated_event_id]
        if call.detached:
            return
        call.result = data.result.payloads[0] if data.result.payloads else None
        self._end(call, event, "completed")

    def _on_child_workflow_execution_failed(self, event: HistoryEvent) -> None:
        data = event.child_workflow_execution_failed_event_attributes
        call = self._by_event[data.initiated_event_id]
        if call.detached:
            return
        call.failure = data.failure
        self._end(call, event, "failed", error=failure_text(data.failure))

    def _on_child_workflow_execution_canceled(self, event: HistoryEvent) -> None:
        self._stop_child(event.child_workflow_execution_canceled_event_attributes.initiated_event_id, event)

    def _on_child_workflow_execution_terminated(self, event: HistoryEvent) -> None:
        self._stop_child(event.child_workflow_execution_terminated_event_attributes.initiated_event_id, event)

    def _on_child_workflow_execution_timed_out(self, event: HistoryEvent) -> None:
        self._stop_child(event.child_workflow_execution_timed_out_event_attributes.initiated_event_id, event)

    def _stop_child(self, initiated: int, event: HistoryEvent) -> None:
        if not self._by_event[initiated].detached:
            self._end(self._by_event[initiated], event, "cancelled")

    # Gates.

    def _on_workflow_properties_modified(self, event: HistoryEvent) -> None:
        fields = event.workflow_properties_modified_event_attributes.upserted_memo.fields
        self.published.update(memo.published(fields))
        if MEMO_SPENT in fields:
            self.spent = memo.spent(fields)
        if MEMO_STATE in fields:
            state = memo.state(fields)
            self.parted, self.other_arguments = state.get("parted", {}), state.get("other_arguments", [])
            for found in state.get("refused", ()):
                self._refuse(str(found["gate"]), str(found["id"]), dict(found["faults"]))
        listed = memo.questions(fields, self.run_id, self.agent, self.queue)
        for question in listed:  # a gate that an older version opened is told only here
            self._ask(question)
        for key, payload in fields.items():
            if not key.startswith(_GATE_PREFIX):
                continue
            number, asked = key.removeprefix(_GATE_PREFIX), metadata(payload, META_QUESTION)
            if payload.data or asked:  # no details are details too: None has no bytes
                self.details[number] = payload
            if asked:
                wire = json.loads(asked)
                self._ask(Question.from_wire(wire, run_id=self.run_id, agent=self.agent, queue=self.queue))
            elif not payload.data and number not in {question.gate for question in listed}:
                self._withdraw(number, event)

    def _ask(self, question: Question) -> None:
        if question.gate not in self.gates or question.gate in self._kept:
            if question.gate in self._kept:  # what was kept was on something else
                self._kept.remove(question.gate)
                self._policy.taken.pop(question.gate, None)
            self.gates[question.gate] = GateView(question)
            self._policy.ask(question)

    def _refuse(self, number: str, id: str, faults: dict[str, str]) -> None:
        """The run has found an answer invalid, that the server had kept: the gate stays open."""
        self._unsure[number] = tuple(it for it in self._unsure.get(number, ()) if it.id != id)
        for at, taken in enumerate(self.decisions):
            if taken.answer.id == id and taken.standing in (Standing.KEPT, Standing.COUNTS):
                self.decisions[at] = replace(taken, standing=Standing.INVALID)
        if number in self._policy.taken and self._policy.taken[number].id == id:
            del self._policy.taken[number]
            self.gates[number] = replace(self.gates[number], answer=None, closed=None)
        if number in self.gates:
            self.gates[number] = replace(self.gates[number], refused=in_words(faults))

    def _settle(self, number: str) -> None:
        """A gate closes: the first answer that the run has not refused is the one that counted."""
        for answer in self._unsure.pop(number, ())[:1]:
            self._policy.take(answer)
            for at, taken in enumerate(self.decisions):
                if taken.answer.id == answer.id:
                    self.decisions[at] = replace(taken, standing=Standing.COUNTS)
                    self.gates[number] = replace(self.gates[number], answer=answer, closed=taken.time)

    def _withdraw(self, number: str, event: HistoryEvent) -> None:
        self._settle(number)
        self._policy.close(number)
        gate = self.gates.get(number)
        if gate is not None and gate.is_open:
            self.gates[number] = replace(gate, withdrawn=True, closed=utc(event.event_time))

    def _on_workflow_execution_update_accepted(self, event: HistoryEvent) -> None:
        request = event.workflow_execution_update_accepted_event_attributes.accepted_request
        if request.input.name == DECIDE_UPDATE:
            self._decided(request.input.args.payloads, event, "update")

    def _on_timer_started(self, event: HistoryEvent) -> None:
        if event.HasField("user_metadata") and plain(event.user_metadata.summary) == SLEEP_SUMMARY:
            self.sleeps[event.event_id] = SleepView(utc(event.event_time))

    def _on_timer_fired(self, event: HistoryEvent) -> None:
        self._wake(event.timer_fired_event_attributes.started_event_id, event, fired=event.event_id)

    def _on_timer_canceled(self, event: HistoryEvent) -> None:
        self._wake(event.timer_canceled_event_attributes.started_event_id, event)

    def _wake(self, begin: int, event: HistoryEvent, fired: int = 0) -> None:
        if begin in self.sleeps:
            self.sleeps[begin] = replace(self.sleeps[begin], ended=utc(event.event_time), fired=fired)

    def _on_workflow_execution_signaled(self, event: HistoryEvent) -> None:
        data = event.workflow_execution_signaled_event_attributes
        if data.signal_name == MEND_SIGNAL and len(data.input.payloads) == 3:
            with suppress(ValueError, TypeError):  # not from us
                self.mends.append((tuple(plain(data.input.payloads[0])), data.input.payloads[2]))
        if data.signal_name == DIFFERS_SIGNAL:
            with suppress(ValueError):  # not from us
                self.differs += [str(plain(payload)) for payload in data.input.payloads]
        if data.signal_name == DECIDE_SIGNAL:
            self._decided(data.input.payloads, event, "signal")

    def _decided(self, payloads: Sequence[Payload], event: HistoryEvent, way: str) -> None:
        try:
            answer = Answer.from_wire(plain(payloads[0]))
        except (LookupError, ValueError):
            return  # not from us
        standing = self._policy.standing(answer)
        gate, when = self.gates.get(answer.gate), utc(event.event_time)
        form = gate.asked.form if gate is not None and answer.approved else None
        if way == "signal" and standing is Standing.COUNTS and form is not None and not form.exact:
            standing = Standing.KEPT
            known = self._unsure.get(answer.gate, ())
            self._unsure[answer.gate] = known if answer.id in {it.id for it in known} else (*known, answer)
        elif self._policy.take(answer) is Standing.COUNTS:
            self._unsure.pop(answer.gate, None)
        if gate is not None and form is not None and standing is Standing.INVALID:
            self.gates[gate.gate] = replace(gate, refused=in_words(form.faults(answer.values)))
        if gate is not None and standing is Standing.COUNTS:
            self.gates[gate.gate] = replace(gate, answer=answer, closed=when)
        if standing not in (Standing.AGAIN, Standing.NO_OPTION):
            question = gate.question if gate else ""
            taken = TakenDecision(replace(answer, question=question), standing, event.event_id, when, way)
            self.decisions.append(taken)

    @property
    def at_work(self) -> bool:
        """Whether the agent or a step is executed, or is to be: what becomes of that is not in the history yet."""
        return not self.closed and (
            self.task_pending or any(call.activity_id and not call.closed_event for call in self.calls.values())
        )

    @property
    def running_called(self) -> list[str]:
        """The run ids of called agents that have not ended."""
        if self.closed:
            return []
        return [call.view.child_run for call in self.calls.values() if call.view.child_run and not call.closed_event]

    def snapshot(self) -> RunFold:
        """Return the state as it is now, for whoever is in another thread or waits in between."""
        taken = copy(self)
        vars(taken).update({name: copy(part) for name, part in vars(self).items() if isinstance(part, (dict, list))})
        taken.calls = {number: copy(call) for number, call in self.calls.items()}
        return taken

    @property
    def notices(self) -> tuple[str, ...]:
        """Warnings that steps left, each once, where a fork left its origin, and what replays came to otherwise."""
        texts = [metadata(call.result, META_NOTICE) for call in self.calls.values() if call.result is not None]
        if self.parted:
            texts.append(
                f"From call {self.parted['call']} on this fork goes its own way: the first run called "
                f"{self.parted['recorded']!r} there, the new code calls {self.parted['asked']!r}."
            )
        if self.other_arguments:
            named = ", ".join(f"{self.calls[n].view.name} (call {n})" for n in self.other_arguments if n in self.calls)
            texts.append(
                f"Taken over from the first run although this one calls with other arguments: {named}. To make such a "
                "call again, fork before it."
            )
        return tuple(dict.fromkeys(text for text in (*texts, *self.differs, *self.unreadable) if text))
