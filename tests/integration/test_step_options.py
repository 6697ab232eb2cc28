"""``concurrency``, ``rate`` and ``cache`` of a step, over all runs of a worker."""

from __future__ import annotations

import asyncio
import time

import pytest

import kaigents_nb as kg
from tests.support import eventually

pytestmark = pytest.mark.usefixtures("server")


@kg.step(concurrency=2)
def slowly(path):
    began = time.time()
    time.sleep(0.4)
    with open(path, "a") as file:
        file.write(f"{began} {time.time()}\n")


@kg.step(rate="4/s")
async def often(number):
    return time.time()


@kg.step(cache="1 day")
def counted(path, number=1):
    with open(path, "a") as file:
        file.write("x")
    print("computed")
    return {"number": number}


@kg.step(concurrency=1)
def blocks(path):
    while not path.exists():
        time.sleep(0.02)


@kg.agent
async def both(path):
    await asyncio.gather(slowly(path), slowly(path), slowly(path))


@kg.agent
async def hurries(count):
    return await asyncio.gather(*(often(number) for number in range(count)))


@kg.agent
async def counts(path, number):
    return await counted(path, number=number)


@kg.agent
async def waits(path):
    await blocks(path)


def test_so_many_at_a_time(tmp_path):
    """Over two runs no more than two of them overlap."""
    path = str(tmp_path / "times")
    for run in [both.start(path), both.start(path)]:
        run.result(30)
    spans = [tuple(map(float, line.split())) for line in (tmp_path / "times").read_text().splitlines()]
    assert len(spans) == 6
    for began, _ in spans:
        assert sum(start <= began < end for start, end in spans) <= 2


def test_so_many_in_a_time():
    """Any second has no more than four."""
    times = sorted(hurries.start(9).result(30))
    assert all(later - earlier > 0.9 for earlier, later in zip(times, times[4:], strict=False))


def test_a_call_that_waits_says_so(tmp_path):
    """On the card, and goes on when its turn comes."""
    path = tmp_path / "go"
    runs = [waits.start(path), waits.start(path)]
    told = "waits for its turn: 1 of blocks at a time"
    eventually(lambda: any(told in step.note for run in runs for step in run.view().steps))
    path.touch()
    for run in runs:
        run.result(30)


def test_the_same_arguments_are_computed_once(tmp_path):
    """In another run too; the card says where it came from."""
    path = str(tmp_path / "count")
    assert counts.start(path, 1).result(30) == {"number": 1}
    again = counts.start(path, 1)
    assert again.result(30) == {"number": 1}
    assert (tmp_path / "count").read_text() == "x"
    assert any("from the cache" in notice for notice in again.view().notices)
    assert again.steps()["output"].tolist() == [""]
    assert counts.start(path, 2).result(30) == {"number": 2}
    assert (tmp_path / "count").read_text() == "xx"


@pytest.mark.parametrize("options", [{"concurrency": 0}, {"rate": "20"}, {"rate": "x/min"}, {"cache": "soon"}])
def test_wrong_options_are_refused(options):
    """Where they are written."""
    with pytest.raises(ValueError, match=r"."):
        kg.step(**options)
