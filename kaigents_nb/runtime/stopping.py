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

_HANGS_TRACERS = sys.version_info < (3, 12)
"""Python 3.11 executes no traced line as long as some thread, in C code, has an error to take."""
_OFFERED_S, _WITHDRAWN_S = 0.5, 0.05

_taken: set[int] = set()
"""The threads whose error has been raised."""


class StepStopped(asyncio.CancelledError):
    """The step was cancelled or took too long. Raised in its thread, wherever it is."""

    def __init__(self) -> None:
        super().__init__("The step was told to stop.")
        _taken.add(threading.get_ident())


class _Nothing(BaseException):
    pass


class StoppableCall:
    """One call of a blocking function, which can be interrupted.

    The error comes at the next line of Python, once only, so that the step can tidy up. A call that is in C code, such
    as ``time.sleep`` or a read from a socket, gets it when it returns; nothing in Python can end it before.
    """

    def __init__(self) -> None:
        # Reentrant: the error may arrive when the lock has just been taken.
        self._lock = threading.RLock()
        self._thread: int | None = None
        self._told = False
        self._stopping: asyncio.Task[None] | None = None

    def call(self, function: Callable[[], T]) -> T:
        """Call the function in this thread."""
        thread = threading.get_ident()
        _taken.discard(thread)
        with self._lock:
            if self._told:
                raise StepStopped
            self._thread = thread
        try:
            return function()
        finally:
            self._leave()

    def _leave(self) -> None:
        while self._thread is not None:
            try:
                with self._lock:
                    self._thread = None
                for _ in range(3):  # an error that comes too late comes here, not in what the thread does next
                    pass
            except StepStopped:
                continue

    def stop(self) -> None:
        """Raise the error in the call as soon as it can take it; called in an event loop, returns at once."""
        self._told = True
        self._stopping = asyncio.get_running_loop().create_task(self._stop())

    async def _stop(self) -> None:
        self._raise(StepStopped)
        while _HANGS_TRACERS and self._thread is not None and self._thread not in _taken:
            await asyncio.sleep(_OFFERED_S)
            self._raise(None)
            _raise_here()
            await asyncio.sleep(_WITHDRAWN_S)
            self._raise(StepStopped)

    def _raise(self, error: type[BaseException] | None) -> None:
        with self._lock:
            if self._thread is not None and self._thread not in _taken:
                _raise_in(self._thread, error)

    @property
    def under_way(self) -> bool:
        """Whether the function has begun and not returned."""
        return self._thread is not None

    @property
    def frame(self) -> FrameType | None:
        """Where the call is now."""
        return sys._current_frames().get(self._thread) if self._thread is not None else None


async def stoppable(function: Callable[[], T], name: str, call: StoppableCall) -> T:
    """Run a blocking function in a thread of its own; cancelled, this stops the call and waits for its end."""
    work = asyncio.ensure_future(in_thread(lambda: call.call(function), name))
    return await until_ended(work, call.stop)


def _raise_here() -> None:
    """Raise an error in this thread, and catch it: by taking one, Python learns that none is left to be taken."""
    try:
        _raise_in(threading.get_ident(), _Nothing)
        while True:
            pass
    except _Nothing:
        pass


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    raised = ctypes.py_object(error) if error is not None else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), raised)
