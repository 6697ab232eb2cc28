"""What is known about the running embedded server: asked of the system and of the server, stored nowhere."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from kaigents_nb.server import process as server_process
from kaigents_nb.server.http import HOST, server_version

DURABILITY_VARIABLE = "KAIGENTS_DURABILITY"
Durability = Literal["power", "process"]

SYNCHRONOUS: dict[Durability, str] = {"power": "FULL", "process": "NORMAL"}
"""SQLite's ``synchronous``: safe when the power fails, or only when processes are killed."""


def wanted_durability() -> Durability:
    """Return what ``KAIGENTS_DURABILITY`` asks for; ``power`` if it is not set."""
    wanted = os.environ.get(DURABILITY_VARIABLE) or "power"
    for known in SYNCHRONOUS:
        if wanted == known:
            return known
    raise ValueError(
        f"{DURABILITY_VARIABLE} is {wanted!r}. Known: 'power' (the default: nothing is lost when the power "
        "fails) and 'process' (faster; a power failure can lose the last moments)."
    )


@dataclass(frozen=True)
class ServerInfo:
    """A running embedded server."""

    address: str
    """For clients, e.g. ``127.0.0.1:17233``."""
    ui_url: str
    pid: int
    data_dir: Path
    version: str
    """Of the Temporal server itself, e.g. ``1.32.0``."""
    started: datetime
    """UTC."""
    durability: Durability


def find_server(data_dir: Path) -> ServerInfo | None:
    """Return the running server of a data directory, or None; it takes a few milliseconds.

    None too while a server is being started or stopped, or does not answer. Source: the live process and its
    answer now, never a stored file alone.
    """
    data_dir = data_dir.expanduser().resolve()
    process = server_process.current(data_dir)
    if process is None:
        return None
    grpc, http, ui = (process.option(name) for name in ("--port", "--http-port", "--ui-port"))
    if grpc is None or http is None or ui is None:  # without the UI: it only makes a new database
        return None
    version = server_version(int(http))
    if version is None:
        return None
    is_process_safe_only = process.option("synchronous") == SYNCHRONOUS["process"]
    return ServerInfo(
        address=f"{HOST}:{grpc}",
        ui_url=f"http://{HOST}:{ui}{process.option('--ui-public-path') or ''}",
        pid=process.pid,
        data_dir=data_dir,
        version=version,
        started=process.started,
        durability="process" if is_process_safe_only else "power",
    )
