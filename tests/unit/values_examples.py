"""Values and classes that the tests of kaigents_nb.values share."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import functools
import math
from collections import OrderedDict, defaultdict
from decimal import Decimal
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import pandas as pd
import pydantic

T = TypeVar("T")


class Color(enum.Enum):
    RED = 1
    GREEN = (2, 3)


class Level(enum.IntEnum):
    LOW = 1


class Name(enum.StrEnum):
    A = "a"


class Access(enum.Flag):
    READ = 1
    WRITE = 2


@dataclasses.dataclass
class Supplier:
    name: str
    price: Decimal
    tags: set[str] = dataclasses.field(default_factory=set)
    score: float = dataclasses.field(init=False, default=0.5)

    def __post_init__(self) -> None:
        Supplier.calls += 1

    @functools.cached_property
    def expensive(self) -> int:
        return 42


Supplier.calls = 0  # type: ignore[attr-defined]


@dataclasses.dataclass(frozen=True, slots=True)
class Quote:
    supplier: Supplier
    lines: list[Supplier]
    at: dt.datetime | None = None


@dataclasses.dataclass
class Loose:
    a: int

    def __post_init__(self) -> None:
        self.extra = (self.a, self.a)


class Outer:
    @dataclasses.dataclass
    class Inner:
        x: int


class Point(NamedTuple):
    x: int
    y: Any = None


class Offer(pydantic.BaseModel):
    name: str = pydantic.Field(alias="Name")
    price: Decimal
    _seen: int = pydantic.PrivateAttr(default=3)

    @pydantic.field_validator("name")
    @classmethod
    def _mark(cls, value: str) -> str:
        return value + "!"


class Open(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow", frozen=True)
    x: int = 1


class Box(pydantic.BaseModel, Generic[T]):
    item: T


class Rows(pydantic.RootModel[list[int]]):
    pass


class UserId(str):
    pass


class Bag(dict[str, Any]):
    def __init__(self, needed: int) -> None:
        super().__init__(n=needed)


class Stack(list[int]):
    label: str = ""


class Plain:
    pass


def same(a: Any, b: Any) -> bool:
    """Equal in value and in every type on the way; NaN equals NaN, -0.0 differs from 0.0."""
    if type(a) is not type(b):
        return False
    if isinstance(a, pd.DataFrame):
        parts = (a.shape == b.shape, same(a.attrs, b.attrs), same(a.columns, b.columns), same(a.index, b.index))
        return all(parts) and all(same(a.iloc[:, i], b.iloc[:, i]) for i in range(a.shape[1]))
    if isinstance(a, pd.Series):
        if a.dtype == object:
            parts = (a.dtype == b.dtype, same(a.to_numpy(), b.to_numpy()))
        else:
            pd.testing.assert_series_equal(a, b, check_exact=True, check_freq=True, check_names=False)
            parts = (True, True)
        return all(parts) and same(a.attrs, b.attrs) and same(a.index, b.index) and same(a.name, b.name)
    if isinstance(a, pd.MultiIndex):
        pd.testing.assert_index_equal(a, b, exact=True)
        return all(same(x, y) for x, y in zip(a.levels, b.levels, strict=True))
    if isinstance(a, pd.Index):
        if a.dtype == object:
            return a.dtype == b.dtype and same(a.name, b.name) and same(a.to_numpy(), b.to_numpy())
        pd.testing.assert_index_equal(a, b, exact=True, check_names=False)
        assert a.dtype == b.dtype
        return same(a.name, b.name) and getattr(a, "freq", None) == getattr(b, "freq", None)
    if isinstance(a, pd.api.extensions.ExtensionArray):
        pd.testing.assert_extension_array_equal(a, b)  # type: ignore[arg-type]
        return True
    if isinstance(a, np.ndarray):
        if a.dtype == object:
            cells = zip(a.reshape(-1).tolist(), b.reshape(-1).tolist(), strict=True)
            return a.shape == b.shape and all(same(x, y) for x, y in cells)
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, np.floating) and np.isnan(a):
        return bool(np.isnan(b))
    if isinstance(a, np.generic):
        return a.dtype == b.dtype and a.tobytes() == b.tobytes()
    if isinstance(a, float) and type(a) is float:
        return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))
    if isinstance(a, complex):
        return same(a.real, b.real) and same(a.imag, b.imag)
    if isinstance(a, Decimal):
        return str(a) == str(b)
    if a is pd.NA or a is pd.NaT:
        return a is b
    if isinstance(a, defaultdict) and a.default_factory is not b.default_factory:
        return False
    if isinstance(a, dict):
        pairs = zip(a.items(), b.items(), strict=True) if len(a) == len(b) else None
        return pairs is not None and all(same(x, y) for x, y in pairs)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, (set, frozenset)):
        return len(a) == len(b) and sorted(map(repr, a)) == sorted(map(repr, b))
    if isinstance(a, (dt.datetime, dt.time)):
        return a.isoformat() == b.isoformat() and a.fold == b.fold and repr(a.tzinfo) == repr(b.tzinfo)
    if isinstance(a, pydantic.BaseModel):
        slots = ("__dict__", "__pydantic_extra__", "__pydantic_private__", "__pydantic_fields_set__")
        return all(same(getattr(a, slot), getattr(b, slot)) for slot in slots)
    if dataclasses.is_dataclass(a) and not isinstance(a, type):
        names = [field.name for field in dataclasses.fields(a)]
        return all(same(getattr(a, name), getattr(b, name)) for name in names)
    return bool(a == b)


FRAME = pd.DataFrame(
    {
        "i": [1, 2, 3],
        "f": [1.5, np.nan, -0.0],
        "s": ["x", None, "ü"],
        "b": [True, False, True],
        "t": pd.to_datetime(["2020-01-01", None, "2021-06-01"]).tz_localize("Europe/Berlin"),
        "n": pd.array([1, None, 3], dtype="Int64"),
        "c": pd.Categorical(["u", "v", "u"], categories=["v", "u", "w"], ordered=True),
        "o": pd.Series([1, "a", [1, {"k": Decimal("1.50")}]], dtype=object),
    }
)
ORDERED = OrderedDict(b=1, a=2)
