"""``rate="20/min"``: so many in any stretch of time, over all processes that share a data directory."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import time
import uuid
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from kaigents_nb.server import private_files

_UNITS = {
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "min": 60.0,
    "minute": 60.0,
    "h": 3600.0,
    "hour": 3600.0,
    "day": 86_400.0,
}
_WRITTEN = re.compile(r"\s*(\d+(?:\.\d+)?)\s*/\s*([a-z]+)\s*")


@dataclass(frozen=True)
class Rate:
    """So many in so many seconds."""

    amount: float
    per_s: float

    @classmethod
    def of(cls, text: str) -> Rate:
        """Read a rate.

        Raises
        ------
        ValueError
            With the known units.

        Examples
        --------
        >>> Rate.of("20/min")
        Rate(amount=20.0, per_s=60.0)
        """
        found = _WRITTEN.fullmatch(text) if isinstance(text, str) else None
        if found is None or found[2] not in _UNITS or not float(found[1]) > 0:
            raise ValueError(
                f"A rate is a number in a time, such as '20/min', not {text!r}. Units: {', '.join(_UNITS)}."
            )
        return cls(float(found[1]), _UNITS[found[2]])


@dataclass
class _Line:
    """Those of a loop that wait for a place."""

    first: asyncio.Lock = field(default_factory=asyncio.Lock)
    length: int = 0


class Window:
    """What was used in the time up to now, by all processes that share its file. Threads and loops may share it.

    A place is taken when it is there and never held for later, so that a process which dies while it waits takes none
    with it. Best effort: what is left half written by a power cut, or held by a process that is stopped, is let go.
    """

    def __init__(self, path: Path, per_s: float) -> None:
        self._path = path
        self._per_s = per_s
        self._lines: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Line] = weakref.WeakKeyDictionary()

    async def wait(self, amount: float, limit: float, tell: Callable[[float | None], None]) -> str:
        """Wait until the amount fits, those of this process in their order; return the entry.

        ``tell`` is told how long it will be, None where others of this process are before it.
        """
        line = self._lines.setdefault(asyncio.get_running_loop(), _Line())
        if line.length:
            tell(None)
        line.length += 1
        try:
            async with line.first:
                while True:
                    entry, wait_s = await asyncio.to_thread(self.take, amount, limit, time.time())
                    if not wait_s:
                        return entry
                    tell(wait_s)
                    await asyncio.sleep(wait_s)
        finally:
            line.length -= 1

    def take(self, amount: float, limit: float, now: float) -> tuple[str, float]:
        """Take an amount if it fits; else say in how many seconds it may. What is bigger than the limit goes alone."""
        entry = uuid.uuid4().hex
        with self._entries() as used:
            # Those of the future are of a clock that was set back.
            used[:] = [one for one in used if now - self._per_s < one[0] <= now + _CLOCKS_DIFFER_S]
            over = sum(one[1] for one in used) + amount - limit
            if over <= 0 or not used:
                used.append((now, amount, entry))
                return entry, 0.0
            freed = itertools.accumulate(one for _, one, _ in used)
            free_at = next((one[0] for one, enough in zip(used, freed, strict=True) if enough >= over), used[-1][0])
            return "", free_at + self._per_s - now

    def correct(self, entry: str, amount: float) -> None:
        """Say what was really used."""
        with self._entries() as used:
            used[:] = [(when, amount if name == entry else one, name) for when, one, name in used]

    @contextmanager
    def _entries(self) -> Iterator[list[_Entry]]:
        """Give the entries, oldest first, and save them afterwards."""
        from filelock import FileLock, Timeout

        lock = FileLock(
            f"{self._path}.lock", timeout=_LONGEST_LOCK_S, poll_interval=_LOOKS_AGAIN_S, mode=private_files.FILE
        )
        with suppress(Timeout):
            lock.acquire()
        try:
            try:
                used = [(float(when), float(one), str(name)) for when, one, name in json.loads(self._path.read_text())]
            except (FileNotFoundError, ValueError, TypeError):
                used = []
            yield used
            private_files.overwrite(self._path, json.dumps(sorted(used)).encode())
        finally:
            lock.release()


_Entry = tuple[float, float, str]  # when, amount, name
_CLOCKS_DIFFER_S = 1.0
"""Of machines that share a data directory."""
_LONGEST_LOCK_S, _LOOKS_AGAIN_S = 2.0, 0.005
"""Others hold it for a millisecond."""
