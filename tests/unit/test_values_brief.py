"""Any value as a short text."""

from __future__ import annotations

import collections
import decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kaigents_nb.values.brief import brief, summary
from kaigents_nb.values.encode import encode
from kaigents_nb.values.encoded import Encoded
from tests.unit import values_examples as ex


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError("no")


class Huge:
    def __repr__(self) -> str:
        return "x" * 10**6


class Tags(set[Any]):
    pass


class Wrong:
    def __repr__(self) -> str:
        return 5  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"),
        ("a'b", '"a\'b"'),
        ([1, "a", None], "[1, 'a', None]"),
        ((1,), "(1,)"),
        ((), "()"),
        (set(), "set()"),
        ({"b", "a"}, "{'a', 'b'}"),
        (set(range(1000)), "set of 1,000"),
        (ex.Point({"b", "a"}), "Point(x={'a', 'b'}, y=None)"),
        ([[[[ex.Point({"b", "a"}, 1)]]]], "[[[[Point(x={…}, y=1)]]]]"),
        ([[[[ex.Point(ex.Point(ex.Point(1)))]]]], "[[[[Point(x=Point(…), y=None)]]]]"),
        (pd.Series([ex.Point({"b"}, 1)], dtype=object), "Series object of 1: [Point(x={…}, y=1)]"),
        (Tags({"b", "a"}), "Tags({'a', 'b'})"),
        (Tags(), "Tags()"),
        (collections.deque([1], 5), "deque([1])"),
        ({"a": {1: [2]}}, "{'a': {1: [2]}}"),
        (list(range(100)), "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, …]"),
        ([[[[[[1]]]]]], "[[[[[…]]]]]"),
        (10**5000, "int of 16,610 bits"),
        (ex.Color.RED, "Color.RED"),
        (ex.Point(1, 2), "Point(x=1, y=2)"),
        (ex.Supplier("A", decimal.Decimal(1)), "Supplier(name='A', price=Decimal('1'), tags=set(), score=0.5)"),
        (ex.Open(x=2), "Open(x=2)"),
        (ex.ORDERED, "OrderedDict({'b': 1, 'a': 2})"),
        (ex.Plain(), "<tests.unit.values_examples.Plain>"),
        (Broken(), f"<{__name__}.Broken>"),
        (Wrong(), f"<{__name__}.Wrong>"),
        ([Broken(), 1], f"[<{__name__}.Broken>, 1]"),
        (Huge(), "x" * 199 + "…"),
        ("\ud800", "'\\ud800'"),
        (pd.DataFrame({"a": [1], "b": 2}), "DataFrame 1 × 2: a, b"),
        (pd.DataFrame(), "DataFrame 0 × 0"),
        (pd.Series([1, 2], name="p"), "Series 'p' int64 of 2: [1, 2]"),
        (pd.RangeIndex(9), "RangeIndex int64 of 9: [0, 1, 2, 3, 4, 5]"),
        (np.zeros((1000, 2)), "ndarray float64 1,000 × 2: [0.0, 0.0, 0.0, 0.0, 0.0, 0.0]"),
        (np.float64(1.5), repr(np.float64(1.5))),
        (brief, "<function brief>"),
    ],
    ids=lambda part: part[:20] if isinstance(part, str) and part.isascii() else "value",
)
def test_brief_text(value: Any, text: str) -> None:
    """The text is what a reader expects, without memory addresses."""
    assert brief(value) == text


@pytest.mark.parametrize("kind", [set, frozenset, Tags])
@pytest.mark.parametrize("depth", range(7))
def test_brief_does_not_depend_on_the_order_in_a_set(kind: type, depth: int) -> None:
    """Equal sets have one text, however their items came in and wherever in a value they are."""
    one, other = kind(("", False)), kind((False, ""))
    assert one == other and list(one) != list(other)
    for _ in range(depth):
        one, other = ex.Point(one), ex.Point(other)
    assert brief(one) == brief(other)
    assert brief(pd.Series([one])) == brief(pd.Series([other]))
    assert brief({"k": [one]}) == brief({"k": [other]})


def test_brief_is_bounded() -> None:
    """The text of a big value is as short as that of a small one, and cycles end."""
    cycle: list[Any] = []
    cycle.append(cycle)
    frame = pd.DataFrame(np.zeros((10, 2000)))
    wide = {f"k{i}": ["y" * 10**6] * 1000 for i in range(1000)}
    many = list(range(10**6))
    values = [
        many,
        "x" * 10**7,
        {i: i for i in range(10**6)},
        frame,
        cycle,
        wide,
        [wide] * 1000,
        [[[[ex.Point(many)]]]],
    ]
    for value in values:
        for limit in (0, 1, 10, 200):
            assert len(brief(value, limit)) <= max(limit, 1)


def test_summary_without_decoding() -> None:
    """A payload says what it is: from its metadata, or from a little JSON."""
    assert summary(encode(None)) == "None"
    assert summary(encode(b"abc")) == "b'abc'"
    assert summary(encode(b"a" * 5000)).endswith("… (5,000 bytes)")
    assert summary(encode({"a": [1]})) == "{'a': [1]}"
    assert summary(encode(pd.DataFrame({"a": [1]}))) == "DataFrame 1 × 1: a"
    assert summary(encode((1, 2))) == "(1, 2)"
    assert len(summary(encode(["text"] * 100_000))) == 200
    assert summary(Encoded("json/plain", b"{")) == "{"
    assert summary(Encoded("other/thing", b"123")) == "other/thing, 3 bytes"
