"""Tracebacks as the analyst knows them: lines of cells, and nothing of what executes them."""

from __future__ import annotations

import asyncio
import re
import sysconfig
import traceback
from collections.abc import Iterable
from itertools import dropwhile
from pathlib import Path
from typing import Any

from kaigents_nb.snapshot.local_modules import is_local_filename, local_place
from kaigents_nb.snapshot.module import Snapshot
from kaigents_nb.snapshot.shown import shown
from kaigents_nb.values.brief import without_middle
from kaigents_nb.values.encoded import RUN_MODULE_PREFIX

LIMIT_CHARS = 16_000
"""Longest traceback; from a longer one the middle is left out."""
_MAX_FRAMES = 40
_MAX_MESSAGE = 3_900

_REGISTERED = re.compile(rf"\b{re.escape(RUN_MODULE_PREFIX)}[0-9a-f]{{12}}(?:_agent)?(?:_\d+)?\.")
"""How the names of classes begin that were loaded with a run."""

_PACKAGE = Path(__file__).resolve().parent.parent
_HIDDEN = (str(_PACKAGE), str(Path(asyncio.__file__).parent))
_HIDDEN_PACKAGES = ("temporalio", "nexusrpc")
_HIDDEN_FILES = ("concurrent/futures/thread.py", "concurrent/futures/_base.py", "/threading.py")
_ROOTS = sorted(filter(None, map(sysconfig.get_path, ("purelib", "platlib", "stdlib"))), key=len, reverse=True)


def analyst_traceback(exc: BaseException, snapshot: Snapshot, limit: int = LIMIT_CHARS) -> str:
    """Return a traceback with the frames of the analyst's code, and those of libraries that it called.

    Causes, contexts, notes and exception groups are kept; deep recursion is folded, and the text is bounded.

    Parameters
    ----------
    exc
        The exception.
    snapshot
        The code of the run, whose lines are shown as lines of cells.
    limit
        So many characters at the most. Those of one exception have its type and the beginning of its message.
    """
    whole = traceback.TracebackException.from_exception(exc, compact=True, lookup_lines=False)
    linked = [whole]
    for one in linked:  # which grows meanwhile
        one.stack = _Frames(one.stack, snapshot)
        linked += filter(None, (one.__cause__, one.__context__, *(one.exceptions or ())))
    max_message = min(_MAX_MESSAGE, limit // 2 - 100)
    with shown(snapshot):
        text = "".join(without_middle(part, max_message) for part in whole.format())
    text = _REGISTERED.sub("", text)
    return without_middle(text.encode("utf-8", "backslashreplace").decode().rstrip(), limit)


def in_cells(text: str, snapshot: Snapshot) -> str:
    """Return what code has printed, such as a warning or a traceback of its own, with the lines of its cells."""

    def place(found: re.Match[str]) -> str:
        line = int(found["line"] or found["number"])
        label, line = snapshot.where(line) or ("the run's code", line)
        return f"{label}, line {line}"

    name = re.escape(snapshot.filename)
    return re.sub(rf'File "{name}", line (?P<line>\d+)|{name}:(?P<number>\d+)', place, text)


class _Frames(traceback.StackSummary):
    """The frames from the analyst's first one on, without those of the machinery."""

    def __init__(self, found: Iterable[traceback.FrameSummary], snapshot: Snapshot) -> None:
        below = dropwhile(lambda frame: not _is_of(frame.filename, snapshot.filename), found)
        super().__init__(frame for frame in below if not _is_hidden(frame.filename))
        self._snapshot = snapshot

    def format(self, **options: Any) -> list[str]:
        """Return the frames, from very many only the first and the last."""
        lines = super().format(**options)
        if (left_out := len(lines) - _MAX_FRAMES) > 0:
            lines[_MAX_FRAMES // 2 : -_MAX_FRAMES // 2] = [f"  … {left_out} calls left out …\n"]
        return lines

    def format_frame_summary(self, frame_summary: traceback.FrameSummary, **options: Any) -> str:
        """Return one frame: its place as the analyst knows it, then source and carets as Python prints them."""
        _, source = super().format_frame_summary(frame_summary, **options).split("\n", 1)
        place, line = _short(frame_summary.filename), frame_summary.lineno
        if frame_summary.filename == self._snapshot.filename and line is not None:
            place, line = self._snapshot.where(line) or ("the run's code", line)
        name = "" if frame_summary.name == "<module>" else f", in {frame_summary.name}"
        return f"  {place}, line {line}{name}\n{source}"


def _is_hidden(filename: str) -> bool:
    path = filename.replace("\\", "/")
    return (
        filename.startswith(_HIDDEN)
        or path.endswith(_HIDDEN_FILES)
        or any(f"/{package}/" in path for package in _HIDDEN_PACKAGES)
        or filename.startswith("<frozen importlib")
    )


def _is_of(filename: str, snapshot_filename: str) -> bool:
    return filename == snapshot_filename or is_local_filename(filename, snapshot_filename)


def _short(filename: str) -> str:
    if (place := local_place(filename)) is not None:
        return place
    for root in _ROOTS:
        if filename.startswith(root):
            return filename[len(root) :].lstrip("/\\")
    return filename
