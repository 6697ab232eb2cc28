"""What a notebook keeps of something live: its static form, seen wherever the widget beside it is not alive.

A saved widget is a reference to a model in a kernel that may be gone, and a front end that knows a kind of output shows
nothing else of it, however little it has. So the static form is an output of its own, before that of the widget. In
JupyterLab and Notebook one of the two is seen: the widget while its kernel answers for it, else the static form.
Elsewhere both are, and the static form is true by itself.
"""

from __future__ import annotations

from typing import Any, Final

from ipywidgets import DOMWidget
from markupsafe import Markup

from kaigents_nb.display.blocks_html import NO_MATH
from kaigents_nb.display.kernel import WIDGET_VIEW
from kaigents_nb.display.markup import element

GONE: Final = {"text/plain": ""}
"""What is left of a widget that has ended."""

_ALIVE: Final = ".{live}:not(.jupyter-widgets-disconnected):not(.kaigents-silent)"
_STYLE: Final = f"""
.jp-OutputArea:has({_ALIVE}) .jp-OutputArea-child:has(.{{kept}}),
.jp-OutputArea-child:has(.{{kept}}) + .jp-OutputArea-child:has(> .lm-Panel:not([data-mime-type])):not(:has({_ALIVE}))
{{{{ display: none }}}}
"""
"""The class of the widget is there with its element; ipywidgets and ``keeper.js`` add one when it is not alive."""


def kept_and_live(widget: DOMWidget, page: Markup, plain: str) -> list[dict[str, Any]]:
    """Return two mime bundles: a static form, which is not seen where the widget is alive, and the widget alone."""
    live, kept = f"kaigents-live-{widget.model_id}", f"kaigents-kept-{widget.model_id}"
    widget.add_class(live)
    style = Markup(_STYLE.format(live=live, kept=kept))  # noqa: S704 - all of it is ours
    inner = element("div", element("style", style), page, class_=kept)
    static = {"text/html": str(element("div", inner, class_=NO_MATH)), "text/plain": plain}
    view = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
    return [static, {WIDGET_VIEW: view, **GONE}]
