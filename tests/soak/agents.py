"""The agents of the soak: gather, called agents, sleeps, gates, big frames, steps that fail, hang on and are tracked.

Each returns ``{"work": …, "decided": {gate: by}}``. ``expected(n)`` is the work that run ``n`` must return, computed
without any of this; the decisions must be those of its history.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import numpy as np
import pandas as pd

import kaigents_nb as kg
from tests.soak.ledger import Entry

NEVER = "never"
"""The agent whose gate no decider answers; only a sabotaged soak starts it."""

_COLUMNS = list("abcdefgh")
_SMALL = 16_000


def numbers(seed: int, rows: int) -> pd.DataFrame:
    """A frame of so many rows; 16,000 are 1 MB."""
    return pd.DataFrame(np.random.default_rng(seed).integers(0, 2**40, (rows, 8)), columns=_COLUMNS)


def part_sum(frame: pd.DataFrame, number: int) -> int:
    return int(frame.to_numpy()[number::4].sum())


def rows_of(n: int) -> int:
    """1 to 20 MB."""
    return 16_000 * (1 + 7 * n % 20)


@kg.step
def table(seed: int, rows: int) -> pd.DataFrame:
    entry = Entry()
    return entry.end(numbers(seed, rows))


@kg.step
def twice(frame: pd.DataFrame) -> pd.DataFrame:
    entry = Entry()
    return entry.end(2 * frame)


@kg.step
def part(frame: pd.DataFrame, number: int) -> int:
    entry = Entry()
    time.sleep(0.2)
    return entry.end(part_sum(frame, number))


@kg.step
def work(n: int, takes_s: float) -> int:
    entry = Entry()
    time.sleep(takes_s)
    return entry.end(3 * n)


@kg.step
async def fetch(n: int) -> int:
    entry = Entry()
    await asyncio.sleep(1.5)
    return entry.end(5 * n)


@kg.step(retry=kg.Retry(first_wait=0.2, max_wait=2))
def moody(n: int) -> int:
    entry = Entry()
    time.sleep(0.3)
    if random.random() < 0.4:
        raise ConnectionError("Not now.")
    return entry.end(7 * n)


@kg.step
def tracked(n: int) -> int:
    entry = Entry()
    for _ in kg.track(range(10)):
        time.sleep(0.4)
    return entry.end(11 * n)


@kg.agent
async def columns(n: int, rows: int) -> dict[str, Any]:
    frame = await table(n, rows)
    sums = await asyncio.gather(*(part(frame, number) for number in range(4)))
    await kg.sleep(0.5 + n % 3)
    return {"work": [*sums, await part(await twice(frame), 0)], "decided": {}}


@kg.agent
async def asks(n: int) -> dict[str, Any]:
    before = await work(n, 0.3)
    first = await kg.approve(f"Go on with {n}?", details={"before": before})
    between = await work(n + 1, 1.0)
    second = await kg.approve(f"Which way does {n} go?", details=[before, between], options=["left", "right"])
    return {"work": [before, between, await work(n + 2, 0.1)], "decided": {"1": first.by, "2": second.by}}


@kg.agent
async def both(n: int) -> dict[str, Any]:
    """Two gates open at once, beside steps and a sleep."""
    first, second, slow, fetched, _ = await asyncio.gather(
        kg.approve(f"The one side of {n}?"),
        kg.approve(f"The other side of {n}?", options=["left", "right"]),
        work(n, 7.5),  # longer than the heartbeat time-out
        fetch(n),
        kg.sleep(2),
    )
    return {"work": [slow, fetched, await work(n, 0.1)], "decided": {"1": first.by, "2": second.by}}


@kg.agent
async def rough(n: int) -> dict[str, Any]:
    results = await asyncio.gather(moody(n), moody(n + 1), tracked(n), fetch(n))
    return {"work": [*results, await moody(n + 2)], "decided": {}}


@kg.agent
async def family(n: int) -> dict[str, Any]:
    first, second, third = await asyncio.gather(asks(n), columns(n, _SMALL), rough(n))
    await kg.sleep(1)
    return {"work": [first["work"], second["work"], third["work"], await work(n, 0.5)], "decided": {}}


@kg.agent
async def never(n: int) -> dict[str, Any]:
    answer = await kg.approve("Will this be answered?")
    return {"work": n, "decided": {"1": answer.by}}


def start(n: int, run_id: str) -> Any:
    """Start the run of that number; again with the same id it is the same run."""
    agent = (columns, asks, both, rough, family)[n % 5]
    return agent.start(n, rows_of(n), id=run_id) if agent is columns else agent.start(n, id=run_id)


def expected(agent: str, n: int, *, called: bool = False) -> Any:
    """What an agent of that name must return as its work, ``n`` being its argument; ``called`` by another agent."""
    if agent == "columns":
        return _columns(n, _SMALL if called else rows_of(n))
    if agent == "asks":
        return [3 * n, 3 * n + 3, 3 * n + 6]
    if agent == "both":
        return [3 * n, 5 * n, 3 * n]
    if agent == "rough":
        return [7 * n, 7 * n + 7, 11 * n, 5 * n, 7 * n + 14]
    assert agent == "family", agent
    return [expected("asks", n), _columns(n, _SMALL), expected("rough", n), 3 * n]


def _columns(n: int, rows: int) -> list[int]:
    frame = numbers(n, rows)
    return [*(part_sum(frame, number) for number in range(4)), 2 * part_sum(frame, 0)]
