"""Big values in files: a content-addressed store in the data directory, behind the SDK's external storage."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path

from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    StorageDriver,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
)

from kaigents_nb.errors import ConversionError
from kaigents_nb.server import private_files

THRESHOLD_BYTES = 64 * 1024
"""A payload of this size or more goes to a file, so that a history stays far below the server's 50 MB."""

_META = "kaigents-"


class FileStore(StorageDriver):
    """Payloads as files named by the SHA-256 of their content: equal values are kept once.

    Descriptions (a frame's shape, what a step printed) stay in the history beside the file's name, so that
    looking at a run reads no file.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def name(self) -> str:
        """Return the name that histories refer to."""
        return "kaigents-files"

    def type(self) -> str:
        """Return the kind of store, equal in every process."""
        return "kaigents.files"

    async def store(self, context: StorageDriverStoreContext, payloads: Sequence[Payload]) -> list[StorageDriverClaim]:
        """Write each payload, unless it is there already."""
        return list(await asyncio.gather(*(asyncio.to_thread(self._write, payload) for payload in payloads)))

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        """Read payloads back and check their content against their name."""
        return list(await asyncio.gather(*(asyncio.to_thread(self._retrieve, claim) for claim in claims)))

    def read(self, digest: str) -> bytes:
        """Return a value's bytes, checked against their name.

        Raises
        ------
        ConversionError
            When the file is missing or was altered.
        """
        try:
            data = self.path(digest).read_bytes()
        except (FileNotFoundError, IsADirectoryError, PermissionError):
            raise ConversionError(
                f"A saved value is missing: {self.path(digest)}. Values over {THRESHOLD_BYTES // 1024} KiB are kept "
                "in the data directory of the machine that made them; connect with that data directory, or restore "
                "it from a backup."
            ) from None
        if hashlib.sha256(data).hexdigest() != digest:
            raise ConversionError(f"A saved value was altered: {self.path(digest)}. Restore it from a backup.")
        return data

    def path(self, digest: str) -> Path:
        """Return where a value lies."""
        if len(digest) != 64 or not all(letter in "0123456789abcdef" for letter in digest):
            raise ConversionError(f"Not the name of a stored value: {digest!r}.")
        return self.folder / digest[:2] / digest

    def write(self, data: bytes) -> str:
        """Save bytes, unless they are there already, and return the digest by which :meth:`read` finds them."""
        digest = hashlib.sha256(data).hexdigest()
        target = self.path(digest)
        if not target.exists():
            private_files.make_directory(self.folder)
            private_files.make_directory(target.parent)
            private_files.write(target, data)
        return digest

    def _write(self, payload: Payload) -> StorageDriverClaim:
        described = {
            key: data.decode("utf-8", "replace") for key, data in payload.metadata.items() if key.startswith(_META)
        }
        encoding = payload.metadata["encoding"].decode()
        return StorageDriverClaim({"digest": self.write(payload.data), "encoding": encoding, **described})

    def _retrieve(self, claim: StorageDriverClaim) -> Payload:
        described = dict(claim.claim_data)
        if "digest" not in described or "encoding" not in described:
            raise ConversionError(f"Not a reference to a stored value: {sorted(described)}.")
        payload = Payload(data=self.read(described.pop("digest")))
        for key, text in described.items():
            payload.metadata[key] = text.encode("utf-8", "replace")
        return payload
