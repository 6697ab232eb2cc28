"""Whose code a worker executes: snapshots are signed with a key that only this data directory has."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from pathlib import Path

from kaigents_nb.errors import SnapshotError, UntrustedCode
from kaigents_nb.server import datadir, private_files

KEY_VARIABLE = "KAIGENTS_SIGNING_KEY"
KEY_BYTES = 32
_SHORTEST_KEY = 16

_MAGIC = b"kaigents-code 1\n"
_ID_BYTES = 8
_MAC_BYTES = 32
_HEAD_BYTES = len(_MAGIC) + _ID_BYTES + _MAC_BYTES


def signing_key(data_dir: Path) -> bytes:
    """Return the key that signs the code of runs, making it the first time.

    Parameters
    ----------
    data_dir
        The data directory; the key is its file ``signing.key``, readable by its owner only. The environment
        variable ``KAIGENTS_SIGNING_KEY`` comes first: set it where several machines share runs.

    Raises
    ------
    SnapshotError
        When the variable is too short to be a key, or the file is not a key.
    """
    shared = os.environ.get(KEY_VARIABLE, "")
    if shared:
        if len(shared) < _SHORTEST_KEY:
            raise SnapshotError(
                f"{KEY_VARIABLE} has {len(shared)} characters and can be guessed; use {_SHORTEST_KEY} or more. "
                "Make one with: python -c 'import secrets; print(secrets.token_hex(32))'"
            )
        return shared.encode()
    path = data_dir / datadir.SIGNING_KEY
    if not path.exists():
        data_dir.parent.mkdir(parents=True, exist_ok=True)
        private_files.make_directory(data_dir)
        private_files.create(path, secrets.token_bytes(KEY_BYTES))
    return _read(path)


def _read(path: Path) -> bytes:
    # On a file system without hard links another process may still be writing it.
    deadline = time.monotonic() + 2
    while len(key := path.read_bytes()) < KEY_BYTES and time.monotonic() < deadline:
        time.sleep(0.01)
    if len(key) != KEY_BYTES:
        raise SnapshotError(
            f"{path} is not a signing key: it has {len(key)} bytes, not {KEY_BYTES}. Restore it from a backup. "
            "Without it, open runs of this data directory can't go on; deleting it makes a new one for new runs."
        )
    if os.name == "posix" and path.stat().st_mode & 0o077:
        path.chmod(private_files.FILE)
    return key


def sign(body: bytes, key: bytes) -> bytes:
    """Return the body behind its signature."""
    head = _MAGIC + _key_id(key)
    return head + _mac(head + body, key) + body


def verify(data: bytes, key: bytes) -> bytes:
    """Return the body of signed data.

    Raises
    ------
    UntrustedCode
        When it is unsigned, altered, or signed with another key; the message says which.
    """
    if not data.startswith(_MAGIC) or len(data) < _HEAD_BYTES:
        raise UntrustedCode(
            "The run's code has no signature, so it is not executed. Start the run with kaigents-nb, from a "
            "notebook or script that uses the same data directory as this worker."
        )
    mac_at = _HEAD_BYTES - _MAC_BYTES
    head, mac, body = data[:mac_at], data[mac_at:_HEAD_BYTES], data[_HEAD_BYTES:]
    if hmac.compare_digest(mac, _mac(head + body, key)):
        return body
    if head[len(_MAGIC) :] != _key_id(key):
        raise UntrustedCode(
            "The run's code is signed with another key, so it is not executed. Use the data directory that the "
            f"run was started with, or set {KEY_VARIABLE} to the same value on all machines that share runs."
        )
    raise UntrustedCode(
        "The run's code was altered after it was signed, so it is not executed. Start the run again from its notebook."
    )


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"kaigents key id\n" + key).digest()[:_ID_BYTES]


def _mac(content: bytes, key: bytes) -> bytes:
    return hmac.new(key, content, hashlib.sha256).digest()
