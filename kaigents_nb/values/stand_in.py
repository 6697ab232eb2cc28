"""What stands for a value that can't be copied: a short text, and a mark by which one sees that it has changed."""

from __future__ import annotations

import collections
import copyreg
import functools
import hashlib
import pickle
import queue
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from kaigents_nb.values.brief import brief

_LOOKED_AT = 20_000
"""So many parts of a value are looked at."""
_TEXT_LIMIT = 10_000


class StandIn(str):
    """The text. Two of values with the same content have the same mark."""

    __slots__ = ("mark",)

    mark: bytes


def stand_in(value: object) -> StandIn:
    """Return what stands for a value."""
    text = StandIn(_shown(value))
    try:
        text.mark = _Mark().of(value)
    except Exception:  # noqa: BLE001 - too deep, or a container whose own code raises
        text.mark = b""
    return text


def _shown(value: object) -> str:
    """Return a short text; of an analyst's object that has none of its own, with its attributes."""
    cls = type(value)
    if cls.__repr__ is object.__repr__ and _is_own(cls):
        attributes = "".join(f" {name}={brief(item, 60)}" for name, item in _attributes(value))
        return _cut(f"<{cls.__name__}{attributes}>")
    return brief(value)


def _cut(text: str, limit: int = 200) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


class _Mark:
    """One walk over a value. Of a library's object that can't be pickled, such as a client, only the text counts."""

    def __init__(self) -> None:
        self._seen: dict[int, int] = {}
        self._held: list[object] = []

    def of(self, value: Any) -> bytes:
        """Return the mark of a part; where one comes again, which it was."""
        known = self._seen.setdefault(id(value), len(self._seen))
        if known < len(self._seen) - 1 or len(self._seen) > _LOOKED_AT:
            return str(known).encode()
        self._held.append(value)
        parts = [type(value).__qualname__.encode()]
        if isinstance(value, dict):
            parts += [self.of(part) for item in dict.items(value) for part in item]
        elif isinstance(value, (set, frozenset)):
            parts += sorted(brief(item, _TEXT_LIMIT).encode("utf-8", "replace") for item in set(value))
        elif isinstance(value, list):
            parts += map(self.of, list.__iter__(value))
        elif isinstance(value, (tuple, collections.deque)):
            parts += map(self.of, value)
        elif isinstance(value, functools.partial):
            parts += map(self.of, (value.func, value.args, value.keywords))
        elif isinstance(value, queue.Queue):
            parts.append(self.of(value.queue))
        elif isinstance(value, queue.SimpleQueue):
            parts.append(str(value.qsize()).encode())
        else:
            parts.append(_content(value))
        if _is_own(type(value)):
            parts += [self.of(part) for item in _attributes(value) for part in item]
        return hashlib.blake2b(b"\0".join(parts), digest_size=16).digest()


def _content(value: object) -> bytes:
    """Return a library's object as ``pickle`` writes it, such as a table; of one that can't be pickled the text."""
    if not _is_own(type(value)):
        with suppress(Exception):  # clients, locks, generators
            return pickle.dumps(value, 5)
    return brief(value, _TEXT_LIMIT).encode("utf-8", "replace")


def _attributes(value: object) -> Iterator[tuple[str, Any]]:
    """Return an object's attributes by name, asking none of its own code."""
    with suppress(AttributeError):
        yield from list(object.__getattribute__(value, "__dict__").items())
    for name in copyreg._slotnames(type(value)):  # type: ignore[attr-defined]  # as pickle does
        with suppress(AttributeError):
            yield name, object.__getattribute__(value, name)


def _is_own(cls: type[Any]) -> bool:
    """Whether a class is the analyst's: of a cell, or of a file beside the notebook."""
    return _is_own_module(cls.__module__)


@functools.cache
def _is_own_module(module: str) -> bool:
    if module.partition(".")[0] in sys.stdlib_module_names:
        return False
    file = getattr(sys.modules.get(module), "__file__", None) or ""
    return not file.startswith(tuple(sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib")))
