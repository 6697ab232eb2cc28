"""Kinds from pandas: scalars. Frames, series and indexes are in :mod:`~kaigents_nb.values.tabular`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from kaigents_nb.values import zones
from kaigents_nb.values.kinds import Reader, Reading, Writer, Writing, tagged


def writer_for(cls: type) -> Writer | None:
    """Return the writer for a class, or None."""
    return _WRITERS.get(cls)


def _write_timestamp(value: pd.Timestamp, w: Writing) -> dict[str, Any]:
    more = {} if value.tz is None else {"tz": w.json(value.tz)}
    return tagged("pd.Timestamp", str(value.asm8), unit=value.unit, **more)


def _read_timestamp(raw: dict[str, Any], r: Reading) -> Any:
    value = pd.Timestamp(np.datetime64(raw["v"], raw["unit"])).as_unit(raw["unit"])
    return in_zone(value, raw["tz"]) if "tz" in raw else value


def in_zone(utc: Any, zone: Any) -> Any:
    """Return a moment, or several, that is naive and UTC as one of a zone."""
    with zones.outside():  # pandas looks a zone up when it first meets it
        return utc.tz_localize("UTC").tz_convert(zone)


_WRITERS: dict[type, Writer] = {
    pd.Timestamp: _write_timestamp,
    pd.Timedelta: lambda v, w: tagged("pd.Timedelta", int(v.asm8.view("i8")), unit=v.unit),
    pd.Period: lambda v, w: tagged("pd.Period", v.ordinal, freq=v.freqstr),
    pd.Interval: lambda v, w: tagged("pd.Interval", [w.json(v.left), w.json(v.right)], closed=v.closed),
    type(pd.NaT): lambda v, w: tagged("pd.NaT"),
    type(pd.NA): lambda v, w: tagged("pd.NA"),
}

READERS: dict[str, Reader] = {
    "pd.Timestamp": _read_timestamp,
    "pd.Timedelta": lambda raw, r: pd.Timedelta(np.timedelta64(raw["v"], raw["unit"])).as_unit(raw["unit"]),
    "pd.Period": lambda raw, r: pd.Period(ordinal=raw["v"], freq=raw["freq"]),
    "pd.Interval": lambda raw, r: pd.Interval(raw["v"][0], raw["v"][1], closed=raw["closed"]),
    "pd.NaT": lambda raw, r: pd.NaT,
    "pd.NA": lambda raw, r: pd.NA,
}
