"""Output of a notebook kernel, sent from any thread."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextvars import Context
from typing import Any, ParamSpec, TypeVar

from IPython.core.getipython import get_ipython
from IPython.display import publish_display_data
from ipywidgets import Button, Layout, VBox, Widget

from kaigents_nb.display.markup import COLOURS

P = ParamSpec("P")
R = TypeVar("R")

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def has_widgets() -> bool:
    """Whether this process is a kernel whose front end can talk to widgets."""
    shell = get_ipython()
    return getattr(getattr(shell, "kernel", None), "comm_manager", None) is not None


def detached(function: Callable[P, R]) -> Callable[P, R]:
    """Return the function so that what it sends belongs to the cell that is running when it is called.

    ipykernel keeps the cell that output belongs to in a context variable, and work posted to a loop inherits
    that of its poster: a cell long finished. Front ends find a display by its id whatever cell an update
    names, but nbclient (and so papermill) drops updates of other cells than the one it is executing. In an
    empty context ipykernel falls back to the latest request, which serves both.
    """
    return lambda *args, **kwargs: Context().run(function, *args, **kwargs)


def in_background(work: Callable[[], R], done: Callable[[R | None, Exception | None], None]) -> threading.Thread:
    """Do what may take long without holding up the kernel, as for a click; ``done`` hears what came of it."""

    def act() -> None:
        result, error = None, None
        try:
            result = work()
        except Exception as caught:  # noqa: BLE001 - a click has no caller: ``done`` shows it
            error = caught
        done(result, error)

    thread = threading.Thread(target=detached(act), name="kaigents click", daemon=True)
    thread.start()
    return thread


def publish(bundle: Mapping[str, Any], display_id: str, *, update: bool = False) -> None:
    """Show a mime bundle under an id, or replace what is shown under it."""
    transient = {"display_id": display_id}
    publish_display_data(dict(bundle), transient=transient, update=update)  # type: ignore[no-untyped-call]


def show(bundles: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Show mime bundles one below the other; return the ids under which they can be replaced."""
    place = tuple(uuid.uuid4().hex for _ in bundles)
    for bundle, display_id in zip(bundles, place, strict=True):
        publish(bundle, display_id)
    return place


def framed(parts: Sequence[Widget], width: int = 900) -> VBox:
    """Return widgets below each other in a frame."""
    layout = Layout(border=f"1px solid {COLOURS['border']}", padding="8px 12px", max_width=f"{width}px")
    return VBox(list(parts), layout=layout)


def button(label: str, tooltip: str, click: Callable[[], None], style: str = "") -> Button:
    """Return a button that is as wide as its label."""
    made = Button(description=label, tooltip=tooltip, button_style=style, layout=Layout(width="auto"))
    made.on_click(lambda _: click())
    return made


def is_open(widget: Widget) -> bool:
    """Whether the front end still has the widget."""
    return widget.comm is not None


def close_tree(widget: Widget) -> None:
    """Close a widget with all that belongs to it; ``Widget.close`` alone leaves its parts open."""
    for child in getattr(widget, "children", ()):
        close_tree(child)
    for part in (getattr(widget, "layout", None), getattr(widget, "style", None), widget):
        if part is not None:
            part.close()
