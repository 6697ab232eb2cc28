"""The one way to copy a value: what it was, however it changes later."""

from __future__ import annotations

import collections
import copy
import datetime as dt
import decimal
import enum
import fractions
import functools
import pathlib
import types
import uuid
import zoneinfo
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from kaigents_nb.values.kinds import lazy
from kaigents_nb.values.stand_in import stand_in

ATOMS = frozenset(
    {
        type(None), bool, int, float, complex, str, bytes, range, slice, type(...), object,
        dt.date, dt.datetime, dt.time, dt.timedelta, dt.timezone, zoneinfo.ZoneInfo,
        decimal.Decimal, fractions.Fraction, uuid.UUID,
        pathlib.PosixPath, pathlib.WindowsPath, pathlib.PurePosixPath, pathlib.PureWindowsPath,
        types.FunctionType, types.BuiltinFunctionType, types.MethodType, type,
    }
)  # fmt: skip
"""Classes whose instances can't change, or that are code."""


class Copied(NamedTuple):
    """A copy, and what is to be known of it."""

    value: Any
    whole: bool
    """Whether nothing in it is a short text in place of something that can't be copied, such as a client."""
    shares: bool
    """Whether it holds one object in several places."""


def frozen_copy(value: object, memo: dict[int, Any] | None = None) -> Copied:
    """Return a copy that changing the original later doesn't change; sharing and cycles inside it are kept.

    What can't change is given back as it is. In place of an object that can't be copied stands a short text.

    Parameters
    ----------
    memo
        By id, parts of the value that are not copied and what is taken instead; gets what is copied.

    Examples
    --------
    >>> frozen_copy([1, [2]]).value
    [1, [2]]
    """
    walk = _Walk({} if memo is None else memo)
    try:
        copied = walk.copy(value)
    except Exception:  # noqa: BLE001 - too deep, or a container whose own code raises
        return Copied(stand_in(value), False, False)
    return Copied(copied, walk.whole, walk.shares)


class _Walk:
    def __init__(self, memo: dict[int, Any]) -> None:
        self.memo = memo
        self.whole = True
        self.shares = False
        self._given = set(memo)

    def copy(self, value: Any) -> Any:
        cls = type(value)
        if cls in ATOMS:
            return value
        key = id(value)
        known = self.memo.get(key, self)
        if known is not self:
            if key in self._given:
                self._given.remove(key)  # taken for the first time
            else:
                self.shares = True
            return known
        copier = _COPIERS.get(cls)
        if copier is not None:
            return copier(self, value)
        try:
            copied = self.memo[key] = _copier_of(value, cls)(value, self.memo)
        except RecursionError:
            raise
        except Exception:  # noqa: BLE001 - whatever a value's own code raises: it can't be copied
            self.whole = False
            return stand_in(value)
        # Ids are good only as long as the object lives; a computed one could make room for another.
        self.memo.setdefault(id(self.memo), []).append(value)
        return copied

    def _items(self, items: Collection[Any]) -> Collection[Any]:
        if ATOMS.issuperset(map(type, items)):
            return items
        return [item if type(item) in ATOMS else self.copy(item) for item in items]

    def _list(self, value: list[Any]) -> list[Any]:
        out: list[Any] = []
        self.memo[id(value)] = out
        out += self._items(value)
        return out

    def _dict(self, value: dict[Any, Any]) -> dict[Any, Any]:
        out: dict[Any, Any] = {}
        self.memo[id(value)] = out
        for key, item in value.items():
            out[key if type(key) in ATOMS else self.copy(key)] = item if type(item) in ATOMS else self.copy(item)
        return out

    def _tuple(self, value: tuple[Any, ...] | frozenset[Any]) -> Any:
        before = tuple(value)
        items = self._items(before)
        # One that holds itself through a list was copied on the way down.
        known = self.memo.get(id(value))
        if known is not None:
            return known
        changed = any(new is not old for new, old in zip(items, before, strict=True))
        out = self.memo[id(value)] = type(value)(items) if changed else value
        return out

    def _set(self, value: set[Any]) -> set[Any]:
        out = self.memo[id(value)] = set(self._items(value))
        return out

    def _deque(self, value: collections.deque[Any]) -> collections.deque[Any]:
        out: collections.deque[Any] = collections.deque(maxlen=value.maxlen)
        self.memo[id(value)] = out
        out.extend(self._items(value))
        return out

    def _bytearray(self, value: bytearray) -> bytearray:
        out = self.memo[id(value)] = bytearray(value)
        return out

    def _memoryview(self, value: memoryview) -> memoryview:
        out = self.memo[id(value)] = memoryview(value.tobytes())
        return out

    def _partial(self, value: functools.partial[Any]) -> functools.partial[Any]:
        out = functools.partial(value.func, *self._items(value.args), **self._dict(value.keywords))
        self.memo[id(value)] = out
        return out


def _copier_of(value: Any, cls: type) -> Callable[[Any, dict[int, Any]], Any]:
    library = cls.__module__.partition(".")[0]
    if library in ("pandas", "numpy") or any(base.__module__ == "numpy" for base in cls.__mro__):
        copier: Callable[[Any, dict[int, Any]], Any] | None = lazy("table_copying").table_copier(cls)
        return copier or copy.deepcopy
    if library in ("matplotlib", "asyncio", "_asyncio") or isinstance(value, types.ModuleType):
        raise TypeError("live, or code")
    if isinstance(value, (enum.Enum, type)) or "__wrapped__" in getattr(value, "__dict__", ()):
        return lambda value, memo: value  # code, such as a function with a decorator
    return copy.deepcopy


_COPIERS: dict[type, Callable[[_Walk, Any], Any]] = {
    list: _Walk._list,
    dict: _Walk._dict,
    tuple: _Walk._tuple,
    set: _Walk._set,
    frozenset: _Walk._tuple,
    collections.deque: _Walk._deque,
    bytearray: _Walk._bytearray,
    memoryview: _Walk._memoryview,
    functools.partial: _Walk._partial,
}
