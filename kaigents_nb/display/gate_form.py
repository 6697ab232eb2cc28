"""The form that decides a gate: shared by the card and the inbox."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Literal

import ipywidgets as widgets

from kaigents_nb.display import words
from kaigents_nb.display.blocks_html import root
from kaigents_nb.display.form_fields import FormFields
from kaigents_nb.display.kernel import button, close_tree, in_background
from kaigents_nb.display.run_blocks import gate_blocks, message_blocks
from kaigents_nb.errors import AlreadyDecided, InvalidAnswer, NoOpenGate, NotYetKnown
from kaigents_nb.gates.answer import Answer
from kaigents_nb.gates.question import Question
from kaigents_nb.gates.visible import label, same_labels, visible
from kaigents_nb.history.view import GateView

MAX_BUTTONS: Final = 5
"""With more options than this, one is picked from a list."""

_INCOMPLETE: Final = "Its details are not here yet: it can be decided when they are."
_UNREADABLE: Final = "Without its details it can't be decided here. Decide where they can be read, or in code:"

Submit = Callable[[Question, Answer, Callable[[], None]], object]
"""Takes an answer to the question as it was shown; see :meth:`Run.submit_answer`."""


def show_forms(box: widgets.VBox, forms: dict[tuple[str, str], GateForm], keys: Sequence[tuple[str, str]]) -> None:
    """Show the forms with these keys, in their order; the others go."""
    gone = [forms.pop(key) for key in forms.keys() - set(keys)]
    box.children = tuple(forms[key].widget for key in keys)
    for form in gone:
        form.close()


class GateForm:
    """A question with its details, a comment and buttons; a click sends the decision and never waits.

    A form is of one question as it was asked; another question is another form, so that no click can hit it. While
    the details are not here, whole, nothing can be clicked.

    The buttons go grey with the first click. They come back, with the error, when the decision did not arrive; they
    stay grey when somebody else was faster, and the form says who.
    """

    def __init__(self, gate: GateView, submit: Submit, *, how: str, heading: str = "") -> None:
        self.gate = gate
        self._submit = submit
        self._how = how
        self._heading = heading
        self._state: Literal["open", "sent", "closed"] = "open"
        self._lock = threading.RLock()
        self._question = widgets.HTML(root(*gate_blocks(gate, how=how, heading=heading)))
        self._fields = FormFields(gate.asked.form) if gate.asked.form is not None else None
        self._choice = self._make_choice()
        self._comment = widgets.Text(
            description="Comment",
            placeholder="optional, kept with the decision",
            layout=widgets.Layout(width="min(100%, 460px)"),
            style={"description_width": "initial"},
        )
        self._buttons = self._make_buttons()
        self._message = widgets.HTML()
        picked = [self._choice] if self._choice is not None else []
        row = widgets.HBox([*picked, *self._buttons], layout=widgets.Layout(flex_flow="row wrap"))
        asked = [self._fields.widget] if self._fields is not None else []
        self.widget = widgets.VBox(
            [self._question, *asked, self._comment, row, self._message], layout=widgets.Layout(padding="0 0 6px 0")
        )
        if not gate.complete:
            self._settle("open", "")

    def update(self, gate: GateView, *, how: str | None = None, over: bool = False) -> None:
        """Take a newer state of the gate: its details, or that it is no longer open; ``over``: the run has ended."""
        with self._lock:
            came, self.gate = gate.complete and not self.gate.complete, gate
            self._how = self._how if how is None else how
            self._question.value = root(*gate_blocks(gate, how=self._how, heading=self._heading))
            if over or not gate.is_open:
                self._settle("closed", f"{words.verdict(gate.answer)}.")
            elif self._state == "open" and (came or not gate.complete):
                self._settle("open", "")

    def close(self) -> None:
        """Take the form away."""
        with self._lock:
            self._state = "closed"
            close_tree(self.widget)

    def _make_choice(self) -> widgets.Dropdown | None:
        if self._fields is not None or len(self.gate.options) <= MAX_BUTTONS:
            return None
        labelled = [(label(option), option) for option in self.gate.options]
        return widgets.Dropdown(
            options=[("Choose one …", None), *labelled],
            description="Option",
            style={"description_width": "initial"},
        )

    def _make_buttons(self) -> list[widgets.Button]:
        asked = self.gate.question
        if self._fields is not None:
            approve = [button("Send", words.line(f"Answer: {asked}"), partial(self._click, True), "success")]
        elif self.gate.options and self._choice is None:
            approve = [
                button(
                    label(option),
                    words.line(f"Approve with {visible(option)!r}"),
                    partial(self._click, True, option),
                    "primary",
                )
                for option in self.gate.options
            ]
        else:
            approve = [button("Approve", words.line(f"Approve: {asked}"), partial(self._click, True), "success")]
        # An option that reads like it must not be taken for it.
        reject = "Reject" if same_labels((*self.gate.options, "Reject")) is None else "Reject, none of these"
        return [*approve, button(reject, words.line(f"Reject: {asked}"), partial(self._click, False))]

    def _click(self, approved: bool, choice: str | None = None) -> None:
        with self._lock:
            if self._state != "open" or not self.gate.complete:
                return
            if approved and self._choice is not None:
                choice = self._choice.value
                if choice is None:
                    self._message.value = root(*message_blocks("Choose one of the options first.", bad=True))
                    return
            asked = self.gate.asked
            try:
                answer = self._answer(approved, choice)
            except InvalidAnswer as error:
                self._refuse(error)
                return
            self._settle("sent", "Sending …")
        in_background(lambda: self._submit(asked, answer, self._kept), lambda _, error: self._done(answer, error))

    def _answer(self, approved: bool, choice: str | None) -> Answer:
        asked, comment = self.gate.asked, self._comment.value
        if not approved or self._fields is None:
            return asked.answer(approved, choice=choice, comment=comment)
        return asked.answered(self._fields.value(), comment=comment)

    def _refuse(self, error: InvalidAnswer) -> None:
        """Say beside the fields what is wrong with them; the form stays open."""
        if self._fields is not None:
            self._fields.show(error.faults)
        self._settle("open", str(error), bad=True)

    def _kept(self) -> None:
        with self._lock:
            if self._state == "sent":
                self._settle("sent", "The server keeps the decision. Whether it counts is not known yet …")

    def _done(self, answer: Answer, error: Exception | None) -> None:
        with self._lock:
            if self._state == "closed":
                return
            if error is None:
                self._settle("sent", f"{words.verdict(answer)}. The decision is saved.")
            elif isinstance(error, AlreadyDecided):
                told = f"{words.verdict(Answer.from_wire(error.decision))}." if error.decision else str(error)
                self._settle("closed", f"Somebody else was faster. {told}", bad=True)
            elif isinstance(error, NotYetKnown):
                self._settle("sent", str(error))  # the run's next state says what came of it
            elif isinstance(error, InvalidAnswer):
                self._refuse(error)
            elif isinstance(error, NoOpenGate):
                self._settle("closed", str(error), bad=True)
            else:
                self._settle("open", f"The decision was not taken: {words.reason(error)}", bad=True)

    def _settle(self, state: Literal["open", "sent", "closed"], message: str, *, bad: bool = False) -> None:
        self._state = state
        if state != "open" and self._fields is not None:
            self._fields.show({})
        fields = self._fields.controls() if self._fields is not None else ()
        for control in (*self._buttons, self._comment, self._choice, *fields):
            if control is not None:
                control.disabled = state != "open" or not self.gate.complete
        if state == "open" and not self.gate.complete:
            message, bad = _INCOMPLETE if self.gate.details is None else f"{_UNREADABLE} {self._how}", True
        self._message.value = root(*message_blocks(message, bad=bad))
