"""Recorded calls that a forked run takes over: one payload, in which big results are references.

``Payloads`` of protobuf, compressed: the first is JSON that describes the calls, the others their results as they
stand in the first run's history. A result in a file stays there; only its reference travels.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from temporalio.api.common.v1 import Payload, Payloads
from temporalio.common import RawValue

from kaigents_nb.errors import ConversionError
from kaigents_nb.runtime.payloads import plain, raw

SEEDS_ENCODING = "binary/kaigents-seeds"
_LIMIT_BYTES = 2**30


@dataclass(frozen=True)
class Seed:
    """One recorded call: its result, or the failure that the agent was given."""

    call: str
    name: str
    result: Payload | None = None
    failure: Mapping[str, Any] = field(default_factory=dict)
    """``type, message, details`` of a failure that was raised in the agent."""
    edited: bool = False


def pack_seeds(seeds: Sequence[Seed]) -> RawValue:
    """Return recorded calls as one argument of a run."""
    described = [
        {"call": s.call, "name": s.name, "failure": dict(s.failure), "edited": s.edited, "result": s.result is not None}
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
    return [
        Seed(d["call"], d["name"], next(rest) if d["result"] else None, d["failure"], d["edited"]) for d in described
    ]


def results_of(payload: Payload) -> list[Payload]:
    """Return the results among the seeds, in order."""
    return _parts(payload)[1]


def with_results(payload: Payload, results: Sequence[Payload]) -> Payload:
    """Return the seeds with other results, in the same order: those read from their files."""
    described = Payloads.FromString(_inflate(payload.data)).payloads[0]
    parts = Payloads(payloads=[described, *results])
    # Level 0: what leaves here is read at once in this process.
    return Payload(data=zlib.compress(parts.SerializeToString(), 0), metadata={"encoding": SEEDS_ENCODING.encode()})


def _parts(payload: Payload) -> tuple[list[dict[str, Any]], list[Payload]]:
    parts = Payloads.FromString(_inflate(payload.data)).payloads
    return plain(parts[0]), list(parts[1:])


def _inflate(data: bytes) -> bytes:
    inflater = zlib.decompressobj()
    content = inflater.decompress(data, _LIMIT_BYTES)
    if not inflater.eof:
        raise ConversionError(f"The recorded calls of a fork are over {_LIMIT_BYTES >> 20} MiB. Fork at a later point.")
    return content
