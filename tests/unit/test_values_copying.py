"""Frozen copies: what a value was, however it changes later."""

from __future__ import annotations

import collections
import datetime as dt
import math
import threading
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kaigents_nb.values.copying import frozen_copy
from kaigents_nb.values.table_copying import COPY_ON_WRITE
from tests.unit import values_examples as ex
from tests.unit.values_examples import FRAME, same


def _copied(value: Any) -> Any:
    copied, exact, _ = frozen_copy(value)
    assert exact
    return copied


@pytest.mark.parametrize(
    "value",
    [
        None,
        1,
        "a",
        (1, ("a", None)),
        frozenset({1}),
        dt.date(2024, 1, 1),
        Decimal(1),
        ex.Color.RED,
        len,
        ex.Plain,
        np.float64(1),
        pd.Timestamp("2024"),
        pd.NaT,
        pd.NA,
        range(3),
        ...,
    ],
)
def test_what_cannot_change_is_not_copied(value: Any) -> None:
    """Immutable values and code are given back as they are."""
    assert _copied(value) is value


CHANGES: list[tuple[Any, Any]] = [
    (lambda: [1, [2]], lambda v: v[1].append(3)),
    (lambda: {"a": {"b": [1]}}, lambda v: v["a"]["b"].clear()),
    (lambda: ([1],), lambda v: v[0].append(2)),
    (lambda: {1, 2}, lambda v: v.add(3)),
    (lambda: bytearray(b"a"), lambda v: v.append(1)),
    (lambda: collections.deque([[1]], maxlen=2), lambda v: v[0].append(2)),
    (lambda: collections.OrderedDict(a=[1]), lambda v: v["a"].append(2)),
    (lambda: collections.defaultdict(list, a=[1]), lambda v: v["a"].append(2)),
    (lambda: collections.Counter("ab"), lambda v: v.update("c")),
    (lambda: ex.Supplier("A", Decimal(1), {"x"}), lambda v: v.tags.add("y")),
    (lambda: ex.Offer(Name="A", price=1), lambda v: setattr(v, "price", 2)),
    (lambda: ex.Stack([1]), lambda v: v.append(2)),
    (lambda: np.arange(3), lambda v: v.__setitem__(0, 9)),
    (lambda: np.array([[1], None], dtype=object), lambda v: v[0].append(2)),
    (FRAME.copy, lambda v: v.__setitem__("new", 1)),
    (FRAME.copy, lambda v: v.drop(columns="i", inplace=True)),
    (FRAME.copy, lambda v: v.loc.__setitem__((0, "i"), 99)),
    (FRAME.copy, lambda v: v.iloc.__setitem__((slice(None), 1), 0.5)),
    (FRAME.copy, lambda v: v.at.__setitem__((0, "s"), "changed")),
    (FRAME.copy, lambda v: v.iat.__setitem__((0, 1), 9.0)),
    (lambda: pd.DataFrame({"o": pd.Series([[1]], dtype=object)}), lambda v: v["o"].iloc[0].append(2)),
    (FRAME.copy, lambda v: v.sort_values("i", ascending=False, inplace=True)),
    (FRAME.copy, lambda v: v.fillna({"f": 0}, inplace=True)),
    (FRAME.copy, lambda v: v.rename(columns={"i": "x"}, inplace=True)),
    (FRAME.copy, lambda v: setattr(v.index, "name", "n")),
    (FRAME.copy, lambda v: setattr(v.columns, "name", "n")),
    (FRAME.copy, lambda v: v.attrs.update(a=1)),
    (FRAME.copy, lambda v: setattr(v, "columns", list("abcdefgh"))),
    (FRAME.copy, lambda v: v.update(pd.DataFrame({"f": [7.0]}))),
    (FRAME.copy, lambda v: v.insert(0, "x", 1)),
    (FRAME.copy, lambda v: v.pop("i")),
    (lambda: pd.Series([1, 2]), lambda v: v.__setitem__(0, 9)),
    (lambda: pd.Series([1, 2]), lambda v: v.replace(1, 5, inplace=True)),
    (lambda: pd.Series([[1]], dtype=object), lambda v: v[0].append(2)),
    (lambda: pd.Series(["a"], dtype="str"), lambda v: v.__setitem__(0, "z")),
    (lambda: pd.Series([1], dtype="Int64"), lambda v: v.__setitem__(0, None)),
    (lambda: pd.Series([1.5]).rename("a"), lambda v: setattr(v, "name", "b")),
    (lambda: pd.Series([1.5, 2]), lambda v: v.__iadd__(1)),
    (lambda: pd.Index([1, 2]), lambda v: setattr(v, "name", "b")),
    (lambda: pd.array([1, 2], dtype="Int64"), lambda v: v.__setitem__(0, 9)),
]


@pytest.mark.filterwarnings("ignore:The inplace keyword")
@pytest.mark.parametrize("number", range(len(CHANGES)))
@pytest.mark.parametrize("nested", [False, True], ids=["alone", "nested"])
def test_change_does_not_reach_the_copy(number: int, nested: bool) -> None:
    """Whatever is done to the original, the copy stays as it was, and the other way round."""
    make, change = CHANGES[number]
    value, reference = make(), make()
    copied = _copied([{"k": value}])[0]["k"] if nested else _copied(value)
    assert same(copied, reference)
    change(value)
    assert same(copied, reference)
    value, copied = make(), None
    copied = _copied(value)
    change(copied)
    assert same(value, reference)


def test_array_that_a_frame_was_made_of() -> None:
    """A numpy array put into a frame and changed afterwards doesn't change the copy."""
    array = np.arange(3.0)
    frame = pd.DataFrame({"a": array})
    frame["b"] = array
    copied = _copied(frame)
    array[0] = 99
    assert copied["a"].tolist() == copied["b"].tolist() == [0.0, 1.0, 2.0]


def test_sharing_and_cycles_stay_inside_the_copy() -> None:
    """Two names for one list stay two names for one list, and a list in itself stays so."""
    shared: list[Any] = [1]
    shared.append(shared)
    inside_tuple: list[Any] = []
    inside_tuple.append((inside_tuple,))
    frame = pd.DataFrame({"a": [1]})
    copied = _copied({"a": shared, "b": shared, "t": inside_tuple, "f": frame, "g": [frame]})
    assert copied["a"] is copied["b"] and copied["a"][1] is copied["a"] and copied["a"] is not shared
    assert copied["t"][0][0] is copied["t"]
    assert copied["f"] is copied["g"][0] and copied["f"] is not frame


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (threading.Lock, "<unlocked _thread.lock object>"),
        (lambda: math, "<module 'math'"),
        (lambda: (i for i in []), "<generator object"),
    ],
)
def test_what_cannot_be_copied_is_text(make: Any, text: str) -> None:
    """Live objects become a short text, and the answer says so."""
    copied, exact, _ = frozen_copy(make())
    assert not exact and isinstance(copied, str) and copied.startswith(text) and " at 0x" not in copied


def test_text_stands_where_the_object_stood() -> None:
    """A container of live objects is copied; each of those is a text in the copy, and the answer says so."""
    copied, exact, _ = frozen_copy({"a": [threading.Lock(), 1], "b": ({threading.Lock()},)})
    text = "<unlocked _thread.lock object>"
    assert (copied, exact) == ({"a": [text, 1], "b": ({text},)}, False)


@pytest.mark.parametrize("make", [lambda x: [x, x], lambda x: (x, [x]), lambda x: {"a": x, "b": (x,)}])
def test_sharing_is_told(make: Any) -> None:
    """The answer says whether an object stands in several places."""
    assert frozen_copy(make([])).shares and not frozen_copy(make(1)).shares


def test_known_parts_are_taken() -> None:
    """A part that is known is not copied, and what is copied becomes known."""
    part, other = [1], [2]
    memo: dict[int, Any] = {id(part): ["known"]}
    copied, _, shares = frozen_copy([part, other], memo)
    assert copied == [["known"], [2]] and copied[0] is memo[id(part)] and copied[1] is memo[id(other)]
    assert not shares and frozen_copy([part, part], {id(part): []}).shares


def test_copy_never_raises() -> None:
    """An object whose copying and showing both fail is still an answer."""

    class Bad:
        def __deepcopy__(self, memo: Any) -> Any:
            raise RuntimeError("no")

        def __repr__(self) -> str:
            raise RuntimeError("no")

    copied, exact, _ = frozen_copy(Bad())
    assert (str(copied).endswith("Bad>"), exact) == (True, False)
    deep: Any = []
    for _ in range(5000):
        deep = [deep]
    assert frozen_copy(deep).whole is False


def test_frames_are_copied_only_when_changed() -> None:
    """Fifty megabytes of numbers cost next to nothing until one side is changed (with pandas 3)."""
    frame = pd.DataFrame(np.zeros((600_000, 10)))
    copied = _copied(frame)
    assert np.shares_memory(copied.to_numpy(), frame.to_numpy()) is COPY_ON_WRITE
    frame.iloc[0, 0] = 1
    assert copied.iloc[0, 0] == 0
