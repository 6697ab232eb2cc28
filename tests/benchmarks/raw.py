"""The raw SDK's side: what somebody would write with temporalio alone, doing the same as ``agents.py``."""

import asyncio
import time
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.common import SearchAttributeKey

with workflow.unsafe.imports_passed_through():
    import openai

    from kaigents_nb.server.attribute import STATE_ATTRIBUTE

_STATE = SearchAttributeKey.for_keyword(STATE_ATTRIBUTE)
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
    """With ``said``, an inbox can see what it waits for: in its memo and search attribute, as with ours."""

    def __init__(self) -> None:
        self._decision: dict[str, Any] | None = None

    @workflow.run
    async def run(self, said: bool = False) -> float:
        if said:
            self._say("waiting", {"question": "Go on?", "options": []})
        await workflow.wait_condition(lambda: self._decision is not None)
        if said:
            self._say("running", None)
        return await workflow.execute_activity(raw_clock, start_to_close_timeout=_TIMEOUT)

    def _say(self, state: str, gate: dict[str, Any] | None) -> None:
        workflow.upsert_memo({"gate": gate})
        workflow.upsert_search_attributes([_STATE.value_set(state)])

    @workflow.update
    def decide(self, decision: dict[str, Any]) -> dict[str, Any]:
        self._decision = decision
        return decision


@activity.defn
async def raw_chat(url: str, name: str, prompt: str) -> str:
    answer = await openai_client(url).responses.create(model=name, input=prompt)
    return answer.output_text


@workflow.defn
class RawChats:
    """The bare client in one activity a request."""

    @workflow.run
    async def run(self, url: str, name: str, count: int) -> None:
        for number in range(count):
            await workflow.execute_activity(
                raw_chat, args=[url, name, f"Question {number}"], start_to_close_timeout=_TIMEOUT
            )


_clients: dict[str, openai.AsyncOpenAI] = {}


def openai_client(url: str) -> openai.AsyncOpenAI:
    """Return the bare client, with its connections kept."""
    return _clients.setdefault(url, openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0))


WORKFLOWS = [RawInSequence, RawInSequenceSync, RawAtOnce, RawClocked, RawGated, RawChats]
ACTIVITIES = [raw_noop, raw_noop_sync, raw_clock, raw_chat]
