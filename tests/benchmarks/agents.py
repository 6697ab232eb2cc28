"""Our side: the agents that the benchmarks run; ``raw.py`` has the same for the raw SDK."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import numpy as np
import pandas as pd

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


EDITION = 0
"""Frozen as a value: another number is other code."""


@dataclass
class Stamp:
    edition: int
    at: float


@kg.resource
def connection():
    return bytearray(100_000)


def stamp():
    return Stamp(EDITION, time.time() + len(connection()))


@kg.step
async def stamped() -> Stamp:
    return stamp()


@kg.agent
async def of_an_edition():
    return (await stamped()).edition


@kg.step
def column(number, rows):
    return pd.DataFrame({"x": np.random.default_rng(number).random(rows)})


@kg.step
def began(frame):
    return time.time(), len(frame)


@kg.agent
async def over_columns(count, rows):
    frames = [await column(number, rows) for number in range(count)]
    return await began(frames[-1])
