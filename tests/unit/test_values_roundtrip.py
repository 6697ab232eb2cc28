"""Values come back from bytes exactly as they were."""

from __future__ import annotations

import datetime as dt
import pathlib
import types
import uuid
from collections import Counter, defaultdict, deque
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from kaigents_nb.values.decode import decode
from kaigents_nb.values.encode import encode
from tests.unit import values_examples as ex
from tests.unit.values_examples import same

EXAMPLES: list[Any] = [
    None,
    True,
    0,
    -5,
    2**70,
    -(10**3000),
    10**5000,
    1.5,
    -0.0,
    float("nan"),
    float("inf"),
    -float("inf"),
    5e-324,
    "",
    "text",
    "🦆 ü",
    "\ud800",
    "\ud83d\ude00",
    "a\x00b",
    b"",
    b"\x00\xff",
    bytearray(b"xy"),
    [],
    {},
    [1, [2, [None]]],
    {"a": {"b": [1.5]}},
    {"$kg": "decimal", "v": "1"},
    [{"$kg": 1}],
    {"\udfff": 1},
    {"a": "\ud83d", "b": [(1,)]},
    (),
    (1,),
    (1, (2, [3])),
    set(),
    {1, "a", None},
    frozenset({(1, 2)}),
    {1: "a", None: 2, (1, 2): [3], False: 0},
    {1.5: float("nan")},
    1 + 2j,
    complex(float("nan"), -0.0),
    range(3),
    range(10, 0, -2),
    slice(1, None),
    ...,
    Decimal("1.50"),
    Decimal("NaN"),
    Decimal("-Infinity"),
    Decimal("1E+400"),
    Fraction(1, 3),
    uuid.UUID(int=5),
    dt.date(2024, 2, 29),
    dt.time(1, 2, 3, 4),
    dt.time(1, tzinfo=dt.UTC),
    dt.timedelta(days=-1, microseconds=7),
    dt.timedelta.max,
    dt.datetime.min,
    dt.datetime(2024, 1, 1, 5, 6, 7, 8),
    dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
    dt.datetime(2024, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=30))),
    dt.datetime(2024, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=1), "CET")),
    dt.datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1),
    dt.datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin")),
    dt.UTC,
    ZoneInfo("Asia/Tokyo"),
    pathlib.Path("/tmp/ä"),
    pathlib.Path("\udce4"),
    pathlib.PurePosixPath("a/b"),
    pathlib.PureWindowsPath("c:\\x"),
    ex.ORDERED,
    Counter("aab"),
    deque([1, (2,)], maxlen=3),
    deque(),
    defaultdict(list, {"a": [1]}),
    defaultdict(None, {1: 2}),
    types.SimpleNamespace(a=1, b=(2,)),
    ex.Color.RED,
    ex.Color.GREEN,
    ex.Level.LOW,
    ex.Name.A,
    ex.Access.READ | ex.Access.WRITE,
    ex.Access(0),
    ex.Point(1),
    ex.Point(1, (2, ex.Point(3))),
    ex.UserId("u1"),
    ex.Bag(3),
    ex.Stack([1, 2]),
    ex.Outer.Inner(4),
    ex.Supplier("A", Decimal("1.50"), {"x"}),
    ex.Quote(ex.Supplier("A", Decimal(1)), [], dt.datetime(2024, 1, 1)),
    ex.Offer(Name="A", price="1.50"),
    ex.Open(x=2, more=(1, 2)),
    ex.Box[int](item=3),
    ex.Box[ex.Offer](item=ex.Offer(Name="b", price=1)),
    ex.Rows([1, 2]),
    np.float64(1.5),
    np.float32("nan"),
    np.int8(-3),
    np.uint64(2**64 - 1),
    np.bool_(True),
    np.float16(0.1),
    np.complex64(1 + 2j),
    np.str_("ü"),
    np.bytes_(b"a\x00b"),
    np.datetime64("2020-01-01T00:00", "m"),
    np.datetime64("NaT", "s"),
    np.timedelta64(5, "D"),
    np.timedelta64("NaT", "ns"),
    np.longdouble("1.1"),
    np.array([(1, 2.5)], "i4,f8")[0],
    [np.float64(2)],
    {"a": np.int64(1)},
]


@pytest.mark.parametrize("value", EXAMPLES, ids=lambda value: f"{type(value).__name__}")
@pytest.mark.parametrize("wrap", ["bare", "list", "dict", "tuple"])
def test_comes_back_as_it_was(value: Any, wrap: str) -> None:
    """Every example survives alone and inside of containers, and equal values give equal bytes."""
    whole = {"bare": value, "list": [value, 1], "dict": {"k": value}, "tuple": (value,)}[wrap]
    encoded = encode(whole)
    assert same(decode(encoded), whole)
    assert encode(whole) == encoded


@pytest.mark.parametrize(
    ("value", "encoding", "data"),
    [
        (None, "binary/null", b""),
        (b"xy", "binary/plain", b"xy"),
        ({"a": [1, None, "ü"]}, "json/plain", '{"a":[1,null,"ü"]}'.encode()),
        (2**64, "json/plain", b"18446744073709551616"),
        (Decimal("1.50"), "json/kaigents", b'{"$kg":"decimal","v":"1.50"}'),
        ((1, {"a": 2}), "json/kaigents", b'{"$kg":"tuple","v":[1,{"a":2}]}'),
    ],
)
def test_plain_data_is_plain_json(value: Any, encoding: str, data: bytes) -> None:
    """What JSON knows is written without tags, so that other programs and the Web UI can read it."""
    encoded = encode(value)
    assert (encoded.encoding, encoded.data) == (encoding, data)


def test_meta_describes_what_is_not_plain() -> None:
    """The metadata has type and summary of tagged values and tables, and nothing for plain JSON."""
    assert encode([1, 2]).meta == {}
    assert encode((1, 2)).meta == {"type": "tuple", "summary": "(1, 2)"}
    meta = encode(ex.FRAME).meta
    assert meta == {"type": "DataFrame", "summary": "DataFrame 3 × 8: i, f, s, b, t, n, c, o"}


def test_equal_sets_give_equal_bytes() -> None:
    """The order in which a set was filled doesn't show in its bytes."""
    words = [f"word {i}" for i in range(50)]
    backwards: set[str] = set()
    backwards.update(reversed(words))
    assert encode(set(words)).data == encode(backwards).data


def test_dataclass_is_rebuilt_without_running_its_code() -> None:
    """No __post_init__ runs on reading, and what it has set comes back."""
    value = ex.Supplier("A", Decimal(1))
    assert value.expensive == 42
    encoded, before = encode(value), ex.Supplier.calls  # type: ignore[attr-defined]
    back: Any = decode(encoded)
    assert ex.Supplier.calls == before  # type: ignore[attr-defined]
    assert "expensive" not in vars(back) and back.expensive == 42
    loose: Any = decode(encode(ex.Loose(2)))
    assert loose.extra == (2, 2)


def test_pydantic_state_survives_whole() -> None:
    """Private attributes, the set of given fields, extra fields and validated values are the same after reading."""
    offer = ex.Offer(Name="A", price="1.50")
    offer._seen = 7
    back: Any = decode(encode(offer))
    assert (back, back._seen, back.name) == (offer, 7, "A!")
    assert back.model_fields_set == offer.model_fields_set
    opened: Any = decode(encode(ex.Open(more=(1, 2))))
    assert opened.more == (1, 2) and opened.model_fields_set == {"more"}
    constructed: Any = decode(encode(ex.Offer.model_construct(name=5, price="odd")))
    assert constructed.name == 5


def test_subclass_keeps_its_attributes() -> None:
    """A list of one's own class comes back with its class and attributes, its __init__ not called."""
    stack = ex.Stack([1, 2])
    stack.label = "x"
    back: Any = decode(encode(stack))
    assert type(back) is ex.Stack and back == [1, 2] and back.label == "x"


def test_exact_type_decides() -> None:
    """A bool key stays a bool and numpy's float stays numpy's, though they equal plain ones."""
    back: Any = decode(encode({"a": np.float64(1), "b": {True: 1}}))
    assert type(back["a"]) is np.float64
    assert next(iter(back["b"])) is True
