"""Backups: everything a data directory needs to go on elsewhere, as of one moment."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

from kaigents_nb.errors import DatabaseError
from kaigents_nb.server import database as server_database
from kaigents_nb.server import datadir, private_files


def backup(data_dir: Path, target: Path) -> Path:
    """Save the database, big values and signing key in a new directory under ``target``; return that one.

    A running server goes on meanwhile. The backup, ``kaigents-backup-<UTC time>``, is laid out as a data
    directory: to restore it, use it as one, or copy its files into an empty one. It holds the signing key
    and whatever the runs' values hold, so it is readable by its owner only.

    Raises
    ------
    DatabaseError
        There is no database, it is damaged, or the backup can't be written. Nothing is overwritten.
    """
    data_dir = data_dir.expanduser().resolve()
    database = data_dir / datadir.DATABASE
    if not database.is_file():
        raise DatabaseError(f"No database {database}, so there is nothing to back up. No server was started there yet.")
    name = f"kaigents-backup-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    complete, draft = target / name, target / f"{name}.partial"
    if complete.exists():
        raise DatabaseError(f"{complete} exists already; it was not changed. Try again in a second.")
    try:
        target.mkdir(parents=True, exist_ok=True)
        draft.mkdir(mode=private_files.DIRECTORY)
        server_database.copy(database, draft / datadir.DATABASE)
        # After the database: a value is stored before the history names it, so none can be missing.
        if (blobs := data_dir / datadir.BLOBS).is_dir():
            copied = shutil.copytree(blobs, draft / datadir.BLOBS, copy_function=_copy_blob)
            for directory in (copied, *(path for path in copied.rglob("*") if path.is_dir())):
                directory.chmod(private_files.DIRECTORY)
        if (key := data_dir / datadir.SIGNING_KEY).is_file():
            private_files.write(draft / datadir.SIGNING_KEY, key.read_bytes())
        draft.rename(complete)
    except OSError as error:
        raise DatabaseError(
            f"The backup could not be written: {error}. What there is of it is in {draft}; "
            "choose another place, or make room, and try again."
        ) from error
    return complete


def _copy_blob(source: str, target: str) -> None:
    try:
        shutil.copyfile(source, target)
    except FileNotFoundError:
        return  # a half-written file that has got its final name since
    Path(target).chmod(private_files.FILE)
