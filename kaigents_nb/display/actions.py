"""The buttons of a run beside its gates: mend, retry, cancel."""

from __future__ import annotations

import threading
from functools import partial
from typing import Final

import ipywidgets as widgets

from kaigents_nb.display.blocks_html import root
from kaigents_nb.display.kernel import close_tree, detached
from kaigents_nb.display.moment_blocks import failure_blocks
from kaigents_nb.display.protocols import Action, LiveRun
from kaigents_nb.display.run_blocks import message_blocks
from kaigents_nb.history.view import RunView

_SENT: Final[dict[Action, str]] = {
    "mend": "Mending: the step's new code is being put in.",
    "retry_now": "Trying again now.",
    "cancel": "Cancelling: the agent is told to stop.",
}


class RunActions:
    """The buttons that the run's state calls for; each posts and returns at once."""

    def __init__(self, run: LiveRun) -> None:
        self._run = run
        self._lock = threading.RLock()
        self._seen: object = None
        self._offered: list[widgets.Button] = []
        self._mend = self._button(
            "Mend and go on", "Put the step's corrected cell into this run, and go on", "mend", "primary"
        )
        self._retry = self._button("Retry now", "Don't wait for the next attempt", "retry_now")
        self._really = self._button("Yes, cancel the run", "Stop the agent for good", "cancel", "danger")
        self._cancel = _plain("Cancel run …", "Stop the agent; asks once more")
        self._keep = _plain("No, keep it running", "Don't cancel")
        self._look = _plain("Look at the moment of failure", "Show the line that failed, and all variables there")
        self._look.on_click(self._look_back)
        self._cancel.on_click(lambda _button: self._ask(True))
        self._keep.on_click(lambda _button: self._ask(False))
        self._all = (self._mend, self._retry, self._really, self._cancel, self._keep, self._look)
        self._message, self._moment = widgets.HTML(), widgets.HTML()
        self._row = widgets.HBox(layout=widgets.Layout(flex_flow="row wrap"))
        self.widget = widgets.VBox([self._row, self._message, self._moment])

    def update(self, view: RunView) -> None:
        """Offer what the state calls for: nothing once the run is closed."""
        troubled = [
            (step.call, step.status, step.attempt) for step in view.steps if step.status in ("parked", "retrying")
        ]
        seen = (view.closed, troubled)
        with self._lock:
            if seen == self._seen:
                return
            self._seen = seen
            states = {status for _, status, _ in troubled}
            self._offered = []
            if "parked" in states:
                self._offered.append(self._mend)
            if troubled:
                self._offered += [self._retry, self._look]
            if view.closed:
                self._row.children = self._offered = []
            else:
                self._ask(False)
            self._enable(True)
            self._message.value = self._moment.value = ""

    def close(self) -> None:
        """Take the buttons away, also those not offered now."""
        with self._lock:
            for part in (*self._all, self.widget):
                close_tree(part)

    def _button(self, label: str, tooltip: str, action: Action, style: str = "") -> widgets.Button:
        button = _plain(label, tooltip, style)
        button.on_click(partial(self._click, action))
        return button

    def _look_back(self, _button: widgets.Button) -> None:
        """Replay the run on a thread of its own: a click must not hold up the kernel."""
        with self._lock:
            self._look.disabled = True
            seen = self._seen
            self._moment.value = root(*message_blocks("Replaying the run …"))

        def show() -> None:
            page = root(*failure_blocks(self._run))
            with self._lock:
                self._look.disabled = False
                if self._seen == seen:
                    self._moment.value = page

        threading.Thread(target=detached(show), name="kaigents failure", daemon=True).start()

    def _ask(self, ask: bool) -> None:
        """Ask before cancelling; the harmless answer takes the button's place, for a double click."""
        with self._lock:
            self._row.children = [*self._offered, *([self._keep, self._really] if ask else [self._cancel])]

    def _click(self, action: Action, _button: widgets.Button) -> None:
        with self._lock:
            self._enable(False)
            self._ask(False)
            self._message.value = root(*message_blocks("Sending …"))
        done = detached(partial(self._done, action))
        try:
            self._run.post(action, done)
        except Exception as error:  # noqa: BLE001 - a click has no caller: the card shows it
            done(error)

    def _done(self, action: Action, error: BaseException | None) -> None:
        with self._lock:
            if error is None:
                self._message.value = root(*message_blocks(_SENT[action]))
                return
            self._enable(True)
            self._message.value = root(*message_blocks(str(error) or type(error).__name__, bad=True))

    def _enable(self, enabled: bool) -> None:
        for button in (self._mend, self._retry, self._cancel, self._really):
            button.disabled = not enabled


def _plain(label: str, tooltip: str, style: str = "") -> widgets.Button:
    return widgets.Button(description=label, tooltip=tooltip, button_style=style, layout=widgets.Layout(width="auto"))
