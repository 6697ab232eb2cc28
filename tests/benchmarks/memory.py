"""What a suspended run costs in the worker's memory, and what one that has ended leaves there."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from temporalio.client import WorkflowHandle

from kaigents_nb.runtime.queue import task_queue
from tests.benchmarks import agents, raw
from tests.benchmarks.bench import Bench, python
from tests.benchmarks.rows import Row

_WARM = 30
_SETTLE_S = 2.0
_EVERY = 50
_AIM_KEPT_KB = 10.0


def measure(bench: Bench) -> Iterator[Row]:
    count = 200 if bench.quick else 700
    ours, plain = _ours(bench, count), _raw(bench, count)
    yield Row(
        "memory per suspended run", "KB", ours, plain, ours / plain, at_most=150, note=f"{count} runs in one worker"
    )
    yield from _editions(bench, 150 if bench.quick else 500)


def _editions(bench: Bench, count: int) -> Iterator[Row]:
    """Runs of different code, one after the other, through one worker: what does it keep of each?"""
    with _environment(JPY_SESSION_NAME=f"memory-{uuid.uuid4().hex[:8]}.ipynb", KAIGENTS_WORKER="off"):

        def run_ours(number: int) -> None:
            agents.EDITION = number
            assert agents.of_an_edition.start().result(60) == number

        ours = _resident_while(bench, "ours", task_queue(), run_ours, count)
    queue = f"raw-memory-{uuid.uuid4().hex[:8]}"

    def run_raw(number: int) -> None:
        async def one() -> None:
            handle = await bench.start_raw(raw.RawClocked.run, id=f"raw-{uuid.uuid4()}", queue=queue)
            await handle.result()

        bench.raw(one())

    plain = _resident_while(bench, "raw", queue, run_raw, count)
    for runs, resident in ours.items():
        note = "each of other code" if runs == _EVERY else ""
        yield Row(f"worker after {runs} runs", "MB", resident / 1024, plain[runs] / 1024, note=note)
    middle = count // _EVERY // 2 * _EVERY
    each = [(sides[count] - sides[middle]) / (count - middle) for sides in (ours, plain)]
    yield Row(
        "kept of each run", "KB", *each, at_most=_AIM_KEPT_KB, note=f"from {middle} to {count}; raw: the same workflow"
    )


def _resident_while(bench: Bench, side: str, queue: str, run: Callable[[int], None], count: int) -> dict[int, int]:
    """Resident KB of one worker, by how many runs have gone through it."""
    found = {}
    with python("-m", "tests.benchmarks.waiting_worker", side, queue, bench.connection.address) as worker:
        for number in range(1, count + 1):
            run(number)
            if number % _EVERY == 0:
                found[number] = _resident_kb(worker.pid)
    return found


def _ours(bench: Bench, count: int) -> float:
    # A queue of its own, which this process does not serve.
    with _environment(JPY_SESSION_NAME=f"memory-{uuid.uuid4().hex[:8]}.ipynb", KAIGENTS_WORKER="off"):

        def start(number: int) -> list[str]:
            return [agents.gated.start().id for _ in range(number)]

        return _growth_kb(bench, "ours", task_queue(), start, count)


def _raw(bench: Bench, count: int) -> float:
    queue = f"raw-memory-{uuid.uuid4().hex[:8]}"

    def start(number: int) -> list[str]:
        async def all_of_them() -> list[WorkflowHandle]:
            ids = [f"raw-{uuid.uuid4()}" for _ in range(number)]
            return [await bench.start_raw(raw.RawGated.run, id=id, queue=queue) for id in ids]

        return [handle.id for handle in bench.raw(all_of_them())]

    return _growth_kb(bench, "raw", queue, start, count)


def _growth_kb(bench: Bench, side: str, queue: str, start, count: int) -> float:
    with python("-m", "tests.benchmarks.waiting_worker", side, queue, bench.connection.address) as worker:
        started = start(_WARM)
        _suspended(bench, started)
        before = _resident_kb(worker.pid)
        more = start(count)
        _suspended(bench, more)
        after = _resident_kb(worker.pid)
    _terminate(bench, started + more)
    return (after - before) / count


def _suspended(bench: Bench, ids: Sequence[str]) -> None:
    """Wait until every run waits and its worker has nothing to do."""

    async def waits(id: str) -> bool:
        description = (await bench.raw_client.get_workflow_handle(id).describe()).raw_description
        length = description.workflow_execution_info.history_length
        return length >= 4 and not description.HasField("pending_workflow_task")

    async def wait() -> None:
        rest = list(ids)
        while rest:
            found = [await waits(id) for id in rest[:50]]
            rest = [id for id, ready in zip(rest, found, strict=False) if not ready] + rest[50:]

    bench.raw(wait())
    time.sleep(_SETTLE_S)


def _terminate(bench: Bench, ids: Sequence[str]) -> None:
    async def end() -> None:
        for first in range(0, len(ids), 50):
            await asyncio.gather(
                *(bench.raw_client.get_workflow_handle(i).terminate() for i in ids[first : first + 50])
            )

    bench.raw(end())


def _resident_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


class _environment:
    def __init__(self, **values: str) -> None:
        self._values = values

    def __enter__(self) -> None:
        self._before = {name: os.environ.get(name) for name in self._values}
        os.environ.update(self._values)

    def __exit__(self, *_: object) -> None:
        for name, value in self._before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
