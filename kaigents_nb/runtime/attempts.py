"""What this process executes at the moment: progress and output of attempts, before the server knows them."""

from __future__ import annotations

import threading
from typing import Any, Protocol

Key = tuple[str, str, str]
"""``(workflow id, workflow run id, activity id)``."""


class RunningAttempt(Protocol):
    """What a card shows of a running attempt."""

    run_id: str
    call: str
    number: int
    progress: dict[str, Any] | None

    def heartbeat(self) -> dict[str, Any]:
        """What the server is told."""
        ...


class Attempts:
    """The attempts that a process executes; safe to read from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._attempts: dict[Key, RunningAttempt] = {}

    def started(self, key: Key, attempt: RunningAttempt) -> None:
        """An attempt begins."""
        with self._lock:
            self._attempts[key] = attempt

    def ended(self, key: Key) -> None:
        """An attempt is over, well or not."""
        with self._lock:
            self._attempts.pop(key, None)

    def attempt(self, key: Key) -> RunningAttempt | None:
        """Return a running attempt."""
        with self._lock:
            return self._attempts.get(key)

    def all(self) -> list[RunningAttempt]:
        """Return what runs now."""
        with self._lock:
            return list(self._attempts.values())

    def of_run(self, workflow_id: str) -> dict[str, RunningAttempt]:
        """Return the running attempts of a run, by call."""
        with self._lock:
            return {a.call: a for key, a in self._attempts.items() if key[0] == workflow_id}
