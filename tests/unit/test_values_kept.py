"""Values of other libraries, and classes in all their states: what is accepted comes back, the rest is refused."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections import OrderedDict
from typing import Annotated, Any

import numpy as np
import pandas as pd
import pydantic
import pytest
from dateutil import tz
from hypothesis import given
from hypothesis import strategies as st

from kaigents_nb.errors import ConversionError
from kaigents_nb.values.decode import decode
from kaigents_nb.values.encode import classes_of, encode
from tests.support import times
from tests.unit import values_examples as ex
from tests.unit.kept_values import Cat, Closed, Dog, Frozen, Made, Page, Pair, State, alike, kept
from tests.unit.values_examples import same

KEPT = kept()


@pytest.mark.parametrize("name", KEPT)
def test_what_is_accepted_comes_back(name: str) -> None:
    """The value, its class and everything that it holds are the same, and so are the bytes of another time."""
    value = KEPT[name]
    encoded = encode([value])
    back: Any = decode(encoded)
    assert alike(back[0], value)
    assert encode(back) == encoded


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


_NOON = dt.datetime(2024, 7, 1, 12, tzinfo=tz.UTC)
_ANY = st.recursive(
    st.none() | st.integers() | st.text(max_size=3) | st.sampled_from([_NOON, ex.Color.RED]),
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
