"""Ask a server on this machine whether it answers, by its HTTP API: quick, and no import of the SDK."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any

HOST = "127.0.0.1"
NAMESPACE = "default"

# A web page in this machine's browser may send to any local port, and the server takes it: it could approve
# a gate. So the server answers to this name only (`frontend.httpAllowedHosts`), which can't be resolved, hence
# is sent by no browser.
HOST_HEADER = "kaigents-nb.invalid"

# Stock servers delete a finished run after a day; looking back at it is what this library is for.
RETENTION_DAYS = 3650


def server_version(http_port: int) -> str | None:
    """Return the version of the server if it is healthy, e.g. ``1.32.0``, else None."""
    answer = _call(http_port, "GET", "/api/v1/system-info")
    return str(answer.get("serverVersion", "unknown")) if answer is not None else None


def namespace_is_served(http_port: int) -> bool:
    """Whether runs are accepted in the default namespace."""
    return _call(http_port, "GET", f"/api/v1/namespaces/{NAMESPACE}") is not None


def keep_finished_runs(http_port: int) -> bool:
    """Let the server keep finished runs for ``RETENTION_DAYS``; False if it refuses."""
    config = {"workflowExecutionRetentionTtl": f"{RETENTION_DAYS * 86_400}s"}
    return _call(http_port, "POST", f"/api/v1/namespaces/{NAMESPACE}/update", {"config": config}) is not None


def newest_runs(http_port: int, count: int) -> list[str]:
    """Return the ids of the newest runs; none if the server does not answer at once."""
    path = f"/api/v1/namespaces/{NAMESPACE}/workflows?pageSize={count}"
    answer = _call(http_port, "GET", path, timeout_s=1.0) or {}
    return [run["execution"]["workflowId"] for run in answer.get("executions", [])]


def accepts_connections(port: int) -> bool:
    """Whether somebody listens on a port of this machine."""
    try:
        socket.create_connection((HOST, port), timeout=1.0).close()
    except OSError:
        return False
    return True


def _call(
    port: int, method: str, path: str, body: dict[str, Any] | None = None, *, timeout_s: float = 2.0
) -> dict[str, Any] | None:
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout_s)
    try:
        payload = None if body is None else json.dumps(body)
        connection.request(method, path, payload, {"Host": HOST_HEADER, "Content-Type": "application/json"})
        response = connection.getresponse()
        content = response.read()
        if response.status != 200:
            return None
        answer = json.loads(content)
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
    return answer if isinstance(answer, dict) else None
