"""HTML by construction: text is escaped unless it is ``Markup``, and colours read well in light and dark.

No scripts, nothing fetched, and of style sheets only the two rules of ``kept.py``. Colours come from ``currentColor``
and JupyterLab's CSS variables with a fallback; where a viewer strips styles, tables and words are left.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from markupsafe import Markup, escape

from kaigents_nb.display import words
from kaigents_nb.display.blocks import Tone

COLOURS: Final[Mapping[Tone, str]] = {
    "success": "var(--jp-success-color1, #388e3c)",
    "active": "var(--jp-brand-color1, #1976d2)",
    "warning": "var(--jp-warn-color1, #ef8a00)",
    "error": "var(--jp-error-color1, #d32f2f)",
    "muted": "var(--jp-ui-font-color3, #8a8a8a)",
    "info": "var(--jp-info-color1, #0097a7)",
    "border": "var(--jp-border-color2, rgba(128, 128, 128, 0.35))",
}


def escaped(value: object, limit: int = words.PARAGRAPH, *, tail: bool = False) -> Markup:
    """Return ``value`` cleaned, bounded and escaped, also where it claims to be HTML."""
    return escape(words.clean(value, limit, tail=tail))


def element(tag: str, *inner: str, **attributes: object) -> Markup:
    """Return an element: what is in it is text where it is no ``Markup``, and so is each attribute.

    Attributes that are None or False are left out, floats have one decimal place; of a name like ``text_anchor`` the
    underscore is a hyphen.
    """
    given = "".join(
        f" {key}" if value is True else f' {key}="{_value(value)}"'
        for name, value in attributes.items()
        if value is not None and value is not False and (key := name.strip("_").replace("_", "-"))
    )
    # The one place that calls a string HTML (``Markup.format`` takes three times as long): all in it is escaped.
    return Markup(f"<{tag}{given}>{joined(*inner)}</{tag}>")  # noqa: S704 - tags and names are written by us


def _value(value: object) -> Markup:
    return escaped(f"{value:.1f}" if isinstance(value, float) else value)


def joined(*parts: str, between: str = "") -> Markup:
    """Return parts of a page, one after the other; what is no ``Markup`` is text, here and between."""
    return escape(between).join(part if isinstance(part, Markup) else escaped(part) for part in parts)
