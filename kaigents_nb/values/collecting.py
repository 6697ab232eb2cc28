"""No collection of garbage while a value is read or written."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_paused = 0
_was_on = False


@contextmanager
def no_collection() -> Iterator[None]:
    """Have the block make objects undisturbed.

    Python looks for garbage after so many new objects. Those of a value are all in use, and looking at a million of
    them again and again takes longer than to make them.
    """
    global _paused, _was_on
    with _lock:
        if not _paused:
            _was_on = gc.isenabled()
            gc.disable()
        _paused += 1
    try:
        yield
    finally:
        with _lock:
            _paused -= 1
            if not _paused and _was_on:
                gc.enable()
