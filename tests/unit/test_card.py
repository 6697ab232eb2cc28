"""The card, the gate form and the inbox, without a kernel: real widgets, a run that the test drives."""

from __future__ import annotations

import gc
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from queue import SimpleQueue
from typing import Any, ClassVar

import ipywidgets as widgets
import numpy as np
import pandas as pd
import pytest
from comm.base_comm import BaseComm

from kaigents_nb.display import card as card_module
from kaigents_nb.display.blocks import Blocks, Strong, line
from kaigents_nb.display.card import Card, show
from kaigents_nb.display.explore import Explorer
from kaigents_nb.display.gate_form import GateForm
from kaigents_nb.display.inbox import MAX_SHOWN, Inbox
from kaigents_nb.display.kernel import WIDGET_VIEW
from kaigents_nb.display.timeline import Timeline
from kaigents_nb.errors import AlreadyDecided, NoOpenGate, NoSuchMoment, NotYetKnown, RunError, ServerError
from kaigents_nb.gates.answer import Answer
from kaigents_nb.gates.question import Question
from kaigents_nb.history.view import Progress, RunView, StepView
from kaigents_nb.replay.moment import Moment
from tests.support import eventually
from tests.unit.gate_views import a_gate, an_answer
from tests.unit.moments import a_trace

START = datetime(2026, 11, 23, 15, 6, 2, tzinfo=UTC)
DECISION = an_answer(by="anna", at=datetime(2026, 11, 23, 15, 10, tzinfo=UTC))
GATE = a_gate("1", "Contact ACME?", opened=START)
STEP = StepView("1", "quote", "running", 1, START, START)
VIEW = RunView("run-1", "sourcing_agent", "running", started=START, steps=(STEP,))


class Held:
    """Where clicks wait, each on its thread, until the test says what comes of them."""

    threads: ClassVar[set[threading.Thread]] = set()

    def __init__(self) -> None:
        self._here: list[tuple[threading.Thread, SimpleQueue[Any]]] = []

    def wait(self) -> Any:
        outcome: SimpleQueue[Any] = SimpleQueue()
        self._here.append((threading.current_thread(), outcome))
        self.threads.add(threading.current_thread())
        if isinstance(found := outcome.get(), Exception):
            raise found
        return found

    def end(self, outcome: Any) -> None:
        """End the last click, with an error or a result."""
        clicks_arrived()
        thread, waiting = self._here.pop()
        waiting.put(outcome)
        thread.join(10)
        assert not thread.is_alive()


def clicks_arrived() -> None:
    """Wait until no click is on its way: each is over, or held."""
    eventually(lambda: all(t in Held.threads for t in threading.enumerate() if t.name == "kaigents click"))


class FakeRun:
    """A run that does what the test says, with the methods that the card uses."""

    def __init__(self, view: RunView) -> None:
        self.id = view.run_id
        self.now = view
        self.callbacks: list[Callable[[RunView], None]] = []
        self._sent: list[tuple[Any, ...]] = []
        self._held = Held()
        self.answer = self._held.end
        self.refuse: Exception | None = None

    @property
    def sent(self) -> list[tuple[Any, ...]]:
        clicks_arrived()
        return self._sent

    def view(self) -> RunView:
        return self.now

    def watch(self, callback: Callable[[RunView], None], *, adopt: bool = True) -> Callable[[], None]:
        self.callbacks.append(callback)
        callback(self.now)
        return lambda: self.callbacks.remove(callback)

    def become(self, view: RunView) -> None:
        self.now = view
        for callback in list(self.callbacks):
            callback(view)

    def submit_answer(self, question: Question, answer: Answer, kept: Callable[[], None]) -> None:
        self.kept = kept
        assert answer.asked == question.digest
        called = [question.run_id] if question.run_id not in ("", self.id) else []
        self._take((answer.gate, answer.approved, answer.choice, answer.comment, *called))

    def mend(self) -> None:
        self._take(("mend",))

    def retry_now(self) -> None:
        self._take(("retry_now",))

    def cancel(self) -> None:
        self._take(("cancel",))

    def at(self, moment: str) -> Any:
        raise NoSuchMoment(f"No moment {moment!r}: <none>.")

    def _take(self, sent: tuple[Any, ...]) -> None:
        if self.refuse is not None:
            raise self.refuse
        self._sent.append(sent)
        self._held.wait()


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """What the widgets send to the front end, as (model id, new state)."""
    sent: list[tuple[str, dict[str, Any]]] = []

    class Wire(BaseComm):
        def publish_msg(self, msg_type: str, data: Any = None, metadata: Any = None, buffers: Any = None, **keys: Any):  # type: ignore[no-untyped-def]
            if msg_type == "comm_msg" and data["method"] == "update":
                sent.append((self.comm_id, data["state"]))

    monkeypatch.setattr("ipywidgets.comm.create_comm", Wire)
    yield sent
    widgets.Widget.close_all()


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, messages: object) -> list[tuple[str, dict[str, Any], bool]]:
    """What is shown in cells, as (display id, mime bundle, whether it replaces)."""
    displays: list[tuple[str, dict[str, Any], bool]] = []
    monkeypatch.setattr(
        card_module,
        "publish",
        lambda bundle, display_id, *, update=False: displays.append((display_id, dict(bundle), update)),
    )
    monkeypatch.setattr(card_module, "has_widgets", lambda: True)
    return displays


def parts(root: widgets.Widget) -> Iterator[widgets.Widget]:
    yield root
    for child in getattr(root, "children", ()):
        yield from parts(child)


def buttons(root: widgets.Widget) -> dict[str, widgets.Button]:
    return {part.description: part for part in parts(root) if isinstance(part, widgets.Button)}


def said(root: widgets.Widget) -> str:
    return "\n".join(part.value for part in parts(root) if isinstance(part, widgets.HTML))


def one(root: widgets.Widget, kind: type) -> Any:
    [found] = [part for part in parts(root) if isinstance(part, kind)]
    return found


def a_card(view: RunView) -> tuple[FakeRun, Card]:
    run = FakeRun(view)
    return run, Card(run, view)


@pytest.mark.usefixtures("messages")
def test_nothing_is_clicked_before_the_details_are_there() -> None:
    """While the details are on their way, or can't be read, the buttons are grey, and the form says why."""
    late = replace(GATE, complete=False)
    run, card = a_card(replace(VIEW, status="waiting", gates=(late,)))
    assert all(buttons(card.widget)[name].disabled for name in ("Approve", "Reject"))
    assert "Its details are not here yet" in said(card.widget)
    buttons(card.widget)["Approve"].click()
    assert run.sent == []
    run.become(replace(VIEW, status="waiting", gates=(replace(late, details="The details can't be shown here: x"),)))
    assert buttons(card.widget)["Approve"].disabled and "run.approve()" in said(card.widget)
    run.become(replace(VIEW, status="waiting", gates=(replace(GATE, details={"to": "Ann"}),)))
    assert "details are not here" not in said(card.widget)
    buttons(card.widget)["Approve"].click()
    assert run.sent == [("1", True, "approve", "")]


@pytest.mark.usefixtures("messages")
def test_a_click_on_a_question_that_has_changed_is_nobodys() -> None:
    """Another question at the same gate, of another execution, is another form: the old buttons are gone."""
    run, card = a_card(replace(VIEW, status="waiting", gates=(GATE,)))
    old = buttons(card.widget)["Approve"]
    other = replace(GATE, asked=replace(GATE.asked, question="Pay 5,000,000?", execution="2"))
    run.become(replace(VIEW, status="waiting", gates=(other,)))
    old.click()
    assert run.sent == []
    buttons(card.widget)["Approve"].click()
    assert run.sent == [("1", True, "approve", "")]


@pytest.mark.usefixtures("messages")
def test_an_option_that_reads_like_the_reject_button() -> None:
    """The two can be told apart."""
    _, card = a_card(replace(VIEW, gates=(a_gate("1", GATE.question, ("REJECT", "Beta", " "), opened=START),)))
    assert list(buttons(card.widget))[:4] == ["REJECT", "Beta", "(blank)", "Reject, none of these"]


@pytest.mark.usefixtures("messages")
def test_a_click_posts_the_decision_once() -> None:
    """Approve goes out with its comment, the buttons go grey at once, and a second click sends nothing."""
    run, card = a_card(replace(VIEW, status="waiting", gates=(GATE,)))
    one(card.widget, widgets.Text).value = "fine"
    approve, reject = buttons(card.widget)["Approve"], buttons(card.widget)["Reject"]
    assert approve.tooltip == "Approve: Contact ACME?"
    approve.click()
    approve.click()
    reject.click()
    assert run.sent == [("1", True, "approve", "fine")]
    assert approve.disabled and reject.disabled and one(card.widget, widgets.Text).disabled
    run.answer(None)
    assert "The decision is saved" in said(card.widget)
    run.become(replace(VIEW, gates=(replace(GATE, answer=DECISION),)))
    assert "Approve" not in buttons(card.widget)
    assert "Approved by anna on 2026-11-23 15:10:00 UTC" in said(card.widget)


@pytest.mark.usefixtures("messages")
@pytest.mark.parametrize("at_once", [True, False])
def test_a_decision_that_fails_can_be_tried_again(at_once: bool) -> None:
    """The error is on the card, escaped, and the buttons are back."""
    run, card = a_card(replace(VIEW, status="waiting", gates=(GATE,)))
    error = ServerError("No server <at> 127.0.0.1:7233.")
    if at_once:
        run.refuse = error
    buttons(card.widget)["Reject"].click()
    clicks_arrived()
    if not at_once:
        run.answer(error)
    assert "No server &lt;at&gt; 127.0.0.1:7233." in said(card.widget)
    assert not buttons(card.widget)["Reject"].disabled
    run.refuse = None
    buttons(card.widget)["Reject"].click()
    assert run.sent[-1] == ("1", False, "reject", "")


@pytest.mark.usefixtures("messages")
def test_a_kept_decision_is_not_called_taken() -> None:
    """Where nobody knows yet whether it counts, the form says so, and then what came of it."""
    run, card = a_card(replace(VIEW, status="waiting", gates=(GATE,)))
    buttons(card.widget)["Approve"].click()
    clicks_arrived()
    run.kept()
    assert "Whether it counts is not known yet" in said(card.widget)
    assert buttons(card.widget)["Approve"].disabled
    run.answer(AlreadyDecided("already", decision=DECISION.to_wire()))
    assert "Somebody else was faster. Approved by anna" in said(card.widget)


@pytest.mark.usefixtures("messages")
def test_a_decision_of_which_nothing_is_known_is_not_called_lost() -> None:
    """However long nobody answers: it can't be sent again as another one, and the card says what came of it."""
    run, card = a_card(replace(VIEW, status="waiting", gates=(GATE,)))
    buttons(card.widget)["Approve"].click()
    run.answer(NotYetKnown("It was sent, and it is not yet known whether it counts."))
    assert "not yet known whether it counts" in said(card.widget)
    assert "not taken" not in said(card.widget)
    assert buttons(card.widget)["Approve"].disabled
    run.become(replace(VIEW, gates=(replace(GATE, answer=DECISION),)))
    assert "Approved by anna" in said(card.widget)


@pytest.mark.usefixtures("messages")
def test_the_loser_is_told_who_decided() -> None:
    """Who came second reads who was first and when; the buttons stay grey."""
    run, card = a_card(replace(VIEW, status="waiting", gates=(GATE,)))
    buttons(card.widget)["Reject"].click()
    run.answer(AlreadyDecided("already", decision=DECISION.to_wire()))
    assert "Somebody else was faster. Approved by anna on 2026-11-23 15:10:00 UTC." in said(card.widget)
    assert buttons(card.widget)["Reject"].disabled


@pytest.mark.usefixtures("messages")
def test_a_gate_that_has_gone_says_so() -> None:
    """A decision for a gate that the run no longer waits at is refused for good."""
    run, card = a_card(replace(VIEW, status="waiting", gates=(GATE,)))
    buttons(card.widget)["Approve"].click()
    run.answer(NoOpenGate("Nothing waits."))
    assert "Nothing waits." in said(card.widget)
    assert buttons(card.widget)["Approve"].disabled


@pytest.mark.usefixtures("messages")
def test_options_are_buttons_and_many_are_a_list() -> None:
    """One button per option; more than five are picked from a list, and nothing is sent before one is picked."""
    run, card = a_card(replace(VIEW, gates=(a_gate("1", GATE.question, ("ACME", "Beta"), opened=START),)))
    assert list(buttons(card.widget))[:3] == ["ACME", "Beta", "Reject"]
    buttons(card.widget)["Beta"].click()
    assert run.sent == [("1", True, "Beta", "")]
    run, card = a_card(replace(VIEW, gates=(a_gate("1", GATE.question, tuple("abcdef"), opened=START),)))
    buttons(card.widget)["Approve"].click()
    assert run.sent == []
    assert "Choose one of the options first." in said(card.widget)
    one(card.widget, widgets.Dropdown).value = "d"
    buttons(card.widget)["Approve"].click()
    assert run.sent == [("1", True, "d", "")]


@pytest.mark.usefixtures("messages")
def test_an_option_as_long_as_a_novel_is_shortened_on_its_button_only() -> None:
    """The choice that is sent is whole."""
    run, card = a_card(replace(VIEW, gates=(a_gate("1", GATE.question, ("x" * 500,), opened=START),)))
    button = next(iter(buttons(card.widget).values()))
    assert len(button.description) <= 60
    button.click()
    assert run.sent == [("1", True, "x" * 500, "")]


@pytest.mark.usefixtures("messages")
def test_two_gates_have_a_form_each() -> None:
    """Deciding one leaves what was typed into the other."""
    second = a_gate("2", "Order?", opened=START)
    run, card = a_card(replace(VIEW, status="waiting", gates=(GATE, second)))
    first_form, second_form = card.widget.children[1].children
    one(second_form, widgets.Text).value = "typed"
    buttons(first_form)["Approve"].click()
    run.answer(None)
    run.become(replace(VIEW, status="waiting", gates=(replace(GATE, answer=DECISION), second)))
    assert card.widget.children[1].children == (second_form,)
    assert one(second_form, widgets.Text).value == "typed"
    assert first_form.comm is None


@pytest.mark.usefixtures("messages")
def test_called_agents_ask_on_the_card_too() -> None:
    """Two called agents number their gates alike; each form says who asks and decides its own."""
    below = tuple(replace(GATE, asked=asked, run_id=asked.run_id) for asked in asked_by("run-1-1", "run-1-2"))
    run, card = a_card(replace(VIEW, status="waiting", gates=below))
    first_form, second_form = card.widget.children[1].children
    assert "asked by the called agent run-1-2" in said(second_form)
    assert "kg.run(&#39;run-1-2&#39;).approve(&#39;1&#39;)" in said(second_form)
    buttons(second_form)["Approve"].click()
    assert run.sent == [("1", True, "approve", "", "run-1-2")]
    run.become(replace(VIEW, status="waiting", gates=(below[0], replace(below[1], answer=DECISION))))
    assert card.widget.children[1].children == (first_form,)
    assert "asked by the called agent run-1-2" in said(card.widget)


@pytest.mark.usefixtures("messages")
def test_the_buttons_follow_the_state() -> None:
    """A parked or retrying run is mended or retried, a running one cancelled, a closed one nothing."""
    run, card = a_card(VIEW)
    assert list(buttons(card.widget)) == ["Cancel run …"]
    look = "Look at the moment of failure"
    retrying = replace(STEP, status="retrying", attempt=2, error="E")
    run.become(replace(VIEW, status="retrying", steps=(retrying,)))
    assert list(buttons(card.widget)) == ["Mend and go on", "Retry now", look, "Cancel run …"]
    buttons(card.widget)["Mend and go on"].click()
    run.answer(RunError("The cell of quote is unchanged"))
    run.become(replace(VIEW, status="retrying", steps=(replace(retrying, attempt=3),)))
    assert "The cell of quote is unchanged" in said(card.widget)
    run.sent.clear()
    run.become(replace(VIEW, status="parked", steps=(replace(STEP, status="parked", error="E"),)))
    assert "unchanged" not in said(card.widget)
    assert list(buttons(card.widget)) == ["Mend and go on", "Retry now", look, "Cancel run …"]
    buttons(card.widget)["Mend and go on"].click()
    assert run.sent == [("mend",)]
    assert buttons(card.widget)["Retry now"].disabled
    run.answer(ServerError("The cell does not define 'quote'."))
    assert "The cell does not define" in said(card.widget)
    assert not buttons(card.widget)["Mend and go on"].disabled
    run.become(replace(VIEW, status="completed", result="7"))
    assert list(buttons(card.widget)) == []


@pytest.mark.usefixtures("messages")
def test_cancelling_asks_once_more() -> None:
    """The first click sends nothing, and what takes its place is harmless."""
    run, card = a_card(VIEW)
    buttons(card.widget)["Cancel run …"].click()
    assert run.sent == []
    assert list(buttons(card.widget)) == ["No, keep it running", "Yes, cancel the run"]
    buttons(card.widget)["No, keep it running"].click()
    assert list(buttons(card.widget)) == ["Cancel run …"]
    buttons(card.widget)["Cancel run …"].click()
    buttons(card.widget)["Yes, cancel the run"].click()
    assert run.sent == [("cancel",)]


def test_only_what_changed_is_sent(messages: list[tuple[str, dict[str, Any]]]) -> None:
    """The same state sends nothing; progress sends the steps' table and no other widget."""
    view = replace(VIEW, status="waiting", gates=(replace(GATE, details=pd.DataFrame({"a": np.arange(3)})),))
    run, _ = a_card(view)
    messages.clear()
    run.become(replace(view, gates=(replace(view.gates[0], details=pd.DataFrame({"a": np.arange(3)})),)))
    assert messages == []
    run.become(replace(view, steps=(replace(STEP, progress=Progress(1, 2)),)))
    assert [list(state) for _, state in messages] == [["value"]]


def test_printing_sends_one_widget(messages: list[tuple[str, dict[str, Any]]]) -> None:
    """Output of a step has a widget of its own, so that other parts that were opened stay open."""
    done = StepView("0", "load", "completed", 1, START, START, START, output="3 files\n")
    run, _ = a_card(replace(VIEW, steps=(done, replace(STEP, output="a\n"))))
    messages.clear()
    run.become(replace(VIEW, steps=(done, replace(STEP, output="a\nb\n"))))
    assert len(messages) == 1
    assert "a\nb" in messages[0][1]["value"]


def test_what_is_shown_is_replaced_at_the_end(shown: list[tuple[str, dict[str, Any], bool]]) -> None:
    """Each place has a static form beside the widget; a gate renews it, and the end leaves only the record."""
    run = FakeRun(VIEW)
    show(run)
    show(run)
    assert [sorted(bundle) for _, bundle, _ in shown] == [["text/html", "text/plain"], [WIDGET_VIEW, "text/plain"]] * 2
    assert "kg.run(&#39;run-1&#39;)" in shown[0][1]["text/html"]
    ids = [display_id for display_id, _, _ in shown]
    assert len(set(ids)) == 4
    places, widgets_shown = ids[::2], ids[1::2]
    assert len(run.callbacks) == 1
    shown.clear()
    run.become(replace(VIEW, steps=(replace(STEP, progress=Progress(1, 2)),)))
    assert shown == []
    run.become(replace(VIEW, status="waiting", gates=(GATE,)))
    assert [(display_id, update) for display_id, _, update in shown] == [(place, True) for place in places]
    assert "Contact ACME?" in shown[-1][1]["text/plain"]
    assert shown[-1][1]["text/html"].count("Contact ACME?") == 2  # at once, and among all that was known
    shown.clear()
    decided = replace(VIEW, status="completed", gates=(replace(GATE, answer=DECISION),), result="'ok'")
    run.become(decided)
    assert [(display_id, update) for display_id, _, update in shown] == [
        (display_id, True) for place in zip(widgets_shown, places, strict=True) for display_id in place
    ]
    assert [sorted(bundle) for _, bundle, _ in shown] == [["text/plain"], ["text/html", "text/plain"]] * 2
    assert shown[0][1] == {"text/plain": ""}
    assert "Approved by anna" in shown[1][1]["text/html"]
    assert run.callbacks == []
    run.become(decided)
    assert len(shown) == 4


def test_an_ended_run_is_static(shown: list[tuple[str, dict[str, Any], bool]]) -> None:
    """No widget, no watching."""
    run = FakeRun(replace(VIEW, status="cancelled"))
    show(run)
    assert [sorted(bundle) for _, bundle, _ in shown] == [["text/html", "text/plain"]]
    assert run.callbacks == []


def test_a_failed_run_shows_the_moment_of_failure(
    shown: list[tuple[str, dict[str, Any], bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The card is there at once; the replay's moment follows in the same place, closed until it is clicked."""
    monkeypatch.setattr(card_module, "failure_blocks", lambda run: (line(Strong(f"{run.id} at its failure")),))
    run = FakeRun(replace(VIEW, status="failed", error="KeyError: 'CN'"))
    show(run)
    assert [update for _, _, update in shown] == [False, True]
    assert len({display_id for display_id, _, _ in shown}) == 1
    assert "failure</strong>" not in shown[0][1]["text/html"]
    page = shown[1][1]["text/html"]
    assert (
        "<summary" in page
        and "Look at the moment of failure" in page
        and "<strong>run-1 at its failure</strong>" in page
    )
    shown.clear()
    live = FakeRun(VIEW)
    show(live)
    live.become(run.now)
    assert [WIDGET_VIEW in bundle for _, bundle, _ in shown] == [False, True, False, False, False]
    assert "<strong>run-1 at its failure</strong>" in shown[-1][1]["text/html"]


def test_a_long_failed_run_is_not_replayed_unasked(shown: list[tuple[str, dict[str, Any], bool]]) -> None:
    """Beyond 500 steps the card names the call that looks, and leaves it at that."""
    steps = tuple(replace(STEP, call=str(number), status="completed") for number in range(501))
    show(FakeRun(replace(VIEW, status="failed", error="KeyError: 'CN'", steps=steps)))
    [(_, bundle, _)] = shown
    assert "Look at the moment" not in bundle["text/html"]


def test_a_replay_that_fails_leaves_the_card(shown: list[tuple[str, dict[str, Any], bool]]) -> None:
    """Why the moment can't be shown is said, escaped, where it would be."""
    show(FakeRun(replace(VIEW, status="failed", error="KeyError: 'CN'")))
    assert "can&#39;t be shown: No moment &#39;failure&#39;: &lt;none&gt;." in shown[-1][1]["text/html"]


@pytest.mark.usefixtures("messages")
def test_a_parked_run_is_looked_at_with_one_click(monkeypatch: pytest.MonkeyPatch) -> None:
    """The replay runs beside the kernel, and what it shows goes when the run goes on."""
    asked, may_answer = threading.Event(), threading.Event()

    def replayed(run: Any) -> Blocks:
        asked.set()
        may_answer.wait(10)
        return (line(Strong("the moment")),)

    monkeypatch.setattr("kaigents_nb.display.actions.failure_blocks", replayed)
    run, card = a_card(replace(VIEW, status="parked", steps=(replace(STEP, status="parked", error="E"),)))
    assert "run.fork(at=&#34;failed&#34;, code=&#34;current&#34;)" in said(card.widget)
    look = buttons(card.widget)["Look at the moment of failure"]
    look.click()
    assert asked.wait(10) and look.disabled and "Replaying the run" in said(card.widget)
    may_answer.set()
    eventually(lambda: "<strong>the moment</strong>" in said(card.widget) and not look.disabled)
    run.become(VIEW)
    assert "<strong>the moment</strong>" not in said(card.widget)


def test_without_widgets_the_state_is_shown(
    shown: list[tuple[str, dict[str, Any], bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A terminal gets the text of the moment."""
    monkeypatch.setattr(card_module, "has_widgets", lambda: False)
    run = FakeRun(VIEW)
    show(run)
    assert [sorted(bundle) for _, bundle, _ in shown] == [["text/html", "text/plain"]]
    assert run.callbacks == []


def test_a_run_that_ends_while_it_is_shown(shown: list[tuple[str, dict[str, Any], bool]]) -> None:
    """The first update may already be the last; nothing stays behind."""

    class Fast(FakeRun):
        def watch(self, callback: Callable[[RunView], None], *, adopt: bool = True) -> Callable[[], None]:
            self.now = replace(VIEW, status="completed", result="1")
            return super().watch(callback)

    run = Fast(VIEW)
    show(run)
    assert sorted(shown[-1][1]) == ["text/html", "text/plain"]
    assert run.callbacks == []
    assert card_module._cards == {}


def test_a_closed_widget_stops_watching(shown: list[tuple[str, dict[str, Any], bool]]) -> None:
    """Closing the card, or its widget behind our back, ends the subscription; showing again makes a new one."""
    run = FakeRun(VIEW)
    show(run)
    widgets.Widget.close_all()
    run.become(replace(VIEW, arguments="1"))
    assert run.callbacks == []
    show(run)
    assert len(run.callbacks) == 1
    [card] = card_module._cards.values()
    card.close()
    assert run.callbacks == []
    assert card_module._cards == {}


def test_close_leaves_no_widget_behind(messages: object) -> None:
    """Every model of the card is closed, so the front end and the kernel forget it."""
    alive = widgets.widget._instances
    start = set(alive)
    steps = (replace(STEP, output="x"),)
    run, card = a_card(
        replace(VIEW, status="waiting", gates=(a_gate("1", GATE.question, tuple("abcdef"), opened=START),), steps=steps)
    )
    assert set(alive) - start
    card.close()
    gc.collect()
    assert set(alive) - start == set()
    assert run.callbacks == []


class FakeDesk:
    """Runs by id, and a table that the test fills."""

    def __init__(self, *runs: FakeRun) -> None:
        self.runs = {run.id: run for run in runs}
        self._held = Held()
        self.answer = self._held.end

    def inbox(self, questions: Sequence[Question]) -> Inbox:
        looks = iter([lambda: questions])
        return Inbox(self.runs.__getitem__, lambda: next(looks, self._held.wait)())


def waiting(name: str) -> FakeRun:
    [asked] = asked_by(name)
    gate = replace(GATE, asked=asked, details={"budget": 1500})
    return FakeRun(replace(VIEW, run_id=name, status="waiting", gates=(gate,)))


def asked_by(*names: str) -> list[Question]:
    return [replace(GATE.asked, run_id=name, agent="sourcing_agent") for name in names]


@pytest.mark.usefixtures("messages")
def test_the_inbox_decides_and_keeps_in_step() -> None:
    """Details come with the run's view; a decision here is posted, one taken elsewhere shows."""
    first, second = waiting("run-1"), waiting("run-2")
    inbox = FakeDesk(first, second).inbox(asked_by("run-1", "run-2"))
    assert "2 decisions are waiting" in said(inbox.widget)
    assert said(inbox.widget).count("1500") == 2
    one_form, other_form = inbox.widget.children[2].children
    buttons(one_form)["Approve"].click()
    assert first.sent == [("1", True, "approve", "")] and second.sent == []
    second.become(replace(second.now, status="running", gates=(replace(GATE, answer=DECISION),)))
    assert "Approved by anna" in said(other_form)
    assert buttons(other_form)["Approve"].disabled


@pytest.mark.usefixtures("messages")
def test_the_inbox_refreshes_without_waiting() -> None:
    """New gates come in, decided ones go, forms that stay keep what was typed."""
    first, second, third = waiting("run-1"), waiting("run-2"), waiting("run-3")
    desk = FakeDesk(first, second, third)
    inbox = desk.inbox(asked_by("run-1", "run-2"))
    kept = inbox.widget.children[2].children[1]
    one(kept, widgets.Text).value = "typed"
    buttons(inbox.widget)["Refresh"].click()
    assert buttons(inbox.widget)["Refresh"].disabled
    desk.answer(asked_by("run-2", "run-3"))
    assert not buttons(inbox.widget)["Refresh"].disabled
    assert inbox.widget.children[2].children[0] is kept
    assert one(kept, widgets.Text).value == "typed"
    assert first.callbacks == [] and len(third.callbacks) == 1
    buttons(inbox.widget)["Refresh"].click()
    desk.answer(ServerError("The server went away."))
    assert "The server went away." in said(inbox.widget)
    inbox.close()
    assert second.callbacks == third.callbacks == []


@pytest.mark.usefixtures("messages")
def test_a_long_inbox_is_bounded() -> None:
    """The longest waiting are shown, and how many there are."""
    runs = [waiting(f"run-{n}") for n in range(MAX_SHOWN + 5)]
    inbox = FakeDesk(*runs).inbox(asked_by(*(run.id for run in runs)))
    assert len(inbox.widget.children[2].children) == MAX_SHOWN
    assert f"{MAX_SHOWN + 5} decisions are waiting; the longest waiting {MAX_SHOWN} are shown" in said(inbox.widget)


@pytest.mark.usefixtures("messages")
def test_the_inbox_has_a_static_form() -> None:
    """Without widgets it is a table with the code that decides."""
    inbox = FakeDesk(waiting("run-1")).inbox(asked_by("run-1"))
    bundle = inbox._repr_mimebundle_()
    assert sorted(bundle) == ["text/html", "text/plain"]
    assert "kg.run(&#39;run-1&#39;)" in bundle["text/html"]
    assert "kg.run('run-1').approve()" in bundle["text/plain"]
    assert "No decision is waiting" in FakeDesk().inbox(asked_by())._repr_mimebundle_()["text/plain"]


def test_prices_are_not_typeset_as_formulas(shown: list[tuple[str, dict[str, Any], bool]]) -> None:
    """JupyterLab would show ``$61.50 to $68.90`` as TeX: every element that we show tells it not to."""
    gate = a_gate("1", "From $61.50 to $68.90?", (), {"budget": "$1 to $2"}, START)
    step = replace(STEP, status="parked", error="E: $1 $2", output="$1 $2")
    view = replace(VIEW, status="waiting", gates=(gate,), steps=(step,), problem="$1 $2", url="http://x", result="$")
    run, card = a_card(view)
    buttons(card.widget)["Retry now"].click()
    buttons(card.widget)["Look at the moment of failure"].click()
    eventually(lambda: "can&#39;t be shown" in said(card.widget))
    buttons(card.widget)["Approve"].click()
    inbox = FakeDesk(waiting("run-1")).inbox(asked_by("run-1"))
    moment = Moment(a_trace([(8, {"price": "$1 $2"}), (9, {})]), 1)
    explorer = Explorer(moment, Timeline(view))
    show(run)
    pages = [
        part.value for root in (card, inbox, explorer) for part in parts(root.widget) if isinstance(part, widgets.HTML)
    ]
    pages += [
        shown[-2][1]["text/html"],
        inbox._repr_mimebundle_()["text/html"],
        explorer._repr_mimebundle_()["text/html"],
    ]
    pages += [moment._repr_html_(), Timeline(view)._repr_html_()]
    assert len([page for page in pages if page]) > 15
    assert [
        page for page in pages if not re.match(r'(<(div|section) class="mathjax_ignore tex2jax_ignore"|$)', page)
    ] == []


@pytest.mark.usefixtures("messages")
def test_controls_are_named_for_screen_readers() -> None:
    """Every control has words: a description, and buttons a tooltip."""
    form = GateForm(a_gate("1", GATE.question, tuple("abcdef"), opened=START), lambda *_: None, how="run.approve()")
    controls = [part for part in parts(form.widget) if not isinstance(part, widgets.HTML | widgets.Box)]
    assert len(controls) == 4
    assert all(control.description.strip() for control in controls)
    assert all(button.tooltip for button in buttons(form.widget).values())
