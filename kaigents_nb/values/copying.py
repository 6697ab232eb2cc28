"""Copies for a recorder: what a value was, however it changes later."""

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
from typing import Any

from kaigents_nb.values.brief import brief
from kaigents_nb.values.kinds import lazy

_ATOMS = frozenset(
    {
        type(None), bool, int, float, complex, str, bytes, range, slice, type(...), object,
        dt.date, dt.datetime, dt.time, dt.timedelta, dt.timezone, zoneinfo.ZoneInfo,
        decimal.Decimal, fractions.Fraction, uuid.UUID,
        pathlib.PosixPath, pathlib.WindowsPath, pathlib.PurePosixPath, pathlib.PureWindowsPath,
        types.FunctionType, types.BuiltinFunctionType, types.MethodType, type, functools.partial,
    }
)  # fmt: skip
"""Classes whose instances can't change, or that are code."""


class _CannotCopy(Exception):
    pass


def frozen_copy(value: object) -> tuple[object, bool]:
    """Return ``(copy, True)``, or ``(short text, False)`` for what can't be copied, such as a client.

    Changing the original later doesn't change the copy; sharing and cycles inside it are kept. What can't
    change is given back as it is.

    Examples
    --------
    >>> frozen_copy([1, [2]])
    ([1, [2]], True)
    """
    if type(value) in _ATOMS:
        return value, True
    try:
        return _copy(value, {}), True
    except Exception:  # noqa: BLE001 - whatever a value's own code raises: it can't be copied
        return brief(value), False


def _copy(value: Any, memo: dict[int, Any]) -> Any:
    cls = type(value)
    if cls in _ATOMS:
        return value
    known = memo.get(id(value), memo)
    if known is not memo:
        return known
    copier = _COPIERS.get(cls) or _copier_of(value, cls)
    copied = copier(value, memo)
    if copied is not value:
        memo[id(value)] = copied
        # Ids are good only as long as the object lives; a computed one could make room for another.
        memo.setdefault(id(memo), []).append(value)
    return copied


def _copier_of(value: Any, cls: type) -> Any:
    library = cls.__module__.partition(".")[0]
    if library in ("pandas", "numpy"):
        return lazy("table_copying").table_copier(cls) or copy.deepcopy
    if library in ("matplotlib", "asyncio", "_asyncio") or isinstance(value, types.ModuleType):
        raise _CannotCopy
    if isinstance(value, (enum.Enum, type)) or "__wrapped__" in getattr(value, "__dict__", ()):
        return _same  # code, such as a function with a decorator
    return copy.deepcopy


def _same(value: Any, memo: dict[int, Any]) -> Any:
    return value


def _list(value: list[Any], memo: dict[int, Any]) -> list[Any]:
    out: list[Any] = []
    memo[id(value)] = out
    out.extend([item if type(item) in _ATOMS else _copy(item, memo) for item in value])
    return out


def _dict(value: dict[Any, Any], memo: dict[int, Any]) -> dict[Any, Any]:
    out: dict[Any, Any] = {}
    memo[id(value)] = out
    for key, item in value.items():
        out[key if type(key) in _ATOMS else _copy(key, memo)] = item if type(item) in _ATOMS else _copy(item, memo)
    return out


def _tuple(value: tuple[Any, ...], memo: dict[int, Any]) -> tuple[Any, ...]:
    items = [_copy(item, memo) for item in value]
    # A tuple that holds itself through a list was copied on the way down.
    known: tuple[Any, ...] | None = memo.get(id(value))
    if known is not None:
        return known
    return value if all(new is old for new, old in zip(items, value, strict=True)) else tuple(items)


def _set(value: set[Any], memo: dict[int, Any]) -> set[Any]:
    return {_copy(item, memo) for item in value}


def _frozenset(value: frozenset[Any], memo: dict[int, Any]) -> frozenset[Any]:
    items = [(item, _copy(item, memo)) for item in value]
    return value if all(new is old for old, new in items) else frozenset(new for _, new in items)


def _deque(value: collections.deque[Any], memo: dict[int, Any]) -> collections.deque[Any]:
    out: collections.deque[Any] = collections.deque(maxlen=value.maxlen)
    memo[id(value)] = out
    out.extend([_copy(item, memo) for item in value])
    return out


_COPIERS: dict[type, Any] = {
    list: _list,
    dict: _dict,
    tuple: _tuple,
    set: _set,
    frozenset: _frozenset,
    collections.deque: _deque,
    bytearray: lambda value, memo: bytearray(value),
}
