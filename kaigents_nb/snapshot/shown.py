"""The source of frozen code in ``linecache``, where tracebacks and debuggers look, as long as somebody needs it."""

from __future__ import annotations

import linecache
from collections.abc import Iterator
from contextlib import contextmanager

from kaigents_nb.snapshot.local_modules import is_local_filename, local_filename
from kaigents_nb.snapshot.module import Snapshot

_showing: dict[str, set[int]] = {}
"""By file name, the ids of those for whom it is shown."""


def show(snapshot: Snapshot, owner: object) -> None:
    """Show the source of a snapshot until it was hidden for each of its owners."""
    _showing.setdefault(snapshot.filename, set()).add(id(owner))
    if snapshot.filename not in linecache.cache:
        lines = [f"{line}\n" for line in snapshot.source.split("\n")]
        # An entry without a time is never checked against a file.
        linecache.cache[snapshot.filename] = (len(snapshot.source), None, lines, snapshot.filename)
        for module in snapshot.local:
            name = local_filename(snapshot.filename, module)
            linecache.cache[name] = (len(module.source), None, module.source.splitlines(keepends=True), name)


def hide(filename: str, owner_id: int) -> None:
    """End what :func:`show` did for an owner."""
    others = _showing.get(filename, set())
    others.discard(owner_id)
    if not others:
        _showing.pop(filename, None)
        for name in [name for name in list(linecache.cache) if name == filename or is_local_filename(name, filename)]:
            linecache.cache.pop(name, None)


@contextmanager
def shown(snapshot: Snapshot) -> Iterator[None]:
    """Show the source of a snapshot meanwhile."""
    owner = object()
    show(snapshot, owner)
    try:
        yield
    finally:
        hide(snapshot.filename, id(owner))
