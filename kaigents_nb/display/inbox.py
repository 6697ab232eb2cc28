"""The inbox: every open gate of every run, with the form that decides it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

import ipywidgets as widgets
import pandas as pd

from kaigents_nb.control.run import Run
from kaigents_nb.display import words
from kaigents_nb.display.blocks import Line, Strong, line
from kaigents_nb.display.blocks_html import root
from kaigents_nb.display.blocks_text import text
from kaigents_nb.display.gate_form import GateForm, show_forms
from kaigents_nb.display.kept import kept_and_live
from kaigents_nb.display.kernel import (
    button,
    close_tree,
    detached,
    framed,
    has_widgets,
    in_background,
    is_open,
    show,
)
from kaigents_nb.display.run_blocks import kept_note, message_blocks, pending_blocks
from kaigents_nb.gates.question import Question
from kaigents_nb.gates.visible import visible
from kaigents_nb.history.frames import gates_frame
from kaigents_nb.history.view import GateView, RunView
from kaigents_nb.people.pending import open_questions
from kaigents_nb.runtime.connecting import current

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
    # None of the runs is adopted: reading a question must not start work.
    return Inbox(partial(Run, current()), open_questions)


class Inbox:
    """Open gates, longest waiting first. ``pending`` is their table, as ``kg.pending()`` gives it."""

    def __init__(self, runs: Callable[[str], Run], look: Callable[[], Sequence[Question]]) -> None:
        self._questions: Sequence[Question] = ()
        self._runs, self._look = runs, look
        self._lock = threading.RLock()
        self._forms: dict[tuple[str, str], GateForm] = {}
        self._watched: dict[str, Callable[[], None]] = {}
        self._title = widgets.HTML()
        self._message = widgets.HTML()
        self._list = widgets.VBox()
        self._refresh = button("Refresh", "Look for new gates", self._ask)
        self.widget = framed([widgets.HBox([self._title, self._refresh]), self._message, self._list])
        self._show(look())

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
        found = pending_blocks(self._questions)
        return {"text/html": str(root(found)), "text/plain": text(found)}

    def _ipython_display_(self) -> None:
        if has_widgets():
            found = pending_blocks(self._questions)
            show(kept_and_live(self.widget, root(found, kept_note("kg.inbox()")), text(found)))
        else:
            show([self._repr_mimebundle_()])

    def _ask(self) -> None:
        with self._lock:
            self._refresh.disabled = True
        in_background(self._look, self._answered)

    def _answered(self, questions: Sequence[Question] | None, error: Exception | None) -> None:
        with self._lock:
            if not is_open(self.widget):
                return
            self._refresh.disabled = False
            self._message.value = root(*message_blocks(words.reason(error), bad=True))
            if questions is not None:
                self._show(questions)

    def _show(self, questions: Sequence[Question]) -> None:
        with self._lock:
            self._questions = questions
            shown = {(question.run_id, question.token): question for question in questions[:MAX_SHOWN]}
            for key, question in shown.items():
                if key not in self._forms:
                    self._forms[key] = self._form(question)
            show_forms(self._list, self._forms, list(shown))
            self._title.value = root(_title(len(questions), len(shown)))
            runs = {run_id for run_id, _ in shown}
            self._unwatch(set(self._watched) - runs)
            for run_id in runs - set(self._watched):
                self._watched[run_id] = self._runs(run_id).watch(detached(self._update), adopt=False)

    def _form(self, question: Question) -> GateForm:
        # The details come with the first view of the run.
        gate, run = GateView(question, complete=not question.details), self._runs(question.run_id)
        how = words.in_code(gate, run=f"kg.run({question.run_id!r})")
        return GateForm(gate, run.submit_answer, how=how, heading=visible(f"{question.agent} · {question.run_id}"))

    def _update(self, view: RunView) -> None:
        """Take a newer state of a run: the details of its gates, and decisions taken elsewhere."""
        with self._lock:
            if not is_open(self.widget):
                self._unwatch(set(self._watched))
                return
            known = {(gate.run_id or view.run_id, gate.asked.token): gate for gate in view.gates}
            for key, form in self._forms.items():
                if key[0] == view.run_id:
                    # What the run does not know was asked by an execution before this one.
                    form.update(known.get(key) or replace(form.gate, withdrawn=True), over=view.closed)

    def _unwatch(self, runs: set[str]) -> None:
        for run_id in runs:
            self._watched.pop(run_id)()


def _title(count: int, shown: int) -> Line:
    """How many decisions wait."""
    waiting = {0: "No decision is waiting", 1: "One decision is waiting"}.get(count, f"{count:,} decisions are waiting")
    more = f"; the longest waiting {shown} are shown" if shown < count else ""
    return line(Strong(f"{waiting}{more}"), " \N{NO-BREAK SPACE}")
