"""A step that is told to stop: an error is raised where it is, and what comes after waits until it has ended."""

from __future__ import annotations

import asyncio
import ctypes
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

from kaigents_nb.runtime.loop import in_thread, until_ended

T = TypeVar("T")

_PATIENCE_S = 1.0


class StoppableCall:
    """One call of a blocking function, which another thread can interrupt with ``asyncio.CancelledError``.

    The error comes at the next line of Python. A call that is in C code, such as ``time.sleep`` or a read from a
    socket, gets it when it returns; nothing in Python can end it before.
    """

    def __init__(self) -> None:
        # Reentrant: the error may arrive when the lock has just been taken.
        self._lock = threading.RLock()
        self._thread: int | None = None
        self._told = False

    def call(self, function: Callable[[], T]) -> T:
        """Call the function in this thread."""
        with self._lock:
            if self._told:
                raise asyncio.CancelledError
            self._thread = threading.get_ident()
        try:
            return function()
        finally:
            self._leave(threading.get_ident())

    def _leave(self, thread: int) -> None:
        while self._thread is not None:
            try:
                with self._lock:
                    self._thread = None
                    _raise_in(thread, None)  # one that comes too late must not hit what the thread does next
            except asyncio.CancelledError:
                continue

    def stop(self) -> None:
        """Raise the error in the call; at once, from any thread, and once only, so that the step can tidy up."""
        if self._lock.acquire(timeout=_PATIENCE_S):
            try:
                if not self._told and self._thread is not None:
                    _raise_in(self._thread, asyncio.CancelledError)
                self._told = True
            finally:
                self._lock.release()

    @property
    def frame(self) -> FrameType | None:
        """Where the call is now."""
        return sys._current_frames().get(self._thread) if self._thread is not None else None


async def stoppable(function: Callable[[], T], name: str, call: StoppableCall) -> T:
    """Run a blocking function in a thread of its own; cancelled, this stops the call and waits for its end."""
    work = asyncio.ensure_future(in_thread(lambda: call.call(function), name))
    return await until_ended(work, call.stop)


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    raised = ctypes.py_object(error) if error is not None else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), raised)
