"""The connection of this process: made at the first start, or by ``kg.connect()``; left by ``kg.disconnect()``."""

from __future__ import annotations

import ipaddress
import os
import threading
from functools import partial
from pathlib import Path
from typing import Any

from temporalio.client import TLSConfig
from temporalio.envconfig import ClientConfig

from kaigents_nb.errors import ServerError, ServerNotReady
from kaigents_nb.runtime import held
from kaigents_nb.runtime.connection import Connection
from kaigents_nb.runtime.environment import PROFILE_ENV, names_cluster
from kaigents_nb.runtime.leaving import at_exit
from kaigents_nb.runtime.resuming import resume
from kaigents_nb.server import embedded as server
from kaigents_nb.server.datadir import data_dir as resolve_data_dir

_ATTEMPTS = 3

_current: Connection | None = None
_lock = threading.RLock()


def connect(
    address: str | None = None,
    *,
    namespace: str | None = None,
    api_key: str | None = None,
    tls: bool | TLSConfig | None = None,
    data_dir: str | Path | None = None,
) -> Connection:
    """Connect this process; optional, for the first ``start()`` does it.

    A notebook's kernel goes on with the open runs of its notebook from then on.

    Parameters
    ----------
    address
        ``"host:port"`` of a cluster. ``None``: the server named by ``KAIGENTS_PROFILE`` or ``TEMPORAL_*`` in the
        environment, else the embedded server, started if it does not run yet.
    namespace, api_key, tls
        As the cluster wants them. A server on another machine needs ``tls=True``, an API key, or ``tls=False``
        to say that plain text is meant.
    data_dir
        Where the embedded server's database, saved values and the signing key are; the default is the user's data
        folder, or ``KAIGENTS_DATA_DIR``.

    Returns
    -------
    Connection
        With ``.address .namespace .ui_url .data_dir``. Connecting again to the same place returns the same.

    Raises
    ------
    ServerNotFound, ServerNotReady, DatabaseError
        With what to do about it.

    Examples
    --------
    ``kg.connect("temporal.example.com:7233", namespace="research", api_key=key)``
    """
    global _current
    with _lock:
        folder = resolve_data_dir(data_dir)
        config = _client_config(address, namespace, api_key, tls)
        for again in range(_ATTEMPTS):
            embedded, target = None, config
            if target is None:
                embedded = server.ensure(folder)
                target = {"target_host": embedded.address, "namespace": namespace or "default"}
            if _current is not None:
                same_place = _current.data_dir == folder and _current.address == target["target_host"]
                if same_place and (namespace is None or _current.namespace == namespace):
                    return _current
                disconnect()
            try:
                _current = Connection(target, folder, embedded)
                break
            except ServerNotReady:
                # Our own may have died since it was found; who wants it brings it back.
                if embedded is None or again == _ATTEMPTS - 1:
                    raise
        assert _current is not None
        at_exit(partial(held.leave, disconnect), _forget)
        resume(_current)
        return _current


def current() -> Connection:
    """Return this process's connection, making the default one the first time."""
    with _lock:
        return _current or connect()


def disconnect() -> None:
    """Drain this process's workers and close its connection; runs go on with the next worker.

    What does not end in time is left to itself; a warning says what it is.
    """
    global _current
    with _lock:
        connection, _current = _current, None
    if connection is not None:
        connection.close()


def _client_config(
    address: str | None, namespace: str | None, api_key: str | None, tls: bool | TLSConfig | None
) -> dict[str, Any] | None:
    """What ``Client.connect`` takes, or None for the embedded server."""
    profile = os.environ.get(PROFILE_ENV)
    config: dict[str, Any] = {}
    if address is None:
        if not names_cluster():
            if api_key or tls:
                raise ValueError("api_key= and tls= belong to a server's address: kg.connect('host:7233', ...).")
            return None
        config = dict(ClientConfig.load_client_connect_config(profile=profile))
        if not config.get("target_host"):
            raise ServerError(f"The profile {profile!r} names no address. Set TEMPORAL_ADDRESS or mend the profile.")
    else:
        config["target_host"] = address
    if namespace is not None:
        config["namespace"] = namespace
    if api_key is not None:
        config["api_key"] = api_key
    if tls is not None:
        config["tls"] = tls
    secured = config.get("tls") or config.get("api_key")
    if not secured and tls is not False and not _is_loopback(config["target_host"]):
        raise ServerError(
            f"{config['target_host']} is another machine, and the connection would be plain text: everybody on the way "
            "could read and decide. Pass tls=True or an api_key; tls=False says that plain text is meant."
        )
    return config


def _is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]") or address
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _forget() -> object:
    """In a process forked from this one (``multiprocessing`` in a step): threads and sockets stayed with the parent."""
    global _current, _lock
    left, _current, _lock = _current, None, threading.RLock()
    return left, held.forget()
