"""The one writer of private files: for their owner only, and whole or not at all, however a process ends."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

DIRECTORY = 0o700
FILE = 0o600


def make_directory(path: Path) -> Path:
    """Return ``path``, made with mode 0700 if it is absent, in a directory that is there."""
    path.mkdir(mode=DIRECTORY, exist_ok=True)
    return path


def write(path: Path, content: bytes) -> None:
    """Write a file, or replace it in one step: no reader and no crash finds half of it."""
    with _draft(path, content) as draft:
        draft.replace(path)


def overwrite(path: Path, content: bytes) -> None:
    """Write a file that a power cut may leave half written, or empty: quickly."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE), "wb") as file:
        file.write(content)


def create(path: Path, content: bytes) -> None:
    """Write a file unless it is there; of those who do so at the same time, one wins.

    On a file system without hard links a reader may see the winner's file while it is being written.
    """
    with _draft(path, content) as draft:
        try:
            os.link(draft, path)
        except (OSError, NotImplementedError):  # it is there already, or there are no hard links
            with contextlib.suppress(FileExistsError):
                _write_new(path, content)


@contextlib.contextmanager
def _draft(path: Path, content: bytes) -> Iterator[Path]:
    """Give a file beside ``path`` that is on the disk already; it is gone afterwards, under this name."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        _write_new(draft, content)
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def _write_new(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
