"""Big values pass through an agent: it may take its time to read and to write them."""

from __future__ import annotations

import asyncio

import pytest

import kaigents_nb as kg

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


def test_dicts_of_very_many_tuples_are_gathered_and_handed_on():
    """Three results of 160,000 tuple keys, read and written in one go, are what they were."""
    half = 160_000 * 159_999 / 8
    assert compares.start(3, 160_000).result(120) == ((2, "sku-99999"), [half] * 3)
