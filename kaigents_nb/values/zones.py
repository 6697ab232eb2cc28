"""Time zones that other libraries make: pydantic's, dateutil's and pytz's.

Each is saved as what makes it again, and tried out before: a zone that would come back as another one is refused.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from kaigents_nb.values.kinds import Reader, Reading, Writer, Writing, tagged
from kaigents_nb.values.refusals import Refused

_ADVICE = "Use zoneinfo.ZoneInfo(name) for time zones, or UTC: when.astimezone(datetime.timezone.utc)."
_FOLDER = "/zoneinfo/"

outside: Callable[[], AbstractContextManager[None]] = nullcontext
"""Leaves a sandbox for a moment, as making a zone may open a file. Set by who reads values in a sandbox."""


def writer_for(cls: type) -> Writer | None:
    """Return the writer for a class of time zones, or None."""
    library = cls.__module__.partition(".")[0]
    if library not in ("pydantic_core", "dateutil", "pytz") or not issubclass(cls, dt.tzinfo):
        return None
    return _write_pytz if library == "pytz" else _WRITERS.get((library, cls.__name__))


def tells_moments_only(zone: dt.tzinfo) -> bool:
    """Tell whether a zone's wall clock is another one elsewhere, or in the object itself: the moment is what counts."""
    cls = type(zone)
    return writer_for(cls) is _write_pytz or (cls.__module__.startswith("dateutil.") and cls.__name__ == "tzlocal")


def _make(library: str, name: str, *args: Any) -> Any:
    # Not importlib: in a workflow's sandbox that would run the module once more. Only these three are imported.
    with outside():
        return getattr(__import__(library, fromlist=[name]), name)(*args)


def _seconds(offset: dt.timedelta) -> float | int:
    seconds = offset.total_seconds()
    return int(seconds) if seconds.is_integer() else seconds


def _write_pydantic(value: dt.tzinfo, w: Writing) -> dict[str, Any]:
    offset = value.utcoffset(None)
    assert offset is not None
    return tagged("tz.pydantic", _seconds(offset))


def _write_offset(value: dt.tzinfo, w: Writing) -> dict[str, Any]:
    offset = value.utcoffset(None)
    assert offset is not None
    return tagged("tz.offset", [value.tzname(None), _seconds(offset)])


def _write_file(value: Any, w: Writing) -> dict[str, Any]:
    key = str(getattr(value, "_filename", "")).rpartition(_FOLDER)[2]
    return _tried(tagged("tz.file", key), value)


def _write_text(value: Any, w: Writing) -> dict[str, Any]:
    return _tried(tagged("tz.str", str(getattr(value, "_s", ""))), value)


def _write_pytz(value: Any, w: Writing) -> dict[str, Any]:
    name = getattr(value, "zone", None)
    if name:
        return tagged("pytz", name)
    minutes = getattr(value, "_minutes", None)
    if not isinstance(minutes, int):
        raise Refused(value, _ADVICE)
    return tagged("pytz.offset", minutes)


def _tried(raw: dict[str, Any], value: Any) -> dict[str, Any]:
    """Return a tag that gives the same zone again. Raises Refused."""
    try:
        again: Any = READERS[raw["$kg"]](raw, _NO_READING)
    except Exception:  # noqa: BLE001 - whatever the library raises over a name of its own
        again = None
    if type(again) is not type(value) or again != value:
        raise Refused(value, _ADVICE)
    return raw


def _read_file(raw: dict[str, Any], r: Reading) -> Any:
    key = raw["v"]
    if key.startswith("/") or ".." in key:
        raise ValueError(f"{key!r} is not the name of a time zone")
    zone = _make("dateutil.tz", "gettz", key)
    if zone is None:
        raise ValueError(f"no time zone {key!r} on this machine")
    return zone


_NO_READING: Any = None
_WRITERS: dict[tuple[str, str], Writer] = {
    ("pydantic_core", "TzInfo"): _write_pydantic,
    ("dateutil", "tzutc"): lambda v, w: tagged("tz.utc"),
    ("dateutil", "tzlocal"): lambda v, w: tagged("tz.local"),
    ("dateutil", "tzoffset"): _write_offset,
    ("dateutil", "tzfile"): _write_file,
    ("dateutil", "tzstr"): _write_text,
}

READERS: dict[str, Reader] = {
    "tz.pydantic": lambda raw, r: _make("pydantic_core", "TzInfo", raw["v"]),
    "tz.utc": lambda raw, r: _make("dateutil.tz", "tzutc"),
    "tz.local": lambda raw, r: _make("dateutil.tz", "tzlocal"),
    "tz.offset": lambda raw, r: _make("dateutil.tz", "tzoffset", *raw["v"]),
    "tz.file": _read_file,
    "tz.str": lambda raw, r: _make("dateutil.tz", "tzstr", raw["v"]),
    "pytz": lambda raw, r: _make("pytz", "timezone", raw["v"]),
    "pytz.offset": lambda raw, r: _make("pytz", "FixedOffset", raw["v"]),
}
