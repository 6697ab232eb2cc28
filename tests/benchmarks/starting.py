"""How long a start takes: until the first step begins, and until the result of one step is back."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator

from tests.benchmarks import agents, raw
from tests.benchmarks.bench import Bench, interleaved
from tests.benchmarks.rows import Row, paired


def measure(bench: Bench) -> Iterator[Row]:
    begins: tuple[list[float], list[float]] = ([], [])

    def ours() -> float:
        began = time.time()
        first = agents.clocked.start().result(60)
        begins[0].append((first - began) * 1e3)
        return (time.time() - began) * 1e3

    def plain() -> float:
        began = time.time()
        first = bench.raw(_raw(bench))
        begins[1].append((first - began) * 1e3)
        return (time.time() - began) * 1e3

    results = interleaved(ours, plain, bench.rounds(9, 25))
    # The rounds without the warming one; each ran in both orders, but pairs belong together.
    yield paired(
        "start → first step begins", "ms", begins[0][1:], begins[1][1:], note="ours freezes and signs the code"
    )
    yield paired("start → result of a one-step run", "ms", *results)


async def _raw(bench: Bench) -> float:
    handle = await bench.start_raw(raw.RawClocked.run, id=f"raw-{uuid.uuid4()}")
    first: float = await handle.result()
    return first
