"""A forgotten ``await`` passes no gate: what is not awaited is refused, in the run and in a dry run alike."""

from __future__ import annotations

import asyncio
import re

import pytest

import kaigents_nb as kg
from tests.integration import forgetful
from tests.support import eventually

pytestmark = pytest.mark.usefixtures("server")


@kg.step
def publish(text):
    return f"published {text}"


def kept(*calls):
    """Hide a call from what looks at the source before the start."""
    return calls[0]


@kg.agent
async def decides_by_it():
    decision = kept(kg.approve("Publish?"))
    if decision:
        return await publish("unasked")
    return None


@kg.agent
async def reads_it():
    return await publish(kept(kg.approve("Publish?")).choice)


@kg.agent
async def compares_it():
    if kept(publish("x")) == "published x":
        return "equal"
    return None


@kg.agent
async def loops_over_it():
    return list(kept(publish("x")))


@kg.agent
async def formats_it():
    return await publish(f"as {kept(kg.sleep(1))}")


@kg.agent
async def returns_it():
    return {"decision": kept(kg.approve("Publish?"))}


@kg.agent
async def hands_it_on():
    return await publish([kept(kg.approve("Publish?"))])


@kg.agent
async def forgets_it():
    kept(publish("x"))
    return await publish("y")


@kg.agent
async def calls_it_below():
    kept(forgets_it())
    return 1


REFUSED = [decides_by_it, reads_it, compares_it, loops_over_it, formats_it, returns_it, forgets_it, calls_it_below]


@pytest.mark.parametrize("agent", REFUSED, ids=lambda agent: agent.name)
def test_what_is_not_awaited_is_refused(agent):
    """The run fails, names the call, its line and ``await``; nothing was published unasked."""
    run = agent.start()
    with pytest.raises(kg.RunFailed, match="await") as failed:
        run.result(20)
    assert "ForbiddenInAgent" in str(failed.value)
    assert re.search(r"\(…\), test_unawaited\.py, line \d+", str(failed.value))
    assert "unasked" not in run.steps()["result"].tolist()


USES = {
    "sign": lambda d: -d, "rest": lambda d: d % 2, "times": lambda d: 3 * d, "less": lambda d: 3 - d,
    "power": lambda d: d**2, "bits": lambda d: d & 1, "size": abs, "round": round, "index": lambda d: [1, 2][d],
    "delete": lambda d: d.__delitem__(0), "set": lambda d: setattr(d, "x", 1),
    "details": lambda d: d.what, "where": lambda d: d.place,
}  # fmt: skip


@kg.agent
async def uses_it(how):
    given = kept(publish("x"))
    try:
        USES[how](given)
    finally:
        await given


@pytest.mark.parametrize("how", USES)
def test_whatever_it_is_used_for_it_says_what_to_write(how):
    """Arithmetic, indexing, its own attributes: not Python's words for a class that nobody knows, but what to do."""
    with pytest.raises(kg.KaigentsError, match=r"publish\(…\), line \d+, is not awaited.* Write: await publish"):
        uses_it.dry_run(how)


@pytest.mark.parametrize("agent", REFUSED, ids=lambda agent: agent.name)
def test_a_dry_run_refuses_the_same(agent):
    """What fails in the run fails in the cell, too."""
    with pytest.raises(kg.KaigentsError, match="await"):
        agent.dry_run()


def test_an_argument_that_is_not_awaited_can_not_be_saved():
    """It is no value yet, wherever it lies."""
    with pytest.raises(kg.RunFailed, match=r"test_unawaited\.py, line \d+, is not awaited.* Write: await kg\.approve"):
        hands_it_on.start().result(20)


async def asks():
    return await kg.approve("Publish?")


@kg.agent
async def decides_by_a_helper():
    if kept(asks()):
        return await publish("unasked")
    return None


def test_a_dry_run_notices_a_forgotten_helper():
    """What an async def of one's own gives is Python's coroutine, always true; only Python says that nobody awaited it.

    Where the source shows it, start() refuses it.
    """
    for _ in range(2):
        with pytest.raises(kg.KaigentsError, match=r"coroutine 'asks', line \d+, was never awaited.* await"):
            decides_by_a_helper.dry_run(decisions=["approve"])


class OwnDesk(forgetful.Desk):
    """The same in a class of a cell."""

    async def decides(self):
        decision = self.asks()
        if decision:
            return "unasked"
        return None


@kg.agent
async def lets_others_forget(how):
    one = getattr(forgetful, how) if hasattr(forgetful, how) else getattr(OwnDesk(), how)
    text = await one()
    return await publish(text)


@kg.agent
async def sits_at_a_desk():
    return await forgetful.Desk().decides()


FORGETS = [
    *(name for name in vars(forgetful) if name.endswith("_in_module")),
    *(name for name in vars(forgetful.Desk) if not name.startswith("_") and name not in ("asks", "awaits")),
]


@pytest.mark.parametrize("how", FORGETS)
def test_it_is_refused_below_the_agent_too(how):
    """In methods, and in modules that travel along: the run names call, line and ``await``; so does a dry run."""
    with pytest.raises(kg.RunFailed, match=r"never awaited|Write: await") as failed:
        lets_others_forget.start(how).result(20)
    file = "test_unawaited.py" if how == "decides" else "forgetful.py"
    assert re.search(rf"(asks|approve)\((…)?\), (tests/integration/)?{file}, line \d+", str(failed.value))
    if how == "returns":
        return  # refused as an argument; of the coroutine that the error holds, Python complains in some later test
    with pytest.raises(kg.KaigentsError, match="await"):
        lets_others_forget.dry_run(how, decisions=["approve"])


def test_it_is_refused_in_a_class_of_a_module():
    """Whoever calls it."""
    with pytest.raises(kg.RunFailed, match=r"Write: await self\.asks\(\)"):
        sits_at_a_desk.start().result(20)


@kg.agent
async def awaits_below_in_every_way():
    desks = [forgetful.Desk(), OwnDesk()]
    gathered = await asyncio.gather(*(desk.awaits() for desk in desks), *map(asks_who, desks))
    task = asyncio.create_task(desks[0].awaits())
    async with asyncio.TaskGroup() as group:
        in_group = group.create_task(asks_who(desks[1]))
    kept(asks_who(desks[0])).close()
    later = (
        desks[0]
        .awaits()
    )  # fmt: skip
    return [*gathered, await task, in_group.result(), await asyncio.wait_for(asks_who(desks[0]), 60), await later]


async def asks_who(desk):
    return await desk.awaits()


def test_whatever_awaits_below_is_served():
    """gather, map, tasks, groups, time-outs and calls that are awaited later or closed; looking back shows them."""
    run = awaits_below_in_every_way.start()
    for number in range(8):
        eventually(lambda number=number: len(run.decisions()) == number and len(run.pending()))
        run.approve(run.pending()["gate"].iloc[0], by=f"ann {number}")
    assert sorted(run.result(20)) == [f"ann {number}" for number in range(8)]
    assert len(awaits_below_in_every_way.dry_run(decisions=["approve"] * 8)) == 8
    lines = run.trace()
    assert (lines["function"] == "asks_who").sum() == 4


@kg.agent
async def awaits_in_every_way():
    gathered = await asyncio.gather(publish("a"), publish("b"))
    task = asyncio.create_task(publish("c"))
    async with asyncio.TaskGroup() as group:
        in_group = group.create_task(publish("d"))
    in_time = await asyncio.wait_for(publish("e"), 60)
    later = publish("f")
    await kg.sleep(0)
    return [*gathered, await task, in_group.result(), in_time, await later]


def test_whatever_awaits_is_served():
    """gather, tasks, groups, time-outs and a call that is awaited later; the same in a dry run and looking back."""
    run = awaits_in_every_way.start()
    expected = [f"published {letter}" for letter in "abcdef"]
    assert run.result(20) == expected
    assert awaits_in_every_way.dry_run() == expected
    assert run.at(step=("publish", 6)).function == "awaits_in_every_way"


@kg.agent
async def asks_at_once(order):
    async def says(text):
        order.append(text)
        return await publish(text)

    decisions = await asyncio.gather(kg.approve("A?"), says("a"), kg.approve("B?", options=["x", "y"]), says("b"))
    return decisions[0].approved, decisions[1], decisions[2].choice, order


def test_gates_in_a_gather_are_asked_in_their_order():
    """In a dry run as in a run: each its own decision, beside the others."""
    run = asks_at_once.start([])
    eventually(lambda: len(run.pending()) == 2)
    run.approve("2", choice="y")
    run.reject("1")
    expected = (False, "published a", "y", ["a", "b"])
    assert run.result(20) == expected
    assert asks_at_once.dry_run([], decisions=["reject", "y"]) == expected


@kg.agent
async def gives_up():
    try:
        await asyncio.wait_for(kg.approve("Quick?"), 0.1)
    except TimeoutError:
        return "nobody"


def test_a_cancelled_wait_counts_as_awaited():
    """Who gave up has awaited."""
    run = gives_up.start()
    assert run.result(20) == "nobody"
    eventually(lambda: run.status == "completed")


@kg.step
async def publishes_slowly(text):
    await asyncio.sleep(20)
    return f"published {text}"


async def helper():
    return await publishes_slowly("in a helper")


@kg.agent
async def below():
    return await publishes_slowly("below")


@kg.agent
async def leaves_a_step():
    task = asyncio.create_task(publishes_slowly("x"))
    assert task
    await kg.sleep(0)


@kg.agent
async def leaves_a_step_at_once():
    assert asyncio.create_task(publishes_slowly("x"))


@kg.agent
async def leaves_a_helper():
    assert asyncio.create_task(helper(), name="mine")
    await publish("y")


@kg.agent
async def leaves_an_agent():
    assert asyncio.ensure_future(below())
    await publish("y")


@kg.agent
async def leaves_a_gate():
    assert asyncio.gather(kg.approve("Publish?"), publish("x"))
    await publish("y")


@kg.agent
async def leaves_those_beside_one_that_failed():
    async def fails():
        raise ValueError("no")

    try:
        await asyncio.gather(fails(), helper())
    except ValueError:
        return "handled"


LEFT = {
    leaves_a_step: "publishes_slowly(…)",
    leaves_a_step_at_once: "publishes_slowly(…)",
    leaves_a_helper: "helper()",
    leaves_an_agent: "below(…)",
    leaves_a_gate: "kg.approve(…)",
    leaves_those_beside_one_that_failed: "helper()",
}


@pytest.mark.parametrize("agent", LEFT, ids=lambda agent: agent.name)
def test_what_still_runs_at_the_end_is_refused(agent):
    """A task that is started and left is named, with the line that started it; in the run and in a dry run."""
    line = agent.fn.__code__.co_firstlineno
    with pytest.raises(kg.RunFailed, match="still ran") as failed:
        agent.start().result(20)
    found = re.search(re.escape(LEFT[agent]) + r", test_unawaited\.py, line (\d+)", str(failed.value))
    assert found, str(failed.value)
    assert line < int(found[1]) < line + 9
    assert "await" in str(failed.value)
    with pytest.raises(kg.KaigentsError, match=re.escape(LEFT[agent]) + r", line \d+.* await"):
        agent.dry_run()


@kg.agent
async def leaves_what_it_has_stopped():
    async def both():
        return await asyncio.gather(helper(), publishes_slowly("x"))

    task = asyncio.create_task(both())
    await publish("y")
    task.cancel()
    return "stopped"


def test_what_was_told_to_stop_is_no_longer_waited_for():
    """cancel() is a word of one's own; what the task had started stops with it."""
    assert leaves_what_it_has_stopped.start().result(20) == "stopped"
    assert leaves_what_it_has_stopped.dry_run() == "stopped"


@kg.agent
async def ends_with_its_last_item():
    queue = asyncio.Queue()

    async def produces():
        for n in range(3):
            await queue.put(await publish(n))
        await queue.put(None)
        await asyncio.sleep(0)

    task = asyncio.create_task(produces())
    found = [item async for item in items(queue)]
    assert not task.done()
    return found


async def items(queue):
    while (item := await queue.get()) is not None:
        yield item


def test_a_task_that_is_about_to_end_may():
    """A producer that has put its last item does not run on, though it has not returned."""
    expected = [f"published {n}" for n in range(3)]
    assert ends_with_its_last_item.start().result(20) == expected
    assert ends_with_its_last_item.dry_run() == expected
