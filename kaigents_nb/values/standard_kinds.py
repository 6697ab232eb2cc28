"""Kinds from the standard library: containers, numbers, bytes, dates, paths."""

from __future__ import annotations

import base64
import collections
import datetime as dt
import decimal
import fractions
import ipaddress
import json
import pathlib
import re
import types
import uuid
import zoneinfo
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from kaigents_nb.values import zones
from kaigents_nb.values.class_names import BUILTIN_BASES
from kaigents_nb.values.kinds import Reader, Reading, Writer, Writing, tagged
from kaigents_nb.values.refusals import Refused, inside, key_step

T = TypeVar("T")
Clock = TypeVar("Clock", dt.datetime, dt.time)

BUILTINS: dict[str, type] = {cls.__name__: cls for cls in (bool, *BUILTIN_BASES) if cls.__module__ == "builtins"}


def writer_for(cls: type) -> Writer | None:
    """Return the writer for a class, or None."""
    return _WRITERS.get(cls) or zones.writer_for(cls)


def write_items(items: Iterable[tuple[Any, Any]], w: Writing) -> list[list[Any]]:
    """Return the JSON of a mapping whose keys are not all plain text."""
    pairs, write = [], w.json
    for key, value in items:
        try:
            pairs.append([write(key), write(value)])
        except Refused as refusal:
            refusal.path.append(key_step(key))  # only now: what a key looks like takes longer than to write it
            raise
    return pairs


def write_each(values: Iterable[Any], write: Callable[[Any], T]) -> list[T]:
    """Return what ``write`` gives for each value; a refusal says which one it was."""
    out = []
    for number, value in enumerate(values):
        try:
            out.append(write(value))
        except Refused as refusal:
            refusal.path.append(f"[{number}]")
            raise
    return out


def write_set(values: Iterable[Any], w: Writing) -> list[Any]:
    """Return the JSON of a set, sorted so that equal sets give equal bytes."""
    with inside("{…}"):
        return sorted((w.json(value) for value in values), key=json.dumps)


def write_bytes(value: bytes | bytearray) -> str:
    """Return bytes as JSON text."""
    return base64.b64encode(value).decode("ascii")


def read_bytes(text: str) -> bytes:
    """Return the bytes of :func:`write_bytes`."""
    return base64.b64decode(text, validate=True)


def _write_defaultdict(value: collections.defaultdict[Any, Any], w: Writing) -> dict[str, Any]:
    factory = value.default_factory
    name = None if factory is None else getattr(factory, "__name__", "")
    if name is not None and BUILTINS.get(name) is not factory:
        raise Refused(value, "Its default factory is code; return dict(x).")
    return tagged("defaultdict", write_items(value.items(), w), f=name)


def _write_datetime(value: dt.datetime, w: Writing) -> dict[str, Any]:
    zone = value.tzinfo
    if zone is not None and zones.tells_moments_only(zone):
        utc = value.astimezone(dt.UTC).replace(tzinfo=None)
        return tagged("datetime", utc.isoformat(), utc=w.json(zone))
    return _write_clock("datetime", value, w)


def _read_datetime(raw: dict[str, Any], r: Reading) -> dt.datetime:
    value = dt.datetime.fromisoformat(raw["v"])
    if "utc" in raw:
        moment: dt.datetime = raw["utc"].fromutc(value.replace(tzinfo=raw["utc"]))
        return moment
    return _read_clock(value, raw)


def _write_clock(kind: str, value: dt.datetime | dt.time, w: Writing) -> dict[str, Any]:
    zone, more = value.tzinfo, ({"fold": 1} if value.fold else {})
    # A timezone with a name of its own has a second argument, which ISO text would lose.
    if zone is None or (type(zone) is dt.timezone and len(_timezone_args(zone)) == 1):
        return tagged(kind, value.isoformat(), **more)
    return tagged(kind, value.replace(tzinfo=None).isoformat(), tz=w.json(zone), **more)


def _read_clock(value: Clock, raw: dict[str, Any]) -> Clock:
    return value.replace(tzinfo=raw.get("tz", value.tzinfo), fold=raw.get("fold", 0))


def _timezone_args(zone: dt.timezone) -> tuple[Any, ...]:
    args: tuple[Any, ...] = zone.__getinitargs__()  # type: ignore[attr-defined]
    return args


def _write_timezone(value: dt.timezone, w: Writing) -> dict[str, Any]:
    offset, *name = _timezone_args(value)
    return tagged("timezone", [offset.days, offset.seconds, offset.microseconds], name=name)


def _write_zoneinfo(value: zoneinfo.ZoneInfo, w: Writing) -> dict[str, Any]:
    if value.key is None:
        raise Refused(value, "It has no key; use zoneinfo.ZoneInfo(name).")
    return tagged("zoneinfo", value.key)


def _read_pattern(raw: dict[str, Any], r: Reading) -> re.Pattern[Any]:
    return re.compile(raw["v"], raw["flags"])


def _read_address(raw: dict[str, Any], r: Reading) -> Any:
    name, text = raw["v"]
    if name not in _ADDRESSES:
        raise ValueError(f"{name!r} is no class of addresses")
    return getattr(ipaddress, name)(text)


_ADDRESSES = ("IPv4Address", "IPv6Address", "IPv4Network", "IPv6Network", "IPv4Interface", "IPv6Interface")
_WRITERS: dict[type, Writer] = {
    tuple: lambda v, w: tagged("tuple", write_each(v, w.json)),
    set: lambda v, w: tagged("set", write_set(v, w)),
    frozenset: lambda v, w: tagged("frozenset", write_set(v, w)),
    collections.deque: lambda v, w: tagged("deque", write_each(v, w.json), max=v.maxlen),
    collections.OrderedDict: lambda v, w: tagged("OrderedDict", write_items(v.items(), w)),
    collections.Counter: lambda v, w: tagged("Counter", write_items(v.items(), w)),
    collections.defaultdict: _write_defaultdict,
    types.SimpleNamespace: lambda v, w: tagged("namespace", write_items(vars(v).items(), w)),
    bytes: lambda v, w: tagged("bytes", write_bytes(v)),
    bytearray: lambda v, w: tagged("bytearray", write_bytes(v)),
    complex: lambda v, w: tagged("complex", [w.json(v.real), w.json(v.imag)]),
    decimal.Decimal: lambda v, w: tagged("decimal", str(v)),
    fractions.Fraction: lambda v, w: tagged("fraction", [w.json(v.numerator), w.json(v.denominator)]),
    dt.datetime: _write_datetime,
    dt.date: lambda v, w: tagged("date", v.isoformat()),
    dt.time: lambda v, w: _write_clock("time", v, w),
    dt.timedelta: lambda v, w: tagged("timedelta", [v.days, v.seconds, v.microseconds]),
    dt.timezone: _write_timezone,
    zoneinfo.ZoneInfo: _write_zoneinfo,
    uuid.UUID: lambda v, w: tagged("uuid", str(v)),
    range: lambda v, w: tagged("range", [w.json(v.start), w.json(v.stop), w.json(v.step)]),
    slice: lambda v, w: tagged("slice", [w.json(v.start), w.json(v.stop), w.json(v.step)]),
    type(...): lambda v, w: tagged("ellipsis"),
    type(NotImplemented): lambda v, w: tagged("NotImplemented"),
    re.Pattern: lambda v, w: tagged("pattern", w.json(v.pattern), flags=v.flags & ~re.DEBUG),
    **{getattr(ipaddress, name): lambda v, w: tagged("ip", [type(v).__name__, str(v)]) for name in _ADDRESSES},
    pathlib.PosixPath: lambda v, w: tagged("path", w.json(str(v))),
    pathlib.WindowsPath: lambda v, w: tagged("path", w.json(str(v))),
    pathlib.PurePosixPath: lambda v, w: tagged("PurePosixPath", w.json(str(v))),
    pathlib.PureWindowsPath: lambda v, w: tagged("PureWindowsPath", w.json(str(v))),
}

CLASSES: frozenset[type] = frozenset({*_WRITERS, *BUILTINS.values()})
"""Those whose values come back by a kind of their own."""

READERS: dict[str, Reader] = {
    **zones.READERS,
    "dict": lambda raw, r: dict(raw["v"]),
    "tuple": lambda raw, r: tuple(raw["v"]),
    "set": lambda raw, r: set(raw["v"]),
    "frozenset": lambda raw, r: frozenset(raw["v"]),
    "deque": lambda raw, r: collections.deque(raw["v"], maxlen=raw["max"]),
    "OrderedDict": lambda raw, r: collections.OrderedDict(raw["v"]),
    "Counter": lambda raw, r: collections.Counter(dict(raw["v"])),
    "defaultdict": lambda raw, r: collections.defaultdict(None if raw["f"] is None else BUILTINS[raw["f"]], raw["v"]),
    "namespace": lambda raw, r: types.SimpleNamespace(**dict(raw["v"])),
    "str": lambda raw, r: read_bytes(raw["v"]).decode("utf-8", "surrogatepass"),
    "int": lambda raw, r: int(raw["v"], 16),
    "float": lambda raw, r: float(raw["v"]),
    "bytes": lambda raw, r: read_bytes(raw["v"]),
    "bytearray": lambda raw, r: bytearray(read_bytes(raw["v"])),
    "complex": lambda raw, r: complex(raw["v"][0], raw["v"][1]),
    "decimal": lambda raw, r: decimal.Decimal(raw["v"]),
    "fraction": lambda raw, r: fractions.Fraction(raw["v"][0], raw["v"][1]),
    "datetime": _read_datetime,
    "date": lambda raw, r: dt.date.fromisoformat(raw["v"]),
    "time": lambda raw, r: _read_clock(dt.time.fromisoformat(raw["v"]), raw),
    "timedelta": lambda raw, r: dt.timedelta(*raw["v"]),
    "timezone": lambda raw, r: dt.timezone(dt.timedelta(*raw["v"]), *raw["name"]),
    "zoneinfo": lambda raw, r: zoneinfo.ZoneInfo(raw["v"]),
    "uuid": lambda raw, r: uuid.UUID(raw["v"]),
    "range": lambda raw, r: range(*raw["v"]),
    "slice": lambda raw, r: slice(*raw["v"]),
    "ellipsis": lambda raw, r: ...,
    "NotImplemented": lambda raw, r: NotImplemented,
    "pattern": _read_pattern,
    "ip": _read_address,
    "path": lambda raw, r: pathlib.Path(raw["v"]),
    "PurePosixPath": lambda raw, r: pathlib.PurePosixPath(raw["v"]),
    "PureWindowsPath": lambda raw, r: pathlib.PureWindowsPath(raw["v"]),
}
