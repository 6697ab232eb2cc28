"""The live card of a run: core widgets only, changed from the background, replaced by HTML at the end."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import ipywidgets as widgets

from kaigents_nb.control.run import Run
from kaigents_nb.display import run_blocks, words
from kaigents_nb.display.actions import RunActions
from kaigents_nb.display.blocks import Blocks, tone_of
from kaigents_nb.display.blocks_html import root
from kaigents_nb.display.blocks_text import text
from kaigents_nb.display.gate_form import GateForm, show_forms
from kaigents_nb.display.keeper import Keeper
from kaigents_nb.display.kept import GONE, kept_and_live
from kaigents_nb.display.kernel import (
    close_tree,
    detached,
    framed,
    has_widgets,
    in_background,
    is_open,
    publish,
)
from kaigents_nb.display.markup import COLOURS
from kaigents_nb.display.moment_blocks import failure_blocks
from kaigents_nb.history.view import RunView

_REPLAYED_STEPS = 500
_PATIENCE_S = 1.0

_cards: dict[tuple[str, str], Card] = {}
_cards_lock = threading.Lock()


def show(run: Run) -> None:
    """Show a run here: live while it runs, as static HTML once it has ended, as text in a terminal.

    A run has one card in a kernel however often it is shown, so all its views are always in step and showing
    it again costs nothing.
    """
    view = run.view()
    if view.closed or not has_widgets():
        _show_static(run, view)
        return
    with _cards_lock:
        card = _cards.get((view.run_id, view.url))
    if card is None or not card.alive:
        # Not under the lock: the first update may come while the card is being made.
        card = Card(run, view)
        with _cards_lock:
            _cards[card.key] = card
    card.display()
    if not card.alive:
        card.stop()


def _show_static(run: Run, view: RunView) -> None:
    """Show a run as HTML and text; where it failed, with the moment of failure, later if the replay takes long."""
    display_id = uuid.uuid4().hex
    publish(_static(view), display_id)
    if not has_widgets() or not _has_failure(view):
        return
    replay = in_background(
        lambda: failure_blocks(run),
        lambda failure, _: publish(_static(view, failure or ()), display_id, update=True),
    )
    # What executes a notebook keeps only what a cell shows until it ends.
    replay.join(_PATIENCE_S)


def _static(view: RunView, failure: Blocks = ()) -> dict[str, str]:
    page, plain = run_blocks.run_blocks(view, failure), run_blocks.run_blocks(view)
    return {"text/html": str(root(page)), "text/plain": text(plain)}


def _has_failure(view: RunView) -> bool:
    """Whether the card shows by itself the moment at which the run failed: a long one is replayed only when asked."""
    return view.status == "failed" and len(view.steps) <= _REPLAYED_STEPS


class Card:
    """The widgets of one run, and the places where they are shown, each with a static form beside the widget.

    It asks for nothing by itself: ``run.watch`` calls :meth:`update` from the library's background thread,
    and only the widgets whose content differs are sent. When a gate opens or is decided, the static forms
    are renewed; when the run has ended, they are all that is left, so that a saved notebook keeps what happened.
    """

    def __init__(self, run: Run, view: RunView) -> None:
        self.key = (view.run_id, view.url)
        self._run = run
        self._lock = threading.RLock()
        self._view = view
        self._places: list[tuple[str, str]] = []
        """Display ids: of the static form, and of the widget."""
        self._failure: Blocks = ()
        self._kept = False
        """Whether only the record is left."""
        self._forms: dict[tuple[str, str], GateForm] = {}
        self._outputs: dict[str, widgets.HTML] = {}
        self._head, self._steps, self._decided, self._end, self._foot = (widgets.HTML() for _ in range(5))
        self._gates, self._printed = widgets.VBox(), widgets.VBox()
        self._actions = RunActions(run)
        below = (self._decided, self._steps, self._printed, self._actions.widget, self._foot)
        self.widget = framed([self._head, self._gates, self._end, *below])
        self._apply(view)
        self._keeper = Keeper(card=self.widget.model_id)
        self._unwatch: Callable[[], None] | None = None
        self._unwatch = run.watch(detached(self.update))
        if not self.alive:
            self.stop()

    @property
    def alive(self) -> bool:
        """Whether the card still follows its run."""
        return not self._view.closed and is_open(self.widget)

    def display(self) -> None:
        """Show the card in the current cell."""
        place = uuid.uuid4().hex, uuid.uuid4().hex
        # Under the lock, so that an update can't come before what it updates.
        with self._lock:
            bundles = self._bundles()  # of an ended run it is one
            self._keeper.kept = bundles[0]
            for display_id, bundle in zip(place, bundles, strict=False):
                publish(bundle, display_id)
            self._places.append(place)

    def update(self, view: RunView) -> None:
        """Take a newer state of the run; called from the background."""
        with self._lock:
            if not is_open(self.widget):
                self.stop()
                return
            if self._view.closed:
                return
            before, self._view = self._view, view
            self._apply(view)
            if view.closed or _asked(view) != _asked(before):
                self._renew()
            if view.closed:
                self.stop()
        if _has_failure(view):
            # Not under the lock: the replay may take long.
            failure = failure_blocks(self._run)
            with self._lock:
                self._failure = failure
                self._renew()

    def _renew(self) -> None:
        static, *_ = self._bundles()
        with self._keeper.hold_sync():
            self._keeper.kept, self._keeper.ended = static, self._view.closed
        for static_id, live_id in self._places:
            if self._view.closed and not self._kept:
                publish(GONE, live_id, update=True)  # first, for the record is not to be seen twice
            publish(static, static_id, update=True)
        self._kept = self._view.closed

    def stop(self) -> None:
        """Stop following the run; what is shown stays."""
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None
        with _cards_lock:
            if _cards.get(self.key) is self:
                del _cards[self.key]

    def close(self) -> None:
        """Stop following the run and take the widgets away; the run itself goes on."""
        with self._lock:
            self.stop()
            for form in self._forms.values():
                form.close()
            self._actions.close()
            close_tree(self._keeper)
            close_tree(self.widget)

    def _bundles(self) -> list[dict[str, Any]]:
        """Return what is shown in a place: the static form, and the widget while it is of use."""
        if self._view.closed:
            return [_static(self._view, self._failure)]
        page = root(run_blocks.kept_blocks(self._view, datetime.now(UTC)))
        plain = text(run_blocks.run_blocks(self._view, run=f"kg.run({self._view.run_id!r})"))
        return kept_and_live(self.widget, page, plain)

    def _apply(self, view: RunView) -> None:
        # A widget sends nothing when it is given the value that it has.
        self.widget.layout.border_left = f"4px solid {COLOURS[tone_of(view.status)]}"
        self._head.value = root(*run_blocks.head_blocks(view))
        self._end.value = root(*run_blocks.end_blocks(view))
        self._decided.value = root(*run_blocks.decided_blocks(view))
        self._steps.value = root(*run_blocks.steps_blocks(view))
        self._foot.value = root(*run_blocks.foot_blocks(view))
        self._apply_gates(view)
        self._apply_outputs(run_blocks.printed_blocks(view))
        self._actions.update(view)

    def _apply_gates(self, view: RunView) -> None:
        waiting = view.open_gates
        for gate in waiting:
            how = words.in_code(gate, several=len(waiting) > 1)
            key = (gate.run_id, gate.asked.token)
            if key in self._forms:
                self._forms[key].update(gate, how=how)
            else:
                self._forms[key] = GateForm(gate, self._run.submit_answer, how=how, heading=words.asked_by(gate))
        show_forms(self._gates, self._forms, [(gate.run_id, gate.asked.token) for gate in waiting])

    def _apply_outputs(self, printed: Mapping[str, Blocks]) -> None:
        for call, folds in printed.items():
            if call not in self._outputs:
                self._outputs[call] = widgets.HTML()
            self._outputs[call].value = root(*folds)
        self._printed.children = tuple(self._outputs[call] for call in printed)
        for call in self._outputs.keys() - printed.keys():
            close_tree(self._outputs.pop(call))


def _asked(view: RunView) -> list[tuple[tuple[str, str], bool]]:
    """Return the gates and which of them are open: what an audit record must not miss."""
    return [(gate.key, gate.is_open and not view.closed) for gate in view.gates]
