"""Code in memory: kept while it is used, and a little longer."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue

from kaigents_nb.runtime import code, executions
from kaigents_nb.runtime.code import HeldCode
from kaigents_nb.runtime.executions import Executions
from kaigents_nb.snapshot.module import Snapshot
from tests.unit.snapshot_cells import notebook


@pytest.fixture(scope="module")
def snapshot() -> Iterator[Snapshot]:
    with notebook() as nb:
        nb.cells("def run(): return 1")
        yield nb.freeze()


def edition(snapshot: Snapshot, number: int) -> Snapshot:
    return replace(snapshot, title=f"edition {number}")


def test_only_the_last_few_stay(snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 500 that nobody uses, the last ones are there."""
    monkeypatch.setattr(code, "_ARRIVED_S", 0.0)
    held = HeldCode()
    digests = [held.add(edition(snapshot, number), b"packed").snapshot.digest for number in range(500)]
    gc.collect()
    assert [digest for digest in digests if held.get(digest)] == digests[-64:]


def test_what_is_used_stays(snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that somebody refers to, or asked for lately, outlasts any number of others, as the same object."""
    monkeypatch.setattr(code, "_ARRIVED_S", 0.0)
    held = HeldCode()
    mine = held.add(edition(snapshot, -1), b"packed")
    asked = edition(snapshot, -2).digest
    held.add(edition(snapshot, -2), b"packed")
    for number in range(500):
        held.add(edition(snapshot, number), b"packed")
        assert held.get(asked) is not None
    assert held.get(mine.snapshot.digest) is mine
    assert held.add(edition(snapshot, -1), b"packed") is mine


def test_what_has_just_arrived_stays(snapshot: Snapshot) -> None:
    """1,000 runs of different code may begin at once: each finds what it was sent."""
    held = HeldCode()
    digests = [held.add(edition(snapshot, number), b"packed").snapshot.digest for number in range(1000)]
    assert all(held.get(digest) for digest in digests)


def test_few_large_ones_stay(snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    """The size of the code counts, too; asking again counts it once."""
    monkeypatch.setattr(code, "_ARRIVED_S", 0.0)
    monkeypatch.setattr(code, "_RECENT_BYTES", 5 * edition(snapshot, 10).size_bytes)
    held = HeldCode()
    digests = [held.add(edition(snapshot, number), b"packed").snapshot.digest for number in range(10, 30)]
    gc.collect()
    for _ in range(3):
        assert [digest for digest in digests if held.get(digest)] == digests[-5:]


async def kept_results(sizes: list[int]) -> list[int]:
    """Return the sizes of those results that a worker still has when these have come in turn."""
    kept = Executions(None, lambda key, task: None)  # type: ignore[arg-type] # no server is asked here

    async def result(size: int) -> RawValue:
        return RawValue(Payload(data=b"x" * size))

    made = []
    for number, size in enumerate(sizes):
        task = kept.joined(("run", "1", str(number)), partial(result, size))
        await task
        made.append(weakref.ref(task))
        del task
    gc.collect()
    assert kept._asking is not None
    kept._asking.cancel()
    assert sum(task() is not None for task in made) == len(kept._executions)
    return [len(item.task.result().payload.data) for item in kept._executions.values()]


async def test_kept_results_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results that a server may not have yet wait for it: of such a size in all, the last one in any case."""
    monkeypatch.setattr(executions, "_KEPT_BYTES", 1000)
    assert await kept_results([1] * 100) == [1] * 100
    assert await kept_results([400, 410, 420, 130]) == [410, 420, 130]
    assert await kept_results([400, 2000]) == [2000]
