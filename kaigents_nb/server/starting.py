"""Bringing the embedded server up: its arguments, its first database, waiting until it answers."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from kaigents_nb.errors import ServerNotReady
from kaigents_nb.server import database as server_database
from kaigents_nb.server import datadir, private_files
from kaigents_nb.server import http as server_http
from kaigents_nb.server import process as server_process
from kaigents_nb.server.attribute import STATE_ATTRIBUTE
from kaigents_nb.server.binary import Binary
from kaigents_nb.server.http import HOST, HOST_HEADER
from kaigents_nb.server.ports import Ports, choose
from kaigents_nb.server.process import find_server
from kaigents_nb.server.state import SYNCHRONOUS, Durability, Facts, ServerInfo

UI_PATH_VARIABLE = "KAIGENTS_UI_PUBLIC_PATH"

START_TIMEOUT_S = 30.0
_POLL_S = 0.005
_LOG_BYTES = 10 * 1024 * 1024
_LOG_LINES_SHOWN = 15
_ATTEMPTS = 3
_PORT_IS_TAKEN = "address already in use"

_DYNAMIC_CONFIG = {
    # The queue readers of the one shard poll 20 times a second by default, which makes a step take 50 ms.
    "history.transferProcessorMaxPollRPS": "2000",
    "history.timerProcessorMaxPollRPS": "2000",
    "history.visibilityProcessorMaxPollRPS": "2000",
    "system.enableActivityEagerExecution": "true",
    # A task that a worker could not do, for it lacks a module, is soon for another one, or for the same.
    "history.workflowTaskRetryMaxInterval": '"2s"',
    "frontend.httpAllowedHosts": f'["{HOST_HEADER}"]',
}

T = TypeVar("T")


def start(data_dir: Path, binary: Binary, durability: Durability) -> ServerInfo:
    """Start a server on the existing database; return when it accepts runs and its web UI is up.

    Raises
    ------
    ServerNotReady
        It died, or does not answer in time.
    """
    database = data_dir / datadir.DATABASE

    def is_up(ports: Ports) -> ServerInfo | None:
        if not server_http.namespace_is_served(ports.http):
            return None
        return find_server(data_dir) if server_http.accepts_connections(ports.ui) else None

    return _bring_up(data_dir, binary, database, durability, is_up)


def make_database(data_dir: Path, binary: Binary) -> None:
    """Make the database: a server without UI makes it elsewhere and is killed, then it is moved to its place.

    Whenever this is interrupted, by whatever, there is no database yet and the next start begins anew.
    """
    place = data_dir / datadir.FIRST_START
    shutil.rmtree(place, ignore_errors=True)  # of an interrupted first start: no run was ever accepted there
    private_files.make_directory(place)
    draft = place / datadir.DATABASE

    def is_made(ports: Ports) -> bool:
        return server_http.namespace_is_served(ports.http) and server_http.keep_finished_runs(ports.http)

    try:
        # Found by nobody, and not synced while it is made: it is synced as a whole before it counts.
        _bring_up(data_dir, binary, draft, None, is_made)
    finally:
        server_process.end(data_dir, grace_s=0)
    server_database.finish(draft, data_dir / datadir.DATABASE)
    shutil.rmtree(place, ignore_errors=True)


def join(data_dir: Path) -> ServerInfo | None:
    """Wait for the server that lives already; None if it has ended, or was left over and was ended here.

    Raises
    ------
    ServerNotReady
        It lives, but does not answer in time.
    """
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and server_process.is_alive(data_dir):
        if info := find_server(data_dir):
            return info
        process = server_process.living(data_dir)
        # Whoever was making a database, or ending the server, is gone: we hold the start lock. A server whose
        # whereabouts an earlier version did not write down is started anew: its runs go on at the same address.
        if process and (process.facts is None or (data_dir / datadir.LEAVING).exists()):
            server_process.end(data_dir, grace_s=5.0)
            return None
        time.sleep(_POLL_S)
    if not server_process.is_alive(data_dir):
        return None
    process = server_process.living(data_dir)
    who = f"process {process.pid}" if process else "a process of another machine or user"
    raise ServerNotReady(
        f"The server of {data_dir} ({who}) runs, but has not answered for {START_TIMEOUT_S:.0f} s. Its "
        "runs are safe. `kaigents-nb server stop` ends it; then start again. The end of its log:\n"
        f"{log_tail(data_dir)}"
    )


def log_tail(data_dir: Path, offset: int = 0) -> str:
    """Return the last lines of the server's log, of what was written after ``offset`` bytes."""
    try:
        with (data_dir / datadir.LOG).open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(offset, size - 16_384))
            lines = log.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        lines = []
    return "\n".join(lines[-_LOG_LINES_SHOWN:]) or "(empty)"


def _bring_up(
    data_dir: Path,
    binary: Binary,
    database: Path,
    durability: Durability | None,
    is_up: Callable[[Ports], T | None],
) -> T:
    """Launch a server, without ``durability`` to make a database; return what ``is_up`` says once that is true."""
    log = data_dir / datadir.LOG
    if log.exists() and log.stat().st_size > _LOG_BYTES:
        log.replace(log.with_name(f"{log.name}.1"))
    for attempt in range(1, _ATTEMPTS + 1):
        ports = choose(data_dir)
        offset = log.stat().st_size if log.exists() else 0
        arguments = _arguments(database.relative_to(data_dir), ports, durability)
        server_process.launch(data_dir, binary.path, arguments, _facts(ports, durability) if durability else None)
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            # Asked in this order, a server that dies in between is not taken for one that is up.
            answer = is_up(ports)
            if not server_process.is_alive(data_dir):
                break
            if answer:
                return answer
            time.sleep(_POLL_S)
        else:
            server_process.end(data_dir, grace_s=1.0)
            raise ServerNotReady(
                f"The Temporal server {binary.version} was started, but did not answer within "
                f"{START_TIMEOUT_S:.0f} s; it was ended. The end of {log}:\n{log_tail(data_dir, offset)}"
            )
        tail = log_tail(data_dir, offset)
        # Whatever it died of, it may come up on the database that it left; a half-made one is begun anew by the next.
        if attempt == _ATTEMPTS or (durability is None and _PORT_IS_TAKEN not in tail):
            break
    raise ServerNotReady(
        f"The Temporal server {binary.version} ({binary.path}) died while starting on {database}. "
        f"`kaigents-nb doctor` checks what it needs. The end of {log}:\n{tail}"
    )


def _arguments(database: Path, ports: Ports, durability: Durability | None) -> list[str]:
    synchronous = SYNCHRONOUS[durability] if durability else "OFF"
    arguments = ["server", "start-dev", "--db-filename", str(database)]
    arguments += ["--ip", HOST, "--port", str(ports.grpc), "--http-port", str(ports.http)]
    arguments += ["--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", f"synchronous={synchronous}"]
    arguments += ["--search-attribute", f"{STATE_ATTRIBUTE}=Keyword", "--log-level", "warn"]
    for key, value in _DYNAMIC_CONFIG.items():
        arguments += ["--dynamic-config-value", f"{key}={value}"]
    if durability is None:
        return [*arguments, "--headless"]
    arguments += ["--ui-ip", HOST, "--ui-port", str(ports.ui), "--ui-disable-news-fetch"]
    public_path = os.environ.get(UI_PATH_VARIABLE)
    return [*arguments, "--ui-public-path", public_path] if public_path else arguments


def _facts(ports: Ports, durability: Durability) -> Facts:
    ui_url = f"http://{HOST}:{ports.ui}{os.environ.get(UI_PATH_VARIABLE, '')}"
    return Facts(f"{HOST}:{ports.grpc}", ports.http, ui_url, durability, datetime.now(UTC))
