"""What was passed arrives: through agents, steps, children, gates and forks, and in a dry run as in a run."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any, NewType, TypedDict

import pydantic
import pytest

import kaigents_nb as kg
from kaigents_nb.errors import ConversionError

pytestmark = pytest.mark.usefixtures("replayed")

Number = NewType("Number", int)


class Row(TypedDict):
    a: int


class Quote(pydantic.BaseModel):
    price: float


@dataclasses.dataclass
class Size:
    width: int


@kg.step
def looked(xs: Iterable[float], row: Row, seq: Sequence[float], number: Number, group: set, day: dt.date, quote: Quote):
    return [list(xs), list(xs), row, seq, number, group, day, quote]


@kg.agent
async def looks(
    xs: Iterable[float],
    row: Row,
    seq: Sequence[float],
    number: Number,
    group: set,
    day: dt.date,
    quote: Quote | None = None,
):
    here = [list(xs), list(xs), row, seq, number, group, day, quote]
    return here, await looked(xs, row, seq, number=number, group=group, day=day, quote=quote)


@kg.agent
async def passes_on(*given: float, **named: tuple):
    return await looks(*given, **named)


GIVEN: tuple[Any, ...] = ([1, 2], {"a": "x", "more": 1}, [1], "007", [1, 1])
NAMED = {"day": "2024-01-01", "quote": {"price": "5"}}
SEEN = [[1, 2], [1, 2], {"a": "x", "more": 1}, [1], "007", [1, 1], "2024-01-01", {"price": "5"}]


def test_annotations_change_nothing():
    """Whatever an agent or step is annotated with, it gets what was passed, however it is called."""
    run, parent = looks.start(*GIVEN, **NAMED), passes_on.start(*GIVEN, **NAMED)
    expected = repr(([*SEEN], [*SEEN]))
    assert repr(run.result(30)) == expected
    assert repr(parent.result(30)) == expected
    [child] = parent.steps()["child_run"]
    assert repr(run.fork(at="start").result(30)) == expected
    assert repr(kg.run(child).fork(at="start").result(30)) == expected
    assert repr(parent.fork(at="start", args=GIVEN + tuple(NAMED.values())).result(30)) == expected
    assert repr(passes_on.dry_run(*GIVEN, **NAMED)) == expected


@kg.step
def grows(items):
    items.append(len(items))
    return items


@kg.step
async def keeps(value):
    return value


@kg.agent
async def grown(items):
    first = await grows(items)
    items.append("mine")
    return items, first, await grows(first), first


@kg.agent
async def calls_grown(items):
    return await grown(items), items


@kg.agent
async def later(items):
    call = grows(items)
    items.append("after the call")
    return await call


def test_a_dry_run_copies_as_a_run_does():
    """Arguments and results are the callee's and the caller's own, as they were when the call was made."""
    for agent in (grown, calls_grown, later):
        given = [[0]]
        expected = agent.start([0]).result(30)
        assert agent.dry_run(given[0]) == expected
        assert given == [[0]]


def test_a_dry_run_refuses_what_a_run_refuses():
    """An argument or result that can't be saved is refused in the same words."""

    @kg.agent
    async def passes(value):
        return await keeps(value)

    with pytest.raises(ConversionError, match=r"The argument 1 of agent passes can't be saved: .* of type object"):
        passes.dry_run(object())

    @kg.step
    def gives():
        return object()

    @kg.agent
    async def asks():
        return await gives()

    with pytest.raises(ConversionError, match=r"The result of step gives can't be saved"):
        asks.dry_run()


@kg.agent
async def decided(options):
    decision = await kg.approve("Which?", options=options, details=Size(1))
    return decision.approved, decision.choice, decision.values, decision.comment


@dataclasses.dataclass
class Unknown:
    x: int


VALUES = {"day": dt.date(2024, 1, 1), "size": (1, 2), "parts": {1: Size(2)}, "price": 5}


def test_a_decision_arrives_as_it_was_given():
    """Its values keep their types, for the agent and for who looks at decisions; in a dry run too."""
    run = decided.start(["A", "B"])
    run.wait_for_gate(30)
    with pytest.raises(ConversionError, match=r"The values of the decision on 'Which\?' can't be saved"):
        run.approve(choice="A", values={"client": object()})
    with pytest.raises(ConversionError, match="Class Unknown is not part of the run's code"):
        run.approve(choice="A", values={"it": Unknown(1)})
    given = run.approve(choice="B", values=VALUES, comment="cheap")
    assert given.values == VALUES
    expected = (True, "B", VALUES, "cheap")
    assert run.result(30) == expected
    assert run.decisions()["values"].tolist() == [VALUES]
    assert decided.dry_run(["A", "B"], decisions=[{"choice": "B", "values": VALUES, "comment": "cheap"}]) == expected
    said = kg.Decision(True, "B", values=VALUES, comment="cheap", by="ann")
    assert decided.dry_run(["A", "B"], decisions=[said]) == expected
