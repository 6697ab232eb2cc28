"""The code that a process holds: verified when it arrived, kept by digest."""

from __future__ import annotations

from dataclasses import dataclass

from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue

from kaigents_nb.runtime.protocol import CODE_ENCODING
from kaigents_nb.snapshot.module import Snapshot


@dataclass(frozen=True)
class Code:
    """One verified snapshot, and the signed bytes that carry it further."""

    snapshot: Snapshot
    packed: bytes

    def payload(self) -> RawValue:
        """Return the code as an argument of a run or step."""
        return RawValue(Payload(data=self.packed, metadata={"encoding": CODE_ENCODING.encode()}))


_held: dict[str, Code] = {}


def held(digest: str) -> Code | None:
    """Return code that has arrived in this process and was verified."""
    return _held.get(digest)


def hold(snapshot: Snapshot, packed: bytes) -> Code:
    """Keep verified code for the runs that name its digest."""
    return _held.setdefault(snapshot.digest, Code(snapshot, packed))
