"""The agents whose histories are kept. Change nothing here: add an agent for what is new."""

from __future__ import annotations

import asyncio
import datetime
import os
import sqlite3
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


@kg.step(retry=kg.Retry(max_attempts=2))
def twice_at_most(x):
    return x


@kg.agent
async def measured(*texts):
    await kg.sleep(0.2)
    return sum(map(len, texts))


@kg.agent
async def is_refused():
    """What can't be asked for, before what can: who has a number is seen in what comes then."""
    nothing, seen = (n for n in ()), []

    async def in_any_order(asks):
        calls = [double(1), double(2)]
        try:
            return await next(iter(asks(calls)))
        finally:
            for call in calls:
                call.close()

    for refused in (
        lambda: double(nothing),
        lambda: called(nothing),
        lambda: kg.approve("Which?", options=["A", "A "]),
        lambda: kg.approve("What?", details=nothing),
        lambda: in_any_order(lambda calls: asyncio.as_completed(set(calls))),
        lambda: in_any_order(lambda calls: asyncio.tasks.as_completed(calls)),
        lambda: asyncio.wait([asyncio.gather(), asyncio.gather()]),
        lambda: sqlite3.connect("nowhere/at.all"),
    ):
        try:
            await refused()
        except Exception as error:
            seen.append(type(error).__name__)
    return seen, await asyncio.gather(double(1), called(2), kg.approve("Now?"), double(2))


@kg.agent
async def leaves_work():
    """It ends beside a task that goes on, a call that nobody awaits, and a task that it has told to stop."""
    stopped = asyncio.create_task(later("stopped", 30))
    kept = [asyncio.create_task(later("goes on", 30)), double("nobody waits")]
    await double(len(kept))
    stopped.cancel()


@kg.agent
async def stops_a_task():
    """It ends in the turn in which it tells tasks to stop: its result is that of before they do."""
    seen = []

    async def notes(call):
        try:
            await call
        finally:
            seen.append("stopped")

    tasks = [asyncio.create_task(notes(call)) for call in (later(1, 30), kg.sleep(30), kg.approve("Never?"))]
    await double(1)
    for task in reversed(tasks):
        task.cancel()
    return seen


@kg.agent
async def gives_up():
    """Calls, agents, gates and a parked step are given up in one turn."""

    async def within(call, delay_s=0.5):
        try:
            return await asyncio.wait_for(call, delay_s)
        except TimeoutError:
            return await double("given up")

    return await asyncio.gather(
        within(later(1, 40)), within(waits("long")), within(kg.approve("Never?")), within(buggy("never"))
    )


@kg.agent
async def tells():
    """While it waits at a gate, it shows values, and the time of several turns."""

    async def shows():
        times = [kg.now().isoformat()]
        for n in range(2):
            times.append(await double(kg.now().isoformat()))
            kg.publish(step=n, times=len(times))
        return times

    return await asyncio.gather(kg.approve("Now?"), shows())


@kg.agent
async def waits_and_parks():
    """Two steps park and two are retried while a gate is open; they go on with what is at the end of the line."""
    calls = [buggy("a"), needs_the_switch(), buggy("b"), needs_the_switch()]
    return await asyncio.gather(kg.approve("Now?"), *calls)


@kg.agent
async def gives_up_what_is_retried():
    """Its time is over in the turn in which somebody starts the call again."""
    try:
        await asyncio.wait_for(needs_the_switch(), 2)
    except TimeoutError:
        return await asyncio.gather(double("given up"), double("then"))


@kg.agent
async def two_gates_at_once():
    return [decision.by for decision in await asyncio.gather(kg.approve("First?"), kg.approve("Second?"))]


@kg.agent
async def awaits_in_another_order():
    """What is made first is awaited last."""
    first, second, nap, longer = kg.approve("First?"), kg.approve("Second?"), kg.sleep(0.05), kg.sleep(0.6)
    names = [decision.by for decision in await asyncio.gather(second, first)]
    await asyncio.gather(longer, nap)
    names.append((await kg.approve("Third?")).by)
    return await double(" ".join(names))


@kg.agent
async def goes_past_gates():
    """A wait that is over while two gates are open, in a fork before they are decided."""

    async def naps():
        await kg.sleep(1)
        return await asyncio.gather(double("nap"), kg.sleep(0.1))

    async def asks(question):
        decision = await kg.approve(question)
        return decision.by, await later(question, 0)

    return await asyncio.gather(kg.sleep(1.5), asks("First?"), asks("Second?"), naps())


@kg.agent
async def parts():
    """With another first result one branch asks for something else; the others ask for the same, or with another."""
    x, _ = await asyncio.gather(double(1), kg.sleep(0.05))

    async def otherwise():
        y = await (double(x) if x < 10 else length(str(x)))
        await kg.sleep(0.05)
        return await asyncio.gather(double(y), double(7), kg.sleep(0.05), asyncio.sleep(0.05))

    async def the_same(n):
        return await asyncio.gather(double(n), later(n, 0.05)), await double(x + n)

    return await asyncio.gather(otherwise(), the_same(0), the_same(1)), await double(x)


@kg.agent
async def differs():
    """With another first result the others have other arguments, and go the same way."""
    x = await double(1)
    return await asyncio.gather(double(x), double(2), double(x + 1)), await double(x)


@kg.agent
async def big_calls_take_turns():
    """Calls of which two fit into a message: who waits, who is given up, and who goes on then."""
    texts = [f"{n}" * 60_000 for n in range(10)]

    async def within(delay_s, call):
        try:
            return await asyncio.wait_for(call, delay_s)
        except TimeoutError:
            return "given up"

    return await asyncio.gather(
        sum_of(1.2, *texts),
        sum_of(1.6, *texts),
        sum_of(0.3, "small"),
        within(0.1, sum_of(0, *texts)),
        within(30, sum_of(0.2, "waits behind it")),
        within(30, sum_of(0.3, *texts)),
        within(30, sum_of(0.1, "small, too")),
        within(30, sum_of(0.1, "the last")),
    )


@kg.agent
async def gives_up_as_its_turn_comes():
    """Of four big calls the third is given up in the turn in which it would go: the fourth goes in its place."""
    texts = [f"{n}" * 60_000 for n in range(10)]
    second, third, fourth = (asyncio.create_task(sum_of(delay_s, *texts)) for delay_s in (0.8, 0, 0.1))
    await sum_of(0.3, *texts)
    third.cancel()
    return await asyncio.gather(second, fourth), third.cancelled()


@kg.step
async def sum_of(delay_s, *texts):
    await asyncio.sleep(delay_s)
    return sum(map(len, texts))


@kg.step
def parks_with(*texts):
    return texts[0].nothing_like_it


@kg.agent
async def big_calls_park():
    """A parked call takes no room; one that is mended takes that of its code, too."""
    texts = [f"{n}" * 60_000 for n in range(12)]
    full = [*texts, "x" * 58_000]
    return await asyncio.gather(
        parks_with(*full), sum_of(1, *texts), sum_of(0.2, *texts), sum_of(0.1, "small"), parks_with(*texts)
    )


@kg.agent
async def files_take_no_room():
    """Big arguments go as files, of which a message has only the names."""
    return await asyncio.gather(*(length(f"{n}" * 400_000) for n in range(6)))


@kg.agent
async def big_agents_take_turns():
    """Called and started agents of which two fit into a message; one that is there already is not started again."""
    texts = [f"{n}" * 60_000 for n in range(12)]
    ids = ["golden", "golden", None, None]
    runs = await asyncio.gather(*(measured.start(*texts, id=name) for name in ids))

    async def draws():
        return kg.random().random()

    calls = [measured(*texts[n:]) for n in (0, 0, 0, 11, 0)]
    return [run.id for run in runs][:2], await asyncio.gather(*calls, draws())


@kg.agent
async def a_thousand_calls():
    """More calls than the server takes at a time."""
    return sum(await asyncio.gather(*(double(n) for n in range(1_010))))


@kg.agent
async def is_declined():
    """Calls that the first workers can't make."""
    return await asyncio.gather(twice_at_most(1), double(2), kg.sleep(0.05))


@kg.agent
async def has_two_bugs():
    first = await double(1)
    return first, await asyncio.gather(buggy("ab"), parks_with("c"))


@kg.agent
async def goes_on_after_gates():
    """Each decision is followed by a call, with nothing in between."""

    async def asks(question):
        decision = await kg.approve(question)
        return await double(decision.by)

    return await asyncio.gather(asks("First?"), asks("Second?"))


@kg.agent
async def asks_a_model(address):
    """A conversation with a tool in it, and rows of a table: what they cost goes into the memo."""
    model = kg.model("scripted", base_url=address, price={"input": 1, "output": 2})
    reply = await kg.chat("Two times four?", model=model, tools=[double])
    table = await kg.chat_rows(pd.DataFrame({"n": [1, 2]}), "What is {n}?", model=model)
    return reply.text, table["answer"].tolist()


@kg.agent
async def parts_and_is_declined():
    """With another first result one branch asks for something else; what it has asked for the other makes anew."""
    x = await double(1)

    async def otherwise():
        return await (double(x) if x < 10 else length(str(x)))

    async def waits_then():
        first = await twice_at_most(x)
        await asyncio.sleep(0.05)
        return first, await double(3)

    return await asyncio.gather(otherwise(), waits_then())


@kg.agent
async def gives_up_beside_a_gate():
    """Calls that are given up while a gate is open, and are wanted with another first result."""

    async def within(call):
        try:
            return await asyncio.wait_for(call, 1)
        except TimeoutError:
            return await double("given up")

    async def goes_on():
        return await later("on", 1.5), await double("on")

    wanted = await double(1) > 2
    calls = [later(n, 0.3) if wanted else within(later(n, 40)) for n in range(2)]
    return await asyncio.gather(kg.approve("Now?"), *calls, goes_on())


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
