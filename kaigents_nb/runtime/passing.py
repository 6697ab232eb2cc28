"""Which errors may pass by themselves: those of network and HTTP, and of a machine that is short of something."""

from __future__ import annotations

import http.client
import re
import socket
from collections.abc import Iterator

from kaigents_nb.runtime.failures import http_status

_PASSING = (ConnectionError, TimeoutError, socket.gaierror, socket.herror, http.client.HTTPException)
_OF_FILES = (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError)
"""Of the system's errors those that stay: any other is of a socket, a full disk or too many open files."""

_LIBRARIES = frozenset(
    {
        "aiohttp", "aiosmtplib", "anthropic", "asyncssh", "azure", "boto3", "botocore", "elasticsearch", "ftplib",
        "google", "grpc", "h11", "h2", "httpcore", "httpx", "httpx2", "imaplib", "kafka", "openai", "paramiko", "pika",
        "poplib", "pymongo", "redis", "requests", "smtplib", "ssl", "urllib", "urllib3", "websocket", "websockets",
    }
)  # fmt: skip
"""Whose errors are of the network, whatever they are called."""
_NAMES = re.compile(
    r"time_?d?out|connect|network|unavailable|rate_?limit|throttl|toomanyrequests|overload", re.IGNORECASE
)
_BUSY = re.compile(r"\b(locked|busy|connect|connection|timeout|timed out|deadlock)\b", re.IGNORECASE)
"""What a database says that others use, or that is not reached."""
_LONGEST_CHAIN = 10


def may_pass(error: BaseException) -> bool:
    """Whether an error, or one that it was raised over, is no bug however often it comes.

    Examples
    --------
    >>> may_pass(ConnectionResetError("by peer")), may_pass(KeyError("regoin"))
    (True, False)
    """
    return any(_passes(one) for one in _chain(error))


def _passes(error: BaseException) -> bool:
    if isinstance(error, _PASSING) or http_status(error) is not None:
        return True
    if isinstance(error, OSError) and not isinstance(error, _OF_FILES):
        return True
    classes = [cls for cls in type(error).__mro__ if cls.__module__ != "builtins"]
    if any(cls.__module__.partition(".")[0] in _LIBRARIES or _NAMES.search(cls.__name__) for cls in classes):
        return True
    return any(cls.__name__ == "OperationalError" for cls in classes) and bool(_BUSY.search(str(error)))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those that it was raised over, or that it is a group of."""
    waiting, seen = [error], 0
    while waiting and seen < _LONGEST_CHAIN:
        one = waiting.pop(0)
        seen += 1
        yield one
        waiting += [over for over in (one.__cause__, one.__context__) if over is not None]
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions
