"""Proof from outside Temporal of what really ran: a file with a line for each begin and end of a step."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple


class Entry(NamedTuple):
    """One line: ``event`` is ``begins`` or ``ends``, ``time`` is UTC in ISO 8601."""

    time: str
    step: str
    event: str
    pid: int


@contextmanager
def noted(path: str | os.PathLike[str] | None, step: str) -> Iterator[None]:
    """Note that a step begins and, unless it fails or is killed, that it ends; without a path do nothing."""
    _append(path, step, "begins")
    yield
    _append(path, step, "ends")


def read_ledger(path: str | os.PathLike[str]) -> list[Entry]:
    """Return what ran so far, oldest first; nothing while the file is not there."""
    file = Path(path)
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return [Entry(time, step, event, int(pid)) for time, step, event, pid in map(str.split, lines)]


def _append(path: str | os.PathLike[str] | None, step: str, event: str) -> None:
    if path is None:
        return
    line = f"{datetime.now(UTC).isoformat()} {step} {event} {os.getpid()}\n"
    # One short write in append mode: lines of several processes don't mix, none is lost with its process.
    with Path(path).open("ab", buffering=0) as file:
        file.write(line.encode())
