"""What fits a JSON schema, for those who have the schema and not the type: the part of it that forms are made of.

Keywords that are not known here are left to the run, which reads an answer with the type itself. No file is read and
nothing is imported for it, for a run checks by this too.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from kaigents_nb.gates.visible import visible

Node = Mapping[str, Any]
Faults = dict[str, str]
"""What does not fit, by field; ``""`` is the value as a whole."""

_DEPTH, _LOOKS = 40, 20_000
_TELL_CHARS = 80
_TOLD_DEEP = 4
_TIME = r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,6})?)?"
_TEXT_FORMS: dict[str, tuple[re.Pattern[str], Callable[[str], object], str]] = {
    "date": (re.compile(r"\d{4}-\d\d-\d\d"), dt.date.fromisoformat, "a date, such as 2026-03-31"),
    "date-time": (
        re.compile(rf"\d{{4}}-\d\d-\d\d[T ]{_TIME}(Z|[+-]([01]\d|2[0-3]):[0-5]\d)?"),
        dt.datetime.fromisoformat,
        "a date and time, such as 2026-03-31T15:00",
    ),
    "time": (re.compile(_TIME), dt.time.fromisoformat, "a time, such as 15:00"),
}
_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "boolean": ((bool,), "yes or no"),
    "integer": ((int,), "a whole number"),
    "number": ((int, float), "a number"),
    "string": ((str,), "text"),
    "array": ((list,), "a list"),
    "object": ((dict,), "several fields"),
    "null": ((type(None),), "nothing"),
}

_BOUNDS = {
    "minimum": "at least", "maximum": "at most", "exclusiveMinimum": "more than", "exclusiveMaximum": "less than",
}  # fmt: skip
_FITS: Mapping[str, Callable[[float, float], bool]] = {
    "minimum": operator.ge, "maximum": operator.le, "exclusiveMinimum": operator.gt, "exclusiveMaximum": operator.lt,
}  # fmt: skip


def resolved(node: Any, root: Node) -> Node:
    """Return a part of a schema with what it refers to, and what stands beside the reference, in one."""
    if not isinstance(node, Mapping):
        return {}
    found: dict[str, Any] = dict(node)
    for _ in range(_DEPTH):
        # pydantic wraps a reference that has a title or default of its own.
        inner = found.get("allOf")
        if isinstance(inner, list) and len(inner) == 1 and isinstance(inner[0], Mapping):
            found = {**inner[0], **{key: item for key, item in found.items() if key != "allOf"}}
        reference = found.pop("$ref", None)
        if reference is None:
            return found
        definitions = root.get("$defs")
        name = str(reference).rpartition("/")[2].replace("~1", "/").replace("~0", "~")
        target = definitions.get(name) if isinstance(definitions, Mapping) else None
        found = {**(target if isinstance(target, Mapping) else {}), **found}
    return {}


def choices_of(node: Node) -> list[Any] | None:
    """Return the values that are allowed, where these are named."""
    if "const" in node:
        return [node["const"]]
    listed = node.get("enum")
    return list(listed) if isinstance(listed, list) else None


def alternatives(node: Node, root: Node) -> list[Node]:
    """Return what a value may be one of; the node itself where there is only that."""
    listed = node.get("anyOf") or node.get("oneOf")
    return [resolved(part, root) for part in listed] if isinstance(listed, list) else [node]


def optional(node: Node, root: Node) -> tuple[Node, bool]:
    """Return what is asked for, and whether it may be left empty: ``int | None`` is the first and true."""
    parts = alternatives(node, root)
    filled = [part for part in parts if part.get("type") != "null"]
    if len(parts) == 2 and len(filled) == 1:
        beside = {key: item for key, item in node.items() if key not in ("anyOf", "oneOf")}
        return {**filled[0], **beside}, True
    return node, False


def faults(value: Any, root: Node) -> Faults:
    """Return what of a JSON value does not fit a schema, by field; empty where all fits.

    Examples
    --------
    >>> faults({"n": 0}, {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}})
    {'n': 'must be at least 1, not 0'}
    """
    try:
        json.dumps(value, allow_nan=False).encode()
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, TypeError, RecursionError) as error:
        return {"": f"can't be sent as JSON: {error}"}
    found: Faults = {}
    for path, fault in _Check(root).look(value, root, ()):
        found.setdefault(".".join(path), fault)
    return found


def in_words(found: Mapping[str, str]) -> str:
    """Return faults in one line, each with its field.

    Examples
    --------
    >>> in_words({"price": "must be at least 1, not 0"})
    'price: must be at least 1, not 0'
    """
    return "; ".join(f"{visible(path) or 'the answer'}: {visible(fault)}" for path, fault in found.items())


def short(value: Any) -> str:
    """Return a JSON value on one line."""
    told = visible(json.dumps(value, ensure_ascii=False, default=str))
    return told if len(told) <= _TELL_CHARS else told[: _TELL_CHARS - 1] + "…"


def same(first: Any, second: Any) -> bool:
    """Whether two JSON values are one: 1 is not true, as it is in Python."""
    return type(first) is type(second) and bool(first == second)


class _Check:
    def __init__(self, root: Node) -> None:
        self._root = root
        self._alternatives = 0
        self._looks = _LOOKS  # a schema of somebody else may refer to itself, many times over

    def look(self, value: Any, node: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
        self._looks -= 1
        if self._looks < 0 or len(path) + self._alternatives > _DEPTH:
            yield (), "is nested too deep"
            return
        node = resolved(node, self._root)
        parts = alternatives(node, self._root)
        if parts != [node]:
            yield from self._one_of(value, parts, path)
            return
        allowed = choices_of(node)
        if allowed is not None:
            if not any(same(value, item) for item in allowed):
                yield path, f"must be one of {', '.join(map(short, allowed))}, not {short(value)}"
            return
        kinds, told = _KINDS.get(str(node.get("type")), ((), ""))
        whole = isinstance(value, float) and value.is_integer() and node.get("type") == "integer"
        if kinds and not whole and (not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)):
            yield path, f"must be {told}, not {short(value)}"
        elif isinstance(value, dict):
            yield from self._object(value, node, path)
        elif isinstance(value, list):
            yield from self._array(value, node, path)
        elif isinstance(value, str):
            yield from ((path, fault) for fault in _text_faults(value, node))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield from ((path, fault) for fault in _number_faults(value, node))

    def _one_of(
        self, value: Any, parts: Sequence[Node], path: tuple[str, ...]
    ) -> Iterator[tuple[tuple[str, ...], str]]:
        told = []
        for part in parts:
            self._alternatives += 1
            found = list(self.look(value, part, path))
            self._alternatives -= 1
            if not found:
                return
            told.append(found)
        filled = [found for found, part in zip(told, parts, strict=True) if part.get("type") != "null"]
        # Of a model or nothing, what does not fit the model.
        yield from filled[0] if len(filled) == 1 else [(path, " or ".join(fault for _, fault in map(_first, told)))]

    def _object(self, value: dict[str, Any], node: Node, path: tuple[str, ...]) -> Any:
        fields = node.get("properties", {})
        for name in node.get("required", ()):
            if name not in value:
                yield (*path, name), "is missing"
        for name, item in value.items():
            if name in fields:
                yield from self.look(item, fields[name], (*path, name))
            elif node.get("additionalProperties") is False:
                yield (*path, name), f"is not asked for; asked are {', '.join(map(visible, fields))}"
            elif isinstance(node.get("additionalProperties"), Mapping):
                yield from self.look(item, node["additionalProperties"], (*path, name))

    def _array(self, value: list[Any], node: Node, path: tuple[str, ...]) -> Any:
        least, most = node.get("minItems"), node.get("maxItems")
        if least is not None and len(value) < least:
            yield path, f"must be at least {least}, not {len(value)}"
        if most is not None and len(value) > most:
            yield path, f"must be at most {most}, not {len(value)}"
        if node.get("uniqueItems") and len({json.dumps(item, sort_keys=True) for item in value}) < len(value):
            yield path, "must not hold the same twice"
        first = node.get("prefixItems", ())
        for at, item in enumerate(value):
            yield from self.look(item, first[at] if at < len(first) else node.get("items"), (*path, str(at)))


def _first(found: list[tuple[tuple[str, ...], str]]) -> tuple[tuple[str, ...], str]:
    return found[0]


def _number_faults(value: float, node: Node) -> Iterator[str]:
    for key, told in _BOUNDS.items():
        if key in node and not _FITS[key](value, node[key]):
            yield f"must be {told} {short(node[key])}, not {short(value)}"
    step = node.get("multipleOf")
    if step and not math.isclose(value / step, round(value / step), rel_tol=1e-12, abs_tol=1e-12):
        yield f"must be a multiple of {short(step)}, not {short(value)}"


def _text_faults(value: str, node: Node) -> Iterator[str]:
    least, most = node.get("minLength"), node.get("maxLength")
    if least is not None and len(value) < least:
        yield f"must have at least {least} signs, not {len(value)}"
    if most is not None and len(value) > most:
        yield f"must have at most {most} signs, not {len(value)}"
    pattern, read, told = _TEXT_FORMS.get(str(node.get("format")), (None, None, ""))
    if pattern is None or read is None:
        return
    try:
        if pattern.fullmatch(value):
            read(value)
            return
    except ValueError:
        pass
    yield f"must be {told}, not {short(value)}"


def in_short(node: Node, root: Node) -> str:
    """Return what is asked for in words.

    Examples
    --------
    >>> in_short({"type": "integer", "minimum": 1, "maximum": 5}, {})
    'a whole number, at least 1, at most 5'
    """
    asked, may_be_empty = optional(resolved(node, root), root)
    told = _asked(asked, root, _TOLD_DEEP)
    return f"{told}; may be empty" if may_be_empty else told


def _asked(node: Node, root: Node, deep: int) -> str:
    if not deep:
        return "a value"
    allowed = choices_of(node)
    if allowed is not None:
        return "one of " + ", ".join(visible(item) if isinstance(item, str) else short(item) for item in allowed)
    parts = alternatives(node, root)
    if parts != [node]:
        return " or ".join(_asked(part, root, deep - 1) for part in parts)
    kind = str(node.get("type"))
    if kind == "array":
        inner = resolved(node.get("items"), root)
        several = choices_of(inner)
        if several is not None:
            return "several of " + ", ".join(visible(it) if isinstance(it, str) else short(it) for it in several)
        return f"a list, each {_asked(inner, root, deep - 1)}" if inner else "a list"
    if kind == "string" and node.get("format") in _TEXT_FORMS:
        told = _TEXT_FORMS[str(node["format"])][2]
    else:
        told = _KINDS.get(kind, ((), "a value"))[1]
    bounds = [f"{word} {short(node[key])}" for key, word in _BOUNDS.items() if key in node]
    if kind == "string":
        bounds += [f"at least {node['minLength']} signs"] if "minLength" in node else []
        bounds += [f"at most {node['maxLength']} signs"] if "maxLength" in node else []
    return ", ".join([told, *bounds])
