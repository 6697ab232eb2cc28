"""From ``fork()`` to the first step that is executed, over big recorded results."""

from __future__ import annotations

import time
from collections.abc import Iterator
from statistics import median

from tests.benchmarks import agents
from tests.benchmarks.bench import Bench
from tests.benchmarks.rows import Row

_FRAMES = 10
_ROWS = 4_000_000
_AIM_S = 3.0


def measure(bench: Bench) -> Iterator[Row]:
    run = agents.over_columns.start(_FRAMES, _ROWS)
    run.result(300)
    took, tasks = [], 0
    for _ in range(bench.rounds(3, 7)):
        began = time.time()
        fork = run.fork(at="began")
        live, _ = fork.result(120)
        took.append(live - began)
        tasks += int((fork.events()["type"] == "workflow_task_failed").sum())
    note = f"failed tasks: {tasks}"
    yield Row(f"fork over {_FRAMES} frames of {_ROWS * 8 // 10**6} MB", "s", median(took), at_most=_AIM_S, note=note)
    yield Row("the slowest of them", "s", max(took))
