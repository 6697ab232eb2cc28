"""From a person's decision to the step after the gate.

The raw SDK's workflow waits in silence; ours says in its memo and search attribute what it waits for, so that an inbox
sees it without a worker. A second raw workflow says the same: what is left of the difference is ours, not the server's.
"""

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
    said: list[float] = []

    def ours() -> float:
        run = agents.gated.start()
        run.wait_for_gate(60)
        time.sleep(_QUIET_S)
        began = time.time()
        run.approve()
        answers[0].append((time.time() - began) * 1e3)
        return (run.result(60) - began) * 1e3

    def plain() -> float:
        took, confirmed = _decided(bench, said=False)
        answers[1].append(confirmed)
        said.append(_decided(bench, said=True)[0])
        return took

    resumed = interleaved(ours, plain, bench.rounds(9, 45))
    yield paired("decision → next step begins", "ms", *resumed, 1.2)
    yield paired("… raw with memo and attribute", "ms", resumed[0], said[1:], 1.05)
    yield paired("decision → it is confirmed", "ms", answers[0][1:], answers[1][1:])


def _decided(bench: Bench, *, said: bool) -> tuple[float, float]:
    """Milliseconds until the next step of a raw workflow begins, and until the decision is confirmed."""
    handle = bench.raw(_waiting(bench, said))
    time.sleep(_QUIET_S)
    began = time.time()
    decision = {"id": uuid.uuid4().hex, "gate": "1", "approved": True, "choice": "approve", "by": "ann"}
    bench.raw(handle.execute_update(raw.RawGated.decide, decision))
    confirmed = (time.time() - began) * 1e3
    return (bench.raw(handle.result()) - began) * 1e3, confirmed


async def _waiting(bench: Bench, said: bool) -> WorkflowHandle[Any, Any]:
    handle = await bench.start_raw(raw.RawGated.run, said, id=f"raw-{uuid.uuid4()}")
    while (await handle.describe()).history_length < (6 if said else 4):
        pass
    return handle
