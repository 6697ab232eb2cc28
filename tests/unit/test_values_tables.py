"""DataFrames, series, indexes and arrays come back exactly as they were."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from kaigents_nb.values.decode import decode
from kaigents_nb.values.encode import encode
from tests.unit.values_examples import FRAME, Color, Point, same

_NAN = float("nan")
_DAYS = pd.date_range("2024-01-01", periods=3)


def _with_attrs() -> pd.DataFrame:
    frame = pd.DataFrame({"a": [1]})
    frame.attrs = {"run_id": "r1", "when": dt.date(2024, 1, 1)}
    return frame


def _one(values: Any, **options: Any) -> pd.DataFrame:
    return pd.DataFrame({"a": pd.Series(values, **options)})


SERIES: dict[str, Any] = {
    "int8": pd.Series([1, 2], dtype="int8"),
    "uint64": pd.Series([2**64 - 1], dtype="uint64"),
    "float32": pd.Series([1.5, _NAN], dtype="float32"),
    "float16": pd.Series([1.5, _NAN], dtype="float16"),
    "big-endian": pd.Series(np.array([1, 2], ">i4")),
    "complex": pd.Series([1 + 2j, complex(_NAN, 0)]),
    "bool": pd.Series([True, False, True]),
    "str": pd.Series(["a", None, ""], dtype="str"),
    "string": pd.Series(["a", None, "ü"], dtype="string"),
    "string[python]": pd.Series(["a", None], dtype="string[python]"),
    "lone surrogate": pd.Series(["\ud800", None], dtype="string[python]"),
    "string[pyarrow]": pd.Series(["a", None], dtype="string[pyarrow]"),
    "object str": pd.Series(["a", None], dtype=object),
    "object str nan": pd.Series(["a", _NAN], dtype=object),
    "object none nan": pd.Series(["a", _NAN, None, pd.NA, pd.NaT], dtype=object),
    "object surrogate": pd.Series(["\ud83d\ude00", "x"], dtype=object),
    "object none": pd.Series([None, None], dtype=object),
    "object empty": pd.Series([], dtype=object),
    "object mixed": pd.Series(
        [1, 1.0, True, "x", b"y", None, (1,), {"a": {1}}, Decimal("1.0"), Color.RED, Point(1)], dtype=object
    ),
    "object lists": pd.Series([[1, 2], [3, 4]], dtype=object),
    "object tuples": pd.Series([(1, 2), (3, 4)], dtype=object),
    "object arrays": pd.Series([np.array([1, 2]), np.array([3.5])], dtype=object),
    "object frames": pd.Series([pd.DataFrame({"a": [1]}), None], dtype=object),
    "object dates": pd.Series([dt.date(2024, 1, 1), None], dtype=object),
    "object datetimes": pd.Series([dt.datetime(2024, 1, 1), pd.Timestamp("2024-01-01")], dtype=object),
    "object bools": pd.Series([True, None], dtype=object),
    "object bytes": pd.Series([b"a", None], dtype=object),
    "M8[s]": pd.Series(pd.to_datetime(["2024-01-01", None])).astype("M8[s]"),
    "M8[ns]": pd.Series(pd.to_datetime(["2024-01-01 00:00:00.123456789", None])),
    "tz": pd.Series(pd.to_datetime(["2024-10-27 00:30", None])).dt.tz_localize("UTC").dt.tz_convert("Europe/Berlin"),
    "utc": pd.Series(pd.to_datetime(["2024-01-01", None])).dt.tz_localize("UTC"),
    "fixed offset": pd.Series(pd.to_datetime(["2024-01-01T00:00:00+05:30"])),
    "m8": pd.Series(pd.to_timedelta([1, None], unit="s")),
    "Int64": pd.Series([2**62 + 1, None], dtype="Int64"),
    "UInt8": pd.Series([1, None], dtype="UInt8"),
    "Float32": pd.Series([1.5, None], dtype="Float32"),
    "boolean": pd.Series([True, None], dtype="boolean"),
    "period": pd.Series(pd.period_range("2024-01", periods=2, freq="M")),
    "period nat": pd.Series(pd.PeriodIndex(["2024Q1", None], freq="Q-JAN")),
    "interval": pd.Series(pd.cut([1, 5, 9], [0, 5, 10])),
    "intervals": pd.Series(pd.arrays.IntervalArray.from_tuples([(0, 1), None, (2, 3)], closed="both")),
    "interval times": pd.Series(pd.IntervalIndex.from_breaks(_DAYS.tz_localize("Europe/Berlin"))),
    "category": pd.Series(["a", None, "b"], dtype="category"),
    "category ordered": pd.Series(pd.Categorical([3, 1], categories=[3, 2, 1], ordered=True)),
    "category dates": pd.Series(pd.Categorical(_DAYS)),
    "category mixed": pd.Series(pd.Categorical(["a", 1, (2, 3)])),
    "category empty": pd.Series(pd.Categorical([])),
    "sparse": pd.Series(pd.arrays.SparseArray([0.0, 0.0, 1.0], fill_value=0.0)),
    "arrow list": pd.Series([[1], None], dtype=pd.ArrowDtype(pa.list_(pa.int64()))),
    "arrow decimal": pd.Series([Decimal("1.50"), None], dtype=pd.ArrowDtype(pa.decimal128(5, 2))),
    "arrow string": pd.Series(["x", None], dtype=pd.ArrowDtype(pa.string())),
    "name tuple": pd.Series([1], name=("a", 1)),
    "name date": pd.Series([1], name=dt.date(2024, 1, 1)),
    "index dates": pd.Series([1, 2, 3], index=_DAYS),
    "sliced": pd.Series(range(10))[3:7:2],
    "sliced text": pd.Series(list("abcdef"))[2:4],
}

FRAMES: dict[str, Any] = {
    "all": FRAME,
    "empty": pd.DataFrame(),
    "empty multi columns": pd.DataFrame(columns=pd.MultiIndex.from_arrays([[], []])),
    "no columns": pd.DataFrame(index=[1, 2]),
    "no rows": FRAME.iloc[:0],
    "attrs": _with_attrs(),
    "int columns": pd.DataFrame(np.arange(6).reshape(2, 3)),
    "duplicate columns": pd.DataFrame([[1, "x"]], columns=["a", "a"]),
    "mixed columns": pd.DataFrame([[1, 2, 3, 4]], columns=["a", 1, None, (1, 2)]),
    "date columns": pd.DataFrame([[1.0, 2, 3]], columns=_DAYS),
    "surrogate column": pd.DataFrame([[1]], columns=pd.Index(["\ud800"], dtype=object)),
    "column name": pd.DataFrame([[1]], columns=pd.Index(["a"], name="what")),
    "categorical columns": pd.DataFrame([[1, 2]], columns=pd.CategoricalIndex(["x", "y"])),
    "multi columns": pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["k", None])),
    "multi index": FRAME.set_index(["s", "t"]),
    "multi unused levels": FRAME.set_index(["i", "c"]).iloc[:1],
    "grouped": FRAME.groupby(["b", "i"]).agg({"f": ["mean", "size"]}),
    "range index": pd.DataFrame({"a": [1, 2]}, index=pd.RangeIndex(10, 6, -2, name="r")),
    "str index": pd.DataFrame({"a": [1, 2]}, index=pd.Index(["x", None], name="n")),
    "object index": pd.DataFrame({"a": [1, 2]}, index=pd.Index([1, "x"], dtype=object)),
    "float index": pd.DataFrame({"a": [1, 2]}, index=[0.5, _NAN]),
    "date index": pd.DataFrame({"a": [1, 2, 3]}, index=_DAYS.rename("day")),
    "tz index": pd.DataFrame({"a": [1, 2, 3]}, index=pd.date_range("2024", periods=3, freq="h", tz="Europe/Berlin")),
    "month index": pd.DataFrame({"a": [1, 2]}, index=pd.date_range("2024", periods=2, freq="MS")),
    "timedelta index": pd.DataFrame({"a": [1, 2]}, index=pd.timedelta_range("1h", periods=2)),
    "period index": pd.DataFrame({"a": [1, 2]}, index=pd.period_range("2024", periods=2, freq="Y")),
    "interval index": pd.DataFrame({"a": [1, 2]}, index=pd.interval_range(0, 2)),
    "duplicate index": pd.DataFrame({"a": [1, "x"], "b": [1.0, 2]}, index=[0, 0]),
    "object duplicate index": pd.DataFrame({"a": pd.Series([1, "x"], index=[0, 0], dtype=object)}),
    "view": FRAME[["f", "i"]][::-1],
    "transposed": pd.DataFrame(np.arange(6.0).reshape(2, 3)).T,
    "wide": pd.DataFrame(np.zeros((2, 300))),
}  # fmt: skip

ARRAYS: dict[str, Any] = {
    "1d": np.arange(5),
    "2d": np.arange(6.0).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "strided": np.arange(10)[::-3],
    "0d": np.array(5.0),
    "empty": np.zeros((0, 3), "f4"),
    "bool": np.array([[True], [False]]),
    "half": np.array([1.5, _NAN], "f2"),
    "complex": np.array([1 + 2j]),
    "long": np.array([1.5], np.longdouble),
    "big-endian": np.array([1, 2], ">u2"),
    "text": np.array(["a", "bcd", "ü"]),
    "bytes": np.array([b"a\x00", b"bcd"]),
    "no text": np.zeros(2, "U0"),
    "dates": np.array(["2024-01-01", "NaT"], "M8[D]"),
    "deltas": np.array([1, 2], "m8[15m]"),
    "structured": np.array([(1, 2.5, "x")], [("a", "i4"), ("b", "f8"), ("c", "U3")]),
    "aligned": np.zeros(2, np.dtype([("a", "i1"), ("b", "f8")], align=True)),
    "objects": np.array([1, "a", None, [1, 2], Decimal("1.0")], dtype=object),
    "2d objects": np.array([[1, "a"], [None, ()]], dtype=object),
    "object text": np.array(["a", "b"], dtype=object),
}

OTHERS: dict[str, Any] = {
    "Index": pd.Index([1, 2], name="x"),
    "RangeIndex": pd.RangeIndex(3),
    "MultiIndex": pd.MultiIndex.from_product([["a", "b"], _DAYS], names=["x", ("y", 1)]),
    "Index of bool": pd.Index([True, False]),
    "Index of Int64": pd.Index([1, None], dtype="Int64"),
    "DatetimeIndex": _DAYS,
    "Categorical": pd.Categorical(["a", "b", None]),
    "IntegerArray": pd.array([1, None], dtype="Int64"),
    "DatetimeArray": pd.array(_DAYS),
    "Timestamp": pd.Timestamp("2024-01-01 00:00:00.123456789", tz="Europe/Berlin"),
    "Timestamp s": pd.Timestamp("2024-01-01").as_unit("s"),
    "Timestamp utc": pd.Timestamp("2024-01-01", tz="UTC"),
    "Timedelta": pd.Timedelta("1ns"),
    "Timedelta s": pd.Timedelta("1 day").as_unit("s"),
    "Period": pd.Period("2024-03", "M"),
    "Interval": pd.Interval(0, 1.5, closed="left"),
    "NaT": pd.NaT,
    "NA": pd.NA,
}

_GROUPS = {"series": SERIES, "frame": FRAMES, "array": ARRAYS, "other": OTHERS}
ALL = {f"{kind} {name}": value for kind, group in _GROUPS.items() for name, value in group.items()}


@pytest.mark.parametrize("name", ALL)
def test_table_comes_back_as_it_was(name: str) -> None:
    """Data, dtypes, index, names and attributes survive, alone and nested, with equal bytes for equal input."""
    value = ALL[name]
    encoded = encode(value)
    assert same(decode(encoded), value)
    assert encode(value.copy() if hasattr(value, "copy") else value).data == encoded.data
    nested: Any = decode(encode({"k": [value, (1,)]}))
    assert same(nested["k"][0], value)


@pytest.mark.parametrize("name", SERIES)
def test_column_comes_back_as_it_was(name: str) -> None:
    """Every dtype survives as one column of a frame among others."""
    frame = pd.DataFrame({"x": 1, "a": SERIES[name], "z": "text"})
    assert same(decode(encode(frame)), frame)


@pytest.mark.parametrize("name", [name for name in SERIES if not name.startswith(("sparse", "arrow"))])
def test_what_was_read_can_be_changed(name: str) -> None:
    """A decoded series and frame take assignments like any other."""
    value = SERIES[name]
    if not len(value):
        return
    series: Any = decode(encode(value))
    series.iloc[0] = series.iloc[-1]
    frame: Any = decode(encode(pd.DataFrame({"a": value})))
    frame.iloc[0, 0] = frame.iloc[-1, 0]
    frame.loc[frame.index[0], "a"] = frame.iloc[-1, 0]


def test_decoded_array_can_be_changed() -> None:
    """A decoded array is writable and owns its data."""
    array: Any = decode(encode(np.arange(3)))
    array[0] = 9
    assert array.tolist() == [9, 1, 2]


def test_missing_values_hide_nothing() -> None:
    """What lies under a missing value doesn't show in the bytes."""
    a = pd.arrays.IntegerArray(np.array([1, 5]), np.array([False, True]))
    b = pd.arrays.IntegerArray(np.array([1, 7]), np.array([False, True]))
    assert encode(a).data == encode(b).data
