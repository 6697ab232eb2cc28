"""Where attempts note what they have done so far: beside the big values, in the data directory."""

from __future__ import annotations

import hashlib
from pathlib import Path

from kaigents_nb.runtime.storage import FileStore
from kaigents_nb.server import private_files


def journal_of(store: FileStore, execution: str, run_id: str, call: str) -> Path:
    """Return the file of one call, of all its attempts."""
    name = hashlib.sha256(f"{execution}/{run_id}/{call}".encode()).hexdigest()[:32]
    return _folder(store) / name


def ledger_of(store: FileStore, execution: str) -> Path:
    """Return the file of one execution of a run in which its requests of models are counted."""
    return _folder(store) / f"{execution}.requests"


def _folder(store: FileStore) -> Path:
    return private_files.make_directory(store.folder.parent / "journals")
