"""From a person's decision to the step after the gate."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any

from temporalio.client import WorkflowHandle

from tests.benchmarks import agents, raw
from tests.benchmarks.bench import Bench, interleaved
from tests.benchmarks.rows import Row, paired

_QUIET_S = 0.1
"""A person takes longer than this; the server has finished what the gate gave it to do."""


def measure(bench: Bench) -> Iterator[Row]:
    answers: tuple[list[float], list[float]] = ([], [])

    def ours() -> float:
        run = agents.gated.start()
        run.wait_for_gate(60)
        time.sleep(_QUIET_S)
        began = time.time()
        run.approve()
        answers[0].append((time.time() - began) * 1e3)
        return (run.result(60) - began) * 1e3

    def plain() -> float:
        handle = bench.raw(_waiting(bench))
        time.sleep(_QUIET_S)
        began = time.time()
        decision = {"id": uuid.uuid4().hex, "gate": "1", "approved": True, "choice": "approve", "by": "ann"}
        bench.raw(handle.execute_update(raw.RawGated.decide, decision))
        answers[1].append((time.time() - began) * 1e3)
        return (bench.raw(handle.result()) - began) * 1e3

    resumed = interleaved(ours, plain, bench.rounds(9, 45))
    yield paired("decision → next step begins", "ms", *resumed, 1.2)
    yield paired("decision → it is confirmed", "ms", answers[0][1:], answers[1][1:])


async def _waiting(bench: Bench) -> WorkflowHandle[Any, Any]:
    handle = await bench.start_raw(raw.RawGated.run, id=f"raw-{uuid.uuid4()}")
    while (await handle.describe()).history_length < 4:
        pass
    return handle
