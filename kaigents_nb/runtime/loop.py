"""Event loops in daemon threads: one for the SDK, one for the analyst's async steps."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any, TypeVar

from kaigents_nb.errors import ForbiddenInStep
from kaigents_nb.values.brief import brief

T = TypeVar("T")
_Inbox = SimpleQueue[tuple[Callable[[], None], str]]
_STOPS_S = 10.0


class LoopThread:
    """An asyncio loop in a thread of its own; everything is handed to it thread-safely."""

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        self.loop.run_until_complete(_cancel_all())
        self.loop.close()  # here, for nobody may wait so long

    def post(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine there; returns at once."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    async def awaited(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there, with this task's context variables, and wait for it in the caller's loop.

        One hop there and one back; a future of ``concurrent.futures`` between two loops makes more of it.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        begun: list[asyncio.Task[T]] = []

        def begin() -> None:
            begun.append(self.loop.create_task(work))
            begun[0].add_done_callback(over)

        def over(task: asyncio.Task[T]) -> None:
            error = asyncio.CancelledError() if task.cancelled() else task.exception()
            _hand_back(loop, done, task.result() if error is None else None, error)

        def cancel() -> None:
            for task in begun:
                task.cancel()

        def stop() -> None:
            with suppress(RuntimeError):  # that loop is gone, and all in it was cancelled
                self.loop.call_soon_threadsafe(cancel)

        self.loop.call_soon_threadsafe(begin)
        return await until_ended(done, stop)

    def run(self, work: Coroutine[Any, Any, T], timeout_s: float | None = None) -> T:
        """Run a coroutine there and wait for its result; an interrupt (■) cancels it.

        Raises
        ------
        TimeoutError
            When it takes longer than ``timeout_s``.
        """
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError("This would wait for itself: call it from another thread.")
        future = self.post(work)
        try:
            return future.result(timeout_s)
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> bool:
        """Cancel what still runs, and end the thread; false where something holds it up, which is left to itself."""
        if self.loop.is_closed():
            return True

        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_STOPS_S)
        return not self._thread.is_alive()


async def _cancel_all() -> None:
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def until_ended(work: asyncio.Future[T], stop: Callable[[], None]) -> T:
    """Wait for work of another thread; when this is cancelled, stop that work and wait for its end.

    Cancelled once more, as by a loop that ends, it waits no longer.
    """
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        if work.done():
            raise
    stop()
    await asyncio.wait([work])
    if work.cancelled() or work.exception() is not None:
        raise asyncio.CancelledError
    return work.result()


def contained(error: BaseException) -> Exception:
    """Return an error that a loop can carry: ``SystemExit`` and its kin would end the thread of whoever awaits it."""
    carried: Exception
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    told = brief(error)
    if isinstance(error, (StopIteration, asyncio.CancelledError)):
        carried = RuntimeError(f"The step raised {told} by itself.")
    else:
        carried = ForbiddenInStep(
            f"The step raised {told}, which would end the process that executes it. Return, or raise an Exception."
        )
    carried.__cause__ = error
    return carried


class _Threads:
    """A new daemon thread for each blocking call, started ahead so that the call does not wait for it.

    Not one for many: what libraries keep for a thread (an event loop, torch's modes) would be the next call's.
    """

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._spare: list[_Inbox] = []
        self._starting = threading.Lock()  # never waited for: a fork may find it taken
        self._process = os.getpid()

    def call(self, work: Callable[[], None], name: str) -> None:
        """Call a function that raises nothing; returns at once."""
        if self._process != os.getpid():  # forked: the spare thread stayed with the parent
            self._forget()
        try:
            inbox = self._spare.pop()
        except IndexError:
            inbox = self._started()
        inbox.put((work, name))

    def _started(self) -> _Inbox:
        inbox: _Inbox = SimpleQueue()
        threading.Thread(target=self._serve, args=(inbox,), name="kaigents spare", daemon=True).start()
        return inbox

    def _serve(self, inbox: _Inbox) -> None:
        work, threading.current_thread().name = inbox.get()
        work()
        if not self._spare and self._starting.acquire(blocking=False):
            with suppress(RuntimeError):  # no more threads, or the interpreter ends: the next call may start its own
                self._spare.append(self._started())
            self._starting.release()


_threads = _Threads()


async def in_thread(function: Callable[[], T], name: str) -> T:
    """Run a blocking function in a daemon thread of its own, with this task's context variables.

    Not the default executor: the interpreter waits for its threads at exit, however long a step takes.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()
    context = copy_context()

    def work() -> None:
        result, error = None, None
        try:
            result = context.run(function)
        except BaseException as caught:  # noqa: BLE001 - handed to the task that awaits it
            error = contained(caught)
        _hand_back(loop, done, result, error)

    _threads.call(work, name)
    return await done


def _hand_back(
    loop: asyncio.AbstractEventLoop, done: asyncio.Future[T], result: T | None, error: BaseException | None
) -> None:
    """Settle a future of another thread's loop."""

    def settle() -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    with suppress(
        RuntimeError
    ):  # its loop is gone: the worker was shut down, and the server will hand the step out again
        loop.call_soon_threadsafe(settle)
