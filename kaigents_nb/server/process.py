"""The server as a process: launched detached, known by the lock it holds, ended only when it is ours."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import psutil

from kaigents_nb.errors import ServerNotReady
from kaigents_nb.server import datadir, private_files
from kaigents_nb.server.http import server_version
from kaigents_nb.server.state import SYNCHRONOUS, Durability, Facts, ServerInfo

if sys.platform != "win32":
    import fcntl

_LAUNCHER = Path(__file__).with_name("launcher.py")
_TITLE = "kaigents-nb-server"  # begins the command line that `ps` shows; the data directory follows
_LOCK_IS_HELD = 75  # as the launcher says, which is never imported
_POLL_S = 0.005

# The server outlives the notebook by months: it gets what a process needs to run, not the notebook's secrets,
# and no TEMPORAL_* setting that is meant for clients.
_ENVIRONMENT = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "GOMAXPROCS", "GOMEMLIMIT")


class ServerLives(Exception):
    """There is a server already, launched by somebody who was killed meanwhile: join it."""


@dataclass(frozen=True)
class ServerProcess:
    """A living server of one data directory."""

    pid: int
    facts: Facts | None
    """None: it only makes a new database, or the lock file does not say (an earlier version started it)."""


def is_alive(data_dir: Path) -> bool:
    """Whether a server of this data directory lives, answering or not."""
    return _said_by_holder(data_dir) is not None


def was_ended(data_dir: Path) -> bool:
    """Whether no server of this data directory lives or has crashed: there was none, or `end` has ended it."""
    lock = data_dir / datadir.SERVER_LOCK
    return not lock.exists() or lock.stat().st_size == 0


def stop_was_asked(data_dir: Path) -> bool:
    """Whether the server of this data directory is to stay down: somebody stopped it, and nobody has started it."""
    return (data_dir / datadir.STOPPED).exists()


def ask_to_stop(data_dir: Path) -> None:
    """Say to all who would revive the server that it is to stay down, until the next `launch`."""
    (data_dir / datadir.STOPPED).touch(private_files.FILE)


def last_durability(data_dir: Path) -> Durability | None:
    """Return the durability of the server that died last, as its lock file still says; None if it does not."""
    with contextlib.suppress(OSError):
        if process := _parsed((data_dir / datadir.SERVER_LOCK).read_bytes()):
            return process.facts.durability if process.facts and process.facts.durability in SYNCHRONOUS else None
    return None


def find_server(data_dir: Path) -> ServerInfo | None:
    """Return the running server of a data directory, or None; it takes a few milliseconds.

    None too while a server is being started or stopped, or does not answer. Source: the server's answer now, and
    the lock file, which counts only while the process that it names lives and the lock is held.
    """
    data_dir = data_dir.expanduser().resolve()
    process = current(data_dir)
    facts = process and process.facts
    version = facts and server_version(facts.http_port)
    if not (process and facts and version):
        return None
    return ServerInfo(facts.address, facts.ui_url, process.pid, data_dir, version, facts.started, facts.durability)


def current(data_dir: Path) -> ServerProcess | None:
    """Return the living server of this data directory; None if there is none, or it is being ended."""
    return None if (data_dir / datadir.LEAVING).exists() else living(data_dir)


def living(data_dir: Path) -> ServerProcess | None:
    """Return the living server of this data directory; what the lock file says is never just believed.

    None while `is_alive` is true means that it was launched this instant, or lives on another machine.
    """
    said = _said_by_holder(data_dir)
    if said is None:
        return None
    if (process := _parsed(said)) and _is_ours(data_dir, process.pid):
        return process
    # Overwritten, or of an earlier version that wrote nothing into it: ask the system who holds the lock.
    pids = holders(data_dir / datadir.SERVER_LOCK)
    return next((ServerProcess(pid, None) for pid in pids if _is_ours(data_dir, pid)), None)


def launch(data_dir: Path, binary: Path, arguments: Sequence[str], facts: Facts | None) -> None:
    """Start a server in a session of its own, where no interrupt or death of this process reaches it.

    Returns when it is on its way and holds the lock; whether it comes up is for the caller to watch.

    Raises
    ------
    ServerLives
        Another server of this data directory lives.
    ServerNotReady
        The launcher itself failed.
    """
    said = json.dumps(facts and asdict(facts), default=datetime.isoformat)
    command: list[str | Path] = [
        *(sys.executable, "-I", "-S", _LAUNCHER),
        *(data_dir / datadir.SERVER_LOCK, said, binary, f"{_TITLE} {data_dir}"),
        *arguments,
    ]
    for sign in (datadir.LEAVING, datadir.STOPPED):
        (data_dir / sign).unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    with os.fdopen(os.open(data_dir / datadir.LOG, flags, private_files.FILE), "ab") as log:
        launcher = subprocess.run(
            command,
            cwd=data_dir,  # the database is named relative to it: the CLI misreads `#`, `?` and `%` in a path
            env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            timeout=30,
            check=False,
        )
    if launcher.returncode == _LOCK_IS_HELD:
        raise ServerLives(f"A server of {data_dir} lives already.")
    if launcher.returncode != 0:
        raise ServerNotReady(
            f"The server of {data_dir} could not be launched (exit code {launcher.returncode}). "
            f"See {data_dir / datadir.LOG}."
        )


def end(data_dir: Path, *, grace_s: float) -> bool:
    """End the living server of this data directory: SIGTERM, after ``grace_s`` SIGKILL; False if none lives.

    From the first moment on `current` does not give it any more, though it may still answer for a second.
    """
    process = living(data_dir)
    if process is None:
        return False
    leaving = data_dir / datadir.LEAVING
    leaving.touch(private_files.FILE)
    for signal_number, patience_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 10.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal_number)
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            if not is_alive(data_dir):
                os.truncate(data_dir / datadir.SERVER_LOCK, 0)
                leaving.unlink(missing_ok=True)
                return True
            time.sleep(_POLL_S)
    raise ServerNotReady(f"The server process {process.pid} of {data_dir} does not end, even by SIGKILL.")


def holders(path: Path) -> list[int]:
    """Return the pids of the processes that have a file open, as far as this user may know."""
    processes = psutil.process_iter(["open_files"])
    return [p.pid for p in processes if any(file.path == str(path) for file in p.info["open_files"] or ())]


def command_line(pid: int) -> str:
    """Return the command line of a process, joined with spaces; empty if it is gone."""
    try:
        return " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return ""


def _is_ours(data_dir: Path, pid: int) -> bool:
    return command_line(pid).startswith(f"{_TITLE} {data_dir} server start-dev ")


def _said_by_holder(data_dir: Path) -> bytes | None:
    """Return what the lock file says while a server holds the lock; None if none does."""
    if sys.platform == "win32":
        return None
    try:
        lock = os.open(data_dir / datadir.SERVER_LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: those who ask don't see each other
    except BlockingIOError:
        return os.read(lock, 65_536)
    else:
        return None
    finally:
        os.close(lock)


def _parsed(said: bytes) -> ServerProcess | None:
    """Return the holder as the launcher described it; None if that is not there, or only half of it yet."""
    try:
        stored = json.loads(said)
        if facts := stored["facts"]:
            started = datetime.fromisoformat(facts["started"])
            facts = Facts(facts["address"], facts["http_port"], facts["ui_url"], facts["durability"], started)
        return ServerProcess(stored["pid"], facts)
    except (ValueError, TypeError, KeyError):
        return None
