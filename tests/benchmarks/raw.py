"""The raw SDK's side: what somebody would write with temporalio alone, doing the same as ``agents.py``."""

import asyncio
import time
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow

_TIMEOUT = timedelta(minutes=1)


@activity.defn
async def raw_noop(number: int) -> int:
    return number


@activity.defn
def raw_noop_sync(number: int) -> int:
    return number


@activity.defn
async def raw_clock() -> float:
    return time.time()


@workflow.defn
class RawInSequence:
    @workflow.run
    async def run(self, count: int) -> None:
        for number in range(count):
            await workflow.execute_activity(raw_noop, number, start_to_close_timeout=_TIMEOUT)


@workflow.defn
class RawInSequenceSync:
    @workflow.run
    async def run(self, count: int) -> None:
        for number in range(count):
            await workflow.execute_activity(raw_noop_sync, number, start_to_close_timeout=_TIMEOUT)


@workflow.defn
class RawAtOnce:
    @workflow.run
    async def run(self, count: int) -> None:
        calls = [
            workflow.execute_activity(raw_noop, number, start_to_close_timeout=_TIMEOUT) for number in range(count)
        ]
        await asyncio.gather(*calls)


@workflow.defn
class RawClocked:
    @workflow.run
    async def run(self) -> float:
        return await workflow.execute_activity(raw_clock, start_to_close_timeout=_TIMEOUT)


@workflow.defn
class RawGated:
    def __init__(self) -> None:
        self._decision: dict[str, Any] | None = None

    @workflow.run
    async def run(self) -> float:
        await workflow.wait_condition(lambda: self._decision is not None)
        return await workflow.execute_activity(raw_clock, start_to_close_timeout=_TIMEOUT)

    @workflow.update
    def decide(self, decision: dict[str, Any]) -> dict[str, Any]:
        self._decision = decision
        return decision


WORKFLOWS = [RawInSequence, RawInSequenceSync, RawAtOnce, RawClocked, RawGated]
ACTIVITIES = [raw_noop, raw_noop_sync, raw_clock]
