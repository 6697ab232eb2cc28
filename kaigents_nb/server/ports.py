"""The ports of the embedded server: chosen once, remembered, changed only when something else took them."""

from __future__ import annotations

import contextlib
import itertools
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
    path = data_dir / datadir.PORTS
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        stored = json.loads(path.read_bytes())
        remembered = Ports(stored["grpc"], stored["http"], stored["ui"])
        if all(port in range(1, 65_536) and _is_free(port) for port in asdict(remembered).values()):
            return remembered
    # Not random.sample(): that would use up numbers of a notebook that has seeded the generator.
    free = filter(_is_free, random.SystemRandom().sample(_RANGE, k=200))
    if len(chosen := list(itertools.islice(free, 3))) < 3:
        raise ServerNotReady(f"No free ports on {HOST} between {_RANGE.start} and {_RANGE.stop}.")
    ports = Ports(*chosen)
    private_files.write(path, json.dumps(asdict(ports)).encode())
    return ports


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the server does: what is left of closed connections is no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
