"""What the sandbox does not see: libraries that reach for files, programs and the network on behalf of an agent.

Python tells its audit hooks before it opens a file or a socket, whoever asked for it. Ours refuses that where an
agent's body is at work. It is installed when this process first executes or replays a run; Python has no way to remove
one.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import threading
import zoneinfo
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import FrameType
from typing import Any

from kaigents_nb.authoring.context import agent_context
from kaigents_nb.errors import ForbiddenInAgent
from kaigents_nb.runtime.forbidden import ALL_OVER_AGAIN, advice
from kaigents_nb.snapshot.cells import OWN_FILES
from kaigents_nb.values.encoded import RUN_MODULE_PREFIX

_FILES = "os. shutil. tempfile. glob. pathlib. fcntl. sqlite3.connect mmap. open"
_PROGRAMS = "subprocess. pty. signal."
_NETWORK = "socket. urllib. http. ftplib. imaplib. poplib. nntplib. smtplib. telnetlib. webbrowser. syslog."
_OTHERS = "_thread.start time.sleep builtins.input ctypes.dlopen ctypes.dlsym"
_REFUSED = tuple(f"{_FILES} {_PROGRAMS} {_NETWORK} {_OTHERS}".split())
"""How the names of such audit events begin."""
_MACHINERY = frozenset({
    "importlib", "_frozen_importlib", "_frozen_importlib_external", "zipimport", "pkgutil", "kaigents_nb", "temporalio",
    "linecache", "tokenize", "traceback", "inspect", "warnings", "logging", "weakref", "zoneinfo",
})  # fmt: skip
"""Modules that may do it on an agent's behalf: import it, show it, log for it."""
_WATCHER = "kaigents_nb.replay.replayed"
"""Every coroutine of a run that is looked back at goes through it."""
_IN_MEMORY = (":memory:", b":memory:")


class Activation:
    """One run in this process: whether what it does is watched."""

    def __init__(self, watched: bool = False) -> None:
        self.watched = watched


_activations: dict[int, Activation] = {}
"""What each thread executes now; nearly always nothing."""


@contextmanager
def activated(activation: Activation) -> Iterator[None]:
    """Execute a run in this thread."""
    thread = threading.get_ident()
    _activations[thread] = activation
    try:
        yield
    finally:
        del _activations[thread]


def watch() -> None:
    """Refuse the run that is executed in this thread, from now on, to reach for the world."""
    activation = _activations.get(threading.get_ident())
    if activation is not None:
        activation.watched = True


@cache
def install() -> None:
    """Let Python ask us, for as long as this process lives."""
    sys.addaudithook(_hook)
    if sys.version_info < (3, 12):
        # It does not tell of threads by itself.
        known: Any = threading
        start = known._start_new_thread

        def told(*args: Any) -> Any:
            _refuse("_thread.start_new_thread", args)
            return start(*args)

        known._start_new_thread = told


def _hook(event: str, args: tuple[Any, ...]) -> None:
    # Python calls this for every id(), among others: a tenth of a microsecond each, as long as no run is executed.
    if _activations:
        _refuse(event, args)


def _refuse(event: str, args: tuple[Any, ...]) -> None:
    activation = _activations.get(threading.get_ident())
    if activation is None or not activation.watched or not event.startswith(_REFUSED):
        return
    asking = _agents_line(sys._getframe(2))
    if asking is None or _is_harmless(event, args):
        return
    interpreter = agent_context.get()
    place = interpreter.place(*asking) if interpreter is not None and asking[0] else "a task of it"
    said = f" {args[0]!r}" if args and isinstance(args[0], (str, bytes)) else ""
    raise ForbiddenInAgent(f"{event}{said} can't be used in an agent ({place}): {ALL_OVER_AGAIN} {advice(event)}")


def _agents_line(frame: FrameType | None) -> tuple[str, int] | None:
    """Return the line of the run's code that is being executed; None where it is our machinery that is at work.

    A task may be nothing but a library's: then it has no line.
    """
    while frame is not None:
        code, module = frame.f_code, str(frame.f_globals.get("__name__", ""))
        if code.co_filename.startswith(OWN_FILES):
            return code.co_filename, frame.f_lineno
        if module == "asyncio.events":
            return "", 0
        if code.co_name == "__del__" or _is_machinery(module):
            return None
        frame = frame.f_back
    return None


def _is_machinery(module: str) -> bool:
    # What a dataclass of a cell generates has no file of its own, but the name of the run's module.
    own = module == _WATCHER or module.startswith(RUN_MODULE_PREFIX)
    return module.partition(".")[0] in _MACHINERY and not own


def _is_harmless(event: str, args: tuple[Any, ...]) -> bool:
    """Whether it is to read what is installed, or a database in memory: the same each time."""
    if event.startswith("sqlite3."):
        return event == "sqlite3.connect/handle" or args[0] in _IN_MEMORY
    if event == "open":
        path, mode, *_ = args
        return mode is not None and not set("wax+") & set(mode) and _is_installed(path)
    return event in ("os.listdir", "os.scandir") and _is_installed(args[0])


def _is_installed(path: object) -> bool:
    text = path.decode("utf-8", "replace") if isinstance(path, bytes) else path
    return isinstance(text, str) and text.startswith(_installed())


@cache
def _installed() -> tuple[str, ...]:
    folders = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    return tuple(f"{folder}{os.sep}" for folder in dict.fromkeys([*folders, *zoneinfo.TZPATH]) if folder)
