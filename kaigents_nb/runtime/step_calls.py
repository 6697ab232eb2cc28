"""The step calls of one run: started and retried by Temporal, parked, mended and started again by us."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import replace
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError
from temporalio.workflow import ActivityCancellationType

from kaigents_nb.authoring.context import agent_context
from kaigents_nb.authoring.durations import seconds
from kaigents_nb.authoring.library_steps import is_library_step
from kaigents_nb.authoring.step import Step
from kaigents_nb.runtime.budget import InFlightBudget, message_bytes
from kaigents_nb.runtime.code import Code
from kaigents_nb.runtime.failures import PARK, details, headline
from kaigents_nb.runtime.lacking import ELSEWHERE, wait_s
from kaigents_nb.runtime.protocol import HEARTBEAT_TIMEOUT, StepCall, to_wire

_FOREVER = timedelta(days=3650)
"""Temporal wants an end for an attempt. A step's own timeout is its worker's to keep, who knows when it has ended."""


class StepCalls:
    """Executed in the workflow, so everything here replays. ``parked`` is what waits for a mend, by call."""

    def __init__(self, publish: Callable[[], None]) -> None:
        self.code: Code | None = None  # of the run, known when it begins
        self.parked: dict[str, dict[str, Any]] = {}
        self._publish = publish
        self._in_flight: dict[str, workflow.ActivityHandle[RawValue]] = {}
        self._renewed: set[str] = set()  # calls to start again, after a mend or "retry now"
        self._mended: dict[str, Code] = {}  # by step name
        self._budget = InFlightBudget()

    def mend(self, steps: Iterable[str], code: Code) -> None:
        """Execute these steps with other code from now on."""
        self._mended.update(dict.fromkeys(steps, code))

    def retry_now(self, calls: Iterable[str]) -> None:
        """Start calls again that wait for a retry or are parked."""
        for call in calls:
            if call in self._in_flight:
                self._renewed.add(call)
                self._in_flight[call].cancel()
            elif call in self.parked:
                self._renewed.add(call)

    async def perform(self, call: str, step: Step[..., Any], payloads: list[RawValue], header: StepCall) -> Payload:
        """Run one call to its end and return its result, not decoded.

        Raises
        ------
        ActivityError
            With the step's own error as its cause.
        """
        start, made, declined, cancelled = 0, 0, 0, _cancelled()
        sizes = [len(item.payload.data) for item in payloads]
        while True:
            start += 1
            mended = self._mended.get(step.name)
            size = message_bytes([*sizes, len(mended.packed)] if mended else sizes)
            await self._budget.enter(size)
            try:
                with _for_any_worker(declined > 0):
                    handle = self._start_activity(call, start, step, payloads, header, made)
                self._in_flight[call] = handle
                try:
                    result = await handle
                    break
                finally:
                    self._budget.leave(size)
            except ActivityError as error:
                if call in self._renewed and _cancelled() == cancelled:
                    continue
                if isinstance(error.cause, CancelledError):
                    raise asyncio.CancelledError from None
                told = details(error.cause)
                if told.get("do") == ELSEWHERE:
                    made, declined = made + int(told["made"]), declined + 1
                elif told.get("do") == PARK:
                    await self._park(call, step.name, error.cause)
                else:
                    raise
            finally:
                self._in_flight.pop(call, None)
                self._renewed.discard(call)
            if declined:
                # Only where attempts are limited, and this worker's is none of them; else the server asks the next.
                await _beside_the_agent(workflow.sleep(wait_s(declined)))
        return result.payload

    def _start_activity(
        self, call: str, start: int, step: Step[..., Any], payloads: list[RawValue], header: StepCall, made: int
    ) -> workflow.ActivityHandle[RawValue]:
        mended = self._mended.get(step.name)
        code = mended or self.code
        assert code is not None
        options = step.options if mended is None else code.snapshot.options(step.name)
        retry = options.retry
        wire = replace(
            header, code=code.snapshot.digest, carries_code=mended is not None, library=is_library_step(step)
        )
        handle: workflow.ActivityHandle[RawValue] = workflow.start_activity(
            step.name,
            args=[to_wire(wire), *payloads, *([code.payload()] if mended else [])],
            activity_id=call if start == 1 else f"{call}.{start}",
            result_type=RawValue,
            start_to_close_timeout=_FOREVER,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            retry_policy=RetryPolicy(
                initial_interval=timedelta(seconds=seconds(retry.first_wait)),
                maximum_interval=timedelta(seconds=seconds(retry.max_wait)),
                backoff_coefficient=retry.backoff,
                maximum_attempts=max(1, retry.max_attempts - made) if retry.max_attempts else 0,
            ),
            cancellation_type=ActivityCancellationType.TRY_CANCEL,
        )
        return handle

    async def _park(self, call: str, name: str, cause: BaseException | None) -> None:
        message = headline(cause) if isinstance(cause, ApplicationError) else str(cause)
        self.parked[call] = {"call": call, "step": name, "error": message[:500]}
        self._publish()
        try:
            await workflow.wait_condition(lambda: call in self._renewed)
        except asyncio.CancelledError:
            self._unpark(call)
            raise
        self._unpark(call)

    def _unpark(self, call: str) -> None:
        del self.parked[call]
        self._publish()


def _beside_the_agent(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Start what is no task or timer of the agent's own, so that it takes none of their places."""
    context = copy_context()
    context.run(agent_context.set, None)
    return context.run(asyncio.create_task, work)


@contextmanager
def _for_any_worker(wanted: bool) -> Iterator[None]:
    """Let the server choose who makes the calls that are started meanwhile: it would hand them to this worker."""
    runtime: Any = workflow._Runtime.current()  # the SDK has no option of a call for it
    before = runtime._disable_eager_activity_execution
    runtime._disable_eager_activity_execution = before or wanted
    try:
        yield
    finally:
        runtime._disable_eager_activity_execution = before


def _cancelled() -> int:
    """How often the current task was asked to stop."""
    task = asyncio.current_task()
    return task.cancelling() if task is not None else 0
