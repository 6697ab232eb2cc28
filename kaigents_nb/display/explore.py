"""``run.explore()``: a slider over the moments of a run; code, variables and timeline follow it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from kaigents_nb.display.blocks import Picture
from kaigents_nb.display.blocks_html import root
from kaigents_nb.display.kept import kept_and_live
from kaigents_nb.display.kernel import button, close_tree, framed, has_widgets, show
from kaigents_nb.display.moment_blocks import code_blocks, head_blocks, moment_blocks, variables_blocks
from kaigents_nb.display.timeline import Timeline
from kaigents_nb.errors import NoSuchMoment
from kaigents_nb.replay.moment import Moment

if TYPE_CHECKING:
    from kaigents_nb.control.run import Run


def explore(run: Run, at: int | str | Moment | None = None) -> Explorer:
    """See :meth:`Run.explore`."""
    if at is not None:
        return Explorer(at if isinstance(at, Moment) else run.at(at), run.timeline())
    try:
        moment = run.at("failure")
    except NoSuchMoment:
        moment = run.at("first")
    return Explorer(moment, run.timeline())


class Explorer:
    """A run's moments under a slider. ``moment`` is the one that is shown.

    The slider takes arrow keys, Page Up and Page Down, Home and End; Tab leads on to the buttons. Without
    widgets, and in a saved notebook, it is the moment that it was opened at.
    """

    def __init__(self, moment: Moment, timeline: Timeline) -> None:
        self.moment = moment
        self._opened = moment
        self._timeline = timeline
        self._lock = threading.RLock()
        last = len(moment.trace) - 1
        self._slider = widgets.IntSlider(
            value=moment.number,
            min=0,
            max=max(last, 1),
            description="Moment",
            tooltip="Which line of the run: arrow keys move by one",
            disabled=last < 1,
            layout=widgets.Layout(width="100%", max_width="720px"),
        )
        self._prev = button("◀ Previous", "Go to the line executed before", partial(self._go, Moment.prev))
        self._next = button("Next ▶", "Go to the line executed next", partial(self._go, Moment.next))
        self._step = button(
            "Next step ▶▶", "Go to the next call of a step, agent or gate", partial(self._go, Moment.next_step)
        )
        self._slider.observe(self._slid, names="value")
        self._head, self._code, self._variables, self._cursor = (widgets.HTML() for _ in range(4))
        self._code.layout = widgets.Layout(flex="3 1 380px", min_width="0", margin="0", overflow="auto")
        self._variables.layout = widgets.Layout(flex="2 1 300px", min_width="0", margin="0", overflow="auto")
        controls = widgets.HBox([self._prev, self._next, self._step], layout=widgets.Layout(flex_flow="row wrap"))
        beside = widgets.HBox(
            [self._code, self._variables],
            layout=widgets.Layout(flex_flow="row wrap", align_items="flex-start", grid_gap="10px 24px"),
        )
        picture = [self._cursor, widgets.HTML(root(Picture(timeline.picture())))]
        for part in picture:
            part.layout = widgets.Layout(margin="0")
        self.widget = framed([self._slider, controls, self._head, beside, *picture], 1100)
        self._show(moment)

    def close(self) -> None:
        """Take the widgets away."""
        with self._lock:
            close_tree(self.widget)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        page = root(moment_blocks(self._opened), self._timeline.blocks())
        return {"text/html": str(page), "text/plain": repr(self._opened)}

    def _ipython_display_(self) -> None:
        if has_widgets():
            page = root(moment_blocks(self._opened), self._timeline.blocks())
            show(kept_and_live(self.widget, page, repr(self._opened)))
        else:
            show([self._repr_mimebundle_()])

    def _go(self, go: Callable[[Moment], Moment]) -> None:
        # The buttons already say where it ends; a click may have been on its way.
        with self._lock, suppress(NoSuchMoment):
            self._show(go(self.moment))

    def _slid(self, change: dict[str, Any]) -> None:
        with self._lock:
            # A button has moved it itself; and a line may call several steps, so the number is not the whole moment.
            if change["new"] != self.moment.number and change["new"] < len(self.moment.trace):
                self._show(Moment(self.moment.trace, change["new"]))

    def _show(self, moment: Moment) -> None:
        self.moment = moment
        self._head.value, self._code.value = root(*head_blocks(moment)), root(*code_blocks(moment))
        self._variables.value = root(*variables_blocks(moment))
        self._cursor.value = root(Picture(self._timeline.cursor(moment.time)))
        self._slider.value = moment.number
        self._prev.disabled = moment.number == 0
        self._next.disabled = moment.number >= len(moment.trace) - 1
        self._step.disabled = not _has_next_step(moment)


def _has_next_step(moment: Moment) -> bool:
    try:
        moment.next_step()
    except NoSuchMoment:
        return False
    return True
