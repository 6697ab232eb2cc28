"""The fields of a form as widgets: one for each part of its schema, with what is wrong beside it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

import ipywidgets as widgets
from markupsafe import Markup

from kaigents_nb.display import blocks as b
from kaigents_nb.display.blocks_html import root
from kaigents_nb.display.run_blocks import message_blocks
from kaigents_nb.display.words import line as one_line
from kaigents_nb.gates.form import Form
from kaigents_nb.gates.schema import Node, choices_of, in_short, optional, resolved, short
from kaigents_nb.gates.visible import label, visible

UNANSWERED: Final = object()
"""What a field gives that was left empty."""
_DEEPEST: Final = 4
_WIDTH: Final = "min(100%, 460px)"
_STYLE: Final = {"description_width": "initial"}
_ABSENT: Final = object()


class FormFields:
    """All fields of a form; a value comes out as JSON has it, and is checked by the form."""

    def __init__(self, form: Form) -> None:
        self._form = form
        self._top = _field(form.schema, form.schema, (), "Answer", form.schema.get("default", _ABSENT))
        self._whole = widgets.HTML()
        self.widget = widgets.VBox([self._top.widget, self._whole])

    def value(self) -> Any:
        """Return what is filled in, as JSON; what is missing or wrong, the form says."""
        given = self._top.value()
        return None if given is UNANSWERED else given

    def show(self, faults: Mapping[str, str]) -> None:
        """Say beside each field what is wrong with it; nothing where nothing is."""
        left = dict(faults)
        places = dict(self._top.messages(()))
        for path, message in places.items():
            # What is wrong inside of a field is said beside that field.
            mine = [at for at in left if at == path or (path and at.startswith(f"{path}.") and at not in places)]
            told = "; ".join(f"{at[len(path) + 1 :]} {left[at]}".strip() for at in mine)
            for at in mine:
                del left[at]
            message.value = root(*message_blocks(visible(told), bad=True))
        more = "; ".join(f"{path} {told}".strip() for path, told in left.items())
        self._whole.value = root(*message_blocks(visible(more), bad=True))

    def controls(self) -> Iterator[Any]:
        """Give all that can be typed into or clicked."""
        return self._top.controls()


class _Field(Protocol):
    widget: widgets.Widget

    def value(self) -> Any: ...
    def messages(self, path: tuple[str, ...]) -> Iterator[tuple[str, widgets.HTML]]: ...
    def controls(self) -> Iterator[Any]: ...


def _field(node: Any, root_: Node, path: tuple[str, ...], name: str, initial: Any) -> _Field:
    node, may_be_empty = optional(resolved(node, root_), root_)
    initial = node.get("default", _ABSENT) if initial is _ABSENT else initial
    if node.get("type") == "object" and node.get("properties") and not may_be_empty and len(path) < _DEEPEST:
        return _Fields(node, root_, path, name, initial)
    control, read = _control(node, root_, may_be_empty, None if initial is _ABSENT else initial)
    return _One(control, read, node, root_, name, may_be_empty, initial)


class _One:
    """One field: its name, the control, what is asked for in words, and what is wrong."""

    def __init__(
        self,
        control: Any,
        read: Callable[[], Any],
        node: Node,
        root_: Node,
        name: str,
        may_be_empty: bool,
        initial: Any,
    ) -> None:
        self._control, self._read, self._may_be_empty = control, read, may_be_empty
        title = one_line(visible(str(node.get("title") or name))) if name != "Answer" else "Answer"
        self._message = widgets.HTML()
        about = [b.line(in_short(node, root_) + ("; may be left empty" if may_be_empty else ""), quiet=True)]
        if node.get("description"):
            about.insert(0, b.line(visible(str(node["description"]))))
        if isinstance(initial, str) and visible(initial) != initial:  # a box shows it as it is
            about.append(b.line("It begins with: ", visible(initial)))
        if isinstance(control, widgets.VBox):
            head = [widgets.HTML(root(b.line(b.Strong(title))))]
        else:
            head = []
            _name(control, title)
        self.widget = widgets.VBox([*head, control, widgets.HTML(root(*about)), self._message])

    def value(self) -> Any:
        given = self._read()
        return None if given is UNANSWERED and self._may_be_empty else given

    def messages(self, path: tuple[str, ...]) -> Iterator[tuple[str, widgets.HTML]]:
        yield ".".join(path), self._message

    def controls(self) -> Iterator[Any]:
        yield from self._control.children if isinstance(self._control, widgets.VBox) else [self._control]


class _Fields:
    """Fields that belong together: those of a model."""

    def __init__(self, node: Node, root_: Node, path: tuple[str, ...], name: str, initial: Any) -> None:
        known = initial if isinstance(initial, Mapping) else {}
        self._required = set(node.get("required", ()))
        self._parts = {
            key: _field(part, root_, (*path, key), key, known.get(key, _ABSENT))
            for key, part in node["properties"].items()
        }
        self._message = widgets.HTML()
        title = one_line(visible(str(node.get("title") or name)))
        about: list[b.Block] = [b.line(b.Strong(title))]
        if node.get("description"):
            about.append(b.line(visible(str(node["description"]))))
        edge = widgets.Layout(padding="0 0 0 12px") if path else widgets.Layout()
        inner = widgets.VBox([part.widget for part in self._parts.values()], layout=edge)
        self.widget = widgets.VBox([widgets.HTML(root(*about)), self._message, inner])

    def value(self) -> Any:
        given = {key: part.value() for key, part in self._parts.items()}
        # What is left empty is not there, so that the model's own default is taken, or the field is asked for.
        return {key: item for key, item in given.items() if item is not UNANSWERED}

    def messages(self, path: tuple[str, ...]) -> Iterator[tuple[str, widgets.HTML]]:
        for key, part in self._parts.items():
            yield from part.messages((*path, key))
        yield ".".join(path), self._message

    def controls(self) -> Iterator[Any]:
        for part in self._parts.values():
            yield from part.controls()


def _control(node: Node, root_: Node, may_be_empty: bool, initial: Any) -> tuple[Any, Callable[[], Any]]:
    """Return a control for one value, and what reads it as JSON."""
    allowed = choices_of(node)
    kind = node.get("type")
    if allowed is None and kind == "boolean":
        return _dropdown([("yes", True), ("no", False)], may_be_empty, initial)
    if allowed is not None:
        return _dropdown([(label(_text(item)), item) for item in allowed], may_be_empty, initial)
    inner = choices_of(resolved(node.get("items"), root_)) if kind == "array" else None
    if inner is not None:
        return _boxes(inner, initial if isinstance(initial, list) else [])
    if kind == "string":
        return _text_box(node, may_be_empty, initial if isinstance(initial, str) else None)
    if kind in ("integer", "number"):
        return _json_box(widgets.Text, initial)
    return _json_box(widgets.Textarea, initial)


def _dropdown(named: Sequence[tuple[str, Any]], may_be_empty: bool, initial: Any) -> tuple[Any, Callable[[], Any]]:
    at = next((n for n, (_, item) in enumerate(named, 1) if initial is not None and item == initial), 0)
    first = "(empty)" if may_be_empty else "Choose one …"
    made = widgets.Dropdown(
        options=[first, *(text for text, _ in named)], index=at, style=_STYLE, layout=widgets.Layout(width="auto")
    )

    def read() -> Any:
        return named[made.index - 1][1] if made.index else UNANSWERED

    return made, read


def _boxes(allowed: Sequence[Any], initial: Sequence[Any]) -> tuple[Any, Callable[[], Any]]:
    boxes = [widgets.Checkbox(value=item in initial, indent=False) for item in allowed]
    for box, item in zip(boxes, allowed, strict=True):
        _name(box, label(_text(item)))
    return widgets.VBox(boxes), lambda: [item for item, box in zip(allowed, boxes, strict=True) if box.value]


def _text_box(node: Node, may_be_empty: bool, initial: str | None) -> tuple[Any, Callable[[], Any]]:
    told = {"date": "2026-03-31", "date-time": "2026-03-31T15:00", "time": "15:00"}.get(str(node.get("format")), "")
    lines = node.get("format") == "textarea" or "\n" in (initial or "")
    made = (widgets.Textarea if lines else widgets.Text)(
        value=initial or "", placeholder=told, style=_STYLE, layout=widgets.Layout(width=_WIDTH)
    )

    def read() -> Any:
        # No text at all is an answer only where there is nothing else that it could mean.
        return made.value if made.value or not (told or may_be_empty) else UNANSWERED

    return made, read


def _json_box(kind: Any, initial: Any) -> tuple[Any, Callable[[], Any]]:
    shown = "" if initial is None else json.dumps(initial, ensure_ascii=False)
    placeholder = "as JSON" if kind is widgets.Textarea else ""
    made = kind(value=shown, placeholder=placeholder, style=_STYLE, layout=widgets.Layout(width=_WIDTH))

    def read() -> Any:
        typed = made.value.strip()
        try:
            return json.loads(typed) if typed else UNANSWERED
        except (ValueError, RecursionError):
            return typed  # the form says what is wrong with it

    return made, read


def _name(control: Any, name: str) -> None:
    """Name a control; JupyterLab would typeset a name with dollar signs as a formula."""
    control.description = name
    if "$" in name or "\\" in name:
        control.description_allow_html = True
        control.description = Markup('<span class="mathjax_ignore">{}</span>').format(name)


def _text(item: Any) -> str:
    return item if isinstance(item, str) else short(item)
