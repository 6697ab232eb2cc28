"""How payloads travel: only signed code gets in, imported before a run needs it; big values lie in files."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import sys
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Self
from weakref import WeakValueDictionary

from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    DataConverter,
    ExternalStorage,
    PayloadCodec,
    SerializationContext,
    StorageDriverStoreContext,
)

from kaigents_nb.runtime.code import Code, held, hold
from kaigents_nb.runtime.failures import LeanFailures
from kaigents_nb.runtime.lacking import is_here
from kaigents_nb.runtime.protocol import CODE_ENCODING
from kaigents_nb.runtime.refused import lost, refused
from kaigents_nb.runtime.seeds import SEEDS_ENCODING, located
from kaigents_nb.runtime.storage import THRESHOLD_BYTES, FileStore
from kaigents_nb.snapshot.module import Snapshot

_importing = threading.Lock()


def data_converter(key: bytes, store: FileStore) -> DataConverter:
    """Return how payloads travel: only code signed with this key gets in, big values lie in the store."""
    return _Converter(
        failure_converter_class=LeanFailures,
        payload_codec=VerifyingCodec(key, store),
        external_storage=ExternalStorage(drivers=[store], payload_size_threshold=THRESHOLD_BYTES),
    )


@dataclass(frozen=True)
class _Converter(DataConverter):
    """The same for everybody. Whose a payload is, nothing of it asks; told so, the SDK's own is made anew each time."""

    def with_context(self, context: SerializationContext) -> Self:
        return self

    def _with_store_context(self, store_ctx: StorageDriverStoreContext) -> Self:
        return self

    async def _decode_reference_payload_sequence(self, payloads: Sequence[Payload]) -> list[Payload]:
        return await _each(super()._decode_reference_payload_sequence, payloads)

    async def _external_retrieve_payload_sequence(self, payloads: Sequence[Payload]) -> list[Payload]:
        return await _each(super()._external_retrieve_payload_sequence, payloads)


_Read = Callable[[Sequence[Payload]], Awaitable[list[Payload]]]


async def _each(read: _Read, payloads: Sequence[Payload]) -> list[Payload]:
    """Read payloads; what stands for one that can't be read says so, and the others are read.

    Every client of the server may send what it likes, such as a reference to a file that is not here. Raised here, one
    such signal would stop a run for good.
    """
    try:
        return await read(payloads)
    except OSError:
        raise  # this machine's trouble, such as too many open files: the task is tried again
    except Exception as error:  # noqa: BLE001 - whatever somebody put there
        if len(payloads) == 1:
            return [lost(error)]
        return [(await _each(read, [payload]))[0] for payload in payloads]


def store_of(converter: DataConverter) -> FileStore | None:
    """Return the store of a converter that :func:`data_converter` made."""
    storage = converter.external_storage
    return next((driver for driver in storage.drivers if isinstance(driver, FileStore)), None) if storage else None


class VerifyingCodec(PayloadCodec):
    """Lets only signed code in, and tells the recorded calls of a fork where their results lie.

    As a codec it sees payloads before the SDK hands them to a workflow. The signature of code is checked and the
    modules it imports are loaded here, outside the workflow, where a slow import would look like a deadlock; what goes
    on to the workflow is the digest alone.
    """

    def __init__(self, key: bytes, store: FileStore) -> None:
        self._key = key
        self._store = store
        # By SHA-256 of the signed bytes: what this codec's key has verified, as long as somebody uses the code.
        self._verified: WeakValueDictionary[bytes, Code] = WeakValueDictionary()

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Leave everything as it is: code is signed where it is frozen."""
        return list(payloads)

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Verify code and replace it by its digest, locate recorded calls; leave everything else as it is."""
        return [await self._arrive(payload) for payload in payloads]

    async def _arrive(self, payload: Payload) -> Payload:
        encoding = payload.metadata.get("encoding")
        if encoding == CODE_ENCODING.encode():
            return await self._admit(payload)
        if encoding == SEEDS_ENCODING.encode():
            return located(payload, self._store)
        return payload

    async def _admit(self, payload: Payload) -> Payload:
        signed = hashlib.sha256(payload.data).digest()
        code = self._verified.get(signed)
        if code is None or held(code.snapshot.digest) is not code:
            try:
                code = await asyncio.to_thread(self._verify, payload.data)
            except Exception as error:  # noqa: BLE001 - anybody who reaches the server may have sent it
                # Not raised here: it would stop a run for good that was sent garbage in a signal.
                return refused(error)
            self._verified[signed] = code
        elif late := [module for module in code.snapshot.modules if module not in sys.modules and is_here(module)]:
            await asyncio.to_thread(_import, late)  # installed since the code was here first
        return Payload(data=f'"{code.snapshot.digest}"'.encode(), metadata={"encoding": b"json/plain"})

    def _verify(self, packed: bytes) -> Code:
        snapshot = Snapshot.unpack(packed, self._key)
        if held(snapshot.digest) is None:
            _import(snapshot.modules)
        return hold(snapshot, packed)


def _import(modules: Iterable[str]) -> None:
    """Import modules, one after the other: of those that import each other, two threads would each get a half-made one.

    Also where a module is known already, for another thread may be at it.
    """
    with _importing:
        for module in modules:
            with suppress(Exception):  # the code that needs it raises there, with its line
                importlib.import_module(module)
