"""The server's SQLite file: made whole or not at all, diagnosed before each start, never deleted.

The Temporal CLI makes the schema only if the file is absent, so a crash during its first start leaves a file
that no later start accepts. Here a database is made in a directory of its own and moved to its place when
it is complete: a ``temporal.db`` that exists is a whole one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from kaigents_nb.errors import DatabaseError
from kaigents_nb.server import datadir, private_files
from kaigents_nb.server import process as server_process

CHECK_UP_TO_BYTES = 256 * 1024 * 1024
"""After a crash a database up to this size is checked page by page before the start."""
_NEEDED_SPACE_BYTES = 16 * 1024 * 1024
_BUSY_TIMEOUT_S = 1.0

ELSEWHERE = f"Or use another directory: {datadir.ENVIRONMENT_VARIABLE} or kg.connect(data_dir=…)."
_UNTOUCHED = "The file was not changed."
_KEEP_AND_RESTORE = (
    f"{_UNTOUCHED} Move it away (keep it: `sqlite3 FILE .recover` may save its content) and put the "
    f"temporal.db of a backup made with `kaigents-nb server backup` in its place. {ELSEWHERE}"
)


def prepare(data_dir: Path, *, after_crash: bool) -> bool:
    """Make the existing database ready for a server; False if there is none and a new one has to be made.

    A file that provably holds nothing (an interrupted start of a Temporal server by hand) is moved aside.
    What a crash left in the write-ahead log is merged, so a server always starts from one clean file.

    Parameters
    ----------
    after_crash
        Check every page first, unless the file is larger than ``CHECK_UP_TO_BYTES``.

    Raises
    ------
    DatabaseError
        The file is corrupt, held by another process, not a Temporal database, or can't be written.
    """
    path = data_dir / datadir.DATABASE
    check_writable(data_dir)
    if not path.exists():
        return False
    if _holds_nothing(path):
        _move_aside(path)
        return False
    # A server in the older journal mode holds no lock while it is idle, so locks alone don't show it.
    if others := [pid for pid in server_process.holders(path) if pid != os.getpid()]:
        raise _in_use(path, others)
    with _diagnosed(path):
        if after_crash and path.stat().st_size <= CHECK_UP_TO_BYTES:
            with contextlib.closing(_open(path, "ro")) as database:
                quick_check(database, path)
        with contextlib.closing(_open(path, "rw")) as database:
            # Leaving WAL needs the file for oneself, so this also finds any other process that uses it.
            _leave_wal(database)
    path.chmod(private_files.FILE)
    return True


def check_writable(data_dir: Path) -> None:
    """Raise `DatabaseError` if the data directory or the database can't be written, or the disk is full."""
    path = data_dir / datadir.DATABASE
    if path.exists() and not path.is_file():
        raise DatabaseError(f"The database {path} is not a file. {_KEEP_AND_RESTORE}")
    for place in (data_dir, path):
        if place.exists() and not os.access(place, os.W_OK):
            raise DatabaseError(
                f"{place} can't be written by this user ({_owner(place)}). {_UNTOUCHED} Make it writable "
                f"(`chmod u+w`, `chown`, or remount). {ELSEWHERE}"
            )
    free = shutil.disk_usage(data_dir).free
    if free < _NEEDED_SPACE_BYTES:
        raise DatabaseError(
            f"The disk of {data_dir} is full: {free / 2**20:.1f} MB left, a server needs "
            f"{_NEEDED_SPACE_BYTES / 2**20:.0f} MB to start. {_UNTOUCHED} Make room. {ELSEWHERE}"
        )


def size_bytes(path: Path) -> int | None:
    """Return the size of a database with its write-ahead log, None if there is none."""
    if not path.is_file():
        return None
    log = path.with_name(path.name + "-wal")
    return path.stat().st_size + (log.stat().st_size if log.exists() else 0)


def finish(draft: Path, path: Path) -> None:
    """Move a database that its server has left into its place: complete, on the disk, in one step."""
    with _diagnosed(draft), contextlib.closing(_open(draft, "rw")) as database:
        _leave_wal(database)
        quick_check(database, draft)
    _sync(draft)
    if path.exists():  # put there by hand this very moment
        raise DatabaseError(f"{path} appeared while a new database was made. {_UNTOUCHED} Start again.")
    draft.rename(path)
    _sync(path.parent)


def check(path: Path) -> str:
    """Return what is wrong with a database, also while a server uses it; empty if every page is sound."""
    try:
        with _diagnosed(path), contextlib.closing(_open(path, "ro")) as database:
            quick_check(database, path)
    except DatabaseError as error:
        return str(error)
    return ""


def quick_check(database: sqlite3.Connection, path: Path) -> None:
    """Raise `DatabaseError` if a page of the database is damaged."""
    found = [row[0] for row in database.execute("PRAGMA quick_check(5)")]
    if found != ["ok"]:
        raise DatabaseError(f"The database {path} is damaged: {'; '.join(found)}. {_KEEP_AND_RESTORE}")


def copy(path: Path, target: Path) -> None:
    """Copy a database, as of one moment, by SQLite's online backup; a server may write to it meanwhile."""
    target.touch(private_files.FILE, exist_ok=False)
    with (
        _diagnosed(path),
        contextlib.closing(_open(path, "ro")) as source,
        contextlib.closing(_open(target, "rw")) as copied,
    ):
        source.backup(copied)
        _leave_wal(copied)
        quick_check(copied, target)
    _sync(target)


def _holds_nothing(path: Path) -> bool:
    """Whether the database has no workflow, no namespace, no row of anybody's: an interrupted first start."""
    log = path.with_name(path.name + "-wal")
    if path.stat().st_size == 0:
        if log.exists() and log.stat().st_size > 0:
            raise DatabaseError(
                f"The database {path} is empty, but its write-ahead log {log.name} is not: the file was "
                f"overwritten. {_KEEP_AND_RESTORE}"
            )
        return True
    with _diagnosed(path), contextlib.closing(_open(path, "ro")) as database:
        tables = {row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if {"namespaces", "executions", "history_node"} <= tables and _has_rows(database, "namespaces"):
            return False
        # The rest is what a schema brings along by itself.
        data = [name for name in tables if name != "namespace_metadata" and "_fts_" not in name]
        filled = sorted(name for name in data if _has_rows(database, name))
    if filled:
        raise DatabaseError(
            f"{path} is not the database of a Temporal server, or not a whole one: it has rows in "
            f"{', '.join(filled[:5])}. {_KEEP_AND_RESTORE}"
        )
    return True


def _leave_wal(database: sqlite3.Connection) -> None:
    """Merge the write-ahead log into the file and remove it."""
    database.execute("PRAGMA journal_mode=DELETE").fetchall()


def _has_rows(database: sqlite3.Connection, table: str) -> bool:
    quoted = table.replace('"', '""')
    return database.execute(f'SELECT 1 FROM "{quoted}" LIMIT 1').fetchone() is not None  # noqa: S608


def _move_aside(path: Path) -> None:
    suffix = f".empty-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
    for name in (path.name, path.name + "-wal", path.name + "-shm"):
        if (file := path.with_name(name)).exists():
            file.rename(path.with_name(f"{name}{suffix}"))


def _open(path: Path, mode: str) -> sqlite3.Connection:
    """Open an existing file: mode ``ro`` changes nothing, not even what a crash left to be merged."""
    return sqlite3.connect(f"{path.as_uri()}?mode={mode}", uri=True, timeout=_BUSY_TIMEOUT_S, isolation_level=None)


@contextlib.contextmanager
def _diagnosed(path: Path) -> Iterator[None]:
    """Say what a refusal of SQLite means and what to do."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "")
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            raise _in_use(path, server_process.holders(path)) from error
        if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
            raise DatabaseError(f"The database {path} is damaged: {error}. {_KEEP_AND_RESTORE}") from error
        raise DatabaseError(
            f"The database {path} can't be used: {error} ({name}; {_owner(path)}, "
            f"{shutil.disk_usage(path.parent).free / 2**20:.0f} MB free). Mend that. {ELSEWHERE}"
        ) from error


def _in_use(path: Path, pids: list[int]) -> DatabaseError:
    users = [f"{pid} ({server_process.command_line(pid)})" for pid in pids]
    return DatabaseError(
        f"The database {path} is in use by another process: {', '.join(users) or 'maybe of another machine'}. "
        f"{_UNTOUCHED} End that process, or, if it is a Temporal server, kg.connect('host:port') to it. {ELSEWHERE}"
    )


def _owner(path: Path) -> str:
    try:
        status = path.stat()
    except OSError as error:
        return str(error)
    return f"owner {status.st_uid}, mode {status.st_mode & 0o7777:04o}"


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
