"""Big values pass through an agent: it may take its time to read and to write them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator

import pytest

import kaigents_nb as kg
from kaigents_nb.runtime import kept_values
from kaigents_nb.runtime.kept_values import _kept
from tests.support import eventually

pytestmark = pytest.mark.usefixtures("server")


@kg.step
def prices(shop, products):
    return {(shop, f"sku-{number}"): number / 4 for number in range(products)}


@kg.step
def total(table):
    return sum(table.values())


@kg.agent
async def compares(shops, products):
    tables = await asyncio.gather(*(prices(shop, products) for shop in range(shops)))
    sums = await asyncio.gather(*(total(table) for table in tables))
    last = max(tables[-1])
    return last, sums


@kg.agent
async def waits_with_many(shops, products):
    tables = await asyncio.gather(*(prices(shop, products) for shop in range(shops)))
    await kg.approve("Go on?")
    return [len(table) for table in tables], await total(tables[0])


@kg.agent
async def changes(products):
    table = await prices(1, products)
    first = await total(table)
    table[1, "sku-0"] = 1000.0
    again = await prices(1, products)
    await kg.approve("Go on?")
    return first, await total(table), await total(again)


@pytest.fixture
def busy() -> Iterator[None]:
    """Four processes that compute, beside the test."""
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4)]
    yield
    for process in spinning:
        process.kill()
        process.wait()


def test_dicts_of_very_many_tuples_are_gathered_and_handed_on():
    """Three results of 160,000 tuple keys, read and written in one go, are what they were."""
    half = 160_000 * 159_999 / 8
    assert compares.start(3, 160_000).result(120) == ((2, "sku-99999"), [half] * 3)


def test_a_fresh_worker_replays_a_dozen_on_a_busy_machine(request):
    """It gets done: an attempt that is too slow is followed by one that is not. Then all that was kept is let go of."""
    run = waits_with_many.start(12, 160_000)
    run.wait_for_gate(120)
    kg.disconnect()
    assert _kept.size_bytes == 0
    request.getfixturevalue("busy")
    run = kg.run(run.id)
    run.approve()
    assert run.result(180) == ([160_000] * 12, 160_000 * 159_999 / 8)
    kg.disconnect()
    assert _kept.size_bytes == 0


def test_each_agent_has_values_of_its_own():
    """What is changed in one is written as it is, and is not in what is read afterwards, also when replayed."""
    run = changes.start(5_000)
    run.wait_for_gate(30)
    whole = 5_000 * 4_999 / 8
    kg.disconnect()
    run = kg.run(run.id)
    run.approve()
    assert run.result(30) == (whole, whole + 1000, whole)
    assert "replayed_otherwise" not in str(run.events())


def test_what_nobody_asks_for_is_not_kept_long(monkeypatch):
    """After a while nothing of it is in memory."""
    kg.disconnect()
    monkeypatch.setattr(kept_values, "_LOOK_S", 0.1)
    monkeypatch.setattr(kept_values, "_KEPT_S", 0.5)
    compares.start(1, 20_000).result(30)
    eventually(lambda: _kept.size_bytes == 0)
    kg.disconnect()
