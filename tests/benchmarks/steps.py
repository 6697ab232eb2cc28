"""What a step costs: one after the other, and many at once."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

from tests.benchmarks import agents, raw
from tests.benchmarks.bench import Bench, interleaved
from tests.benchmarks.rows import Row, paired


def measure(bench: Bench) -> Iterator[Row]:
    count = 20 if bench.quick else 30
    for name, agent, workflow in (
        ("async", agents.in_sequence, raw.RawInSequence),
        ("sync", agents.in_sequence_sync, raw.RawInSequenceSync),
    ):
        ours, plain = interleaved(
            lambda: _ours(bench, agent, count) / count * 1e3,  # noqa: B023 - called at once
            lambda: _raw(bench, workflow, count) / count * 1e3,  # noqa: B023
            bench.rounds(5, 25),
        )
        yield paired(f"sequential {name} step", "ms", ours, plain, 1.10, f"runs of {count}")
    wide = 200
    ours, plain = interleaved(
        lambda: _ours(bench, agents.at_once, wide, wide),
        lambda: _raw(bench, raw.RawAtOnce, wide),
        bench.rounds(3, 9),
    )
    row = paired("step of 200 at once", "ms", [s / wide * 1e3 for s in ours], [s / wide * 1e3 for s in plain], 1.10)
    yield row
    assert row.raw is not None
    yield Row("concurrent steps per second", "/s", 1e3 / row.ours, 1e3 / row.raw, row.raw / row.ours)


def _ours(bench: Bench, agent: Any, *args: int) -> float:
    run = agent.start(*args)
    run.result(120)
    return bench.lasted(run.id)


def _raw(bench: Bench, workflow: Any, *args: int) -> float:
    async def run() -> str:
        handle = await bench.start_raw(workflow.run, *args, id=f"raw-{uuid.uuid4()}")
        await handle.result()
        return handle.id

    return bench.lasted(bench.raw(run()))
