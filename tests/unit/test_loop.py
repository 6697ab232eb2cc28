"""Work handed to other threads and loops: what it sees, what comes back, what is left behind."""

from __future__ import annotations

import asyncio
import contextvars
import multiprocessing
import threading
import time
from collections.abc import Iterator

import pytest

from kaigents_nb.errors import ForbiddenInStep
from kaigents_nb.runtime.loop import LoopThread, in_thread

HERE = contextvars.ContextVar("HERE", default="nowhere")


@pytest.fixture
def other() -> Iterator[LoopThread]:
    loop = LoopThread("other")
    yield loop
    loop.stop()


async def test_a_call_has_a_thread_of_its_own() -> None:
    """What a library keeps for a thread is not there for the next call; the name says whose the thread is."""
    kept, seen = threading.local(), []

    def call() -> str:
        seen.append(vars(kept).copy())
        kept.value = True
        return f"{threading.current_thread().name} {HERE.get()} {threading.current_thread().daemon}"

    HERE.set("here")
    for _ in range(20):
        assert await in_thread(call, "mine") == "mine here True"
    assert await asyncio.gather(*(in_thread(call, "mine") for _ in range(20))) == ["mine here True"] * 20
    assert seen == [{}] * 40


async def test_threads_end() -> None:
    """Of many calls at once no more than a few threads are left, which wait for the next ones."""
    before = threading.active_count()
    await asyncio.gather(*(in_thread(lambda: time.sleep(0.01), "mine") for _ in range(100)))
    deadline = time.monotonic() + 10
    while threading.active_count() > before + 5 and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    assert threading.active_count() <= before + 5


def _in_a_fork(answers: multiprocessing.SimpleQueue[int]) -> None:
    answers.put(asyncio.run(in_thread(lambda: 2, "mine")))


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
async def test_a_forked_process_starts_its_own() -> None:
    """The thread that was started ahead stayed with the parent."""
    assert await in_thread(lambda: 1, "mine") == 1
    await asyncio.sleep(0.1)
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    child = context.Process(target=_in_a_fork, args=(answers,))
    child.start()
    child.join(20)
    assert child.exitcode == 0
    assert answers.get() == 2


async def test_what_comes_back(other: LoopThread) -> None:
    """A coroutine of another loop: its result, its error, this task's context."""

    async def there() -> tuple[str, str]:
        await asyncio.sleep(0)
        return HERE.get(), threading.current_thread().name

    async def breaks() -> None:
        raise LookupError("no")

    HERE.set("here")
    assert await other.awaited(there()) == ("here", "other")
    with pytest.raises(LookupError, match="no"):
        await other.awaited(breaks())
    with pytest.raises(ForbiddenInStep):
        await in_thread(lambda: exec("raise SystemExit"), "mine")


async def test_giving_up_cancels_it_there(other: LoopThread) -> None:
    """Cancelled here, before it began or while it waits, it is cancelled there; cancelled there, it is here."""
    began, ended = threading.Event(), threading.Event()

    async def waits() -> None:
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    waiting = asyncio.create_task(other.awaited(waits()))
    await asyncio.sleep(0)
    assert await asyncio.to_thread(began.wait, 10)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await asyncio.to_thread(ended.wait, 10)

    blocked = threading.Event()
    other.loop.call_soon_threadsafe(blocked.wait, 0.5)
    began.clear()
    waiting = asyncio.create_task(other.awaited(waits()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    blocked.set()
    await other.awaited(asyncio.sleep(0))
    assert not began.is_set()

    waiting = asyncio.create_task(other.awaited(waits()))
    await asyncio.sleep(0)
    assert await asyncio.to_thread(began.wait, 10)
    for task in asyncio.all_tasks(other.loop):
        other.loop.call_soon_threadsafe(task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await waiting
