"""Forms as pure data: the check that every face has agrees with the type, and a form is bound to its answers."""

from __future__ import annotations

import datetime as dt
import enum
import json
import uuid
from dataclasses import replace
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    FutureDate,
    TypeAdapter,
    ValidationError,
    field_validator,
)

from kaigents_nb.authoring.ask import _Wanted
from kaigents_nb.display.blocks_text import text
from kaigents_nb.display.form_fields import FormFields
from kaigents_nb.display.run_blocks import form_blocks
from kaigents_nb.errors import InvalidAnswer
from kaigents_nb.gates.answer import Answer
from kaigents_nb.gates.form import Form, several_of
from kaigents_nb.gates.policy import Gates, Standing
from kaigents_nb.gates.question import Question
from kaigents_nb.gates.schema import faults
from tests.support import times


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Supplier(BaseModel):
    name: str = Field(min_length=2, max_length=8)
    since: dt.date | None = None


class Order(BaseModel):
    supplier: Supplier
    count: int = Field(ge=1, le=500)
    colours: list[Colour] = []
    price: Annotated[float, Field(gt=0)] = 1.0
    express: bool = False


TYPES: list[Any] = [
    bool, int, float, str, dt.date, dt.datetime, Colour, Literal["a", "b"], list[Literal["a", "b"]], int | None,
    Annotated[int, Field(ge=-2, le=3)], Annotated[float, Field(gt=0, lt=1)], Annotated[str, Field(max_length=2)],
    Supplier, Order, list[Supplier], dict[str, int],
]  # fmt: skip
LEAVES = (
    st.none() | st.booleans() | st.integers(-3, 600) | st.floats(-1, 2) | st.text(max_size=3)
    | st.sampled_from(["red", "a", "b", "2026-03-31", "2026-02-30", "2026-03-31T15:00", "2026-03-31 15:00:61", "Ann"])
    | st.dates().map(str) | st.datetimes(timezones=st.none() | st.timezones()).map(dt.datetime.isoformat)
)  # fmt: skip
NAMES = st.sampled_from(["supplier", "name", "since", "count", "colours", "price", "express", "x"])
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5))
SUPPLIERS = st.fixed_dictionaries({"name": st.text(max_size=10)}, optional={"since": LEAVES})
ORDERS = st.fixed_dictionaries(
    {"supplier": SUPPLIERS, "count": st.integers(-1, 502)},
    optional={"colours": st.lists(LEAVES, max_size=2), "price": LEAVES, "express": LEAVES},
)


@pytest.mark.parametrize("wanted", TYPES, ids=str)
@times(2)
@given(value=VALUES | SUPPLIERS | ORDERS)
def test_what_fits_the_form_fits_the_type(wanted: Any, value: Any) -> None:
    """The pure check lets nothing in that pydantic refuses, where the form says that it is exact."""
    asked = _Wanted(wanted)
    assert asked.form().exact
    if not asked.form().faults({"value": value}):
        asked.read(value)


@pytest.mark.parametrize("wanted", TYPES, ids=str)
@times(1)
@given(data=st.data())
def test_what_is_strictly_of_the_type_fits_the_form(wanted: Any, data: st.DataObject) -> None:
    """What pydantic takes as it is, without converting, the form takes too."""
    value = data.draw(VALUES | SUPPLIERS | ORDERS)
    try:
        TypeAdapter(wanted).validate_json(json.dumps(value), strict=True)
    except ValidationError:
        return
    # Other notations of times are pydantic's own; a form asks for one.
    if not any(word in str(faults(value, TypeAdapter(wanted).json_schema())) for word in ("a date", "can't be sent")):
        assert not faults(value, TypeAdapter(wanted).json_schema())


def test_faults_name_their_fields() -> None:
    """Nested fields by their path, each with what would be right."""
    found = faults({"supplier": {"name": "x", "since": "soon"}, "count": 0, "colours": ["green"]}, _schema(Order))
    assert found == {
        "supplier.name": "must have at least 2 signs, not 1",
        "supplier.since": 'must be a date, such as 2026-03-31, not "soon"',
        "count": "must be at least 1, not 0",
        "colours.0": 'must be one of "red", "blue", not "green"',
    }
    assert faults({"count": 3}, _schema(Order)) == {"supplier": "is missing"}
    assert set(faults(float("nan"), _schema(float))) == set(faults("\ud800", _schema(str))) == {""}


def _schema(wanted: Any) -> dict[str, Any]:
    return TypeAdapter(wanted).json_schema()


class Stripped(BaseModel):
    model_config = ConfigDict(str_strip_whitespace=True)
    name: str = Field(min_length=1)


@pytest.mark.parametrize("wanted", [
    Stripped, Annotated[dt.date, Field(ge=dt.date(2026, 1, 1))], Annotated[str, Field(pattern="^a")], dict[int, str],
    Annotated[int, Field(multiple_of=2)], Annotated[str, AfterValidator(str.upper)], uuid.UUID, AwareDatetime,
], ids=str)  # fmt: skip
def test_a_form_does_not_claim_to_say_all_where_it_does_not(wanted: Any) -> None:
    """What pydantic checks beside the schema only the run can tell."""
    assert not _Wanted(wanted).form().exact


def test_what_compares_with_today_is_refused() -> None:
    """It would be valid now and not when the run is replayed."""
    with pytest.raises(TypeError, match=r"kg\.now"):
        _Wanted(FutureDate)


def test_a_validator_of_the_analyst_is_not_in_the_form() -> None:
    """The form says that only the run can tell; what the run says has the field."""

    class Range(BaseModel):
        low: int

        @field_validator("low")
        @classmethod
        def even(cls, value: int) -> int:
            if value % 2:
                raise ValueError("Must be even")
            return value

    wanted = _Wanted(Range)
    assert not wanted.form().exact
    assert wanted.read({"low": 2}) == Range(low=2)
    with pytest.raises(InvalidAnswer) as caught:
        wanted.read({"low": 3})
    assert caught.value.faults == {"low": "must be even"}


@pytest.mark.parametrize(("wanted", "typed", "value"), [
    (int, "5", 5), (str, "5", "5"), (str, '"5"', "5"), (bool, "yes", True), (bool, "false", False),
    (dt.date, "2026-03-31", "2026-03-31"), (Colour, "red", "red"), (list[Literal["a", "b"]], "a, b", ["a", "b"]),
    (int | None, "null", None), (Supplier, '{"name": "Ann"}', {"name": "Ann"}), (float, "0.5", 0.5),
])  # fmt: skip
def test_typed_text_is_read_as_what_is_asked_for(wanted: Any, typed: str, value: Any) -> None:
    """At a terminal text is text where text is asked for, and JSON else."""
    assert Form(_schema(wanted)).read(typed) == value


ASKED = Question("How many?", gate="1", execution="e", form=Form(_schema(Annotated[int, Field(ge=1, le=5)])))


def test_a_question_without_a_form_has_the_digest_that_it_always_had() -> None:
    """Runs and decisions of before there were forms stay bound to each other."""
    assert Question("Which?", ("A", "B"), details="d" * 32).digest == "6fe6ff727e00a91baba9d64f8d90cdf5"
    assert "form" not in Question("Which?").to_wire()
    assert Question.from_wire(ASKED.to_wire()) == ASKED


@pytest.mark.parametrize("form", [None, Form(_schema(int)), replace(ASKED.form or Form({}), exact=False)])
def test_an_answer_is_bound_to_the_form(form: Form | None) -> None:
    """Other bounds, another type or none at all: it was not what the person saw."""
    gates = Gates(bound=True)
    gates.ask(replace(ASKED, form=form))
    answer = replace(ASKED.answered(3), id="a")
    assert gates.standing(answer) in (Standing.NOT_ASKED, Standing.NO_OPTION)
    gates.ask(ASKED)
    assert gates.standing(answer) is Standing.COUNTS


@pytest.mark.parametrize("values", [{}, {"value": 7}, {"value": "3"}, {"value": 3, "more": 1}, {"other": 3}])
def test_an_invalid_value_does_not_count(values: dict[str, Any]) -> None:
    """Whoever sends it: the gate stays open."""
    gates = Gates(bound=True)
    gates.ask(ASKED)
    sent = Answer("1", True, "answer", values, id="a", asked=ASKED.digest, execution="e")
    assert gates.take(sent) is Standing.INVALID
    assert gates.take(replace(ASKED.answered(3), id="b")) is Standing.COUNTS


def test_choices_that_look_alike_are_refused() -> None:
    """Several options, and choices anywhere in a form, as options of buttons are."""
    for form in (several_of(("Pay", "pay ")), Form(_schema(list[Literal["a\u200b", "a\\u200b"]]))):
        with pytest.raises(ValueError, match="look alike"):
            Question("Which?", form=form).check()


KEYWORDS = st.sampled_from(
    ["type", "properties", "required", "anyOf", "allOf", "enum", "const", "items", "prefixItems", "$ref", "$defs",
     "minimum", "maxLength", "minItems", "format", "title", "description", "default", "additionalProperties", "a"]
)  # fmt: skip
WORDS = st.sampled_from(["object", "array", "string", "integer", "boolean", "date", "#/$defs/a", "a", "x\u202e"])
SCHEMAS = st.recursive(
    LEAVES | WORDS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYWORDS, inner, max_size=5)
)


@times(8)
@given(SCHEMAS, VALUES)
def test_whatever_comes_as_a_form_is_one_or_refused(data: Any, value: Any) -> None:
    """Every client of the server may write a memo: nothing but ValueError comes of reading it, and faces show it."""
    try:
        form = Form.from_wire({"schema": json.dumps(data)} if isinstance(data, dict) else data)
    except ValueError:
        return
    form.faults({"value": value}), form.told(), form.read("5")
    assert "\u202e" not in text(*form_blocks(form))
    fields = FormFields(form)
    fields.show(form.faults({"value": fields.value()}))


def test_a_schema_that_refers_to_itself_ends() -> None:
    """A hostile form costs no more than its limit."""
    loop = {"$defs": {"A": {"anyOf": [{"$ref": "#/$defs/A"}, {"$ref": "#/$defs/A"}]}}, "$ref": "#/$defs/A"}
    assert faults(1, loop)
    assert Form(loop).told()
    assert Form({"$defs": {"A": {"$ref": "#/$defs/A"}}, "$ref": "#/$defs/A"}).told()
