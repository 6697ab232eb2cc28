"""``asyncio.as_completed()`` and ``asyncio.wait()`` in an agent: right results, also with a restart after each task."""

from __future__ import annotations

import asyncio
from asyncio import as_completed, wait
from asyncio.tasks import as_completed as as_a_library_does

import pytest

import kaigents_nb as kg

pytestmark = pytest.mark.usefixtures("replayed")


@kg.step
async def doubled(n):
    await asyncio.sleep(0.02 * ((5 * n) % 3))
    return 2 * n


async def pair(n):
    return n, await doubled(n)


@kg.agent
async def in_the_order_of_their_ends(count):
    found = {}
    for next_one in asyncio.as_completed([pair(n) for n in range(count)]):
        n, result = await next_one
        found[n] = (result, await doubled(result))
    for next_one in as_completed([doubled(n) for n in range(count)]):
        result = await next_one
        found[result // 2] += (await doubled(result + 1),)
    return found


@kg.agent
async def by_waiting(count):
    import asyncio as aio

    waiting = {aio.create_task(pair(n), name=str(n)) for n in range(count)}
    found = {}
    while waiting:
        done, waiting = await aio.wait(waiting, return_when=aio.FIRST_COMPLETED)
        for task in done:
            n, result = task.result()
            found[n] = (result, await doubled(result))
    done, pending = await wait([aio.create_task(doubled(n)) for n in range(count)], timeout=60)
    assert not pending
    late = aio.create_task(aio.Event().wait())
    _, pending = await wait([late], timeout=0.01)
    assert pending == {late}
    late.cancel()
    for task in done:
        found[task.result() // 2] += (await doubled(task.result() + 1),)
    return found


@pytest.mark.parametrize("agent", [in_the_order_of_their_ends, by_waiting], ids=lambda agent: agent.name)
def test_results_are_right_however_they_come(agent):
    """Doubles of all, by whichever came first; the same in a dry run, looking back and forked from amid."""
    expected = {n: (2 * n, 4 * n, 4 * n + 2) for n in range(6)}
    run = agent.start(6)
    assert run.result(60) == expected
    assert agent.dry_run(6) == expected
    assert run.at("last").variables["found"] == expected
    assert run.fork(at=("doubled", 16)).result(60) == expected


@kg.agent
async def of_a_set():
    return [await one for one in asyncio.as_completed({pair(1), pair(2)})]


@kg.agent
async def of_gathered():
    both = [asyncio.gather(doubled(1)), asyncio.gather(doubled(2))]
    done, _ = await asyncio.wait(both)
    return [one.result() for one in done]


@kg.agent
async def in_a_library():
    return [await one for one in as_a_library_does([pair(1), pair(2)])]


@kg.agent
async def tasks_in_a_library():
    return sorted([await one for one in as_a_library_does([asyncio.create_task(pair(n)) for n in range(3)])])


def test_a_library_may_wait_for_tasks():
    """What is started in order is in order."""
    assert tasks_in_a_library.start().result(20) == [(0, 0), (1, 2), (2, 4)]


UNORDERED = [(of_a_set, "list"), (of_gathered, "create_task"), (in_a_library, "create_task")]


@pytest.mark.filterwarnings("ignore:coroutine 'pair' was never awaited")
@pytest.mark.parametrize(("agent", "instead"), UNORDERED)
def test_what_has_no_order_is_refused(agent, instead):
    """A set of calls, futures that are no tasks, a library: the error names the line and says what to write."""
    with pytest.raises(kg.RunFailed, match=instead) as failed:
        agent.start().result(20)
    assert "test_as_completed.py" in str(failed.value)


@kg.agent
async def of_one():
    return [await one for one in asyncio.as_completed(doubled(1))]


def test_what_asyncio_refuses_is_refused_in_its_words():
    """A single call is no list of them."""
    with pytest.raises(kg.RunFailed, match=r"expects? an iterable of"):
        of_one.start().result(20)
