"""Gates that ask for a value: it reaches the agent as what it is; what does not fit is refused, whoever sends it."""

from __future__ import annotations

import datetime as dt
import enum
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field, field_validator
from temporalio.client import WorkflowUpdateFailedError
from typer.testing import CliRunner

import kaigents_nb as kg
from kaigents_nb.__main__ import app
from kaigents_nb.control.approval import told
from kaigents_nb.display.gate_form import GateForm
from kaigents_nb.people.pending import open_questions
from kaigents_nb.runtime.protocol import DECIDE_SIGNAL, DECIDE_UPDATE
from tests.support import eventually

pytestmark = pytest.mark.usefixtures("replayed")


class Speed(enum.Enum):
    SLOW = "slow"
    FAST = "fast"


class Address(BaseModel):
    city: str = Field(title="City", description="Where it goes")


class Order(BaseModel):
    address: Address
    count: int = Field(ge=1, le=9)
    until: dt.date | None = None

    @field_validator("count")
    @classmethod
    def _even(cls, count: int) -> int:
        if count % 2:
            raise ValueError("must be even")
        return count


def kind_of(name):
    return {
        "number": Annotated[int, Field(ge=1, le=9)],
        "price": float,
        "yes": bool,
        "name": str,
        "day": dt.date,
        "moment": dt.datetime,
        "speed": Speed,
        "letter": Literal["a", "b"],
        "letters": list[Literal["a", "b"]],
        "order": Order,
    }[name]


@kg.agent
async def asking(kind):
    value = await kg.ask("What?", kind_of(kind), details={"kind": kind})
    return value, type(value).__name__


@kg.agent
async def beginning():
    return await kg.ask("What?", Order, initial={"address": {"city": "Rome"}, "count": 2})


@kg.agent
async def choosing(several):
    return await kg.choose("Which?", [1, 2, 3], several=several)


@kg.agent
async def takes_no_for_an_answer():
    try:
        return await kg.ask("How many?", int)
    except kg.Rejected as error:
        return str(error), error.decision.comment


@kg.agent
async def too_big():
    await kg.ask("What?", Literal[tuple(f"choice {n} " + "x" * 90 for n in range(90))])


@pytest.mark.parametrize(("several", "given", "taken"), [(False, 2, 2), (False, "2", 2), (True, [3, "1"], [1, 3])])
def test_options_reach_the_agent_as_they_are(several, given, taken):
    """One, or several in the order of the options: the option itself, not its label."""
    run = choosing.start(several)
    run.wait_for_gate(20)
    assert run.answer(given, by="ann").by == "ann"
    assert run.result(20) == taken


@pytest.mark.parametrize("wrong", [[], ["4"], ["1", "1"], "1"])
def test_what_is_none_of_several_options_is_refused(wrong):
    """Nothing ticked, something else, the same twice; the gate stays open."""
    run = choosing.start(True)
    run.wait_for_gate(20)
    with pytest.raises(kg.InvalidAnswer):
        run.answer(wrong)
    run.reject()
    with pytest.raises(kg.RunFailed, match=r"rejected 'Which\?'"):
        run.result(20)


@pytest.mark.parametrize(
    ("kind", "given", "value"),
    [
        ("number", 5, 5),
        ("price", 0.5, 0.5),
        ("yes", True, True),
        ("name", "Ann\nLee", "Ann\nLee"),
        ("day", dt.date(2026, 3, 31), dt.date(2026, 3, 31)),
        ("moment", "2026-03-31T15:00:00Z", dt.datetime(2026, 3, 31, 15, tzinfo=dt.UTC)),
        ("speed", Speed.FAST, Speed.FAST),
        ("letter", "b", "b"),
        ("letters", ["b"], ["b"]),
        ("order", {"address": {"city": "Rome"}, "count": 4}, Order(address=Address(city="Rome"), count=4)),
        ("order", Order(address=Address(city="Rome"), count=4), Order(address=Address(city="Rome"), count=4)),
    ],
)
def test_a_value_is_in_the_agent_what_was_asked_for(kind, given, value):
    """Also when the run is replayed, which all of this file are."""
    run = asking.start(kind)
    run.wait_for_gate(20)
    run.answer(given)
    got, name = run.result(20)
    assert (str(got), name) == (str(value), type(value).__name__)


def test_what_does_not_fit_is_refused_wherever_it_comes_from(tmp_path):
    """Code, form, command line, update and signal of another program: the field is named, and the gate stays open."""
    run = asking.start("order")
    asked = run.wait_for_gate(20)
    bad = {"address": {"city": "Rome"}, "count": 3}  # only the agent's own check finds it
    with pytest.raises(kg.InvalidAnswer, match="count: must be even") as caught:
        run.answer(bad)
    assert caught.value.faults == {"count": "must be even"}
    with pytest.raises(kg.InvalidAnswer, match=r"address.city: is missing.*count: must be at most 9"):
        run.answer({"address": {}, "count": 10})
    file = tmp_path / "order.json"
    file.write_text('{"address": {"city": "Rome"}, "count": 3}')
    done = CliRunner().invoke(app, ["answer", run.id, f"@{file}", "--gate", asked.token])
    assert done.exit_code != 0
    assert "count: must be even" in f"{done.output} {done.exception}"
    [gate] = run.view().open_gates
    form = GateForm(gate, run.submit_answer, how="")
    city, count, _ = form._fields.controls()
    city.value, count.value = "Rome", "3"
    form._buttons[0].click()
    beside = dict(form._fields._top.messages(()))["count"]
    eventually(lambda: "must be even" in str(beside.value))
    assert not count.disabled
    sent = asked.answer(True, values={"value": bad}, by="mallory")
    handle = run._connection.client.get_workflow_handle(run.id)
    wire = sent.to_wire() | {"id": "m"}
    with pytest.raises(WorkflowUpdateFailedError):
        run._connection.run(lambda: handle.execute_update(DECIDE_UPDATE, wire))
    run._connection.run(lambda: handle.signal(DECIDE_SIGNAL, wire))
    eventually(lambda: "must be even" in run.view().gates[0].refused)
    assert "must be even" in told(run.view().open_gates)
    wire = asked.answer(True, values={"value": {"count": "x"}}).to_wire() | {"id": "n"}
    run._connection.run(lambda: handle.signal(DECIDE_SIGNAL, wire))
    eventually(lambda: "address: is missing" in run.view().gates[0].refused)
    count.value = "4"
    form._buttons[0].click()
    assert run.result(20)[0].count == 4
    assert run.decisions()["counted"].tolist() == [False, False, True]
    assert run.view().gates[0].answer.by != "mallory"


def test_answers_are_kept_for_a_run_without_a_worker(monkeypatch):
    """What the form alone decides counts at once; what the agent has to check counts when a worker has checked it."""
    from kaigents_nb.people import decide as deciding

    async def nobody(*_):
        return False

    monkeypatch.setattr(deciding, "queue_is_served", nobody)
    for kind, given in (("number", 3), ("order", {"address": {"city": "Rome"}, "count": 4})):
        run = asking.start(kind)
        run.wait_for_gate(20)
        run.answer(given)
        assert run.decisions()["counted"].tolist() == [True]
        run.result(20)
    run = asking.start("order")
    run.wait_for_gate(20)
    with pytest.raises(kg.InvalidAnswer, match="must be even"):
        run.answer({"address": {"city": "Rome"}, "count": 3})
    run.answer({"address": {"city": "Rome"}, "count": 4})
    assert run.result(20)[0].count == 4
    assert run.decisions()["counted"].tolist() == [False, True]


def test_a_rejection_is_raised_in_the_agent():
    """Who can't or won't answer rejects; the agent may go on by that."""
    run = takes_no_for_an_answer.start()
    run.wait_for_gate(20)
    with pytest.raises(ValueError, match=r"run\.answer"):
        run.approve()
    run.reject(comment="ask Bob", by="ann")
    assert run.result(20) == ("ann rejected 'How many?': ask Bob", "ask Bob")


def test_a_form_that_is_too_big_is_refused_in_words():
    """It would not fit where the open gates of a run are listed."""
    with pytest.raises(kg.RunFailed, match=r"question, options and form of a gate are .* 8,000 is the most"):
        too_big.start().result(20)


def test_the_form_begins_with_what_the_agent_gives():
    """An initial value stands in the fields, as it stands in the text form."""
    run = beginning.start()
    run.wait_for_gate(20)
    [gate] = run.view().open_gates
    assert "City; Where it goes" not in told([gate])
    assert '"Rome"' in told([gate])
    form = GateForm(gate, run.submit_answer, how="")
    form._buttons[0].click()
    assert run.result(20) == Order(address=Address(city="Rome"), count=2)


def test_a_fork_keeps_an_answer_as_what_it_was():
    """The value that was given before the point comes back as the same object."""
    run = asking.start("order")
    run.wait_for_gate(20)
    run.answer({"address": {"city": "Rome"}, "count": 4})
    run.result(20)
    forked = run.fork(at=int(run.events()["event_id"].iloc[-1]), decisions="keep")
    assert forked.result(20)[0] == Order(address=Address(city="Rome"), count=4)


def test_a_called_agents_question_is_answered_through_inbox_and_terminal():
    """The command shows what is asked for, and takes it by token."""
    run = asking.start("speed")
    asked = run.wait_for_gate(20)
    eventually(lambda: asked.token in {question.token for question in open_questions()})
    done = CliRunner().invoke(app, ["answer", run.id, "slow"])
    assert "one of slow, fast" in done.output
    done = CliRunner().invoke(app, ["answer", run.id, "slow", "--gate", asked.token])
    assert 'Answered: "slow"' in done.output
    assert run.result(20)[1] == "Speed"
