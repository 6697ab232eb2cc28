"""Values of other libraries, and classes in all their states. Tests import it, and a notebook executes it as a cell."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import ipaddress
import re
from collections import Counter, namedtuple
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any, Generic, Literal, Optional, TypeVar

import numpy as np
import pandas as pd
import pydantic
import pytz
from dateutil import parser, tz
from openai.types.chat import ChatCompletion

from tests.unit import values_examples as ex
from tests.unit.values_examples import same

T = TypeVar("T")


class When(pydantic.BaseModel):
    at: dt.datetime


class Page(pydantic.BaseModel, Generic[T]):
    items: list[T] = []
    following: Page[T] | None = None


class Tree(pydantic.BaseModel):
    name: str = ""
    branches: list[Tree] = []
    page: Page["Tree"] | None = None  # noqa: UP037 - pydantic is given a name


class Cat(pydantic.BaseModel):
    kind: Literal["cat"] = "cat"


class Dog(pydantic.BaseModel):
    kind: Literal["dog"] = "dog"


class Pet(pydantic.BaseModel):
    who: Annotated[Cat | Dog, pydantic.Field(discriminator="kind")]
    site: pydantic.HttpUrl | None = None

    @pydantic.computed_field  # type: ignore[prop-decorator] # as pydantic's documentation writes it
    @property
    def loud(self) -> bool:
        return self.who.kind == "dog"

    @functools.cached_property
    def sum(self) -> int:
        return 1


class State(pydantic.BaseModel):
    """A model with everything that a state can have."""

    model_config = pydantic.ConfigDict(extra="allow")
    a: int
    b: str = "b"
    _seen: int = pydantic.PrivateAttr(default=3)
    _unset: int = pydantic.PrivateAttr()


class Closed(pydantic.BaseModel):
    a: int
    b: str = "b"


class Money(Decimal):
    pass


class Moment(dt.datetime):
    def __new__(cls, needed: object) -> Moment:
        raise AssertionError("made by its own code")


class Day(dt.date):
    pass


class Span(dt.timedelta):
    pass


class Tally(Counter[str]):
    pass


class Slotted(list[int]):
    __slots__ = ("note",)


@dataclasses.dataclass(frozen=True)
class Frozen:
    a: int
    b: int = dataclasses.field(init=False)
    c: list[Any] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        object.__setattr__(self, "b", self.a + 1)


class Base:
    __slots__ = ("hidden",)


@dataclasses.dataclass
class WithSlot(Base):
    __slots__ = ("a",)
    a: int


Made = dataclasses.make_dataclass("Made", ["x"])
BoundElsewhere = dataclasses.make_dataclass("ItsOwnName", ["x"])
Pair = namedtuple("Pair", "left right")


def noted(value: Any) -> Any:
    value.note = (1, ex.Color.RED)
    return value


def unset_private() -> State:
    state = State(a=1, more=(2,))
    state._unset = 5
    del state._seen
    return state


def hidden() -> WithSlot:
    value = WithSlot(1)
    value.hidden = 2
    return value


def without(value: Any, name: str) -> Any:
    object.__delattr__(value, name)
    return value


def kept() -> dict[str, Any]:
    """Return the values, made anew."""
    noon = dt.datetime(2024, 7, 1, 12)
    return {
        "pydantic zone": When(at="2024-01-01T00:00:00Z"),  # type: ignore[arg-type] # what an API sends
        "pydantic offset": When(at="2024-01-01T00:00:00-05:30"),  # type: ignore[arg-type] # what an API sends
        "dateutil text": parser.parse("2024-01-01T00:00:00Z"),
        "dateutil offset": parser.parse("2024-01-01T00:00:00+02:00"),
        "dateutil named offset": noon.replace(tzinfo=tz.tzoffset("X", -1.0)),
        "dateutil file": noon.replace(tzinfo=tz.gettz("Europe/Berlin")),
        "dateutil fold": dt.datetime(2024, 10, 27, 2, 30, tzinfo=tz.gettz("Europe/Berlin"), fold=1),
        "dateutil local": noon.replace(tzinfo=tz.tzlocal()),
        "dateutil rule": noon.replace(tzinfo=tz.tzstr("EST5EDT")),
        "dateutil zone": tz.gettz("Europe/Berlin"),
        "time with a zone": dt.time(3, tzinfo=tz.UTC),
        "pytz offset": noon.replace(tzinfo=pytz.FixedOffset(90)),
        "pytz zone": pytz.timezone("Europe/Berlin").localize(noon),
        "timestamp": pd.Timestamp("2024-01-01", tz=tz.gettz("Europe/Berlin")),
        "index": pd.date_range("2024-01-01", periods=2, tz=tz.tzoffset(None, 3600)),
        "missing field": State.model_construct(b="x"),
        "wrong type": State.model_construct(a=object.__name__, b=[1]),
        "extra": State.model_construct(a=1, c={"deep": (1,)}),
        "fields set to nothing known": Closed.model_construct({"zz"}, a=1),
        "private": unset_private(),
        "generic": Page[Optional[int]](items=[1, None]),  # noqa: UP045 - as analysts write it
        "generic of a model": Page[Tree](items=[Tree()], following=Page[Tree]()),
        "generic of a generic": Page[Page[dict[str, int | None]]](items=[]),
        "generic of a literal": Page[Literal["a", 1]](items=["a"]),
        "generic of a date": Page[dt.date](items=[dt.date(2024, 1, 1)]),
        "generic of nothing": Page(items=[1]),
        "recursive": Tree(branches=[Tree(branches=[Tree()])], page=Page(items=[Tree()])),
        "recursive by name": Tree(page={"items": [{"name": "x"}]}),  # type: ignore[arg-type] # made by pydantic
        "discriminated": Pet(who={"kind": "dog"}, site="http://ä.example/a?b#c"),  # type: ignore[arg-type]
        "root": pydantic.RootModel[list[int]]([1]),
        "openai": ChatCompletion.model_construct(id="1", choices=[{"a": 1}], odd=(1, 2)),
        "openai in full": ChatCompletion.construct(
            id="1", object="chat.completion", created=1, model="m",
            choices=[{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "x"}}],
        ),
        "made": Made((1,)),
        "bound to another name": BoundElsewhere(1),
        "named tuple": Pair(1, [2]),
        "cache_info": functools.lru_cache(lambda: 1).cache_info(),
        "frozen": Frozen(1),
        "frozen without": without(Frozen(1), "b"),
        "field that is not set": without(Frozen(1), "c"),
        "slot of a base": hidden(),
        "decimal": noted(Money("1.50")),
        "datetime": dt.datetime.__new__(Moment, 2024, 1, 2, 3, tzinfo=dt.UTC, fold=1),
        "date": noted(Day(2024, 1, 1)),
        "timedelta": noted(Span(days=-1, microseconds=3)),
        "counter": noted(Tally("aab")),
        "slotted list": noted(Slotted([1])),
        "list with attributes": noted(ex.Stack([1])),
        "text with attributes": noted(ex.UserId("u")),
        "pattern": re.compile("a+", re.IGNORECASE),
        "pattern of bytes": re.compile(b"a"),
        "NotImplemented": NotImplemented,
        "address": ipaddress.ip_address("::1"),
        "interface": ipaddress.ip_interface("10.0.0.1/8"),
        "frame of objects": pd.DataFrame({"o": pd.Series([Frozen(1), noon.replace(tzinfo=tz.UTC)], dtype=object)}),
        "array of objects": np.array([[Made(1), None], [Page[int](), {1: 2}]], dtype=object),
        "fraction": Fraction(1, 3),
    }  # fmt: skip


def differences(values: dict[str, Any]) -> list[str]:
    """Return the names of the values that are not what :func:`kept` gives, in class, value and all they hold."""
    wanted = kept()
    return [name for name in wanted if not alike(values[name], wanted[name])]


def alike(value: Any, wanted: Any) -> bool:
    """Whether two values are the same, also in what they are not equal by."""
    if type(value) is not type(wanted):
        return False
    if isinstance(value, Frozen):
        return bool(value.__dict__ == wanted.__dict__)
    if isinstance(value, (pd.DataFrame, pd.Index, np.ndarray)):
        return same(value, wanted)
    return same(value, wanted) and whole(value) == whole(wanted)


def whole(value: Any) -> Any:
    """All that a model or an object with attributes holds, beside what it is equal by."""
    if isinstance(value, pydantic.BaseModel):
        slots = ("__dict__", "__pydantic_extra__", "__pydantic_private__", "__pydantic_fields_set__")
        return [getattr(value, slot) for slot in slots]
    held = dict(getattr(value, "__dict__", {}))
    slots = {name: getattr(value, name) for name in ("note", "hidden") if hasattr(value, name)}
    return (repr(value) if not dataclasses.is_dataclass(value) else None), held | slots
