"""``cache="1 day"`` of a step: what the same code gave for the same arguments, kept in the data directory."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from google.protobuf.message import DecodeError
from temporalio.api.common.v1 import Payload

from kaigents_nb.runtime.protocol import META_NOTICE, META_OUTPUT
from kaigents_nb.server import private_files


class StepCache:
    """Results by what they were computed from; of any age, for whoever asks says how old one may be."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def key(self, code: str, step: str, arguments: Iterable[Payload]) -> str:
        """Return what stands for a call: ``code`` for all that the step executes."""
        digest = hashlib.sha256(f"{code} {step}".encode())
        for payload in arguments:
            digest.update(hashlib.sha256(payload.metadata.get("encoding", b"") + b" " + payload.data).digest())
        return digest.hexdigest()

    def get(self, key: str, max_age_s: float) -> Payload | None:
        """Return a result that is not older, with a notice that says so."""
        path = self._folder / key
        try:
            age_s = time.time() - path.stat().st_mtime
            if not 0 <= age_s <= max_age_s:
                return None
            payload = Payload.FromString(path.read_bytes())
        except (OSError, DecodeError):
            return None
        made = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        notice = f"Taken from the cache: computed at {made:%Y-%m-%d %H:%M:%S} UTC for the same arguments."
        payload.metadata[META_NOTICE] = notice.encode()
        payload.metadata.pop(META_OUTPUT, None)
        return payload

    def put(self, key: str, result: Payload) -> None:
        """Keep a result."""
        private_files.make_directory(self._folder)
        private_files.write(self._folder / key, result.SerializeToString())
