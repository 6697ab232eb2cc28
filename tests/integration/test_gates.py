"""Gates: asking, deciding, and who wins."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from dataclasses import replace
from datetime import UTC, datetime

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from temporalio.client import WorkflowHandle, WorkflowUpdateFailedError
from temporalio.service import RPCError, RPCStatusCode

import kaigents_nb as kg
from kaigents_nb.control.approval import told
from kaigents_nb.display.blocks_html import root
from kaigents_nb.display.blocks_text import text
from kaigents_nb.display.gate_form import GateForm
from kaigents_nb.display.run_blocks import gate_blocks, pending_blocks, run_blocks
from kaigents_nb.errors import AlreadyDecided, GateError, NoOpenGate
from kaigents_nb.people.decide import decide, default_by
from kaigents_nb.people.pending import open_questions
from tests.support import eventually

pytestmark = pytest.mark.usefixtures("replayed")


@kg.agent
async def choosing(options, details):
    decision = await kg.approve("Which supplier?", options=options, details=details)
    return decision.approved, decision.choice, decision.comment, decision.by, decision.values, decision.at is not None


@kg.agent
async def two_gates():
    first = await kg.approve("First?")
    second = await kg.approve("Second?")
    return first.by, second.by


@kg.agent
async def outer():
    return await choosing(["A"], None)


@kg.agent
async def asks_twice_below():
    import asyncio

    return await asyncio.gather(choosing(["A"], {"price": 3}), choosing(["B"], None))


@kg.agent
async def asks_beside():
    import asyncio

    mine, below = await asyncio.gather(kg.approve("Mine?"), choosing(["A"], None))
    return mine.by, below


@kg.agent
async def waits_half_a_second():
    import asyncio

    try:
        await asyncio.wait_for(kg.approve("Quick?"), 0.5)
    except TimeoutError:
        return "nobody came"


def test_a_choice_reaches_the_agent():
    """The agent gets choice, comment, values, who and when."""
    run = choosing.start(["A", "B"], {"price": 3})
    gate = run.wait_for_gate(20)
    assert (gate.question, gate.options) == ("Which supplier?", ("A", "B"))
    assert run.status == "waiting"
    run.approve(choice="B", comment="cheaper", by="ann", values={"limit": 5})
    assert run.result(20) == (True, "B", "cheaper", "ann", {"limit": 5}, True)


def test_details_may_be_a_frame():
    """A DataFrame as details is shown as it was, big ones too."""
    details = pd.DataFrame({"supplier": ["A", "B"] * 20_000, "price": range(40_000)})
    run = choosing.start(None, details)
    run.wait_for_gate(20)
    [gate] = run.view().open_gates
    pd.testing.assert_frame_equal(gate.details, details)
    run.reject(comment="none of them")
    assert run.result(20)[:3] == (False, "reject", "none of them")


def test_a_gate_without_details_is_seen_whole():
    """There is nothing more to wait for: form, inbox and terminal let it be decided; a small false value is one too."""
    runs = [choosing.start(["A"], details) for details in (None, "", 0, {}, [])]
    for run, details in zip(runs, (None, "", 0, {}, []), strict=True):
        run.wait_for_gate(20)
        [gate] = run.view().open_gates
        assert gate.complete
        assert gate.details == details
        sent = []
        form = GateForm(gate, lambda *answer, sent=sent: sent.append(answer), how="")
        form._buttons[0].click()
        eventually(lambda sent=sent: sent)
        run.approve()


def test_by_defaults_to_the_user(monkeypatch):
    """Who decides is the JupyterHub user where there is one, else the one of the system."""
    monkeypatch.setenv("JUPYTERHUB_USER", "carol")
    assert default_by() == "carol"
    monkeypatch.delenv("JUPYTERHUB_USER")
    assert default_by()


def test_one_decision_wins_and_the_other_is_told():
    """Of ten decisions at once exactly one counts; nine hear who was first."""
    run = choosing.start(["A"], None)
    run.wait_for_gate(20)
    outcomes: list[object] = []

    def decide(number: int) -> None:
        try:
            outcomes.append(run.approve(by=f"person {number}"))
        except AlreadyDecided as error:
            outcomes.append(error)

    threads = [threading.Thread(target=decide, args=(n,)) for n in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [item for item in outcomes if not isinstance(item, AlreadyDecided)]
    losers = [item for item in outcomes if isinstance(item, AlreadyDecided)]
    assert (len(winners), len(losers)) == (1, 9)
    by = run.result(20)[3]
    assert all(by in str(loser) for loser in losers)
    decisions = run.decisions()
    assert decisions["counted"].sum() == 1
    assert decisions.loc[decisions["counted"], "by"].iloc[0] == by


@pytest.mark.parametrize("taken", [True, False])
def test_a_winner_whose_answer_was_lost_is_not_told_that_he_lost(monkeypatch, taken):
    """The server went away over it: the same decision is sent again, and counts once."""
    run = choosing.start(["A"], None)
    run.wait_for_gate(20)
    send, lost = WorkflowHandle.execute_update, []

    async def once_in_vain(*args, **options):
        if not lost:
            lost.append(await send(*args, **options) if taken else None)
            raise RPCError("the connection broke", RPCStatusCode.UNAVAILABLE, b"")
        return await send(*args, **options)

    monkeypatch.setattr(WorkflowHandle, "execute_update", once_in_vain)
    assert run.approve(by="ann").by == "ann"
    assert lost
    assert run.result(20)[3] == "ann"
    assert run.decisions()["counted"].tolist() == [True]


def test_wrong_decisions_are_explained():
    """An unknown option, gate or a run that waits for nothing is an error with the known ones."""
    run = choosing.start(["A", "B"], None)
    run.wait_for_gate(20)
    with pytest.raises(ValueError, match=r"Options: \['A', 'B'\]"):
        run.approve(choice="C")
    with pytest.raises(ValueError, match="Say which"):
        run.approve()
    with pytest.raises(NoOpenGate, match="Open: '1'"):
        run.approve("7", choice="A")
    run.approve(choice="A")
    run.result(20)
    with pytest.raises(AlreadyDecided, match="'A'"):
        run.approve(choice="A")


def test_gates_follow_each_other():
    """A run may ask again; the audit table has both decisions in order."""
    run = two_gates.start()
    run.wait_for_gate(20)
    run.approve(by="ann")
    eventually(lambda: run.pending()["question"].tolist() == ["Second?"])
    run.approve(by="bob")
    assert run.result(20) == ("ann", "bob")
    table = run.decisions()
    assert table[["gate", "by", "counted"]].values.tolist() == [["1", "ann", True], ["2", "bob", True]]


def test_the_gate_of_a_called_agent_is_decided_through_its_caller():
    """A gate in a child run is open for the parent's handle too."""
    run = outer.start()
    gate = run.wait_for_gate(20)
    assert gate.run_id != run.id
    run.approve(by="dan")
    assert run.result(20)[3] == "dan"


def test_the_gates_of_called_agents_show_on_their_caller():
    """Two called agents number their gates alike; the caller's view tells them apart and keeps what was decided."""
    run = asks_twice_below.start()
    eventually(lambda: len(run.view().open_gates) == 2)
    view = run.view()
    assert view.status == "waiting"
    first, second = view.open_gates
    assert first.gate == second.gate == "1"
    assert {gate.run_id for gate in view.gates} == {step.child_run for step in view.steps}
    assert {gate.options: gate.details for gate in view.gates} == {("A",): {"price": 3}, ("B",): None}
    with pytest.raises(ValueError, match=r"kg\.run"):
        run.approve("1")
    seen = []
    stop = run.watch(lambda view: seen.append({gate.key: gate.answer and gate.answer.by for gate in view.gates}))
    eventually(lambda: seen)
    assert run.submit_answer(second.asked, second.asked.answer(True)).by == default_by()
    eventually(lambda: seen[-1] == {first.key: None, second.key: default_by()})
    assert run.view().open_gates == (first,)
    run.approve(by="ann")
    assert [result[3] for result in run.result(20)].count("ann") == 1
    stop()
    assert all(gate.answer for gate in run.view().gates)


def test_a_number_means_the_own_gate_first():
    """Where the caller itself and a called agent wait at a gate 1, the caller's handle means its own."""
    run = asks_beside.start()
    eventually(lambda: len(run.pending()) == 2)
    run.approve("1", by="ann")
    run.approve("1", by="bob")
    mine, below = run.result(20)
    assert (mine, below[3]) == ("ann", "bob")


def test_pending_over_all_runs():
    """kg.pending() lists open gates of all runs, oldest first, and forgets decided ones."""
    run = choosing.start(["A"], None)
    run.wait_for_gate(20)
    table = eventually(lambda: (t := kg.pending())[t["run_id"] == run.id].to_dict("records"))
    assert table[0]["options"] == ["A"]
    run.approve()
    run.result(20)
    eventually(lambda: run.id not in kg.pending()["run_id"].tolist())
    everybody = kg.decisions()
    assert run.id in everybody["run_id"].tolist()


def test_a_gate_that_nobody_waits_for_any_more_closes():
    """When the agent stops waiting, the gate is withdrawn and can't be decided."""
    run = waits_half_a_second.start()
    assert run.result(20) == "nobody came"
    assert run.view().gates[0].withdrawn
    with pytest.raises(NoOpenGate):
        run.approve()


def test_a_decision_without_a_worker_is_kept(monkeypatch):
    """With no worker alive the server keeps the decision; the next worker applies it."""
    run = two_gates.start()
    run.wait_for_gate(20)
    kg.disconnect()
    monkeypatch.setenv("KAIGENTS_WORKER", "off")
    alone = kg.run(run.id)
    alone.approve(by="erin")
    with pytest.raises(AlreadyDecided, match="erin"):
        kg.run(run.id).reject(by="late")
    monkeypatch.delenv("KAIGENTS_WORKER")
    adopted = kg.run(run.id)
    eventually(lambda: adopted.pending()["question"].tolist() == ["Second?"])
    adopted.approve(by="frank")
    assert adopted.result(20) == ("erin", "frank")
    assert adopted.decisions()["counted"].tolist() == [True, True]


def test_a_decision_on_something_else_is_refused():
    """A decision carries what was shown: another question, other details or another execution do not count."""
    run = choosing.start(["A"], {"price": 5})
    asked = run.wait_for_gate(20)
    for other in (
        replace(asked, question="Transfer 5 million?"),
        replace(asked, details="0" * 32),
        replace(asked, execution="00000000-0000-0000-0000-000000000000"),
    ):
        with pytest.raises(GateError, match="does not ask"):
            decide_now(run, other, other.answer(True))
    blind = replace(asked.answer(True), asked="", execution="")
    with pytest.raises(GateError, match="does not ask"):
        decide_now(run, asked, blind)
    assert run.status == "waiting"
    decide_now(run, asked, asked.answer(True, comment="as shown"))
    assert run.result(20)
    [taken] = run.decisions().to_dict("records")
    assert taken["comment"] == "as shown"


def test_a_kept_decision_on_something_else_does_not_count(monkeypatch):
    """As a signal, kept by the server without a worker, it is in the history and decides nothing."""
    run = choosing.start(["A"], None)
    asked = run.wait_for_gate(20)
    other = replace(asked, question="Something else?")
    wire = replace(other.answer(True, comment="blind"), id="x", by="eve", at=datetime.now(UTC)).to_wire()
    run._connection.run(lambda: run._connection.client.get_workflow_handle(run.id).signal("decide_later", wire))
    run.approve(comment="as shown")
    assert run.result(20)
    assert run.decisions().set_index("comment")["counted"].to_dict() == {"blind": False, "as shown": True}


@kg.agent
async def pays():
    first = await kg.approve("Pay 5?", details={"to": "Ann"})
    second = await kg.approve("Pay 5,000,000?", details={"to": "Evil"})
    return first.by, second.by


def test_approve_means_what_was_shown():
    """When somebody else has decided that, nothing is decided, and the error shows what is asked now."""
    run = pays.start()
    asked = run.wait_for_gate(20)
    decide_now(run, asked, asked.answer(True, by="bob"))
    eventually(lambda: [gate.question for gate in run.view().open_gates] == ["Pay 5,000,000?"])
    with pytest.raises(AlreadyDecided, match="bob approved") as refused:
        run.approve(by="ann")
    [note] = refused.value.__notes__
    assert "Pay 5,000,000?" in note and "to: Evil" in note
    assert run.status == "waiting"
    run.approve(by="ann")
    assert run.result(20) == ("bob", "ann")


def test_nothing_unseen_is_approved():
    """Where nothing was shown yet, the first call shows it; a gate that is named need not be shown."""
    run, named = pays.start(), pays.start()
    for one in (run, named):
        eventually(lambda one=one: "kaigents_gate_1" in "".join(one.events()["detail"]))
    with pytest.raises(GateError, match="had not been shown here") as refused:
        run.approve()
    assert "to: Ann" in refused.value.__notes__[0]
    assert run.decisions().empty
    run.approve(by="ann")
    named.approve("Pay 5?", by="bob")
    eventually(lambda: run.pending()["question"].tolist() == named.pending()["question"].tolist() == ["Pay 5,000,000?"])
    run.approve(run.pending()["token"][0], by="bob")
    named.reject("2", by="ann")
    assert run.result(20) == named.result(20)[::-1] == ("ann", "bob")
    with pytest.raises(AlreadyDecided):
        run.reject("Pay 5?")


def test_a_look_in_passing_does_not_change_what_is_meant():
    """A card that goes on to the next question leaves the one that was looked at as what is meant."""
    run, views = pays.start(), []
    stop = run.watch(views.append)
    asked = run.wait_for_gate(20)
    decide_now(run, asked, asked.answer(True, by="bob"))
    eventually(lambda: [gate.question for gate in views[-1].open_gates] == ["Pay 5,000,000?"])
    with pytest.raises(AlreadyDecided):
        kg.run(run.id).approve()
    assert run.pending()["question"].tolist() == ["Pay 5,000,000?"]
    kg.run(run.id).approve(by="ann")
    assert run.result(20) == ("bob", "ann")
    stop()


def test_a_number_that_was_not_shown_is_the_runs_own():
    """A called agent's gate 1 is not decided by its number unseen: the caller may open a gate 1 meanwhile."""
    run = outer.start()
    child = eventually(lambda: [step for step in run.steps()["child_run"] if step])[0]
    eventually(lambda: "kaigents_gate_1" in "".join(kg.run(child).events()["detail"]))
    with pytest.raises(NoOpenGate, match=r"no open gate '1' of its own. kg\.run"):
        run.approve("1")
    run.approve("1", by="dan")
    assert run.result(20)[3] == "dan"


def test_what_is_typed_is_what_is_shown():
    """A question or option with hidden signs can be named as every face shows it."""
    run = asks_with_hidden_text.start("Pay\r?", ["Yes\u202e", "No"], None)
    run.wait_for_gate(20)
    row = eventually(lambda: kg.pending()[kg.pending()["run_id"] == run.id].to_dict("records"))[0]
    assert (row["question"], row["options"]) == (r"Pay\r?", [r"Yes\u202e", "No"])
    assert r"Pay\r?" in kg.runs()["waits_for"].tolist()
    run.approve(row["question"], choice=row["options"][0])
    assert run.result(20) == "Yes\u202e"


def decide_now(run, question, answer):
    return run._connection.run(lambda: decide(run._connection, question, answer))


GATES = ("first", "second", "third")


@kg.agent
async def asks_three():
    """Three gates at once."""
    taken = await asyncio.gather(*(kg.approve(question, options=["A", "B"]) for question in GATES))
    return [(decision.choice, decision.by) for decision in taken]


@settings(suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.tuples(
            st.sampled_from("123"),
            st.sampled_from(["A", "B", "reject", "no option"]),
            st.booleans(),  # as a signal, which nobody answers
            st.sampled_from(["bound", "blind", "other"]),
        ),
        max_size=12,
    )
)
def test_the_run_and_its_history_agree_on_every_winner(attempts):
    """Whoever decides, by whatever way and at the same time: who wins for the agent wins for those who look."""
    run = asks_three.start()
    eventually(lambda: len(run.pending()) == 3)
    asked = {gate.gate: gate.asked for gate in run.view().open_gates}
    client = run._connection.client.get_workflow_handle(run.id)

    async def send(number, gate, choice, as_signal, kind):
        question = asked[gate]
        answer = question.answer(choice != "reject", choice="A" if choice != "reject" else None)
        answer = replace(answer, choice=choice, id=f"{number}", by=f"{number}", at=datetime.now(UTC))
        if kind == "blind":
            answer = replace(answer, asked="", execution="")
        elif kind == "other":
            answer = replace(answer, asked=replace(question, question="Other?").digest)
        if as_signal:
            sending = client.signal("decide_later", answer.to_wire())
        else:
            sending = client.execute_update("decide", answer.to_wire())
        with contextlib.suppress(WorkflowUpdateFailedError, RPCError):  # refused, or the run is over
            await sending

    async def send_all():
        await asyncio.gather(*(send(number, *attempt) for number, attempt in enumerate(attempts)))
        for question in asked.values():
            await send("last", question.gate, "B", False, "bound")

    run._connection.run(send_all)
    winners = run.result(20)
    assert [(gate.answer.choice, gate.answer.by) for gate in run.view().gates] == winners
    table = run.decisions()
    counted = table[table["counted"]].set_index("gate").sort_index()
    assert list(zip(counted["choice"], counted["by"], strict=True)) == winners


@kg.agent
async def asks_with_hidden_text(question, options, details):
    return (await kg.approve(question, options=options, details=details)).choice


def test_nothing_of_a_question_vanishes():
    """A carriage return, an escape or a sign that turns the reading order hides nothing, on no face."""
    question = "Transfer 5,000,000 to Evil?\rTransfer 5 to Ann?"
    run = asks_with_hidden_text.start(
        question, ["Yes\u202e", "No\u200b way"], {"to": "\x1b[8mEvil\x1b[0m", "\u2800": 5}
    )
    asked = run.wait_for_gate(20)
    view = run.view()
    for page in (
        root(run_blocks(view)),
        text(run_blocks(view)),
        root(pending_blocks([asked])),
    ):
        assert r"Transfer 5,000,000 to Evil?\rTransfer 5 to Ann?" in page
    for page in (root(run_blocks(view)), text(run_blocks(view))):
        for seen in (r"Yes\u202e", r"No\u200b way", r"\x1b[8mEvil\x1b[0m", r"\u2800"):
            assert seen in page
    run.approve(choice="Yes\u202e")
    assert run.result(20) == "Yes\u202e"


def test_a_long_question_is_seen_to_its_end():
    """The longest that can be asked is not cut on the form, the static card and in a terminal, nor are its escapes."""
    question = "Pay 5" + "\u200b" * 1000 + " x" * 3400 + " to Evil"
    run = asks_with_hidden_text.start(question, None, None)
    run.wait_for_gate(20)
    view = run.view()
    for page in (root(*gate_blocks(view.open_gates[0], how="")), root(run_blocks(view)), told(view.open_gates)):
        assert " to Evil" in page
        assert str(page).replace("</strong><strong>", "").count(r"\u200b") >= 1000
    run.terminate()


def test_options_that_look_alike_are_refused():
    """Who decides must be able to tell them apart: the agent gets an error that names them, in a dry run too."""
    with pytest.raises(kg.RunFailed, match="look alike"):
        asks_with_hidden_text.start("Who?", ["Pay Ann", "Pay  Ann"], None).result(20)
    with pytest.raises(ValueError, match="look alike"):
        asks_with_hidden_text.dry_run("Who?", ["Ann", "ANN"], None)


def test_a_question_of_the_inbox_is_answered_as_it_stands():
    """What kg.inbox() lists can be decided at once, before anything more is known of the run."""
    run = choosing.start(["A", "B"], None)
    run.wait_for_gate(20)
    [asked] = eventually(lambda: [question for question in open_questions() if question.run_id == run.id])
    decide_now(run, asked, asked.answer(True, choice="B", values={"limit": 3}))
    assert run.result(20) == (True, "B", "", default_by(), {"limit": 3}, True)
