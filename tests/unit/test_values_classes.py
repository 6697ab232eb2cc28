"""Names of classes, classes that changed, and annotations that shape plain JSON."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NewType, TypedDict

import pandas as pd
import pydantic
import pytest

import kaigents_nb
from kaigents_nb.errors import ConversionError
from kaigents_nb.values.class_names import type_name
from kaigents_nb.values.decode import decode
from kaigents_nb.values.encode import encode
from kaigents_nb.values.encoded import RUN_MODULE_PREFIX, Encoded
from tests.unit import values_examples as ex


def test_classes_of_cells_are_in_main() -> None:
    """A class is saved as __main__'s, in the notebook as well as where a run's code is loaded."""
    for module in ("__main__", RUN_MODULE_PREFIX + "0123456789ab"):
        cls = dataclasses.make_dataclass("Supplier", ["name"])
        cls.__module__ = module
        assert type_name(cls) == ("__main__", "Supplier")
        asked: list[tuple[str, str]] = []

        def resolve(module: str, name: str, asked: Any = asked, cls: type = cls) -> type:
            asked.append((module, name))
            return cls

        back: Any = decode(encode(cls("A")), resolve=resolve)
        assert asked == [("__main__", "Supplier")] and back.name == "A"
    assert type_name(ex.Outer.Inner) == (ex.__name__, "Outer.Inner")


def test_main_is_found_by_default() -> None:
    """Without a resolver, classes come from the running notebook."""
    cls = dataclasses.make_dataclass("KaigentsTestOnly", ["x"])
    cls.__module__ = "__main__"
    vars(sys.modules["__main__"])["KaigentsTestOnly"] = cls
    try:
        assert decode(encode(cls(1))) == cls(1)
    finally:
        del vars(sys.modules["__main__"])["KaigentsTestOnly"]


@dataclasses.dataclass
class OldD:
    a: int
    gone: int = 0


@dataclasses.dataclass
class NewD:
    a: int
    b: list[int] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class StrictD:
    a: int
    needed: str


class OldT(NamedTuple):
    a: int
    gone: int = 0


class NewT(NamedTuple):
    a: int
    b: str = "x"


class OldM(pydantic.BaseModel):
    a: int
    gone: int = 0


class NewM(pydantic.BaseModel):
    a: int
    b: list[int] = pydantic.Field(default_factory=list)


class StrictM(pydantic.BaseModel):
    a: int
    needed: str


@pytest.mark.parametrize(
    ("old", "new"),
    [(OldD(1), NewD(1)), (OldT(1), NewT(1)), (OldM(a=1, gone=2), NewM(a=1))],
    ids=["dataclass", "tuple", "model"],
)
def test_class_was_changed_since(old: Any, new: Any) -> None:
    """A field that is gone is dropped, a new one has its default."""
    back: Any = decode(encode(old), resolve=lambda module, name: type(new))
    assert back == new


@pytest.mark.parametrize(("old", "new"), [(OldD(1), StrictD), (OldM(a=1), StrictM)])
def test_new_field_without_default(old: Any, new: type) -> None:
    """A new field that nothing can fill is an error that says what to do."""
    with pytest.raises(
        ConversionError, match=r"has a new field 'needed', which the saved value lacks. Give 'needed' a default"
    ):
        decode(encode(old), resolve=lambda module, name: new)


def test_enum_member_is_gone() -> None:
    """The members that there are get listed."""
    new = enum.Enum("Color", "BLUE", module="__main__")
    with pytest.raises(ConversionError, match=r"Color.RED, which the class no longer has. Known: \['BLUE'\]"):
        decode(encode(ex.Color.RED), resolve=lambda module, name: new)


class Row(TypedDict):
    a: int


class Dated(TypedDict):
    at: dt.date


class KindA(pydantic.BaseModel):
    kind: Literal["a"]


class KindB(pydantic.BaseModel):
    kind: Literal["b"]


def _json(value: Any) -> Encoded:
    return Encoded("json/plain", json.dumps(value).encode())


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        ({"name": "A", "price": "1.5"}, ex.Supplier, ex.Supplier("A", Decimal("1.5"))),
        ([{"Name": "A", "price": 1}], list[ex.Offer], [ex.Offer(Name="A", price=Decimal(1))]),
        ("2024-01-01T00:00:00Z", dt.datetime, dt.datetime(2024, 1, 1, tzinfo=dt.UTC)),
        ("1.50", Decimal, Decimal("1.50")),
        ([1, 2], tuple[int, int], (1, 2)),
        ([1, 1], set[int], {1}),
        (1, ex.Color, ex.Color.RED),
        ({"a": None}, dict[str, dt.date | None], {"a": None}),
        ({"a": "2024-01-01"}, dict[str, dt.date | None], {"a": dt.date(2024, 1, 1)}),
        (1, float, 1),
        ("x", int, "x"),
        ([1], list[int], [1]),
        ({"a": "1"}, dict[str, int], {"a": "1"}),
        ("a", Literal["a", "b"], "a"),
        ([1], pd.DataFrame, [1]),
        ([1], list[pd.DataFrame], [1]),
        ({"a": 1}, ex.Plain, {"a": 1}),
        ({"a": 1}, "Supplier", {"a": 1}),
        ({"a": 1}, Any, {"a": 1}),
        ({"a": 1}, Row, {"a": 1}),
        ({"a": "x", "b": 2}, Row, {"a": "x", "b": 2}),
        ({"at": "2024-01-01", "b": 2}, Dated, {"at": dt.date(2024, 1, 1), "b": 2}),
        ([1], Iterable[float], [1]),
        ([1], Sequence[float], [1]),
        (["2024-01-01"], Sequence[dt.date], [dt.date(2024, 1, 1)]),
        ("007", NewType("Number", int), "007"),
        ("2024-01-01", str | dt.date, "2024-01-01"),
        ("2024-01-01", dt.date | int, dt.date(2024, 1, 1)),
        (["007", {"name": "A", "price": "1"}], list[int | ex.Supplier], ["007", ex.Supplier("A", Decimal(1))]),
        ({"kind": "b"}, Annotated[KindA | KindB, pydantic.Field(discriminator="kind")], KindB(kind="b")),
        ([[1], [2]], "Nested", [[1], [2]]),
        (None, ex.Supplier, None),
    ],
)
def test_annotation_shapes_plain_json(value: Any, hint: Any, expected: Any) -> None:
    """Structure is built where the annotation asks for it, and nothing else is changed."""
    back = decode(_json(value), hint=hint)
    assert back == expected and type(back) is type(expected)


def test_annotation_does_not_change_what_was_encoded() -> None:
    """A value that says itself what it is comes back as that, whatever the annotation."""
    assert decode(encode((1, 2)), hint=list[int]) == (1, 2)
    assert decode(encode(Decimal(1)), hint=ex.Supplier) == Decimal(1)


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ([1, 2], set),
        ([1], tuple[float, ...]),
        ({"a": 1}, Row),
        ({"name": "A", "price": "1"}, ex.Supplier),
        ("1", Decimal),
    ],
)
def test_annotation_does_not_change_what_is_plain(value: Any, hint: Any) -> None:
    """Plain data that was encoded here is what it is: only other programs leave something open."""
    assert repr(decode(encode(value), hint=hint)) == repr(value)


@pytest.mark.parametrize(("value", "hint", "then"), [([1], Sequence[float], [1.0]), ([1], list[int], [1])])
def test_a_run_that_began_before_goes_on_as_it_did(value: Any, hint: Any, then: Any) -> None:
    """Until version 2 of the interpreter an annotation decided all about an agent's plain arguments."""
    assert repr(decode(_json(value), hint=hint, coerce=True)) == repr(then)


def test_value_does_not_fit_the_annotation() -> None:
    """The message has the value, the annotation and what is wrong."""
    with pytest.raises(ConversionError) as caught:
        decode(_json({"name": "A", "price": "cheap"}), hint=ex.Supplier)
    text = str(caught.value)
    assert "The value {'name': 'A', 'price': 'cheap'} doesn't fit the annotation" in text
    assert "Supplier (price: Input should be" in text and text.endswith("Correct the annotation or the value.")


def test_heavy_libraries_are_imported_when_needed() -> None:
    """Plain values need neither pandas nor pydantic; preload() gets them in one go."""
    heavy = "print(sorted({'pandas', 'numpy', 'pyarrow', 'pydantic', 'temporalio'} & set(sys.modules)))"
    code = (
        "import sys; from kaigents_nb.values.encode import encode; from kaigents_nb.values.decode import decode; "
        f"from kaigents_nb.values import brief, copying; decode(encode((1, 2))); {heavy}; "
        f"from kaigents_nb.values.preload import preload; preload(); {heavy}"
    )
    root = Path(kaigents_nb.__file__).parents[1]
    shown = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout
    assert shown.splitlines() == ["[]", "['numpy', 'pandas', 'pyarrow', 'pydantic']"]
