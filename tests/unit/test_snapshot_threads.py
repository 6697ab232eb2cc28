"""Code is read by several threads at once: by a start() and by the worker of the same process."""

from __future__ import annotations

import gc
import sys
import threading
from pathlib import Path

import kaigents_nb.snapshot.cells as cells


def test_threads_read_code_at_the_same_time() -> None:
    """Python 3.11 confuses syntax trees that are made while the collector lets other threads run."""

    class Collected:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            for _ in range(50):
                pass

    source, errors = Path(cells.__file__).read_text(), []

    def read() -> None:
        try:
            for _ in range(25):
                Collected()
                cells.parse_once(source)
        except SystemError as error:
            errors.append(error)

    interval, threshold = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-6)
    gc.set_threshold(50)
    try:
        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
        gc.set_threshold(*threshold)
    assert errors == []
