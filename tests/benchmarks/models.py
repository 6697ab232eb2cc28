"""What durable requests of a model cost beside the bare client, against a scripted model of 20 ms on this machine."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pandas as pd

import kaigents_nb as kg
from tests.benchmarks import raw
from tests.benchmarks.bench import Bench, interleaved
from tests.benchmarks.rows import Row, paired
from tests.fake_model import FakeModel, served

_ANSWERS = "def answer(request):\n    return {'say': 'x' * 4000, 'delay_s': 0.02}"
_LIMIT = 50


@kg.agent
async def chats(model, count):
    for number in range(count):
        await kg.chat(f"Question {number}", model=model)


@kg.agent
async def rows(frame, model):
    table = await kg.chat_rows(frame, "{text}", model=model, limit=_LIMIT)
    return int((table["status"] == "done").sum())


def measure(bench: Bench) -> Iterator[Row]:
    with served(bench.data_dir) as models:
        fake = models(_ANSWERS)
        model = fake.model(api="responses", price={"input": 1, "output": 1})
        count = 10
        ours, plain = interleaved(
            lambda: _timed(lambda: chats.start(model, count).result(120)) / count * 1e3,
            lambda: _timed(lambda: bench.raw(_raw(bench, fake, count))) / count * 1e3,
            bench.rounds(3, 15),
        )
        yield paired("kg.chat, one after the other", "ms", ours, plain, 1.15, "the model takes 20 ms")
        yield _many(model, 10 if bench.quick else 50)
        yield _history(bench, model, 20 if bench.quick else 100)
        wide = 500 if bench.quick else 2_000
        frame = pd.DataFrame({"text": [f"row {number}" for number in range(wide)]})
        ours, plain = interleaved(
            lambda: _timed(lambda: rows.start(frame, model).result(300)) / wide * 1e3,
            lambda: _timed(lambda: bench.raw(_bare(fake, wide))) / wide * 1e3,
            bench.rounds(2, 3),
        )
        yield paired("kg.chat_rows, a row", "ms", ours, plain, 1.25, f"{wide:,} rows, {_LIMIT} at a time")


def _many(model: kg.Model, agents: int) -> Row:
    began = time.perf_counter()
    for run in [chats.start(model, 10) for _ in range(agents)]:
        run.result(300)
    each = (time.perf_counter() - began) / (10 * agents) * 1e3
    return Row(f"{agents} agents × 10 requests, a request", "ms", each)


def _history(bench: Bench, model: kg.Model, count: int) -> Row:
    run = chats.start(model, count)
    run.result(300)
    handle = run._connection.client.get_workflow_handle(run.id)
    described: Any = run._connection.run(handle.describe)
    size = described.raw_description.workflow_execution_info.history_size_bytes
    return Row("history of a request with 4 KB answered", "KB", size / count / 1e3, at_most=20)


def _timed(work: Any) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


async def _raw(bench: Bench, fake: FakeModel, count: int) -> None:
    handle = await bench.start_raw(raw.RawChats.run, fake.url, fake.name, count, id=f"raw-chat-{uuid.uuid4()}")
    await handle.result()


async def _bare(fake: FakeModel, wide: int) -> None:
    free = asyncio.Semaphore(_LIMIT)
    client = raw.openai_client(fake.url)

    async def one(number: int) -> None:
        async with free:
            await client.responses.create(model=fake.name, input=f"row {number}")

    await asyncio.gather(*(one(number) for number in range(wide)))
