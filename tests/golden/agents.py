"""The agents whose histories are kept. Change nothing here: add an agent for what is new."""

from __future__ import annotations

import asyncio
import datetime
import os
from dataclasses import dataclass

import pandas as pd

import kaigents_nb as kg


@dataclass
class Quote:
    supplier: str
    price: float


class OutOfStock(ValueError):
    pass


@kg.step
def find_quotes(product: str, limit: int = 2) -> list[Quote]:
    print("looking for", product)
    return [Quote("A", 9.5), Quote("B", 8.25), Quote("C", 12.0)][:limit]


@kg.step(timeout="5 min", retry=kg.Retry(max_attempts=5))
def as_table(quotes):
    return pd.DataFrame({"supplier": [q.supplier for q in quotes], "price": [q.price for q in quotes]})


@kg.step
def double(x):
    return 2 * x


@kg.step(retry=kg.Retry(max_attempts=1))
def out_of_stock(what):
    raise OutOfStock("no more", what)


@kg.step(retry=kg.Retry(first_wait=3600, max_wait=3600))
def needs_the_switch():
    if "GOLDEN_SWITCH" not in os.environ:
        raise ConnectionError("off")
    return "on"


@kg.step
def buggy(x):
    return x.nothing_like_it


@kg.agent
async def sequence(product):
    quotes = await find_quotes(product, limit=3)
    table = await as_table(quotes)
    best = table.sort_values("price").iloc[0]
    return {"supplier": best["supplier"], "price": float(best["price"]), "quotes": quotes}


@kg.agent
async def gathered(n):
    first = await asyncio.gather(*(double(x) for x in range(n)))
    later = [await double(x) for x in first if x]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(double(x)) for x in later]
    return [task.result() for task in tasks]


@kg.agent
async def gated(product):
    quotes = await find_quotes(product)
    number = str(kg.uuid4())
    chance = kg.random().random()
    decision = await kg.approve("Which one?", details={"quotes": len(quotes)}, options=["A", "B"])
    return number, chance, await double(decision.choice), decision.comment, decision.by, kg.now().tzname()


@kg.agent
async def sleeps():
    await kg.sleep(0.05)
    try:
        await asyncio.wait_for(kg.approve("Anybody?"), 0.1)
    except TimeoutError:
        return await double("nobody")


@kg.agent
async def calls_agents(n):
    return await asyncio.gather(called(n), called(n + 1))


@kg.agent
async def called(n):
    if n % 2:
        raise OutOfStock(n)
    return await double(n)


@kg.agent
async def calls_safely(n):
    try:
        return await called(n)
    except OutOfStock as error:
        return await double(error.args[0])


@kg.agent
async def handles_a_failure():
    try:
        await out_of_stock("panels")
    except ValueError as error:
        return await double(error.args[1])


@kg.agent
async def switched():
    first = await double(1)
    return first, await needs_the_switch()


@kg.agent
async def has_a_bug(text):
    kept = await double(text)
    return await buggy(kept)


@kg.agent
async def two_gates():
    first = await kg.approve("First?")
    await kg.sleep(0.05)
    second = await kg.approve("Second?")
    return await double(f"{first.by} {second.by}")


@kg.agent
async def reads_the_clock():
    await double(1)
    return datetime.datetime.now()


@kg.agent
async def fails_by_itself():
    rows = [await double(1)]
    return rows[5]


@kg.agent
async def many_at_once():
    """Everything that an agent asks for, asked in one turn: the order in which it goes to the server is seen."""

    async def asks():
        decision = await kg.approve("Now?")
        return await asyncio.gather(double(decision.choice), kg.sleep(0.05), double(kg.random().random()))

    async def draws():
        return kg.random().random(), await double(3)

    done = await asyncio.gather(
        double(1), asks(), called(2), kg.sleep(0.05), draws(), called(4), asks(), return_exceptions=True
    )
    return done, kg.random().random(), str(kg.uuid4())


@kg.agent
async def sleeps_between():
    first = await double(1)
    await kg.sleep(0.05)
    second, _ = await asyncio.gather(double(first), kg.sleep(0.05))
    await kg.sleep(0.05)
    return await double(second)


@kg.step
async def later(x, delay_s):
    await asyncio.sleep(delay_s)
    return x


@kg.agent
async def races():
    """Who comes first decides what is called next; a wait is given up, and others are over."""
    first = asyncio.as_completed([later("slow", 0.3), later("fast", 0), kg.sleep(0.1)])
    seen = [await double(await one or "slept") for one in first]
    waiting = {asyncio.create_task(later(n, 0.1 * n)) for n in range(3)}
    while waiting:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        seen += [await double(task.result()) for task in done]
    try:
        await asyncio.wait_for(kg.approve("Never?"), 0.1)
    except TimeoutError:
        first, then = asyncio.create_task(kg.approve("Soon?")), asyncio.create_task(later("then", 2))
        done, _ = await asyncio.wait({then, first}, return_when=asyncio.FIRST_COMPLETED)
        seen += [first in done, (await first).by, await then]

    async def branch(n):
        return await double(await later(n, 0.2 - 0.1 * n))

    seen += await asyncio.gather(branch(0), branch(1))
    return seen, await double(kg.random().random())


@kg.agent
async def waits(n):
    decision = await kg.approve(f"Go on with {n}?")
    return decision.by, n


@kg.agent
async def starts_runs():
    """Runs of their own, beside a called agent and chance."""
    first, result, second = await asyncio.gather(waits.start(1), called(2), waits.start(2, id="of its own"))
    return first.id, result, second.id, kg.random().random()


@kg.step
def length(text):
    return len(text)


@kg.agent
async def takes_turns():
    """More arguments than go in one message: calls wait for their turns."""
    return await asyncio.gather(*(length(f"{n} " + "x" * 65_000) for n in range(30)))


@kg.agent
async def hears_at_once():
    """While it computes, all that it asked for comes: who goes on first is seen in the calls that follow."""

    async def branch(call, name):
        await call
        return await double(name)

    async def busy():
        await double(0)
        for _ in range(12_000_000):
            pass

    calls = [
        later(1, 0.05), called(2), kg.sleep(0.1), kg.approve("Now?"), waits.start(3), later(4, 0.15), called(6),
        kg.sleep(0.15), kg.approve("Soon?"), waits.start(5), asyncio.sleep(0.1), later(7, 0.1),
    ]  # fmt: skip
    return await asyncio.gather(busy(), *(branch(call, str(number)) for number, call in enumerate(calls)))


@kg.agent
async def ends_beside_a_task():
    """Tasks in a set, and one that is about to end when the agent does."""
    done, _ = await asyncio.wait({asyncio.create_task(later(n, 0)) for n in range(8)})
    order, seen, results = [task.result() for task in done], [await double(len(done))], asyncio.Queue()

    async def produces():
        results.put_nowait(await double(sum(seen)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    task = asyncio.create_task(produces())
    return order, await results.get(), task.done()


async def lets_go(n):
    """A task that has something to do when it is told to stop."""
    try:
        await asyncio.sleep(600)
    finally:
        await double(n)


@kg.agent
async def ends_after_its_tasks():
    """Tasks that were stopped, beside the result: their last steps come before the end."""
    tasks = [asyncio.create_task(lets_go(n)) for n in range(2)]
    result = await double(5)
    for task in tasks:
        task.cancel()
    return result


@kg.agent
async def fails_after_its_tasks():
    """A task that is left when the agent fails."""
    await asyncio.gather(lets_go(1), fails())


async def fails():
    """Fail beside another."""
    await double(2)
    raise ValueError("no")
