"""What was recorded before the point of a fork, as the forked run takes it over: one payload.

``Payloads`` of protobuf, compressed: the first is JSON that describes calls, gates and waits in the order in which they
came to an end, the others the results of calls as they stand in the first run's history. A result in a file stays
there; only its reference travels. It is read in the workflow when the agent asks for that call: what a file named by
its content's hash holds can't differ in a replay.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from temporalio import workflow
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.common import RawValue

from kaigents_nb.errors import ConversionError
from kaigents_nb.runtime.payloads import claimed, encoded, plain, raw, reference
from kaigents_nb.runtime.refused import check_admitted, fail_the_task
from kaigents_nb.runtime.storage import FileStore
from kaigents_nb.values.encoded import Encoded

SEEDS_ENCODING = "binary/kaigents-seeds"
_FOLDER = "folder"
_LIMIT_BYTES = 2**30


@dataclass(frozen=True)
class Seed:
    """One recorded call, with its result or the failure that the agent was given; or a gate or wait that was over."""

    call: str
    """Its number; that of the gate; ``""`` for a wait."""
    name: str
    result: Payload | None = None
    failure: Mapping[str, Any] = field(default_factory=dict)
    """``type, message, details`` of a failure that was raised in the agent."""
    edited: bool = False
    place: str = ""
    """See :mod:`kaigents_nb.authoring.tasks`; runs of before there were places took over calls by their numbers."""
    turn: int = 0
    """What came to an end in the same turn of the first run has the same number; later ones have higher ones."""
    arguments: str = ""
    """Digest of the call's arguments; ``""`` where it is not known."""
    given_up: bool = False
    """Whether the first run stopped waiting for it, as after a time-out."""

    @property
    def has_outcome(self) -> bool:
        """Whether this is a call with an outcome, and not one that is made again, a gate or a wait."""
        return self.result is not None or bool(self.failure)


def pack_seeds(seeds: Sequence[Seed]) -> RawValue:
    """Return recorded calls as one argument of a run."""
    described = [
        {"result": s.result is not None} | {name: value for name, value in vars(s).items() if name != "result"}
        for s in seeds
    ]
    parts = Payloads(payloads=[raw(described, "recorded calls").payload])
    parts.payloads.extend(seed.result for seed in seeds if seed.result is not None)
    packed = zlib.compress(parts.SerializeToString(), 1)
    return RawValue(Payload(data=packed, metadata={"encoding": SEEDS_ENCODING.encode()}))


def unpack_seeds(payload: Payload) -> list[Seed]:
    """Undo :func:`pack_seeds`; results in files are still references."""
    described, results = _parts(payload)
    rest = iter(results)
    return [Seed(**{**known, "result": next(rest) if known["result"] else None}) for known in described]


def located(payload: Payload, store: FileStore) -> Payload:
    """Return recorded calls that know where their results lie on this machine."""
    return Payload(
        data=payload.data,
        metadata={"encoding": SEEDS_ENCODING.encode(), _FOLDER: str(store.folder).encode("utf-8", "surrogateescape")},
    )


def store_of(payload: Payload) -> FileStore:
    """Return where the results of :func:`located` calls lie."""
    return FileStore(Path(payload.metadata[_FOLDER].decode("utf-8", "surrogateescape")))


async def recorded(result: Payload, store: FileStore) -> Encoded:
    """Return a recorded result, in a workflow; one that lies in a file is read now.

    A file that can't be read stops the run where it stands, and the agent is not told: the task fails, with the
    reason on the card, and is tried again until the file is back.
    """
    claim = reference(result)
    if claim is None:
        return encoded(result)
    try:
        with workflow.unsafe.sandbox_unrestricted():
            return claimed(claim, store.read(claim["digest"]))
    except (ConversionError, OSError) as error:
        unreadable = error
    await fail_the_task(unreadable)
    raise unreadable  # not reached


def _parts(payload: Payload) -> tuple[list[dict[str, Any]], list[Payload]]:
    check_admitted(payload)
    try:
        parts = Payloads.FromString(_inflate(payload.data)).payloads
        return plain(parts[0]), list(parts[1:])
    except (zlib.error, DecodeError, ValueError, LookupError) as error:
        raise ConversionError(f"The recorded calls of a fork are damaged ({type(error).__name__}: {error}).") from error


def _inflate(data: bytes) -> bytes:
    inflater = zlib.decompressobj()
    content = inflater.decompress(data, _LIMIT_BYTES)
    if not inflater.eof:
        raise ConversionError(f"The recorded calls of a fork are over {_LIMIT_BYTES >> 20} MiB. Fork at a later point.")
    return content
