"""agent.dry_run(): the agent in this process, without a server."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import BaseModel, Field

import kaigents_nb as kg
from tests.support import ROOT


@kg.step
def double(x):
    return plus(x, x)


@kg.step
def plus(x, y):
    return x + y


@kg.agent
async def inner(x):
    return await double(x)


@kg.agent
async def story(x):
    await kg.sleep(days=300)
    decision = await kg.approve("Go on?", options=["A", "B"])
    if not decision:
        return "rejected"
    return await inner(await double(x)), decision.choice, kg.now().tzinfo is not None


def test_steps_gates_and_agents_run_here():
    """Steps are called, waits skipped, gates answered from the given decisions."""
    assert story.dry_run(1, decisions=["B"]) == (4, "B", True)
    assert story.dry_run(1, decisions=["reject"]) == "rejected"


def test_it_asks_without_decisions(monkeypatch):
    """Without decisions the person is asked until the answer is an option."""
    answers = iter(["C", "A"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(answers))
    assert story.dry_run(2)[1] == "A"


def test_inside_a_running_loop():
    """In a notebook's cell a loop is running already; in a process of its own, for nest-asyncio patches all of it."""
    code = (
        "import asyncio\n"
        "from tests.unit.test_dry_run import inner\n"
        "async def cell():\n    print(inner.dry_run(3))\n"
        "asyncio.run(cell())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.returncode) == ("6", 0), done.stderr


def test_wrong_arguments():
    """Arguments are checked first."""
    with pytest.raises(TypeError, match="missing"):
        inner.dry_run()


@kg.agent
async def asked(options=None):
    decision = await kg.approve("Go on?", options=options)
    return decision.approved, decision.choice, decision.values, decision.comment, decision.by


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        ("approve", (True, "approve", {}, "", "dry run")),
        ({"values": {"price": (1, 2)}}, (True, "approve", {"price": (1, 2)}, "", "dry run")),
        ({"comment": "fine", "by": "ann"}, (True, "approve", {}, "fine", "ann")),
        ({"choice": "reject", "comment": "no"}, (False, "reject", {}, "no", "dry run")),
        ({"approved": False, "comment": "no"}, (False, "reject", {}, "no", "dry run")),
        (kg.Decision(True, "approve", {"a": 1}, "fine"), (True, "approve", {"a": 1}, "fine", "dry run")),
        (kg.Decision(False, "reject", comment="no", by="bob"), (False, "reject", {}, "no", "bob")),
    ],
)
def test_a_gate_is_answered_with_values_and_a_comment(given, answer):
    """What run.approve() can say, a given decision can say too."""
    assert asked.dry_run(decisions=[given]) == answer


def test_what_is_no_answer():
    """Anything else is refused, with what it can be; what is given for one run serves another as well."""
    with pytest.raises(TypeError, match=r"some of approved, at, by, choice, comment, values, not \{'value': 1\}"):
        asked.dry_run(decisions=[{"value": 1}])
    given = {"values": {"list": []}}
    asked.dry_run(decisions=[given])[2]["list"].append(1)
    assert given == {"values": {"list": []}}


def test_an_option_that_is_none_is_asked_again(monkeypatch, capsys):
    """A decision with an unknown option says which there are, and the person is asked."""
    monkeypatch.setattr("builtins.input", lambda prompt: "A")
    assert asked.dry_run(["A", "B"], decisions=[{"choice": "C", "comment": "x"}])[1] == "A"
    assert "No option 'C' for 'Go on?'. Options: ['A', 'B']." in capsys.readouterr().out


class Order(BaseModel):
    count: int = Field(ge=1, le=9)


@kg.agent
async def asks():
    colours = await kg.choose("Which?", ["red", "blue"], several=True)
    order = await kg.ask("What?", Order)
    return colours, order.count


def test_a_value_is_given_or_typed(monkeypatch, capsys):
    """decisions= has the values in order; what does not fit is said with its field, and asked again."""
    assert asks.dry_run(decisions=[["blue"], Order(count=2)]) == (["blue"], 2)
    typed = iter(["blue, red", '{"count": 12}', '{"count": 3}'])
    monkeypatch.setattr("builtins.input", lambda _: next(typed))
    assert asks.dry_run() == (["red", "blue"], 3)
    assert "count: must be at most 9, not 12" in capsys.readouterr().out
    with pytest.raises(kg.Rejected):
        asks.dry_run(decisions=["reject"])
