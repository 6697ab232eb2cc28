"""Tracebacks as the analyst knows them: lines of cells, and nothing of what executes them."""

from __future__ import annotations

import asyncio
import sysconfig
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

from kaigents_nb.snapshot.module import Snapshot
from kaigents_nb.snapshot.shown import shown

LIMIT_CHARS = 16_000
"""Longest traceback; from a longer one the middle is left out."""
_MAX_CHAIN = 8
_MAX_FRAMES = 40
_MAX_MESSAGE = 4_000
_SHOWN_REPEATS = 3

_PACKAGE = Path(__file__).resolve().parent.parent
_HIDDEN = (str(_PACKAGE), str(Path(asyncio.__file__).parent))
_HIDDEN_PACKAGES = ("temporalio", "nexusrpc")
_HIDDEN_FILES = ("concurrent/futures/thread.py", "concurrent/futures/_base.py", "/threading.py")
_ROOTS = tuple(
    sorted(
        {p for kind in ("purelib", "platlib", "stdlib") if (p := sysconfig.get_path(kind))},
        key=len,
        reverse=True,
    )
)

_CAUSE = "The above exception was the direct cause of the following exception:"
_CONTEXT = "During handling of the above exception, another exception occurred:"


def analyst_traceback(exc: BaseException, snapshot: Snapshot) -> str:
    """Return a traceback with the frames of the analyst's code, and those of libraries that it called.

    Causes, contexts, notes and exception groups are kept; deep recursion is folded, and the text is bounded.

    Parameters
    ----------
    exc
        The exception.
    snapshot
        The code of the run, whose lines are shown as lines of cells.
    """
    with shown(snapshot):
        blocks = list(_chain(exc, snapshot))
    text = "\n".join(blocks).encode("utf-8", "backslashreplace").decode()
    if len(text) > LIMIT_CHARS:
        half = LIMIT_CHARS // 2 - 50
        text = f"{text[:half]}\n  … {len(text) - 2 * half} characters left out …\n{text[-half:]}"
    return text.rstrip()


def _chain(exc: BaseException, snapshot: Snapshot) -> Iterator[str]:
    """Yield the exceptions that led to one, the first of them first."""
    links: list[tuple[BaseException, str]] = []
    seen: set[int] = set()
    current: BaseException | None = exc
    joint = ""
    while current is not None and id(current) not in seen and len(links) < _MAX_CHAIN:
        seen.add(id(current))
        links.append((current, joint))
        if current.__cause__ is not None:
            current, joint = current.__cause__, _CAUSE
        elif current.__context__ is not None and not current.__suppress_context__:
            current, joint = current.__context__, _CONTEXT
        else:
            current = None
    for link, after in reversed(links):
        yield _one(link, snapshot)
        if after:
            yield f"\n{after}\n"


def _one(exc: BaseException, snapshot: Snapshot) -> str:
    lines = list(_frames(exc.__traceback__, snapshot))
    head = ["Traceback (most recent call last):"] if lines else []
    text = "".join(traceback.TracebackException(type(exc), exc, None, compact=True).format_exception_only())
    if len(text) > _MAX_MESSAGE:
        text = f"{text[: _MAX_MESSAGE // 2]} … {text[-_MAX_MESSAGE // 2 :]}"
    parts = [*head, *lines, text.rstrip("\n")]
    if isinstance(exc, BaseExceptionGroup):
        for number, inner in enumerate(exc.exceptions[:_MAX_CHAIN], 1):
            parts.append(f"  {number}. of {len(exc.exceptions)}:")
            parts += [f"    {line}" for block in _chain(inner, snapshot) for line in block.split("\n")]
    return "\n".join(parts)


def _frames(found: TracebackType | None, snapshot: Snapshot) -> Iterator[str]:
    frames = _shown(found, snapshot)
    groups: list[tuple[traceback.FrameSummary, int]] = []
    for frame in frames:
        last = groups[-1][0] if groups else None
        if last is not None and (last.filename, last.lineno, last.name) == (
            frame.filename,
            frame.lineno,
            frame.name,
        ):
            groups[-1] = (last, groups[-1][1] + 1)
        else:
            groups.append((frame, 1))
    left_out = len(groups) - _MAX_FRAMES
    for number, (frame, count) in enumerate(groups):
        if left_out > 0 and number == _MAX_FRAMES // 2:
            yield f"  … {left_out} calls left out …"
        if left_out > 0 and _MAX_FRAMES // 2 <= number < _MAX_FRAMES // 2 + left_out:
            continue
        text = _frame(frame, snapshot)
        yield from [text] * min(count, _SHOWN_REPEATS)
        if count > _SHOWN_REPEATS:
            yield f"  [Previous line repeated {count - _SHOWN_REPEATS} more times]"


def _shown(found: TracebackType | None, snapshot: Snapshot) -> Sequence[traceback.FrameSummary]:
    """Return the frames from the analyst's first one on, without those of the machinery."""
    shown: list[traceback.FrameSummary] = []
    for frame in traceback.extract_tb(found):
        own = frame.filename == snapshot.filename
        if own or (shown and not _is_hidden(frame.filename)):
            shown.append(frame)
    return shown


def _is_hidden(filename: str) -> bool:
    path = filename.replace("\\", "/")
    return (
        filename.startswith(_HIDDEN)
        or path.endswith(_HIDDEN_FILES)
        or any(f"/{package}/" in path for package in _HIDDEN_PACKAGES)
        or filename.startswith("<frozen importlib")
    )


def _frame(frame: traceback.FrameSummary, snapshot: Snapshot) -> str:
    """Return one frame: its place as the analyst knows it, then source and carets as Python prints them."""
    _, *rest = traceback.StackSummary.from_list([frame]).format()[0].rstrip("\n").split("\n")
    where = None
    if frame.filename == snapshot.filename and frame.lineno is not None:
        where = snapshot.where(frame.lineno)
        place = f"{where[0]}, line {where[1]}" if where else f"the run's code, line {frame.lineno}"
    else:
        place = f"{_short(frame.filename)}, line {frame.lineno}"
    name = "" if frame.name == "<module>" else f", in {frame.name}"
    return "\n".join([f"  {place}{name}", *rest])


def _short(filename: str) -> str:
    for root in _ROOTS:
        if filename.startswith(root):
            return filename[len(root) :].lstrip("/\\")
    return filename
