"""Any value as a short text: safe on values of any size and on objects that misbehave."""

from __future__ import annotations

import collections
import dataclasses
import enum
import itertools
import json
import re
from collections.abc import Iterable
from typing import Any

from kaigents_nb.values.class_names import base_names, display_name, is_namedtuple, is_pydantic_model
from kaigents_nb.values.encoded import Encoded

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_SHOWN = 20
_DEPTH = 4
_BRACKETS: dict[type, tuple[str, str]] = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    set: ("{", "}"),
    dict: ("{", "}"),
    frozenset: ("frozenset({", "})"),
}
_SET_REPRS: tuple[object, ...] = (set.__repr__, frozenset.__repr__)
_CUT = "…"
_KNOWN_LIBRARIES = frozenset({"pandas", "numpy", "builtins", "datetime", "decimal", "collections"})


def brief(value: object, limit: int = 200) -> str:
    """Return a short text for a value.

    It never raises, looks only at the first items of something big, and is the same in every process (no
    memory addresses).

    Examples
    --------
    >>> brief(list(range(1000)), limit=20)
    '[0, 1, 2, 3, 4, 5, …'
    """
    return _clean(_text(value, limit, _DEPTH), limit)


def without_middle(text: str, limit: int) -> str:
    """Return text of at most ``limit`` characters: of a longer one both ends, and how much is missing between.

    Examples
    --------
    >>> without_middle("ValueError: " + "x" * 1000, limit=60)
    'ValueError: xxx … 983 characters left out … xxxxxxxxxxxxxx'
    """
    if len(text) <= limit:
        return text
    space = "\n" if "\n" in text else " "
    kept = limit - len(f"{space}… {len(text):,} characters left out …{space}")
    tail = kept // 2
    head = kept - tail
    return f"{text[:head]}{space}… {len(text) - kept:,} characters left out …{space}{text[-tail:]}"


def summary(encoded: Encoded) -> str:
    """Return a short text for a payload, without decoding a big one."""
    described = encoded.meta.get("summary")
    if described:
        return described
    if encoded.encoding == "binary/null":
        return "None"
    if encoded.encoding == "binary/plain":
        size = len(encoded.data)
        return repr(encoded.data) if size <= 40 else f"{encoded.data[:40]!r}{_CUT} ({size:,} bytes)"
    if encoded.encoding != "json/plain":
        return f"{encoded.meta.get('type') or encoded.encoding}, {len(encoded.data):,} bytes"
    if len(encoded.data) <= 20_000:
        try:
            return brief(json.loads(encoded.data))
        except (ValueError, RecursionError):
            pass  # damaged: shown as the text that it is
    return _clean(encoded.data[:800].decode("utf-8", "replace"), 200)


def type_label(value: object) -> str:
    """Return a short name of a value's class."""
    name = display_name(type(value))
    return name.rpartition(".")[2] if type(value).__module__.partition(".")[0] in _KNOWN_LIBRARIES else name


def _name(value: object) -> str:
    try:
        return display_name(type(value))
    except Exception:  # noqa: BLE001 - a class that misbehaves still has to be shown
        return "object"


def _clean(text: str, limit: int) -> str:
    text = text if len(text) <= limit else text[: max(limit - 1, 0)] + _CUT
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _text(value: Any, room: int, depth: int) -> str:
    try:
        return _own_text(value, room, depth)
    except Exception:  # noqa: BLE001 - the value's own code failed; the text is only for show
        return f"<{_name(value)}>"


def _own_text(value: Any, room: int, depth: int) -> str:
    cls = type(value)
    if value is None or cls is bool or cls is float:
        return repr(value)
    if cls is int:
        return repr(value) if value.bit_length() < 2000 else f"int of {value.bit_length():,} bits"
    if cls in (str, bytes, bytearray):
        return repr(value if len(value) <= room else value[:room])
    if cls in (list, tuple, set, frozenset, dict):
        return _container(value, room, depth)
    if isinstance(value, enum.Enum):
        return f"{cls.__name__}.{value.name}"
    table = _table(value, room)
    if table is not None:
        return table
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = (field.name for field in dataclasses.fields(value))
        return _fields(cls.__name__, ((n, getattr(value, n)) for n in names if hasattr(value, n)), room, depth)
    if is_pydantic_model(cls):
        return _fields(cls.__name__, value.__dict__.items(), room, depth)
    if is_namedtuple(cls):
        return _fields(cls.__name__, zip(value._fields, value, strict=False), room, depth)
    if cls is collections.deque:
        return f"deque({_container(list(itertools.islice(value, _SHOWN + 1)), room, depth)})"
    if isinstance(value, dict):
        return f"{cls.__name__}({_container(dict(itertools.islice(value.items(), _SHOWN + 1)), room, depth)})"
    if isinstance(value, (list, tuple, set, frozenset, str, bytes)) and len(value) > 10 * _SHOWN:
        return f"<{_name(value)} of {len(value):,}>"
    if isinstance(value, (set, frozenset)) and getattr(cls, "__repr__", None) in _SET_REPRS:
        return f"{cls.__name__}({_container(set(value), room, depth) if value else ''})"
    if vars(object)["__repr__"] is getattr(cls, "__repr__", None):
        return f"<{_name(value)}>"
    return _ADDRESS.sub("", repr(value))


def _container(value: Any, room: int, depth: int) -> str:
    cls = type(value)
    opening, closing = _BRACKETS[cls]
    if not value:
        return repr(value)
    if depth <= 0:
        return f"{opening}{_CUT}{closing}"
    if cls in (set, frozenset) and len(value) > _SHOWN:
        return f"{cls.__name__} of {len(value):,}"  # which items come first differs from process to process
    parts: list[str] = []
    items: Iterable[Any] = value.items() if cls is dict else value
    for item in itertools.islice(items, _SHOWN):
        if cls is dict:
            part = f"{_text(item[0], room, depth - 1)}: {_text(item[1], room, depth - 1)}"
        else:
            part = _text(item, room, depth - 1)
        parts.append(part)
        if cls in (set, frozenset):
            continue  # each item has all the room, so that their order, which is chance, doesn't matter
        room -= len(part) + 2
        if room <= 0:
            break
    if cls in (set, frozenset):
        parts.sort()
    if len(parts) < len(value):
        parts.append(_CUT)
    comma = "," if cls is tuple and len(value) == 1 else ""
    return f"{opening}{', '.join(parts)}{comma}{closing}"


def _fields(name: str, fields: Iterable[tuple[str, Any]], room: int, depth: int) -> str:
    if depth < 0:  # one level below containers: a row of small records is worth reading
        return f"{name}({_CUT})"
    parts: list[str] = []
    for field, held in fields:
        if room <= 0:
            parts.append(_CUT)
            break
        parts.append(f"{field}={_text(held, room, depth - 1)}")
        room -= len(parts[-1]) + 2
    return f"{name}({', '.join(parts)})"


def _table(value: Any, room: int) -> str | None:
    """Return the text of a pandas or numpy table, None for anything else. Imports neither."""
    names = base_names(type(value))
    if "numpy.ndarray" in names:
        shape = " × ".join(f"{n:,}" for n in value.shape) or "()"
        head = value.reshape(-1)[:6].tolist() if value.size else []
        more = f": {_container(head, room, 1)}" if head else ""
        return f"{type(value).__name__} {value.dtype} {shape}{more}"
    if "numpy.generic" in names:
        return repr(value)
    kind = type(value).__name__
    if "pandas.DataFrame" in names:
        labels = [str(label) for label in value.columns[:_SHOWN]]
        more = f", {_CUT}" if len(value.columns) > _SHOWN else ""
        shown = f": {', '.join(labels)}{more}" if labels else ""
        return f"{kind} {len(value):,} × {len(value.columns):,}{shown}"
    if "pandas.Series" in names:
        name = "" if value.name is None else f" {_text(value.name, room, 1)}"
        return f"{kind}{name} {value.dtype} of {len(value):,}: {_container(value.iloc[:6].tolist(), room, 1)}"
    if "pandas.Index" in names or "pandas.ExtensionArray" in names:
        return f"{kind} {value.dtype} of {len(value):,}: {_container(value[:6].tolist(), room, 1)}"
    return None
