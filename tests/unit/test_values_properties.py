"""Round trips over generated values, and how long encoding takes."""

from __future__ import annotations

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from kaigents_nb.values.brief import brief, summary
from kaigents_nb.values.copying import frozen_copy
from kaigents_nb.values.decode import decode
from kaigents_nb.values.encode import encode
from tests.support import times
from tests.unit.values_examples import Color, Open, Point, Quote, Supplier, same

_ZONES = st.sampled_from([None, dt.UTC, ZoneInfo("Europe/Berlin"), dt.timezone(dt.timedelta(minutes=-90))])
_TEXT = st.text(st.characters(exclude_categories=()), max_size=5)
_HASHABLE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    _TEXT,
    st.binary(max_size=4),
    st.decimals(allow_nan=False),
    st.fractions(),
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.uuids(),
    st.sampled_from(Color),
    st.datetimes(timezones=_ZONES, allow_imaginary=False),
)
_LEAF = _HASHABLE | st.floats() | st.complex_numbers() | st.floats(width=32).map(np.float32) | st.decimals()
_VALUE = st.recursive(
    _LEAF,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(_TEXT | st.just("$kg"), inner, max_size=4),
        st.dictionaries(_HASHABLE, inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.frozensets(_HASHABLE, max_size=3),
        st.builds(Point, inner, inner),
        st.builds(Quote, st.builds(Supplier, _TEXT, inner, st.sets(_TEXT, max_size=2)), st.lists(inner, max_size=2)),
        st.builds(Open, x=st.integers(), more=inner),
        st.lists(inner, max_size=3).map(lambda cells: pd.Series(cells, dtype=object)),
    ),
    max_leaves=12,
)


@given(_VALUE)
@times(16)
def test_any_value_comes_back(value: Any) -> None:
    """decode(encode(x)) is x in value and type, the bytes are stable, and a frozen copy is the same too."""
    encoded = encode(value)
    back = decode(encoded)
    assert same(back, value)
    assert encode(back) == encoded
    copied, exact, _ = frozen_copy(value)
    assert exact and same(copied, value)
    assert len(summary(encoded)) <= 200 and len(brief(value)) <= 200
    encoded.data.decode("utf-8") if encoded.encoding.startswith("json") else None


_N = 4
_DTYPES = [
    "int8",
    "uint32",
    "float32",
    "float64",
    "bool",
    "Int64",
    "boolean",
    "string",
    "str",
    "category",
    "M8[ns]",
    "M8[s]",
]

_FROM = {"string": "str", "str": "str", "category": "str", "boolean": "bool"}


@st.composite
def _frames(draw: st.DrawFn) -> pd.DataFrame:
    rows = draw(st.integers(0, _N))
    columns: list[pd.Series[Any]] = []
    for _ in range(draw(st.integers(0, 4))):
        dtype = draw(st.sampled_from([*_DTYPES, "object"]))
        if dtype == "object":
            cells = draw(st.lists(_LEAF, min_size=rows, max_size=rows))
            columns.append(pd.Series(cells, dtype=object))
            continue
        numbers = draw(st.lists(st.integers(0, 100), min_size=rows, max_size=rows))
        column = pd.Series(numbers).astype(_FROM.get(dtype, "int64"))
        columns.append(column.astype(dtype))
    frame = pd.DataFrame(dict(enumerate(columns)), index=pd.RangeIndex(rows))
    frame.columns = pd.Index([draw(st.one_of(_HASHABLE, st.just("a"))) for _ in columns], dtype=object)
    kind = draw(st.sampled_from(["range", "int", "dates", "zone", "multi", "object"]))
    if kind == "int":
        frame.index = pd.Index(
            draw(st.lists(st.integers(-5, 5), min_size=rows, max_size=rows)), dtype="int64", name=draw(_TEXT)
        )
    elif kind in ("dates", "zone"):
        frame.index = pd.date_range("2024-03-30", periods=rows, tz="Europe/Berlin" if kind == "zone" else None)
    elif kind == "multi":
        frame.index = pd.MultiIndex.from_arrays([list(range(rows)), ["x"] * rows], names=[None, "k"])
    elif kind == "object":
        frame.index = pd.Index(draw(st.lists(_HASHABLE, min_size=rows, max_size=rows)), dtype=object)
    return frame


@given(_frames())
@times(8)
def test_any_frame_comes_back(frame: pd.DataFrame) -> None:
    """Frames of mixed dtypes, labels and indexes come back equal in all of them."""
    assert same(decode(encode(frame)), frame)
    assert same(frozen_copy(frame).value, frame)
