"""Big values that agents read and write, kept for a while: a task that has to begin anew is quicker then.

What an agent was given and has handed on, it is given and hands on again when its run is replayed: all of it in one
task, for which the server has a time-out. What one attempt has read or written is there for the next, so that some
attempt is quick enough. And what can be read without the run's code is read before the agent's turn, where no
deadlock is looked for.

Kept are pickles that only this process makes and reads, by the content that they were read from; and what was written,
by the pickle of the value. So each agent gets a value of its own, and one that was changed is written as it is.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec

from kaigents_nb.errors import ConversionError
from kaigents_nb.runtime.loop import in_thread
from kaigents_nb.runtime.payloads import encoded
from kaigents_nb.runtime.storage import THRESHOLD_BYTES
from kaigents_nb.values.decode import decode
from kaigents_nb.values.encode import DESCRIBES, TAGGED_JSON, Check, encode_for
from kaigents_nb.values.encoded import Encoded, TypeResolver
from kaigents_nb.values.packed import is_big, pack, unpack

_KEPT_S = 120.0
"""So long after it was last asked for: several attempts of a task."""
_LOOK_S = 10.0
_KEPT_BYTES = 256 * 2**20
"""At most so much; what comes then is not kept. Each attempt asks for all in the same order: if the new took the place
of the old, none of it would be there."""
_ENTRY_BYTES = 500
_OTHER_KIND = b""
"""In place of a pickle: there is none of such a value."""
_ANY_CODE = ""
"""In place of a code's digest: the value names no class, so that it is the same to every run."""

_Key = tuple[str, str, bytes]
"""``read``, ``written`` or ``tried``; digest of the run's code; digest of what it was made from."""


class _Kept:
    """What was made, in the order in which it was last asked for; nothing where no worker serves."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: OrderedDict[_Key, tuple[Any, int, float]] = OrderedDict()
        self._workers = 0
        self.size_bytes = 0

    @property
    def serves(self) -> bool:
        """Whether anything may be found here."""
        return bool(self._workers)

    @property
    def takes_more(self) -> bool:
        """Whether what is made now is kept."""
        return self.serves and self.size_bytes < _KEPT_BYTES

    def get(self, kind: str, code: str, content: bytes) -> Any:
        """Return what was added for this code or for any; None where nothing was."""
        with self._lock:
            for key in ((kind, _ANY_CODE, content), (kind, code, content)):
                if key in self._held:
                    made, size, _ = self._held.pop(key)
                    self._held[key] = made, size, time.monotonic()
                    return made
            return None

    def add(self, kind: str, code: str, content: bytes, made: Any) -> None:
        """Keep something, if there is room."""
        size = _ENTRY_BYTES + len(made.data if isinstance(made, Encoded) else made)
        with self._lock:
            if self.takes_more and (key := (kind, code, content)) not in self._held:
                self._held[key] = made, size, time.monotonic()
                self.size_bytes += size

    def sweep(self, longest_s: float) -> None:
        """Drop what nobody has asked for that long."""
        with self._lock:
            while self._held:
                key, (_, size, asked) = next(iter(self._held.items()))
                if time.monotonic() - asked < longest_s:
                    break
                del self._held[key]
                self.size_bytes -= size

    async def serve(self) -> None:
        """Keep values as long as a worker serves: until this is cancelled."""
        self._workers += 1
        try:
            while True:
                await asyncio.sleep(_LOOK_S)
                self.sweep(_KEPT_S)
        finally:
            self._workers -= 1
            if not self._workers:
                self.sweep(0)


_kept = _Kept()
keep_values = _kept.serve


class RunValues:
    """Reads and writes the values of one run in its workflow."""

    def __init__(self, code: str) -> None:
        self._code = code

    def read(
        self, saved: Encoded, *, resolve: TypeResolver | None = None, hint: object = None, coerce: bool = False
    ) -> object:
        """Return the value that was encoded, as :func:`~kaigents_nb.values.decode.decode` does."""
        content = _content(saved.data) if _kept.serves and _is_big_tagged(saved.encoding, saved.data) else None
        packed = _kept.get("read", self._code, content) if content else None
        if packed and resolve is not None:
            return unpack(packed, resolve)
        value = decode(saved, resolve=resolve, hint=hint, coerce=coerce)
        if content and packed is None and _kept.takes_more:
            _kept.add("read", self._code, content, pack(value) or _OTHER_KIND)
        return value

    def write(self, value: object, where: str, check: Check | None = None) -> Encoded:
        """Return a value as bytes, as :func:`~kaigents_nb.values.encode.encode_for` does."""
        packed = pack(value) if check is None and _kept.serves and is_big(value) else None
        content = _content(packed) if packed else None
        written: Encoded | None = _kept.get("written", self._code, content) if content else None
        if written is None:
            written = encode_for(value, where, check)
            if content and len(written.data) >= THRESHOLD_BYTES:
                _kept.add("written", self._code, content, written)
        return written


class ReadingAhead(PayloadCodec):
    """Reads big values of a task before it is the workflow's turn; payloads are what another codec makes of them."""

    def __init__(self, codec: PayloadCodec) -> None:
        self._codec = codec
        self._turn = asyncio.Lock()  # one by one: they share the interpreter lock, and each takes memory meanwhile

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Do what the other codec does."""
        return await self._codec.encode(payloads)

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Do what the other codec does, and read what it gives."""
        arrived = await self._codec.decode(payloads)
        for payload in arrived:
            if _is_big_tagged(payload.metadata.get("encoding", b"").decode("ascii", "replace"), payload.data):
                async with self._turn:
                    await in_thread(partial(_read_ahead, payload), "kaigents reads ahead")
        return arrived


def _read_ahead(payload: Payload) -> None:
    content = _content(payload.data)
    if not _kept.takes_more or _kept.get("read", _ANY_CODE, content) or _kept.get("tried", _ANY_CODE, content):
        return
    try:
        saved = encoded(payload)
        packed = pack(decode(saved, resolve=_unknown))
    except ConversionError:
        packed = None  # it names a class, which only the run's code has; or it is damaged, as the agent is to be told
    if packed is None:
        _kept.add("tried", _ANY_CODE, content, b"")
        return
    _kept.add("read", _ANY_CODE, content, packed)
    meta = {key: saved.meta[key] for key in DESCRIBES if key in saved.meta}
    _kept.add("written", _ANY_CODE, _content(packed), Encoded(saved.encoding, saved.data, meta))


def _unknown(module: str, qualname: str) -> type:
    raise LookupError(qualname)


def _is_big_tagged(encoding: str, data: bytes) -> bool:
    """Whether it takes long to read: more than to take a pickle apart, as what has no tags does."""
    return encoding == TAGGED_JSON and len(data) >= THRESHOLD_BYTES


def _content(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
