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
from dataclasses import dataclass, field
from typing import Any

from temporalio import activity
from temporalio.client import Client
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from kaigents_nb.authoring.context import step_context
from kaigents_nb.authoring.step import Step
from kaigents_nb.errors import SnapshotError
from kaigents_nb.runtime.attempts import Attempts, Key
from kaigents_nb.runtime.code import Code, check_admitted, held
from kaigents_nb.runtime.executions import Executions
from kaigents_nb.runtime.failures import PARK, TRACEBACK_LIMIT, classify, to_failure
from kaigents_nb.runtime.lacking import declined, first_lacked, lacked
from kaigents_nb.runtime.late import HAND_OVER, check_wanted
from kaigents_nb.runtime.library_steps import named
from kaigents_nb.runtime.loop import LoopThread, contained, in_thread
from kaigents_nb.runtime.output import Output
from kaigents_nb.runtime.payloads import plain, raw, read_arguments
from kaigents_nb.runtime.protocol import META_NOTICE, META_OUTPUT, StepCall, from_wire
from kaigents_nb.runtime.signature import hints, positional_names
from kaigents_nb.snapshot.load import LoadedCode, load
from kaigents_nb.snapshot.settings import apply_settings
from kaigents_nb.snapshot.tracebacks import analyst_traceback

_HEARTBEAT_S = 1.0
_TIMEOUT_MARGIN_S = 1.0
"""So exact are the server's time-outs and ours."""


@dataclass
class Attempt:
    """One attempt of one call; as ``StepContext`` it answers what the step's code asks for."""

    run_id: str
    call: str
    number: int
    idempotency_key: str
    tracked: int = 0
    output: Output = field(default_factory=Output)
    progress: dict[str, Any] | None = None

    def report(self, done: float, total: float | None, note: str, *, tracked: int | None = None) -> None:
        """Keep progress for the next heartbeat."""
        self.progress = {
            "done": float(done),
            "total": None if total is None else float(total),
            "note": str(note),
        }
        if tracked is not None:
            self.tracked = tracked

    def heartbeat(self) -> dict[str, Any]:
        """What the server keeps of this attempt while it runs."""
        beat: dict[str, Any] = {"output": self.output.text[-2_000:]}
        if self.progress:
            beat["progress"] = self.progress
        if self.tracked:
            beat["tracked"] = self.tracked
        return beat


@dataclass(frozen=True)
class _Loaded:
    """A step ready to be called, with what is looked up once and not for each attempt."""

    step: Step[..., Any]
    code: LoadedCode
    annotations: dict[str, Any]
    parameters: tuple[str, ...]
    notice: str
    required: frozenset[str]
    """Modules that it can't do without."""


class _Heartbeats:
    """Tells the server every second that an attempt is alive: by a timer, for most are over before the first is due."""

    def __init__(self, attempts: Attempts, key: Key) -> None:
        self._attempts = attempts
        self._key = key
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(_HEARTBEAT_S, self._beat)

    def _beat(self) -> None:
        self._timer = self._loop.call_later(_HEARTBEAT_S, self._beat)
        attempt = self._attempts.attempt(self._key)
        activity.heartbeat(attempt.heartbeat() if attempt else {})

    def stop(self) -> None:
        """The attempt is over."""
        self._timer.cancel()


class StepRunner:
    """Executes steps for one worker."""

    def __init__(self, client: Client, step_loop: LoopThread, attempts: Attempts) -> None:
        self._client = client
        self._step_loop = step_loop
        self._attempts = attempts
        # As long as the code is in use: a run between two steps loses neither its classes nor its resources.
        self._loaded: weakref.WeakKeyDictionary[Code, LoadedCode] = weakref.WeakKeyDictionary()
        self._loading = threading.Lock()
        self._steps: weakref.WeakKeyDictionary[Code, dict[str, _Loaded]] = weakref.WeakKeyDictionary()
        self._executions = Executions(client)

    @activity.defn(dynamic=True)
    async def run(self, args: Sequence[RawValue]) -> RawValue:
        """Execute one attempt, or join the one that this process has begun for the same call."""
        info = activity.info()
        key = (info.workflow_id or "", info.workflow_run_id or "", info.activity_id)
        began = time.monotonic()
        task = self._executions.joined(key, lambda: self._execute(args))
        heartbeats = _Heartbeats(self._attempts, key)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            details = activity.cancellation_details()
            longest_s = info.start_to_close_timeout.total_seconds() if info.start_to_close_timeout else math.inf
            lost = details is not None and (details.not_found or details.timed_out) and not details.cancel_requested
            if lost and time.monotonic() - began < longest_s - _TIMEOUT_MARGIN_S:
                self._executions.give_up(key)
            else:
                task.cancel()
            if details is not None and details.cancel_requested:
                raise
            # The worker stops, or the run has ended meanwhile. Another worker takes over at once if there is one.
            raise ApplicationError(
                "The worker was stopped.",
                type="WorkerStopped",
                next_retry_delay=HAND_OVER,
                category=ApplicationErrorCategory.BENIGN,
            ) from None
        finally:
            heartbeats.stop()

    async def _execute(self, args: Sequence[RawValue]) -> RawValue:
        info = activity.info()
        call = from_wire(StepCall, plain(args[0].payload))
        attempt = Attempt(
            run_id=info.workflow_id or "",
            call=call.call,
            number=info.attempt,
            idempotency_key=f"{info.workflow_id}/{call.call}",
            tracked=_tracked(info.heartbeat_details),
        )
        key = (info.workflow_id or "", info.workflow_run_id or "", info.activity_id)
        self._attempts.started(key, attempt)
        try:
            return await self._attempt(call, args, attempt)
        finally:
            self._attempts.ended(key)

    async def _attempt(self, call: StepCall, args: Sequence[RawValue], attempt: Attempt) -> RawValue:
        code = await self._code(call.code)
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
            raise to_failure(error, analyst_traceback(error, code.snapshot, TRACEBACK_LIMIT), PARK) from None
        self._leave_to_others(first_lacked(loaded.required, code.snapshot), code, call, attempt)
        await check_wanted(self._client, attempt.heartbeat())
        try:
            positional, keyword = read_arguments(
                [item.payload for item in args[1:]],
                call.positional,
                call.keywords,
                loaded.code.resolve,
                loaded.annotations,
                loaded.parameters,
            )
            with attempt.output:
                token = step_context.set(attempt)
                try:
                    result = await self._call(loaded.step, positional, keyword)
                finally:
                    step_context.reset(token)
            notes = {META_OUTPUT: attempt.output.text, META_NOTICE: loaded.notice}
            return raw(result, f"result of step {call.step}", {k: v for k, v in notes.items() if v})
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - the analyst's, of any kind
            self._leave_to_others(lacked(error, code.snapshot), code, call, attempt)
            failure = to_failure(
                error,
                analyst_traceback(error, code.snapshot, TRACEBACK_LIMIT),
                classify(error, loaded.step.options.retry),
            )
            activity.heartbeat(attempt.heartbeat())  # what kg.track finished counts for the next attempt
            if attempt.output.text and isinstance(failure.details[0], dict):
                failure.details[0]["output"] = attempt.output.text[-1_000:]
            raise failure from None

    @staticmethod
    def _leave_to_others(lacks: str | None, code: Code, call: StepCall, attempt: Attempt) -> None:
        if lacks is not None:
            limited = not call.library and code.snapshot.options(call.step).retry.max_attempts is not None
            raise declined(lacks, code.snapshot, attempt.number, limited=limited) from None

    async def _call(self, step: Step[..., Any], args: list[Any], kwargs: dict[str, Any]) -> Any:
        fn = step.fn
        assert fn is not None
        if inspect.iscoroutinefunction(fn):
            # Analysts' coroutines share one loop, so that their clients can be shared, but not the worker's.
            return await self._step_loop.awaited(_contained(fn(*args, **kwargs)))
        result = await in_thread(lambda: fn(*args, **kwargs), f"kaigents step {step.name}")
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
        place = "" if call.library else code.snapshot.step_global(call.step)
        step: Step[..., Any] = loaded.get(place) if place else named(call.step)
        assert step.fn is not None
        required = loaded.required(place) if place else frozenset[str]()
        return _Loaded(step, loaded, hints(step.fn), positional_names(step.fn), _differences(code), required)

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


async def _contained(work: Coroutine[Any, Any, Any]) -> Any:
    try:
        return await work
    except BaseException as error:
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            raise  # the run or the worker ends
        carried = contained(error)
        raise carried from carried.__cause__


def _tracked(details: Sequence[Any]) -> int:
    beat = details[0] if details and isinstance(details[0], dict) else {}
    return int(beat.get("tracked", 0))


def _differences(code: Code) -> str:
    """A warning where this worker's Python or packages differ from those the code was written with."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    differs = [f"Python {code.snapshot.python} → {here}"] if not code.snapshot.python.startswith(here) else []
    differs += code.snapshot.package_differences()
    return "Executed with other versions than it was started with: " + ", ".join(differs) if differs else ""
