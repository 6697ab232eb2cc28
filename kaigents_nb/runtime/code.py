"""The code that a process holds: verified when it arrived, kept while somebody uses it and a little longer."""

from __future__ import annotations

import gc
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from weakref import WeakValueDictionary

from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue

from kaigents_nb.runtime.protocol import CODE_ENCODING
from kaigents_nb.snapshot.module import Snapshot

_RECENT = 64
_RECENT_BYTES = 64 * 2**20
_ARRIVED_S = 12.0
"""Somewhat more than the server's time-out for a workflow task: who was sent code and has not taken it by then has lost
the task, and is sent it again."""


@dataclass(frozen=True, eq=False)
class Code:
    """One verified snapshot, and the signed bytes that carry it further.

    A process has one object for each digest, as long as a workflow in the worker's cache, an attempt or a reader
    refers to it. What was made of the code (loaded steps, their resources) lives as long.
    """

    snapshot: Snapshot
    packed: bytes

    def payload(self) -> RawValue:
        """Return the code as an argument of a run or step."""
        return RawValue(Payload(data=self.packed, metadata={"encoding": CODE_ENCODING.encode()}))


class HeldCode:
    """Code by digest: all that is in use, and the last few that nobody uses now."""

    def __init__(self) -> None:
        # Reentrant: a collection of garbage in the middle of it may run an analyst's code, which may ask again.
        self._lock = threading.RLock()
        self._used: WeakValueDictionary[str, Code] = WeakValueDictionary()
        self._recent: OrderedDict[str, tuple[Code, float]] = OrderedDict()
        self._recent_bytes = 0
        self._dropped = 0
        """Since garbage was collected."""

    def get(self, digest: str) -> Code | None:
        """Return code that was added, unless nobody has used it for some time."""
        with self._lock:
            code = self._used.get(digest)
            if code is not None:
                self._touch(code)
            return code

    def add(self, snapshot: Snapshot, packed: bytes) -> Code:
        """Keep verified code for those who will ask for its digest."""
        with self._lock:
            code = self._used.setdefault(snapshot.digest, Code(snapshot, packed))
            self._touch(code)
            collect = self._dropped >= _RECENT
            if collect:
                self._dropped = 0
        if collect:
            # Functions and their namespace refer to each other. By itself Python, which counts objects and not their
            # size, would look for such among the old ones after hundreds of runs.
            gc.collect()
        return code

    def _touch(self, code: Code) -> None:
        digest = code.snapshot.digest
        if self._recent.pop(digest, None) is None:
            self._recent_bytes += code.snapshot.size_bytes
        self._recent[digest] = code, time.monotonic()
        while len(self._recent) > _RECENT or self._recent_bytes > _RECENT_BYTES:
            oldest, asked = next(iter(self._recent.values()))
            if time.monotonic() - asked < _ARRIVED_S:
                break
            del self._recent[oldest.snapshot.digest]
            self._recent_bytes -= oldest.snapshot.size_bytes
            self._dropped += 1


_held = HeldCode()
held = _held.get
hold = _held.add
