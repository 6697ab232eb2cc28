"""Values of other libraries, and classes in all their states: what is accepted comes back, the rest is refused."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import ipaddress
import re
from collections import Counter, OrderedDict, namedtuple
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any, Generic, Literal, Optional, TypeVar

import numpy as np
import pandas as pd
import pydantic
import pytest
import pytz
from dateutil import parser, tz
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion

from kaigents_nb.errors import ConversionError
from kaigents_nb.values.decode import decode
from kaigents_nb.values.encode import classes_of, encode
from tests.support import times
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


PLAIN = dt.datetime(2024, 7, 1, 12)
BERLIN = tz.gettz("Europe/Berlin")
KEPT: dict[str, Any] = {
    "pydantic zone": When(at="2024-01-01T00:00:00Z"),  # type: ignore[arg-type] # what an API sends
    "pydantic offset": When(at="2024-01-01T00:00:00-05:30"),  # type: ignore[arg-type] # what an API sends
    "dateutil text": parser.parse("2024-01-01T00:00:00Z"),
    "dateutil offset": parser.parse("2024-01-01T00:00:00+02:00"),
    "dateutil named offset": PLAIN.replace(tzinfo=tz.tzoffset("X", -1.0)),
    "dateutil file": PLAIN.replace(tzinfo=BERLIN),
    "dateutil fold": dt.datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN, fold=1),
    "dateutil local": PLAIN.replace(tzinfo=tz.tzlocal()),
    "dateutil rule": PLAIN.replace(tzinfo=tz.tzstr("EST5EDT")),
    "dateutil zone": BERLIN,
    "time with a zone": dt.time(3, tzinfo=tz.UTC),
    "pytz offset": PLAIN.replace(tzinfo=pytz.FixedOffset(90)),
    "pytz zone": pytz.timezone("Europe/Berlin").localize(PLAIN),
    "timestamp": pd.Timestamp("2024-01-01", tz=BERLIN),
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
    "frame of objects": pd.DataFrame({"o": pd.Series([Frozen(1), Tree(), PLAIN.replace(tzinfo=tz.UTC)], dtype=object)}),
    "array of objects": np.array([[Made(1), None], [Page[int](), {1: 2}]], dtype=object),
    "fraction": Fraction(1, 3),
}  # fmt: skip


@pytest.mark.parametrize("name", KEPT)
def test_what_is_accepted_comes_back(name: str) -> None:
    """The value, its class and everything that it holds are the same, and so are the bytes of another time."""
    value = KEPT[name]
    encoded = encode([value])
    [back] = decode(encoded)  # type: ignore[misc] # a list
    assert type(back) is type(value)
    assert whole(back) == whole(value) if not isinstance(value, (pd.DataFrame, pd.Index, np.ndarray)) else True
    assert same(back, value) if not isinstance(value, Frozen) else back.__dict__ == value.__dict__
    assert encode([back]) == encoded


def whole(value: Any) -> Any:
    """All that a model or an object with attributes holds, beside what it is equal by."""
    if isinstance(value, pydantic.BaseModel):
        slots = ("__dict__", "__pydantic_extra__", "__pydantic_private__", "__pydantic_fields_set__")
        return [getattr(value, slot) for slot in slots]
    held = dict(getattr(value, "__dict__", {}))
    slots = {name: getattr(value, name) for name in ("note", "hidden") if hasattr(value, name)}
    return (repr(value) if not dataclasses.is_dataclass(value) else None), held | slots


@dataclasses.dataclass
class DateToo(dt.date):
    x: int


def deep(levels: int) -> Any:
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


def dynamic() -> Any:
    return pydantic.create_model("Dynamic", a=(int, 1))()


def gone() -> Any:
    return dataclasses.make_dataclass("Gone", ["x"])(1)


REFUSED: dict[str, tuple[Any, str]] = {
    "made in a function": (dynamic, "Class Dynamic can't be found in .*: no name is bound to it"),
    "made and not kept": (gone, "Class Gone can't be found"),
    "type argument": (lambda: Page[Annotated[int, pydantic.Field(gt=1)]](items=[]), "make a named subclass of it"),
    "type argument of a class": (lambda: Page[pydantic.AwareDatetime](items=[]), "make a named subclass of it"),
    "dataclass and date": (lambda: DateToo.__new__(DateToo, 2024, 1, 1), "is a dataclass and something else as well"),
    "dateutil range": (lambda: tz.tzrange("EST", -18000), "Use zoneinfo"),
    "another dateutil rule": (lambda: tz.tzstr("UTC+3", posix_offset=True), "Use zoneinfo"),
    "secret": (lambda: pydantic.SecretStr("x"), "a secret is read in the step that uses it"),
    "deep": (lambda: deep(10_000), "nested more than 150 deep"),
    "frame's subclass": (lambda: type("Own", (pd.DataFrame,), {})({"a": [1]}), "Convert it first"),
    "array's subclass": (lambda: np.array([1]).view(type("Own", (np.ndarray,), {})), "Convert it first"),
    "ordered": (lambda: type("Own", (OrderedDict,), {})(a=1), "Own"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_not_come_back_is_refused(name: str) -> None:
    """It is refused when it is saved, and the message says what to do."""
    make, text = REFUSED[name]
    with pytest.raises(ConversionError, match=text):
        encode(make())


_ANY = st.recursive(
    st.none() | st.integers() | st.text(max_size=3) | st.sampled_from([PLAIN.replace(tzinfo=tz.UTC), ex.Color.RED]),
    lambda inner: st.lists(inner, max_size=2).map(tuple) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)
_NAMES = st.sampled_from(["a", "b", "c", "model_x"])
_STATES = st.builds(
    lambda cls, given, held: cls.model_construct(given, **held),
    st.sampled_from([State, Closed]),
    st.none() | st.sets(_NAMES, max_size=3),
    st.dictionaries(_NAMES, _ANY, max_size=3),
)


@given(_STATES | _STATES.map(lambda state: Page[State].model_construct(items=[state], following=state)))
@times(8)
def test_any_state_of_a_model_comes_back(value: Any) -> None:
    """Missing, wrong and further fields: whatever model_construct() makes is the same after reading."""
    back: Any = decode(encode(value))
    assert type(back) is type(value)
    assert same(back, value)


_WHATEVER = st.recursive(
    st.sampled_from([*(v for v in KEPT.values() if not isinstance(v, Frozen)), object(), len, ex.Plain()]),
    lambda inner: (
        st.lists(inner)
        | st.builds(lambda x: pd.Series([x], dtype=object), inner)
        | st.builds(lambda x: Page[Any](items=[x]), inner)
        | st.builds(Made, inner)
    ),
)


@given(_WHATEVER)
@times(8)
def test_what_is_saved_can_be_read(value: Any) -> None:
    """Whatever is put together of whatever: it is refused, or it comes back with its class."""
    try:
        encoded = encode(value)
    except ConversionError:
        return
    assert type(decode(encoded)) is type(value)


def test_classes_are_found_however_deep() -> None:
    """In frames of objects, arrays, attributes of subclasses, type arguments and deep lists."""
    nested: Any = Frozen(1)
    for _ in range(60):
        nested = [nested]
    stack = ex.Stack([1])
    stack.label = Made(1)
    values = [
        nested,
        stack,
        {"k": pd.DataFrame({"o": pd.Series([Cat()], dtype=object)})},
        np.array([Dog(), None], dtype=object),
        Page[Closed | None](items=[]),
        pd.Series([1], name=Pair(1, 2)),
    ]
    assert classes_of(values) == {Frozen, ex.Stack, Made, Cat, Dog, Page, Closed, Pair}
