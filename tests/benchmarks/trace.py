"""How long looking back takes: a short run, and a long one beside the SDK's own replay."""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

import kaigents_nb as kg
from kaigents_nb.replay import trace as traces
from kaigents_nb.replay.trace import trace_of
from kaigents_nb.runtime.connection import Connection
from kaigents_nb.runtime.interpreter import AgentWorkflow
from tests.benchmarks.bench import interleaved, plain_sandbox
from tests.benchmarks.rows import Row, paired

SHORT_STEPS = 100
LONG_STEPS = 1_660
"""Gives about 10,000 events."""


@kg.step
async def price(number):
    return {"number": number, "price": number * 1.25, "name": f"supplier {number}"}


@kg.agent
async def survey(count):
    quotes = []
    best = None
    for number in range(count):
        quote = await price(number)
        quotes.append(quote)
        if best is None or quote["price"] < best["price"]:
            best = quote
    return best


def measure_short(connection: Connection) -> Iterator[Row]:
    """Measure a run of a hundred steps."""
    run = survey.start(SHORT_STEPS)
    run.result(120)
    yield Row("trace of a 100-step run", "s", _timed(run.trace, cold=True), at_most=0.5)
    at_s = min(_timed(lambda: run.at(step="price", occurrence=50).variables) for _ in range(3))
    yield Row("run.at() after the first trace", "ms", at_s * 1e3, at_most=50)


def measure_long(connection: Connection, steps: int = LONG_STEPS) -> Iterator[Row]:
    """Measure a long history, against the SDK's own replay of it."""
    run = survey.start(steps)
    run.result(600)
    history = connection.run(lambda: fetch(connection, run.id))
    traced, plain = interleaved(
        lambda: _timed(lambda: trace_of(connection, run.id), cold=True),
        lambda: _timed(lambda: connection.run(lambda: plain_replay(connection, history))),
        3,
        warm=False,
    )
    events = f"{len(history.events):,} events"
    yield paired(f"trace of {events}", "s", traced, plain, 1.5, "raw: Replayer on the same history, fetched before")
    yield Row("its DataFrame, once traced", "s", _timed(run.trace))
    at_s = min(_timed(lambda: run.at(step="price", occurrence=steps - 100).variables) for _ in range(3))
    yield Row("run.at() in it", "ms", at_s * 1e3, at_most=50)
    tracemalloc.start()
    traces._kept.clear()
    size_bytes = trace_of(connection, run.id).size_bytes
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    yield Row("memory of its values, as counted", "MB", size_bytes / 2**20, at_most=256)
    yield Row("memory held after it / at its peak", "MB", held / 2**20, at_most=256, note=f"peak {peak / 2**20:.0f} MB")


async def fetch(connection: Connection, run_id: str) -> WorkflowHistory:
    """Return the history of a run."""
    handle = connection.client.get_workflow_handle(run_id)
    return WorkflowHistory(run_id, [event async for event in handle.fetch_history_events(page_size=1000)])


async def plain_replay(connection: Connection, history: WorkflowHistory) -> None:
    """Replay as the SDK does by itself."""
    replayer = Replayer(
        workflows=[AgentWorkflow],
        workflow_runner=plain_sandbox(),
        namespace=connection.namespace,
        data_converter=connection.client.data_converter,
    )
    await replayer.replay_workflow(history)


def _timed(work: Callable[[], Any], *, cold: bool = False) -> float:
    if cold:
        traces._kept.clear()
    gc.collect()
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
