"""The inbox: every open gate of every run, with the form that decides it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import ipywidgets as widgets
import pandas as pd

from kaigents_nb.control.run import Run
from kaigents_nb.display import html, markup, words
from kaigents_nb.display.gate_form import GateForm
from kaigents_nb.display.kernel import close_tree, detached, has_widgets, is_open, widget_bundle
from kaigents_nb.display.protocols import Done
from kaigents_nb.display.text import pending_text
from kaigents_nb.gates.answer import Answer
from kaigents_nb.gates.question import Question
from kaigents_nb.history.tables import gates_frame
from kaigents_nb.history.view import GateView, RunView
from kaigents_nb.people.pending import open_questions, post_open_questions
from kaigents_nb.runtime.connecting import current

Refreshed = Callable[[Sequence[Question] | None, BaseException | None], None]
"""Called from a background thread with the open gates, or with why they can't be had."""

MAX_SHOWN: Final = 20
"""Each run with a form is followed, so that decisions taken elsewhere show; the rest comes up as these are decided."""


def inbox() -> Inbox:
    """Return the open gates of all runs as a form each; show it as the last line of a cell.

    A decision taken elsewhere shows here by itself; new gates come with *Refresh*. Runs need no worker for it:
    the decision is kept until one starts. Without widgets it is the table of ``kg.pending()``.

    Examples
    --------
    ``kg.inbox()``
    """
    return Inbox(_Desk(), open_questions())


class Desk(Protocol):
    """Where the gates come from, and where decisions go; everything returns at once."""

    def refresh(self, done: Refreshed) -> None:
        """Ask for the open gates."""
        ...

    def submit_answer(self, question: Question, answer: Answer, done: Done) -> None:
        """Post an answer."""
        ...

    def watch(self, run_id: str, callback: Callable[[RunView], None]) -> Callable[[], None]:
        """Follow a run."""
        ...


class _Desk:
    """The runs of the connected server. None of them is adopted: reading a question must not start work."""

    def __init__(self) -> None:
        self._connection = current()

    def refresh(self, done: Refreshed) -> None:
        post_open_questions(done)

    def submit_answer(self, question: Question, answer: Answer, done: Done) -> None:
        Run(self._connection, question.run_id).submit_answer(question, answer, done)

    def watch(self, run_id: str, callback: Callable[[RunView], None]) -> Callable[[], None]:
        return Run(self._connection, run_id).watch(callback)


class Inbox:
    """Open gates, longest waiting first. ``pending`` is their table, as ``kg.pending()`` gives it."""

    def __init__(self, desk: Desk, questions: Sequence[Question]) -> None:
        self._questions: Sequence[Question] = ()
        self._desk = desk
        self._lock = threading.RLock()
        self._forms: dict[tuple[str, str], GateForm] = {}
        self._watched: dict[str, Callable[[], None]] = {}
        self._title = widgets.HTML()
        self._message = widgets.HTML()
        self._list = widgets.VBox()
        self._refresh = widgets.Button(
            description="Refresh", tooltip="Look for new gates", layout=widgets.Layout(width="auto")
        )
        self._refresh.on_click(self._ask)
        self.widget = widgets.VBox(
            [widgets.HBox([self._title, self._refresh]), self._message, self._list],
            layout=widgets.Layout(border=f"1px solid {markup.RULE}", padding="8px 12px", max_width="900px"),
        )
        self._show(questions)

    @property
    def pending(self) -> pd.DataFrame:
        """The open gates that it knows of, one row per gate."""
        return gates_frame(self._questions)

    def close(self) -> None:
        """Stop following the runs and take the widgets away."""
        with self._lock:
            self._unwatch(set(self._watched))
            for form in self._forms.values():
                form.close()
            close_tree(self.widget)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        rows = _rows(self.pending)
        page, text = html.pending_html(rows), pending_text(rows)
        return widget_bundle(self.widget, page, text) if has_widgets() else {"text/html": page, "text/plain": text}

    def _ask(self, _button: widgets.Button) -> None:
        with self._lock:
            self._refresh.disabled = True
        answered = detached(self._answered)
        try:
            self._desk.refresh(answered)
        except Exception as error:  # noqa: BLE001 - a click has no caller: the inbox shows it
            answered(None, error)

    def _answered(self, questions: Sequence[Question] | None, error: BaseException | None) -> None:
        with self._lock:
            if not is_open(self.widget):
                return
            self._refresh.disabled = False
            self._message.value = html.message_html(str(error) or type(error).__name__, bad=True) if error else ""
            if questions is not None:
                self._show(questions)

    def _show(self, questions: Sequence[Question]) -> None:
        with self._lock:
            self._questions = questions
            shown = {(question.run_id, question.gate): question for question in questions[:MAX_SHOWN]}
            gone = [self._forms.pop(key) for key in list(self._forms) if key not in shown]
            for key, question in shown.items():
                if key not in self._forms:
                    self._forms[key] = self._form(question)
            self._list.children = tuple(self._forms[key].widget for key in shown)
            self._title.value = html.inbox_title_html(len(questions), len(shown))
            for form in gone:
                form.close()
            runs = {run_id for run_id, _ in shown}
            self._unwatch(set(self._watched) - runs)
            for run_id in runs - set(self._watched):
                self._watched[run_id] = self._desk.watch(run_id, detached(self._update))

    def _form(self, question: Question) -> GateForm:
        gate = GateView(question)
        how = words.in_code(gate, run=f"kg.run({question.run_id!r})")
        heading = f"{question.agent} · {question.run_id}"
        return GateForm(gate, self._desk.submit_answer, how=how, heading=heading)

    def _update(self, view: RunView) -> None:
        """Take a newer state of a run: the details of its gates, and decisions taken elsewhere."""
        with self._lock:
            if not is_open(self.widget):
                self._unwatch(set(self._watched))
                return
            for gate in view.gates:
                form = self._forms.get((gate.run_id or view.run_id, gate.gate))
                if form is not None:
                    form.update(gate, over=view.closed)

    def _unwatch(self, runs: set[str]) -> None:
        for run_id in runs:
            self._watched.pop(run_id)()


def _rows(pending: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in pending.to_dict("records")]
