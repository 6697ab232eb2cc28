"""Our side: the agents that the benchmarks run; ``raw.py`` has the same for the raw SDK."""

from __future__ import annotations

import asyncio
import time

import kaigents_nb as kg


@kg.step
async def noop(number):
    return number


@kg.step
def noop_sync(number):
    return number


@kg.step
async def clock():
    return time.time()


@kg.agent
async def in_sequence(count):
    for number in range(count):
        await noop(number)


@kg.agent
async def in_sequence_sync(count):
    for number in range(count):
        await noop_sync(number)


@kg.agent
async def at_once(count, width):
    for first in range(0, count, width):
        await asyncio.gather(*(noop(number) for number in range(first, min(first + width, count))))


@kg.agent
async def clocked():
    return await clock()


@kg.agent
async def gated():
    await kg.approve("Go on?")
    return await clock()


@kg.step
def rows_of(table):
    return len(table)


@kg.step
def same(table):
    return table


@kg.agent
async def hands_on(table):
    return await rows_of(await same(table))
