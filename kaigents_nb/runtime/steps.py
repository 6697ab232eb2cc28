"""The one activity: it executes a step's attempt, reports its progress, and says what its errors do."""

# No `from __future__ import annotations`: the SDK reads this module's annotations as objects.

import asyncio
import inspect
import math
import sys
import threading
import time
import weakref
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from temporalio import activity
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.client import AsyncActivityCancelledError, Client
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from kaigents_nb.authoring.agent import Agent
from kaigents_nb.authoring.context import Tape, step_context, tape
from kaigents_nb.authoring.durations import Duration, seconds
from kaigents_nb.authoring.library_steps import named
from kaigents_nb.authoring.step import Step
from kaigents_nb.authoring.this_run import ThisRun
from kaigents_nb.errors import ForbiddenInStep, SnapshotError
from kaigents_nb.runtime.attempts import Attempts, Key
from kaigents_nb.runtime.code import Code, held
from kaigents_nb.runtime.codec import store_of
from kaigents_nb.runtime.executions import Executions, call_of
from kaigents_nb.runtime.failures import (
    PARK,
    RETRY,
    TRACEBACK_LIMIT,
    classify,
    is_half_imported,
    to_failure,
)
from kaigents_nb.runtime.held import hold, worker_stopped
from kaigents_nb.runtime.journals import journal_of, ledger_of
from kaigents_nb.runtime.lacking import declined, first_lacked, lacked
from kaigents_nb.runtime.late import AttemptOver, check_wanted
from kaigents_nb.runtime.loop import LoopThread, contained, in_thread
from kaigents_nb.runtime.output import Output
from kaigents_nb.runtime.passing import may_pass
from kaigents_nb.runtime.payloads import plain, raw, read_arguments
from kaigents_nb.runtime.protocol import META_NOTICE, META_OUTPUT, META_REPEATED, StepCall, from_wire
from kaigents_nb.runtime.refused import check_admitted
from kaigents_nb.runtime.repeats import (
    IN_A_ROW,
    Record,
    after_death,
    after_error,
    alike_error,
    fell_silent,
    one_at_a_time,
    same_error,
    stays,
    takes_workers_down,
    this_process,
)
from kaigents_nb.runtime.step_cache import StepCache
from kaigents_nb.runtime.stopping import StoppableCall, stoppable
from kaigents_nb.runtime.storage import FileStore
from kaigents_nb.runtime.turns import Turns
from kaigents_nb.server import datadir
from kaigents_nb.snapshot.load import LoadedCode, load
from kaigents_nb.snapshot.module import Snapshot
from kaigents_nb.snapshot.run_module import executing
from kaigents_nb.snapshot.settings import apply_settings
from kaigents_nb.snapshot.tracebacks import analyst_traceback, in_cells

_HEARTBEAT_S = 1.0
_TIMEOUT_MARGIN_S = 1.0
"""So exact are the server's time-outs and ours."""
_LOOKS_AGAIN_S = 0.1
_TEXT_CHARS = 2_000
"""So much of a text that grows is told with a heartbeat."""
_ASKS_AGAIN_S = 0.3
_GRACE_S = 1.5
"""A step that can be interrupted has tidied up by then, mostly; kg.disconnect() waits so long for the others."""
_WAITS_FOR_TURN = "its worker died twice: it waits for its turn among such steps"


@dataclass
class Attempt:
    """One attempt of one call; as ``StepContext`` it answers what the step's code asks for."""

    run_id: str
    call: str
    number: int
    idempotency_key: str
    execution: str = ""
    agent: str = ""
    started: datetime | None = None
    tracked: int = 0
    renewed: bool = False
    store: FileStore | None = None
    code: LoadedCode | None = None
    output: Output = field(default_factory=Output)
    progress: dict[str, Any] | None = None
    before: Record = field(default_factory=Record)
    """What the attempt before left."""
    record: Record = field(default_factory=Record)
    """What this one leaves."""
    call_made: StoppableCall = field(default_factory=StoppableCall)
    began: float | None = None
    told_to_stop: datetime | None = None
    limit: asyncio.Timeout | None = None
    """Of an attempt that has a time-out."""
    note: str = ""
    """What holds it up."""
    repeated: int = 0
    """So many requests of a model may have been paid without an answer on record."""
    snapshot: Snapshot | None = None
    tape: Tape = ()
    queue: str = ""

    @property
    def printed(self) -> str:
        """What the step has printed so far."""
        text = self.output.text
        return in_cells(text, self.snapshot) if text and self.snapshot is not None else text

    def named(self, name: str) -> Step[..., Any] | Agent[..., Any, Any]:
        """Return a step or agent of the run's code."""
        assert self.code is not None
        found: Step[..., Any] | Agent[..., Any, Any] = self.code.get(self.code.snapshot.callable_global(name))
        return found

    def resolve(self, module: str, qualname: str) -> type:
        """Return a class that the run's code has, or that it imports."""
        assert self.code is not None
        return self.code.resolve(module, qualname)

    @property
    def this_run(self) -> ThisRun:
        """What the run is, and which attempt this."""
        return ThisRun(self.run_id, self.agent, self.started or datetime.now(UTC), self.number)

    @property
    def journal(self) -> Path:
        """A file for what the attempts of this call have done so far."""
        assert self.store is not None
        return journal_of(self.store, self.execution, self.run_id, self.call)

    @property
    def ledger(self) -> Path:
        """A file for the run's requests of models."""
        assert self.store is not None
        return ledger_of(self.store, self.execution)

    def lost(self, requests: int) -> None:
        """Note how many requests may have been paid without an answer on record."""
        self.repeated = requests

    def rate_file(self, name: str) -> Path:
        """Return where all workers of this data directory keep what was used of a rate."""
        assert self.store is not None
        return datadir.rate_file(self.store.folder.parent, name)

    def keep(self, data: bytes) -> str:
        """Save bytes beside the values that are too big for a history."""
        assert self.store is not None
        return self.store.write(data)

    def kept(self, name: str) -> bytes:
        """Return saved bytes, checked against their name."""
        assert self.store is not None
        return self.store.read(name)

    def tell(self, note: str) -> None:
        """Say what holds the call up."""
        self.note = note

    def report(
        self, done: float, total: float | None, note: str, *, tracked: int | None = None, text: str = ""
    ) -> None:
        """Keep progress for the next heartbeat."""
        self.progress = {
            "done": float(done),
            "total": None if total is None else float(total),
            "note": str(note),
        }
        if text:
            self.progress["text"] = text[-_TEXT_CHARS:]
        if tracked is not None:
            self.tracked = tracked

    def tell_to_stop(self) -> None:
        """Note since when it should end."""
        self.told_to_stop = self.told_to_stop or datetime.now(UTC)

    @property
    def is_under_way(self) -> bool:
        """Whether its function has begun and not returned."""
        return self.call_made.under_way

    def heartbeat(self) -> dict[str, Any]:
        """What the server keeps of this attempt while it runs."""
        ran_s = -1 if self.began is None else round(time.monotonic() - self.began, 1)
        beat: dict[str, Any] = {
            "output": self.printed[-2_000:],
            "record": replace(self.record, attempt=self.number, ran_s=ran_s, process=this_process()).to_wire(),
        }
        if note := self.note or self._lingers():
            beat["note"] = note
        if self.progress:
            beat["progress"] = self.progress
        if self.tracked:
            beat["tracked"] = self.tracked
        return beat

    def _lingers(self) -> str:
        if self.told_to_stop is None:
            return ""
        frame, place = self.call_made.frame, ""
        while frame is not None and self.snapshot is not None:
            if frame.f_code.co_filename == self.snapshot.filename:
                cell = self.snapshot.where(frame.f_lineno)
                place = f" in {frame.f_code.co_name}" + (f", {cell[0]}, line {cell[1]}" if cell else "")
                break
            frame = frame.f_back
        return (
            f"attempt {self.number} was told to stop at {self.told_to_stop:%H:%M:%S} UTC and is still in its "
            f"call{place}; the next one begins when it has ended"
        )


_left: dict[tuple[str, str, str], Attempt] = {}
"""By call, what a closed connection has left in calls of C code, which nothing can end."""


@dataclass(frozen=True)
class _Loaded:
    """A step ready to be called, with what is looked up once and not for each attempt."""

    step: Step[..., Any]
    code: LoadedCode
    notice: str
    required: frozenset[str]
    """Modules that it can't do without."""


class _Heartbeats:
    """Tells the server every second that an attempt is alive: by a timer, for most are over before the first is due."""

    def __init__(self, attempts: Attempts, key: Key) -> None:
        self._attempts = attempts
        self.note = ""
        """What holds the attempt up before it begins."""
        self.key = key
        """Whose state is told: that of an earlier attempt as long as this one waits for its end."""
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(_HEARTBEAT_S, self._beat)

    def _beat(self) -> None:
        self._timer = self._loop.call_later(_HEARTBEAT_S, self._beat)
        attempt = self._attempts.attempt(self.key)
        activity.heartbeat(attempt.heartbeat() if attempt else {"note": self.note} if self.note else {})

    def stop(self) -> None:
        """The attempt is over."""
        self._timer.cancel()


class StepRunner:
    """Executes steps for one worker."""

    def __init__(self, client: Client, step_loop: LoopThread, attempts: Attempts) -> None:
        self._client = client
        self._turns = Turns()
        self._step_loop = step_loop
        self._attempts = attempts
        # As long as the code is in use: a run between two steps loses neither its classes nor its resources.
        self._loaded: weakref.WeakKeyDictionary[Code, LoadedCode] = weakref.WeakKeyDictionary()
        self._loading = threading.Lock()
        self._steps: weakref.WeakKeyDictionary[Code, dict[str, _Loaded]] = weakref.WeakKeyDictionary()
        self._executions = Executions(client, self._stop)

    @activity.defn(dynamic=True)
    async def run(self, args: Sequence[RawValue]) -> RawValue:
        """Execute one attempt, or join the one that this process has begun for the same call."""
        info = activity.info()
        key = (info.workflow_id or "", info.workflow_run_id or "", info.activity_id)
        began = time.monotonic()
        heartbeats = _Heartbeats(self._attempts, key)
        task: asyncio.Task[RawValue] | None = None
        try:
            await self._earlier_ended(key, heartbeats)
            task = self._executions.joined(key, lambda: self._execute(args))
            if joined := self._attempts.attempt(key):
                joined.number = info.attempt
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            details = activity.cancellation_details()
            longest_s = info.start_to_close_timeout.total_seconds() if info.start_to_close_timeout else math.inf
            lost = details is not None and (details.not_found or details.timed_out) and not details.cancel_requested
            asked = details is not None and details.cancel_requested
            if task is None:
                pass  # an earlier attempt has not ended yet
            elif lost and time.monotonic() - began < longest_s - _TIMEOUT_MARGIN_S:
                self._executions.give_up(key)
            else:
                self._stop(key, task)
                await self._ended_or_held(key, task, asked=asked)
            if asked:
                raise
            if task is not None and task.done() and not task.cancelled() and task.exception() is None:
                return task.result()  # it came to its end over being told to stop
            # The worker stops, or the run has ended meanwhile. Another worker takes over at once if there is one.
            raise worker_stopped() from None
        finally:
            heartbeats.stop()

    async def _ended_or_held(self, key: Key, task: asyncio.Task[RawValue], *, asked: bool) -> None:
        """Wait for an attempt that was told to stop: what the server hears of it lets the next one begin."""
        leaving = asyncio.ensure_future(activity.wait_for_worker_shutdown())
        try:
            await asyncio.wait([task, leaving], return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait([task], timeout=_GRACE_S)
        finally:
            leaving.cancel()
        attempt = self._attempts.attempt(key)
        if isinstance(attempt, Attempt) and attempt.is_under_way:
            hold(self._client, activity.info().task_token, attempt, cancelled=asked)
            activity.raise_complete_async()

    async def _ended_elsewhere(self, key: Key, heartbeats: _Heartbeats) -> None:
        """Wait for an attempt of this call on another worker: it was mended or started again while that was at work."""
        handle = self._client.get_workflow_handle(key[0], run_id=key[1])
        while True:
            try:
                described = await handle.describe()
            except RPCError:
                await asyncio.sleep(_ASKS_AGAIN_S)
                continue
            others = [
                pending
                for pending in described.raw_description.pending_activities
                if pending.activity_id != key[2]
                and call_of((*key[:2], pending.activity_id)) == call_of(key)
                and pending.state == PendingActivityState.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED
            ]
            if not others:
                heartbeats.note = ""
                return
            heartbeats.note = _note_of(others[0])
            await asyncio.sleep(_ASKS_AGAIN_S)

    async def _earlier_ended(self, key: Key, heartbeats: _Heartbeats) -> None:
        """Wait for an attempt of this call that was told to stop: two are never under way at the same time."""
        while (left := _left.get(call_of(key))) is not None and left.call_made.under_way:
            self._attempts.started(key, left)  # a former connection of this process has begun it
            await asyncio.sleep(_LOOKS_AGAIN_S)
        if _left.pop(call_of(key), None) is not None:
            self._attempts.ended(key)
        while (earlier := self._executions.in_the_way(key)) is not None:
            other, task = earlier
            if not task.cancelling():  # the call was mended or started again by hand
                self._stop(other, task)
            heartbeats.key = other
            await asyncio.wait([task])
            heartbeats.key = key
        if call_of(key)[2] != key[2]:
            await self._ended_elsewhere(key, heartbeats)

    def _stop(self, key: Key, task: asyncio.Task[RawValue]) -> None:
        attempt = self._attempts.attempt(key)
        if isinstance(attempt, Attempt):
            attempt.tell_to_stop()
            if attempt.limit is not None and not attempt.limit.expired():
                attempt.limit.reschedule(None)
        if not task.cancelling():  # else it is waited for; told once more, that would end
            task.cancel()

    async def _execute(self, args: Sequence[RawValue]) -> RawValue:
        info = activity.info()
        call = from_wire(StepCall, plain(args[0].payload))
        attempt = Attempt(
            run_id=info.workflow_id or "",
            call=call.call,
            number=info.attempt,
            idempotency_key=f"{info.workflow_id}/{call.call}",
            execution=info.workflow_run_id or "",
            agent=info.workflow_type or "",
            started=info.started_time,
            tracked=_tracked(info.heartbeat_details),
            renewed=info.activity_id != call.call,
            store=store_of(self._client.data_converter),
            before=_record(info.heartbeat_details),
            tape=call.tape,
            queue=info.task_queue,
        )
        key = (info.workflow_id or "", info.workflow_run_id or "", info.activity_id)
        self._attempts.started(key, attempt)
        try:
            await self._look_back(attempt, call.step)
            attempt.note = _WAITS_FOR_TURN if attempt.record.deaths else ""
            async with one_at_a_time(attempt.record):
                attempt.note = ""
                if attempt.record.deaths:
                    # At once: the worker may not live until the next heartbeat.
                    attempt.began = time.monotonic()
                    handle = self._client.get_async_activity_handle(task_token=info.task_token)
                    with suppress(RPCError, AsyncActivityCancelledError):  # told by the next heartbeat too
                        await handle.heartbeat(attempt.heartbeat())
                return await self._attempt(call, args, attempt)
        finally:
            if attempt.call_made.under_way:
                _left[call_of(key)] = attempt
            self._attempts.ended(key)

    async def _look_back(self, attempt: Attempt, step: str) -> None:
        """Find out what the attempt before has ended with; park a step that has taken its worker down too often."""
        before = attempt.before
        attempt.record = replace(before, failed=False)
        if attempt.number < 2 or (before.failed and before.attempt == attempt.number - 1):
            return
        if not await self._fell_silent():
            return  # its worker was stopped, or it took too long
        attempt.record = after_death(before, attempt.number)
        attempt.before = Record()
        retry = activity.info().retry_policy
        if len(attempt.record.deaths) >= IN_A_ROW and not (retry and retry.maximum_attempts):
            raise to_failure(takes_workers_down(step, attempt.record.deaths), "", PARK)

    async def _fell_silent(self) -> bool:
        """Whether the attempt before this one lost its worker; only the server knows."""
        info = activity.info()
        handle = self._client.get_workflow_handle(info.workflow_id or "", run_id=info.workflow_run_id)
        try:
            described = await handle.describe()
        except RPCError:
            return False
        return any(
            fell_silent(pending.last_failure)
            for pending in described.raw_description.pending_activities
            if pending.activity_id == info.activity_id
        )

    async def _attempt(self, call: StepCall, args: Sequence[RawValue], attempt: Attempt) -> RawValue:
        code = await self._code(call.code)
        attempt.began = attempt.began or time.monotonic()
        attempt.snapshot = code.snapshot
        try:
            apply_settings(code.snapshot.settings)  # of this task, and of the thread that it has the step called in
            steps = self._steps.setdefault(code, {})
            loaded = steps.get(call.step)
            if loaded is None:
                loaded = await in_thread(lambda: self._load(code, call), f"kaigents load {call.step}")
                steps[call.step] = loaded
        except Exception as error:  # noqa: BLE001
            self._leave_to_others(lacked(error, code.snapshot), code, call, attempt)
            # The step's module-level code (an import, a decorator) is the analyst's too: a bug there parks.
            raise self._failed(error, RETRY if is_half_imported(error) else PARK, attempt, code) from None
        self._leave_to_others(first_lacked(loaded.required, code.snapshot), code, call, attempt)
        try:
            positional, keyword = read_arguments(
                [item.payload for item in args[1:]],
                call.positional,
                call.keywords,
                loaded.code.resolve,
            )
            attempt.code = loaded.code
            options = loaded.step.options
            place = "" if call.library else code.snapshot.step_global(call.step)
            cache, key = self._cached(call, args, loaded.code.digest_of(place) if options.cache and place else "")
            if cache is not None and (known := cache.get(key, seconds(options.cache or 0))) is not None:
                return RawValue(known)
            async with self._turns.turn(call.step, options, attempt):
                await check_wanted(self._client, attempt.heartbeat())  # last: all before it may have taken long
                result = await self._executed(loaded, positional, keyword, attempt)
            repeated = str(attempt.repeated) if attempt.repeated > 0 else ""
            notes = {META_OUTPUT: attempt.printed, META_NOTICE: loaded.notice, META_REPEATED: repeated}
            extra = {key: text for key, text in notes.items() if text}
            saved = raw(result, f"result of step {call.step}", extra, loaded.code.check_readable)
            if cache is not None:
                cache.put(key, saved.payload)
            return saved
        except (asyncio.CancelledError, AttemptOver):
            raise
        except Exception as error:  # noqa: BLE001 - the analyst's, of any kind
            self._leave_to_others(lacked(error, code.snapshot), code, call, attempt)
            retry = loaded.step.options.retry
            raise self._failed(error, classify(error, retry), attempt, code, counts=not retry.max_attempts) from None

    async def _executed(self, loaded: _Loaded, args: list[Any], kwargs: dict[str, Any], attempt: Attempt) -> Any:
        with attempt.output:
            token, outer = step_context.set(attempt), executing.set(loaded.code)
            outside = tape.set(attempt.tape)
            try:
                work = self._call(loaded.step, args, kwargs, attempt.call_made)
                return await _within(loaded.step.options.timeout, work, attempt)
            finally:
                tape.reset(outside)
                executing.reset(outer)
                step_context.reset(token)

    def _cached(self, call: StepCall, args: Sequence[RawValue], code: str) -> tuple[StepCache | None, str]:
        """Return where a call's result may be kept, and under which name; nowhere unless the step has a cache."""
        store = store_of(self._client.data_converter)
        if not code or store is None:
            return None, ""
        cache = StepCache(store.folder.parent / "cache")
        count = call.positional + len(call.keywords)
        named = f"{call.step} {call.positional} {call.keywords}"
        return cache, cache.key(code, named, [item.payload for item in args[1 : 1 + count]])

    def _failed(
        self, error: Exception, kind: str, attempt: Attempt, code: Code, *, counts: bool = True
    ) -> ApplicationError:
        """Return the failure of an attempt; the same error too often in a row parks, where that ``counts``."""
        attempt.record = Record(failed=True)
        if kind == RETRY and not may_pass(error):
            filename = code.snapshot.filename
            attempt.record = after_error(attempt.before, same_error(error, filename), alike_error(error, filename))
            if counts and stays(attempt.record, error):
                kind = PARK
        failure = to_failure(error, analyst_traceback(error, code.snapshot, TRACEBACK_LIMIT), kind)
        activity.heartbeat(attempt.heartbeat())  # what kg.track finished counts for the next attempt
        if (printed := attempt.printed) and isinstance(failure.details[0], dict):
            failure.details[0]["output"] = printed[-1_000:]
        return failure

    @staticmethod
    def _leave_to_others(lacks: str | None, code: Code, call: StepCall, attempt: Attempt) -> None:
        if lacks is not None:
            limited = not call.library and code.snapshot.options(call.step).retry.max_attempts is not None
            raise declined(lacks, code.snapshot, attempt.number, limited=limited) from None

    async def _call(self, step: Step[..., Any], args: list[Any], kwargs: dict[str, Any], call: StoppableCall) -> Any:
        fn = step.fn
        assert fn is not None
        if inspect.iscoroutinefunction(fn):
            # Analysts' coroutines share one loop, so that their clients can be shared, but not the worker's.
            return await self._step_loop.awaited(_contained(fn(*args, **kwargs)))
        result = await stoppable(lambda: fn(*args, **kwargs), f"kaigents step {step.name}", call)
        if inspect.iscoroutine(result):
            # An async function in disguise: behind a partial, a decorator, or a plain function that returns its call.
            return await self._step_loop.awaited(_contained(result))
        return result

    def _load(self, code: Code, call: StepCall) -> _Loaded:
        # One for all steps of the run, also those that begin at the same time: a resource is built once, and classes
        # are the same ones everywhere.
        with self._loading:
            loaded = self._loaded.get(code)
            if loaded is None:
                loaded = self._loaded[code] = load(code.snapshot, [], for_agent=False)
                # Not the built-in one, which a kernel gives to whichever cell runs at the time.
                loaded.namespace.setdefault("input", _no_input)
        place = "" if call.library else code.snapshot.step_global(call.step)
        step: Step[..., Any] = loaded.get(place) if place else named(call.step)
        assert step.fn is not None
        required = loaded.required(place) if place else frozenset[str]()
        return _Loaded(step, loaded, _differences(code), required)

    async def _code(self, digest: str) -> Code:
        code = held(digest)
        if code is None:
            # A worker that meets the run for the first time reads the code from the run's first event.
            info = activity.info()
            handle = self._client.get_workflow_handle(info.workflow_id or "", run_id=info.workflow_run_id)
            async for event in handle.fetch_history_events(page_size=1):
                payloads = event.workflow_execution_started_event_attributes.input.payloads
                [arrived] = await self._client.data_converter.decode([payloads[1]], [RawValue])
                check_admitted(arrived.payload)
                break
            code = held(digest)
        if code is None:
            raise ApplicationError(
                f"The run does not carry the code {digest[:12]} that this step wants.",
                type=SnapshotError.__name__,
            )
        return code


async def _within(timeout: Duration | None, work: Coroutine[Any, Any, Any], attempt: Attempt) -> Any:
    """Await a step's work; after its time-out it is told to stop, and waited for.

    Not a time-out of the server's: that one would begin the next attempt at once, on any other worker of the queue.
    """
    if timeout is None:
        return await work
    limit_s, loop = seconds(timeout), asyncio.get_running_loop()
    tell = loop.call_later(limit_s, attempt.tell_to_stop)
    try:
        async with asyncio.timeout(limit_s) as limit:
            attempt.limit = limit
            return await work
    except TimeoutError:
        if limit.expired():
            raise TimeoutError(f"The step took longer than its timeout of {limit_s:g} s.") from None
        raise
    finally:
        tell.cancel()


async def _contained(work: Coroutine[Any, Any, Any]) -> Any:
    try:
        return await work
    except BaseException as error:
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            raise  # the run or the worker ends
        carried = contained(error)
        raise carried from carried.__cause__


def _no_input(prompt: object = "") -> str:
    raise ForbiddenInStep(
        f"input({str(prompt)!r}) in a step: it runs where nobody sits before a keyboard. Ask in the agent, "
        "`await kg.approve(…)`, or give the answer to start() as an argument."
    )


def _note_of(pending: PendingActivityInfo) -> str:
    beat = plain(pending.heartbeat_details.payloads[0]) if pending.heartbeat_details.payloads else {}
    told = str(beat.get("note", "")) if isinstance(beat, dict) else ""
    return told or (
        f"an earlier attempt is told to stop, on {pending.last_worker_identity}; the next one begins when it has ended"
    )


def _record(details: Sequence[Any]) -> Record:
    return Record.from_wire(details[0].get("record")) if details and isinstance(details[0], dict) else Record()


def _tracked(details: Sequence[Any]) -> int:
    beat = details[0] if details and isinstance(details[0], dict) else {}
    return int(beat.get("tracked", 0))


def _differences(code: Code) -> str:
    """A warning where this worker's Python or packages differ from those the code was written with."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    differs = [f"Python {code.snapshot.python} → {here}"] if not code.snapshot.python.startswith(here) else []
    differs += code.snapshot.package_differences()
    return "Executed with other versions than it was started with: " + ", ".join(differs) if differs else ""
