"""The server as a process: launched detached, known by the lock it holds, ended only when it is ours."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from kaigents_nb.errors import ServerNotReady
from kaigents_nb.server import datadir, private_files

if sys.platform != "win32":
    import fcntl

_LAUNCHER = Path(__file__).with_name("launcher.py")
_POLL_S = 0.005

# The server outlives the notebook by months: it gets what a process needs to run, not the notebook's secrets,
# and no TEMPORAL_* setting that is meant for clients.
_ENVIRONMENT = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "GOMAXPROCS", "GOMEMLIMIT")


@dataclass(frozen=True)
class ServerProcess:
    """A living server of one data directory."""

    pid: int
    command: str
    """Its command line, joined with spaces."""
    started: datetime
    """UTC."""

    def option(self, name: str) -> str | None:
        """Return the value that follows ``name`` in the command line."""
        found = re.search(rf"{re.escape(name)}[ =](\S+)", self.command)
        return found.group(1) if found else None


def is_alive(data_dir: Path) -> bool:
    """Whether a server of this data directory lives, answering or not."""
    if sys.platform == "win32":
        return False
    try:
        lock = os.open(datadir.server_lock_path(data_dir), os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: those who ask don't see each other
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(lock)


def current(data_dir: Path) -> ServerProcess | None:
    """Return the living server of this data directory; None if there is none, or it is being ended."""
    return None if datadir.leaving_path(data_dir).exists() else living(data_dir)


def living(data_dir: Path) -> ServerProcess | None:
    """Return the living server of this data directory; what the pid file says is never just believed.

    None while `is_alive` is true means that it was launched this instant, or lives on another machine.
    """
    if not is_alive(data_dir):
        return None
    if process := _ours(data_dir, _read_pid(data_dir)):
        return process
    # The pid file was deleted or overwritten: ask the system who holds the lock.
    for pid in holders(datadir.server_lock_path(data_dir)):
        if process := _ours(data_dir, pid):
            return process
    return None


def launch(data_dir: Path, binary: Path, arguments: Sequence[str]) -> None:
    """Start a server in a session of its own, where no interrupt or death of this process reaches it.

    Returns when it is on its way and holds the lock; whether it comes up is for the caller to watch.

    Raises
    ------
    ServerNotReady
        Another server of this data directory lives, or the launcher itself failed.
    """
    command: list[str | Path] = [
        *(sys.executable, "-I", "-S", _LAUNCHER),
        *(datadir.server_lock_path(data_dir), datadir.pid_path(data_dir), binary, _title(data_dir)),
        *arguments,
    ]
    datadir.leaving_path(data_dir).unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    with os.fdopen(os.open(datadir.log_path(data_dir), flags, private_files.FILE), "ab") as log:
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
    if launcher.returncode != 0:
        raise ServerNotReady(
            f"The server of {data_dir} could not be launched (exit code {launcher.returncode}). "
            f"See {datadir.log_path(data_dir)}."
        )


def end(data_dir: Path, *, grace_s: float) -> bool:
    """End the living server of this data directory: SIGTERM, after ``grace_s`` SIGKILL; False if none lives.

    From the first moment on `current` does not give it any more, though it may still answer for a second.
    """
    process = living(data_dir)
    if process is None:
        return False
    leaving = datadir.leaving_path(data_dir)
    leaving.touch(private_files.FILE)
    for signal_number, patience_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 10.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal_number)
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            if not is_alive(data_dir):
                datadir.pid_path(data_dir).unlink(missing_ok=True)
                leaving.unlink(missing_ok=True)
                return True
            time.sleep(_POLL_S)
    raise ServerNotReady(f"The server process {process.pid} of {data_dir} does not end, even by SIGKILL.")


def holders(path: Path) -> list[int]:
    """Return the pids of the processes that have a file open, as far as this user may know."""
    if not Path("/proc/self/fd").exists():
        lsof = shutil.which("lsof")
        if lsof is None:
            return []
        listed = subprocess.run([lsof, "-t", "--", path], capture_output=True, text=True, check=False)
        return [int(pid) for pid in listed.stdout.split()]
    found = []
    for directory in Path("/proc").glob("[0-9]*/fd"):
        try:
            if any(link.readlink() == path for link in directory.iterdir()):
                found.append(int(directory.parent.name))
        except OSError:  # gone since, or another user's
            continue
    return found


def command_line(pid: int) -> str:
    """Return the command line of a process, joined with spaces; empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        if Path("/proc/self/cmdline").exists():
            return ""
    listed = subprocess.run(
        ["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return listed.stdout.strip()


def _title(data_dir: Path) -> str:
    """Name the process for `ps`, for a person and for `_ours`."""
    return f"kaigents-nb-server {data_dir}"


def _ours(data_dir: Path, pid: int | None) -> ServerProcess | None:
    if pid is None:
        return None
    command = command_line(pid)
    if not command.startswith(f"{_title(data_dir)} server start-dev "):
        return None
    try:
        started = datadir.pid_path(data_dir).stat().st_mtime
    except FileNotFoundError:
        started = time.time()
    return ServerProcess(pid, command, datetime.fromtimestamp(started, UTC))


def _read_pid(data_dir: Path) -> int | None:
    try:
        return int(datadir.pid_path(data_dir).read_text())
    except (OSError, ValueError):
        return None
