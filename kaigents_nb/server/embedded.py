"""The embedded Temporal server: one per data directory, detached, found again by every process that asks."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import filelock

from kaigents_nb.errors import DatabaseError, ServerNotFound, ServerNotReady
from kaigents_nb.server import database as server_database
from kaigents_nb.server import datadir, private_files
from kaigents_nb.server import process as server_process
from kaigents_nb.server.backup import backup
from kaigents_nb.server.binary import Binary, download_binary, find_binary, named_binary
from kaigents_nb.server.diagnosis import Check, doctor
from kaigents_nb.server.process import ServerLives, find_server
from kaigents_nb.server.starting import join, make_database, start
from kaigents_nb.server.state import Durability, ServerInfo, wanted_durability

__all__ = [
    "Binary",
    "Check",
    "ServerInfo",
    "backup",
    "doctor",
    "ensure",
    "find_binary",
    "find_server",
    "revive",
    "status",
    "stop",
]

STOP_GRACE_S = 10.0
_LOCK_TIMEOUT_S = 90.0
_ATTEMPTS = 3


def ensure(data_dir: Path) -> ServerInfo:
    """Return the running server of a data directory, started if there is none.

    Any number of processes may call it at once: one server comes up and all get it. The server is no child of
    the caller: interrupts and the caller's death leave it alone.

    Raises
    ------
    ServerNotFound
        No server binary, and none could be fetched.
    DatabaseError
        The database is corrupt, locked or can't be written; it was left as it is.
    ServerNotReady
        The server died while starting (with the end of its log), or does not answer.
    ValueError
        ``KAIGENTS_DURABILITY`` is neither ``power`` nor ``process``.
    """
    data_dir = datadir.data_dir(data_dir)
    if info := find_server(data_dir):
        return info
    durability = wanted_durability()
    with _start_lock(data_dir):
        return _joined_or_started(data_dir, durability)


def revive(data_dir: Path) -> ServerInfo:
    """Return the server of a data directory, started again if it has died: for whoever serves its runs or waits.

    Unlike `ensure` it makes no new database, and leaves down what somebody has stopped.

    Raises
    ------
    ServerNotReady
        It was stopped on purpose, or its database is gone. Otherwise as `ensure`.
    """
    _check_wanted(data_dir)
    if info := find_server(data_dir):
        return info
    durability = server_process.last_durability(data_dir) or wanted_durability()
    with _start_lock(data_dir):
        _check_wanted(data_dir)  # again: who held the lock may have stopped it
        return _joined_or_started(data_dir, durability)


def _check_wanted(data_dir: Path) -> None:
    if server_process.stop_was_asked(data_dir):
        raise ServerNotReady(
            f"The server of {data_dir} was stopped on purpose. `kaigents-nb server start` or kg.connect() starts it "
            "again; runs are safe, and who waits for them goes on by itself then."
        )
    if not (data_dir / datadir.DATABASE).exists():
        raise ServerNotReady(
            f"The server's database {data_dir / datadir.DATABASE} is gone. Put it back, or the newest "
            "`kaigents-nb server backup`; kg.connect() begins with an empty one."
        )


def _joined_or_started(data_dir: Path, durability: Durability) -> ServerInfo:
    """Under the start lock: the server that lives, or a new one."""
    for _ in range(_ATTEMPTS):
        # Somebody else has started it meanwhile, or was killed while starting it.
        if server_process.is_alive(data_dir) and (info := join(data_dir)):
            return info
        # One that was killed may leave a launcher, which takes lock and database after we have looked.
        try:
            return _started(data_dir, durability)
        except (ServerLives, DatabaseError) as error:
            if not isinstance(error, ServerLives) and not server_process.is_alive(data_dir):
                raise
    raise ServerNotReady(
        f"Somebody starts servers for {data_dir} without holding {data_dir / datadir.START_LOCK}. "
        "`kaigents-nb doctor` says what runs."
    )


def _started(data_dir: Path, durability: Durability) -> ServerInfo:
    try:
        binary = find_binary(data_dir / datadir.DOWNLOADS)
    except ServerNotFound:
        if named_binary():
            raise
        binary = download_binary(data_dir / datadir.DOWNLOADS)
    if not server_database.prepare(data_dir, after_crash=not server_process.was_ended(data_dir)):
        make_database(data_dir, binary)
    return start(data_dir, binary, durability)


def stop(data_dir: Path) -> bool:
    """End the running server of a data directory; False if none runs. Runs go on when it is started again.

    It is written down that a stop was asked for: who serves or waits does not revive the server, and says so.

    Raises
    ------
    ServerNotReady
        It can't be ended from here.
    """
    data_dir = data_dir.expanduser().resolve()
    if not (data_dir / datadir.SERVER_LOCK).exists():
        return False
    server_process.ask_to_stop(data_dir)  # also where it has just died: nobody shall revive it
    with _start_lock(data_dir):
        server_process.ask_to_stop(data_dir)  # whoever held the lock may have started it
        if server_process.end(data_dir, grace_s=STOP_GRACE_S):
            return True
        if server_process.is_alive(data_dir):
            raise ServerNotReady(
                f"{data_dir / datadir.SERVER_LOCK} is held by a process that is not a server of this "
                "machine and user. If the directory is shared, stop the server where it was started."
            )
    return False


def status(data_dir: Path) -> dict[str, Any]:
    """Return what runs and where things are; starts nothing.

    Keys: ``running, answers, info, uptime_s, data_dir, database, database_bytes, log, binary, problem``.
    ``info`` and ``uptime_s`` are None unless the server answers; ``database_bytes`` (write-ahead log included)
    is None if there is no database; ``binary`` is None, and ``problem`` says why, if none is installed.
    """
    data_dir = data_dir.expanduser().resolve()
    info = find_server(data_dir)
    database = data_dir / datadir.DATABASE
    binary, problem = None, ""
    try:
        binary = find_binary(data_dir / datadir.DOWNLOADS)
    except ServerNotFound as error:
        problem = str(error)
    return {
        "running": info is not None or server_process.is_alive(data_dir),
        "answers": info is not None,
        "info": info,
        "uptime_s": (datetime.now(UTC) - info.started).total_seconds() if info else None,
        "data_dir": data_dir,
        "database": database,
        "database_bytes": server_database.size_bytes(database),
        "log": data_dir / datadir.LOG,
        "binary": binary,
        "problem": problem,
    }


@contextlib.contextmanager
def _start_lock(data_dir: Path) -> Iterator[None]:
    if sys.platform == "win32":
        raise ServerNotReady(
            "The embedded server needs Linux or macOS. Use WSL, or start `temporal server start-dev` by hand "
            'and kg.connect("localhost:7233").'
        )
    lock = filelock.FileLock(data_dir / datadir.START_LOCK, timeout=_LOCK_TIMEOUT_S, mode=private_files.FILE)
    try:
        lock.acquire(poll_interval=0.01)
    except filelock.Timeout as error:
        raise ServerNotReady(
            f"Another process has been starting or stopping the server of {data_dir} for "
            f"{_LOCK_TIMEOUT_S:.0f} s. See {data_dir / datadir.LOG}; `kaigents-nb doctor` says more."
        ) from error
    except OSError as error:
        raise DatabaseError(f"{data_dir} can't be written: {error}. {server_database.ELSEWHERE}") from error
    try:
        yield
    finally:
        lock.release()
