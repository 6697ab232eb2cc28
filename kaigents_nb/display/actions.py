"""The buttons of a run beside its gates: mend, retry, cancel."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import ipywidgets as widgets
from markupsafe import Markup

from kaigents_nb.control.run import Run
from kaigents_nb.display import words
from kaigents_nb.display.blocks_html import root
from kaigents_nb.display.kernel import button, close_tree, in_background
from kaigents_nb.display.moment_blocks import failure_blocks
from kaigents_nb.display.run_blocks import message_blocks
from kaigents_nb.history.view import RunView

_Seen = tuple[bool, Sequence[tuple[str, str, int]]]
"""Whether the run is closed; the calls in trouble with their state and attempt."""


def _states(seen: _Seen | None) -> object:
    """Return what is in trouble; one more attempt of the same changes nothing."""
    return [(call, status) for call, status, _ in seen[1]] if seen else None


class RunActions:
    """The buttons that the run's state calls for; each acts in the background and returns at once."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._lock = threading.RLock()
        self._seen: _Seen | None = None
        self._refused: object = None
        """In which state of the steps a click was refused: told until that is another."""
        self._offered: list[widgets.Button] = []
        self._mend = button(
            "Mend and go on",
            "Put the step's corrected cell into this run, and go on",
            lambda: self._send(run.mend, "Mending: the step's new code is being put in."),
            "primary",
        )
        self._retry = button(
            "Retry now",
            "Don't wait for the next attempt",
            lambda: self._send(run.retry_now, "Trying again now."),
        )
        self._really = button(
            "Yes, cancel the run",
            "Stop the agent for good",
            lambda: self._send(run.cancel, "Cancelling: the agent is told to stop."),
            "danger",
        )
        self._cancel = button("Cancel run …", "Stop the agent; asks once more", lambda: self._ask(True))
        self._keep = button("No, keep it running", "Don't cancel", lambda: self._ask(False))
        self._look = button(
            "Look at the moment of failure", "Show the line that failed, and all variables there", self._look_back
        )
        self._message, self._moment = widgets.HTML(), widgets.HTML()
        self._row = widgets.HBox(layout=widgets.Layout(flex_flow="row wrap"))
        self.widget = widgets.VBox([self._row, self._message, self._moment])

    def update(self, view: RunView) -> None:
        """Offer what the state calls for: nothing once the run is closed."""
        troubled = [
            (step.call, step.status, step.attempt) for step in view.steps if step.status in ("parked", "retrying")
        ]
        seen: _Seen = (view.closed, troubled)
        with self._lock:
            if seen == self._seen:
                return
            self._seen = seen
            self._offered = [self._mend, self._retry, self._look] * bool(troubled)
            if view.closed:
                self._row.children = self._offered = []
            else:
                self._ask(False)
            self._enable(True)
            self._moment.value = ""
            if self._refused is None or self._refused != _states(seen):
                self._message.value = ""

    def close(self) -> None:
        """Take the buttons away, also those not offered now."""
        with self._lock:
            for part in (self._mend, self._retry, self._really, self._cancel, self._keep, self._look, self.widget):
                close_tree(part)

    def _ask(self, ask: bool) -> None:
        """Ask before cancelling; the harmless answer takes the button's place, for a double click."""
        with self._lock:
            self._row.children = [*self._offered, *([self._keep, self._really] if ask else [self._cancel])]

    def _look_back(self) -> None:
        with self._lock:
            self._look.disabled = True
            seen = self._seen
            self._moment.value = root(*message_blocks("Replaying the run …"))

        def show(page: Markup | None, _error: Exception | None) -> None:
            with self._lock:
                self._look.disabled = False
                if self._seen == seen:
                    self._moment.value = page

        in_background(lambda: root(*failure_blocks(self._run)), show)

    def _send(self, work: Callable[[], object], told: str) -> None:
        with self._lock:
            self._enable(False)
            self._ask(False)
            self._message.value = root(*message_blocks("Sending …"))

        def done(_result: object, error: Exception | None) -> None:
            with self._lock:
                self._enable(error is not None)
                self._refused = _states(self._seen) if error is not None else None
                self._message.value = root(*message_blocks(words.reason(error) or told, bad=error is not None))

        in_background(work, done)

    def _enable(self, enabled: bool) -> None:
        for part in (self._mend, self._retry, self._cancel, self._really):
            part.disabled = not enabled
