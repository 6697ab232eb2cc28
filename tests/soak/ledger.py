"""What really happened, written down outside of everything that is tested: a line a fact, on the disk at once."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

import kaigents_nb as kg

T = TypeVar("T")

PLACE = "SOAK_PLACE"
"""Environment variable: the folder of this soak, where the ledgers are."""
STEPS, TOLD = "steps.jsonl", "told.jsonl"
"""What steps did; what people and programs were told."""


class Ledger:
    """An append-only file that any number of processes write, each fact in one write, and none is lost by a kill."""

    def __init__(self, name: str) -> None:
        self._file = os.open(Path(os.environ[PLACE]) / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, what: str, **facts: Any) -> None:
        """Append a fact, with who writes it and when."""
        line = json.dumps({"what": what, **facts, "pid": os.getpid(), "time": time.time()})
        os.write(self._file, f"{line}\n".encode())
        os.fsync(self._file)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)


def read(name: str) -> Iterator[dict[str, Any]]:
    """Return what a ledger has, oldest first."""
    path = Path(os.environ[PLACE]) / name
    for line in path.read_text().splitlines() if path.exists() else ():
        yield json.loads(line)


class Entry:
    """One execution of a step; the key is the call's idempotency key, the same over all attempts."""

    def __init__(self) -> None:
        self._ledger = Ledger(STEPS)
        self._key = kg.idempotency_key()
        self._ledger.write("begin", key=self._key)

    def end(self, result: T) -> T:
        """Write down that the step has its result, and return that."""
        self._ledger.write("end", key=self._key, digest=digest(result))
        self._ledger.close()
        return result


def digest(value: object) -> str:
    """Return what tells a value from any other."""
    if isinstance(value, pd.DataFrame):
        data = f"{list(value.columns)}".encode() + value.to_numpy().tobytes()
    else:
        data = json.dumps(value, sort_keys=True).encode()
    return hashlib.sha256(data).hexdigest()[:16]
