"""The ports of the embedded server: chosen once, remembered, changed only when something else took them."""

from __future__ import annotations

import json
import random
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

from kaigents_nb.errors import ServerNotReady
from kaigents_nb.server import datadir, private_files
from kaigents_nb.server.http import HOST

# Below the ports that systems hand out for outgoing connections (Linux: from 32768), so that a remembered
# port is still free after a restart: a client that lives on finds the server at the address it knows.
_RANGE = range(17_000, 32_000)


@dataclass(frozen=True)
class Ports:
    """gRPC for clients, the HTTP API, the web UI."""

    grpc: int
    http: int
    ui: int


def choose(data_dir: Path) -> Ports:
    """Return the remembered ports, or new ones, also remembered, if one of them is taken."""
    remembered = _read(data_dir)
    if remembered is not None and all(map(_is_free, asdict(remembered).values())):
        return remembered
    chosen: list[int] = []
    # Not random.sample(): that would use up numbers of a notebook that has seeded the generator.
    for port in random.SystemRandom().sample(_RANGE, k=200):
        if _is_free(port):
            chosen.append(port)
        if len(chosen) == 3:
            ports = Ports(*chosen)
            private_files.write(datadir.ports_path(data_dir), json.dumps(asdict(ports)).encode())
            return ports
    raise ServerNotReady(f"No free ports on {HOST} between {_RANGE.start} and {_RANGE.stop}.")


def _read(data_dir: Path) -> Ports | None:
    try:
        stored = json.loads(datadir.ports_path(data_dir).read_bytes())
        ports = Ports(stored["grpc"], stored["http"], stored["ui"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return ports if all(isinstance(port, int) and 0 < port < 65_536 for port in asdict(ports).values()) else None


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the server does: what is left of closed connections is no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
