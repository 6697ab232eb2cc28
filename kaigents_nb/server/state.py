"""What is known about a running embedded server, and what is chosen when it is started."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

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
class Facts:
    """What its starter knows of a server, and the lock file says."""

    address: str
    http_port: int
    ui_url: str
    durability: Durability
    started: datetime
    """UTC."""


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
