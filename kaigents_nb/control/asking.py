"""``input()`` that ends by itself when nobody needs the answer any more: decided elsewhere, or the time is over."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_LOOK_S = 0.2


class _Over(BaseException):
    """No answer is needed. Not an ``Exception``: ipykernel logs those while it waits for an answer, and waits on."""


def ask(prompt: str, over: Callable[[], bool]) -> str | None:
    """Return what a person types, without the blanks around it; None when it is ``over`` before they did.

    Of a main thread only. A thread asks beside it whether it is over, and then interrupts it with the signal of
    Ctrl-C and ■, which ends any ``input()``: that of a terminal, and a kernel's.
    """
    if not hasattr(signal, "pthread_kill"):
        return input(prompt).strip()
    waiting = _Waiting(over)
    with _handled(waiting):
        try:
            with waiting:
                return input(prompt).strip()
        except EOFError:
            return ""
        except _Over:
            print(flush=True)
            return None


class _Waiting:
    """A main thread that waits for input, and the thread that ends it."""

    def __init__(self, over: Callable[[], bool]) -> None:
        self._over = over
        self._lock = threading.Lock()
        self._answered = threading.Event()
        self._main = threading.get_ident()
        self._thread = threading.Thread(target=self._look_on, name="kaigents prompt", daemon=True)
        self.interrupted = False

    def _look_on(self) -> None:
        while not self._answered.wait(_LOOK_S):
            if self._over():
                with self._lock:
                    if not self._answered.is_set():
                        self.interrupted = True
                        signal.pthread_kill(self._main, signal.SIGINT)
                return

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *exc_info: object) -> None:
        # From here on nothing is interrupted. What was sent a moment ago arrives in this block at the latest.
        with self._lock:
            self._answered.set()
        while self.interrupted and exc_info[0] is None:
            time.sleep(0.001)


@contextmanager
def _handled(waiting: _Waiting) -> Iterator[None]:
    """Tell our interrupt from a person's, who is served as ever."""
    before: Any = signal.getsignal(signal.SIGINT)

    def interrupt(number: int, frame: FrameType | None) -> None:
        if waiting.interrupted:
            waiting.interrupted = False
            raise _Over
        if callable(before):
            before(number, frame)
        else:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
