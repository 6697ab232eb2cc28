"""How long looking back takes; each function returns ``(name, value, unit, target)`` and asserts nothing."""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

import kaigents_nb as kg
from kaigents_nb.history import trace as traces
from kaigents_nb.history.trace import trace_of
from kaigents_nb.runtime.connection import Connection
from kaigents_nb.runtime.interpreter import AgentWorkflow
from kaigents_nb.runtime.sandbox import sandbox

Measure = tuple[str, float, str, str]

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


def measure(connection: Connection) -> list[Measure]:
    """Return all measures; takes about a minute, nearly all of it to make the long history."""
    return [*measure_short(connection), *measure_long(connection)]


def measure_short(connection: Connection) -> list[Measure]:
    """Measure a run of a hundred steps."""
    run = survey.start(SHORT_STEPS)
    run.result(120)
    first_s = _timed(run.trace, cold=True)
    at_s = min(_timed(lambda: run.at(step="price", occurrence=50).variables) for _ in range(3))
    return [
        ("trace of a 100-step run", first_s, "s", "< 0.5"),
        ("run.at() after the first trace", at_s * 1e3, "ms", "< 50"),
    ]


def measure_long(connection: Connection) -> list[Measure]:
    """Measure a history of about 10,000 events, against the SDK's own replay of it."""
    run = survey.start(LONG_STEPS)
    run.result(600)
    history = connection.run(lambda: fetch(connection, run.id))
    plain_s = min(_timed(lambda: connection.run(lambda: plain_replay(connection, history))) for _ in range(2))
    trace_s = min(_timed(lambda: trace_of(connection, run.id), cold=True) for _ in range(2))
    table_s = _timed(run.trace)
    at_s = min(_timed(lambda: run.at(step="price", occurrence=1500).variables) for _ in range(3))
    tracemalloc.start()
    traces._kept.clear()
    size_bytes = trace_of(connection, run.id).size_bytes
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    events = len(history.events)
    return [
        (f"plain replay of {events:,} events", plain_s, "s", ""),
        (f"trace of {events:,} events, fetched and replayed", trace_s, "s", ""),
        ("trace ÷ plain replay", trace_s / plain_s, "×", "< 1.5"),
        ("its DataFrame, once traced", table_s, "s", ""),
        ("run.at() in it", at_s * 1e3, "ms", "< 50"),
        ("memory of its values, as counted", size_bytes / 2**20, "MB", "< 256"),
        ("memory held after it, as measured", held / 2**20, "MB", "< 256"),
    ]


async def fetch(connection: Connection, run_id: str) -> WorkflowHistory:
    """Return the history of a run."""
    handle = connection.client.get_workflow_handle(run_id)
    return WorkflowHistory(run_id, [event async for event in handle.fetch_history_events(page_size=1000)])


async def plain_replay(connection: Connection, history: WorkflowHistory) -> None:
    """Replay as the SDK does by itself."""
    replayer = Replayer(
        workflows=[AgentWorkflow],
        workflow_runner=sandbox(),
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


if __name__ == "__main__":
    for name, value, unit, target in measure(kg.connect()):
        print(f"{name:50} {value:10.3f} {unit:3} {target}")
