"""Several values as one, so that what is one object in them is one object again when they are read back.

The first time an object is met it is written with a number, ``{"$kg": "shared", "v": …, "n": 0}``, and later ones name
the number. :func:`~kaigents_nb.values.decode.decode` reads it.
"""

from __future__ import annotations

import collections
import enum
import functools
import itertools
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from kaigents_nb.values.class_names import is_data_class
from kaigents_nb.values.encode import Walk, encode_with
from kaigents_nb.values.encoded import Encoded
from kaigents_nb.values.kinds import tagged
from kaigents_nb.values.refusals import Refused

_BUILT_IN = (list, dict, set, bytearray, collections.deque)
_SCALARS = frozenset({str, bytes, int, float, bool, complex, type(None)})


def encode_together(values: object, shared: Collection[int], *, name: str) -> Encoded:
    """Return a value (several as a tuple), in which the objects with these ids are each written once.

    Raises
    ------
    ConversionError
        When something in it can't be saved.
    """
    return encode_with(values, lambda check_text: _SharingWalk(frozenset(shared), check_text=check_text), name=name)


def has_identity(value: object) -> bool:
    """Tell whether it matters that a value is one object: it can be changed in place, or is an instance."""
    kind: Any = type(value)
    return _kind_has_identity(kind)


@functools.lru_cache(maxsize=512)
def _kind_has_identity(kind: Any) -> bool:
    if issubclass(kind, _BUILT_IN):
        return True
    if (kind.__module__ or "").partition(".")[0] in ("numpy", "pandas"):
        return kind.__name__ in ("ndarray", "DataFrame", "Series")
    return kind not in _SCALARS and not issubclass(kind, (type, tuple)) and _has_fields(kind)


@functools.lru_cache(maxsize=512)
def _has_fields(kind: Any) -> bool:
    return is_data_class(kind) and not issubclass(kind, enum.Enum)


def objects_in(value: object) -> Iterator[object]:
    """Yield each place in a value at which an object with an identity stands; what is in one, for the first time only.

    What is in sets, which have no order, and in the cells of tables is left out.
    """
    seen: set[int] = set()
    stack = [value]
    while stack:
        item = stack.pop()
        kind: Any = type(item)
        if kind in _SCALARS:
            continue
        if _kind_has_identity(kind):
            yield item
            if id(item) in seen:
                continue
            seen.add(id(item))
        stack += [part for part in _parts(item, kind) if type(part) not in _SCALARS]


def _parts(item: Any, kind: Any) -> Iterable[object]:
    if kind is list or kind is tuple:
        return item  # type: ignore[no-any-return]
    if kind is dict:
        return itertools.chain(item.keys(), item.values())
    parts: list[object] = []
    for base in (dict, list, tuple, collections.deque):
        if issubclass(kind, base):
            parts += [*dict.keys(item), *dict.values(item)] if base is dict else base.__iter__(item)
    if _has_fields(kind):
        parts += getattr(item, "__dict__", {}).values()
        for cls in kind.__mro__:
            slots = vars(cls).get("__slots__", ())
            parts += [getattr(item, slot) for slot in slots if isinstance(slot, str) and hasattr(item, slot)]
    return parts


class _SharingWalk(Walk):
    """Writes each shared object once."""

    def __init__(self, shared: frozenset[int], *, check_text: bool = False) -> None:
        super().__init__(check_text=check_text)
        self._shared = shared
        self._numbers: dict[int, int] = {}
        self._open: set[int] = set()

    def json(self, value: Any) -> Any:
        number = self._numbers.get(id(value))
        if number is not None:
            if id(value) in self._open:
                raise Refused(value, "It contains itself. Keep the key of an object instead of the object.")
            return tagged("again", number)
        if id(value) not in self._shared:
            return super().json(value)
        number = self._numbers[id(value)] = len(self._numbers)
        self._open.add(id(value))
        written = super().json(value)
        self._open.discard(id(value))
        return tagged("shared", written, n=number)

    def text(self, value: Any) -> str:
        return Walk().text(value)  # of a cell of a table, which is read on its own
