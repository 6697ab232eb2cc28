"""Event loops in daemon threads: one for the SDK, one for the analyst's async steps."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextvars import copy_context
from typing import Any, TypeVar

from kaigents_nb.errors import ForbiddenInStep
from kaigents_nb.values.brief import brief

T = TypeVar("T")


class LoopThread:
    """An asyncio loop in a thread of its own; everything is handed to it thread-safely."""

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def post(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine there; returns at once."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

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

    def stop(self) -> None:
        """Cancel what still runs, and end the thread."""
        if self.loop.is_closed():
            return

        async def cancel_all() -> None:
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        try:
            self.post(cancel_all()).result(5)
        finally:
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(5)
            if not self._thread.is_alive():
                self.loop.close()


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


async def in_thread(function: Callable[[], T], name: str) -> T:
    """Run a blocking function in a daemon thread of its own, with this task's context variables.

    Not the default executor: the interpreter waits for its threads at exit, however long a step takes.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()
    context = copy_context()

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def work() -> None:
        result, error = None, None
        try:
            result = context.run(function)
        except BaseException as caught:  # noqa: BLE001 - handed to the task that awaits it
            error = contained(caught)
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:
            return  # the loop is gone: the worker was shut down, and the server will hand the step out again

    threading.Thread(target=work, name=name, daemon=True).start()
    return await done
