"""Packed values: what comes back is what was packed, or nothing is packed at all."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given

from kaigents_nb.values.class_names import resolve_loaded
from kaigents_nb.values.decode import decode
from kaigents_nb.values.encode import encode
from kaigents_nb.values.packed import is_big, pack, unpack
from tests.support import times
from tests.unit.test_values_properties import _VALUE
from tests.unit.values_examples import Point, same


@given(_VALUE)
@times(16)
def test_what_can_be_packed_comes_back_as_it_is_read(value: Any) -> None:
    """Unpacked it is what decode gives, and is written alike."""
    read = decode(encode(value))
    packed = pack(read)
    if packed is not None:
        back = unpack(packed, resolve_loaded)
        assert same(back, read)
        assert encode(back) == encode(value)


@dataclasses.dataclass
class Slotted:
    __slots__ = ("x",)
    x: int


class Text(str):
    pass


class Computing:
    def __reduce__(self) -> Any:
        raise AssertionError("an analyst's code is executed")


@pytest.mark.parametrize(
    "value",
    [
        np.zeros(3),
        Slotted(1),
        Text("x"),
        Computing(),
        print,
        int,
        dt.time(tzinfo=ZoneInfo("Asia/Tokyo")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_kinds_are_not_packed(value: Any) -> None:
    """Nothing of them is executed, wherever they stand."""
    assert pack(value) is None
    assert pack({(1, 2): [value]}) is None


@pytest.mark.parametrize(
    "value",
    [
        {(1, "a"): -0.0, (2, "b"): True},
        [Point(1, [2]), {1, 2}, frozenset("ab"), b"x", bytearray(b"y")],
        collections.OrderedDict(a=1),
        collections.Counter("aab"),
        collections.deque([1], maxlen=3),
        [dt.datetime(2024, 10, 27, 2, 30, fold=1), dt.UTC, decimal.Decimal("1.50"), 1j],
    ],
    ids=["tuple keys", "sets", "OrderedDict", "Counter", "deque", "others"],
)
def test_common_kinds_are_packed(value: Any) -> None:
    packed = pack(value)
    assert packed is not None
    assert same(unpack(packed, resolve_loaded), value)


def test_two_that_are_taken_apart_share_nothing_that_can_change() -> None:
    """Each is a value of its own."""
    packed = pack([[1], Point(1, [2])]) or b""
    one, other = unpack(packed, resolve_loaded), unpack(packed, resolve_loaded)
    one[0].append(2)
    one[1].y.append(3)
    assert other == unpack(packed, resolve_loaded)


def test_big_is_what_has_many_parts_anywhere() -> None:
    """Long text is not, for it is written in one go."""
    assert is_big({"a": [{"b": list(range(5_000))}]})
    assert is_big([np.zeros(5_000)])
    assert is_big([Point(1, list(range(5_000)))])
    assert not is_big([1, "x" * 100_000, {"a": (1, 2)}, int])
