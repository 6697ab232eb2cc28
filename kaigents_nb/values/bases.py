"""What a class of the analyst's own may extend: the value that such a base holds, got and put back without its code."""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Callable
from typing import Any

from kaigents_nb.values.class_names import BUILTIN_BASES


def content_of(value: Any, base: type) -> Any:
    """Return a plain value of the base; the subclass's own ``__str__`` or ``__int__`` may say anything."""
    return _CONTENT[base](value)


def made(cls: Any, base: Any, content: Any) -> Any:
    """Return an instance of a subclass that holds a plain value of its base."""
    if base in (list, dict, set, bytearray):
        value = base.__new__(cls)
        (base.update if base in (dict, set) else base.extend)(value, content)
        return value
    if base in _PARTS:
        parts = {name: getattr(content, name) for name in _PARTS[base]}
        return base.__new__(cls, **parts)
    return base.__new__(cls, content)


def _plain(base: Any) -> Callable[[Any], Any]:
    def plain(value: Any) -> Any:
        return base(**{name: getattr(base, name).__get__(value) for name in _PARTS[base]})

    return plain


_DATE = ("year", "month", "day")
_TIME = ("hour", "minute", "second", "microsecond", "tzinfo", "fold")
_PARTS: dict[Any, tuple[str, ...]] = {
    dt.datetime: (*_DATE, *_TIME),
    dt.date: _DATE,
    dt.time: _TIME,
    dt.timedelta: ("days", "seconds", "microseconds"),
    complex: ("real", "imag"),
}
_CONTENT: dict[Any, Callable[[Any], Any]] = {
    str: lambda value: str.__str__(value)[:],
    int: int.__int__,
    float: float.__float__,
    bytes: lambda value: bytes.__getitem__(value, slice(None)),
    bytearray: lambda value: bytearray.__getitem__(value, slice(None)),
    decimal.Decimal: lambda value: decimal.Decimal(value),
    **{base: _plain(base) for base in _PARTS},
}
assert {*_CONTENT, list, tuple, dict, set, frozenset} == set(BUILTIN_BASES)
