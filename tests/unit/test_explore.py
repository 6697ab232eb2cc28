"""The slider over moments, without a kernel: real widgets, a trace that the test wrote."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import ipywidgets as widgets
import pytest
from comm.base_comm import BaseComm

from kaigents_nb.display import explore as explore_module
from kaigents_nb.display.explore import Explorer, explore
from kaigents_nb.display.kernel import WIDGET_VIEW
from kaigents_nb.display.timeline import Timeline
from kaigents_nb.errors import NoSuchMoment
from kaigents_nb.history.view import RunView, StepView
from kaigents_nb.replay.addressing import find_moment
from kaigents_nb.replay.moment import Moment
from kaigents_nb.replay.trace import Trace
from tests.unit.moments import START, a_trace

LOOP = [(8, {"total": 0}), (9, {"price": 3}), (10, {"total": 3}), (9, {"price": 4}), (10, {"total": 7}), (11, {})]


class FakeRun:
    """The part of a run that exploring uses."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace

    def at(self, moment: int | str | None = None) -> Moment:
        return find_moment(self.trace, moment)

    def timeline(self) -> Timeline:
        step = StepView("1", "load", "completed", 1, START, START, START + timedelta(seconds=5))
        return Timeline(RunView("run-1", "buy", "completed", started=START, ended=step.ended, steps=(step,)))


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """What the widgets send to the front end."""
    states: list[dict[str, Any]] = []

    class Wire(BaseComm):
        def publish_msg(self, msg_type: str, data: Any = None, metadata: Any = None, buffers: Any = None, **keys: Any):  # type: ignore[no-untyped-def]
            if msg_type == "comm_msg" and data["method"] == "update":
                states.append(data["state"])

    monkeypatch.setattr("ipywidgets.comm.create_comm", Wire)
    yield states
    widgets.Widget.close_all()


def parts(root: widgets.Widget) -> Iterator[widgets.Widget]:
    yield root
    for child in getattr(root, "children", ()):
        yield from parts(child)


def buttons(explorer: Explorer) -> dict[str, widgets.Button]:
    return {part.description: part for part in parts(explorer.widget) if isinstance(part, widgets.Button)}


def slider(explorer: Explorer) -> widgets.IntSlider:
    [found] = [part for part in parts(explorer.widget) if isinstance(part, widgets.IntSlider)]
    return found


def said(explorer: Explorer) -> str:
    return "\n".join(part.value for part in parts(explorer.widget) if isinstance(part, widgets.HTML))


@pytest.mark.usefixtures("sent")
def test_slider_and_buttons_lead_to_the_same_moments() -> None:
    """Code, variables and the mark above the timeline follow, whichever way one goes."""
    explorer = explore(FakeRun(a_trace(LOOP, calls={5: "load"})))
    assert explorer.moment.number == 0 and buttons(explorer)["◀ Previous"].disabled
    places = [said(explorer)]
    slider(explorer).value = 2
    assert explorer.moment.number == 2 and "moment 2 of 5" in said(explorer)
    places.append(said(explorer))
    buttons(explorer)["Next ▶"].click()
    assert explorer.moment.number == slider(explorer).value == 3
    buttons(explorer)["◀ Previous"].click()
    assert said(explorer) == places[1] != places[0]
    buttons(explorer)["Next step ▶▶"].click()
    assert explorer.moment.number == slider(explorer).value == 5
    assert "Waiting for load" in said(explorer)
    assert buttons(explorer)["Next ▶"].disabled and buttons(explorer)["Next step ▶▶"].disabled
    assert not buttons(explorer)["◀ Previous"].disabled


@pytest.mark.usefixtures("sent")
def test_it_begins_where_it_is_told_or_at_the_failure() -> None:
    """The failure of a failed run, else its first line, or any moment."""
    trace = a_trace(LOOP, raised={4: KeyError("x")})
    object.__setattr__(trace, "closed", "failed")
    trace.frames[0].failure = 0
    assert explore(FakeRun(trace)).moment.number == 4
    assert explore(FakeRun(trace), "last").moment.number == 5
    assert explore(FakeRun(trace), 2).moment.number == 2
    assert explore(FakeRun(trace), Moment(trace, 3)).moment.number == 3
    with pytest.raises(NoSuchMoment, match="has no moment 77"):
        explore(FakeRun(trace), 77)


def test_moving_sends_only_what_differs(sent: list[dict[str, Any]]) -> None:
    """The timeline's picture is sent once; a move sends the four texts, the slider and the buttons that change."""
    explorer = explore(FakeRun(a_trace(LOOP)))
    sent.clear()
    slider(explorer).value = 1
    assert sum("<path" in state.get("value", "") for state in sent if isinstance(state.get("value"), str)) == 1
    assert not any("<rect" in str(state) for state in sent)
    assert len(sent) <= 6
    assert sum(len(str(state)) for state in sent) < 15_000


@pytest.mark.usefixtures("sent")
def test_a_saved_notebook_keeps_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the widget there is a static form, the moment with the timeline, and text: an output of its own."""
    explorer = explore(FakeRun(a_trace(LOOP)), 3)
    bundle = explorer._repr_mimebundle_()
    assert sorted(bundle) == ["text/html", "text/plain"]
    assert "moment 3 of 5" in bundle["text/html"] and "<svg" in bundle["text/html"]
    assert "Moment 3 of 5" in bundle["text/plain"]
    shown: list[dict[str, str]] = []
    monkeypatch.setattr(explore_module, "show", shown.extend)
    explorer._ipython_display_()
    [alone] = shown
    assert sorted(alone) == sorted(bundle)
    monkeypatch.setattr(explore_module, "has_widgets", lambda: True)
    explorer._ipython_display_()
    _, kept, live = shown
    assert sorted(kept) == ["text/html", "text/plain"] and "moment 3 of 5" in kept["text/html"]
    assert sorted(live) == [WIDGET_VIEW, "text/plain"]


@pytest.mark.usefixtures("sent")
def test_controls_can_be_used_by_all() -> None:
    """Every control has words and a tooltip."""
    explorer = explore(FakeRun(a_trace(LOOP)))
    assert slider(explorer).description == "Moment" and slider(explorer).tooltip
    assert len(buttons(explorer)) == 3
    assert all(any(letter.isalpha() for letter in label) for label in buttons(explorer))
    assert all(button.tooltip for button in buttons(explorer).values())


@pytest.mark.usefixtures("sent")
def test_a_run_of_one_line_is_explored_too() -> None:
    """There is nowhere to go, and nothing breaks."""
    explorer = explore(FakeRun(a_trace([(8, {})])))
    assert slider(explorer).disabled
    assert all(button.disabled for button in buttons(explorer).values())
    slider(explorer).value = 1
    assert explorer.moment.number == 0


@pytest.mark.usefixtures("sent")
def test_close_leaves_no_widget_behind() -> None:
    """Every model is closed."""
    explorer = explore(FakeRun(a_trace(LOOP)))
    explorer.close()
    assert all(part.comm is None for part in parts(explorer.widget))
