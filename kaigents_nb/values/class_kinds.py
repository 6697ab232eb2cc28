"""Kinds for the analyst's own classes: dataclass, pydantic model, Enum, NamedTuple, subclass of a built-in.

They are stamped with the class's name and rebuilt field by field: no ``__init__``, ``__post_init__`` or
validator runs when a value is read back, so a value comes back as it was and reading has no side effects.

When a class was re-defined since: a saved field that it no longer has is dropped, a new field gets its
default, and a new field without a default is an error that says so.
"""

from __future__ import annotations

import dataclasses
import enum
from typing import Any, cast

from kaigents_nb.errors import ConversionError
from kaigents_nb.values import model_kinds
from kaigents_nb.values.bases import content_of, made
from kaigents_nb.values.class_names import (
    builtin_base,
    display_name,
    is_builtin_subclass,
    is_namedtuple,
    is_pydantic_model,
)
from kaigents_nb.values.kinds import Reader, Reading, Writer, Writing, tagged
from kaigents_nb.values.objects import (
    MISSING,
    attributes,
    fields_json,
    named_class,
    new_field,
    reference,
    set_attributes,
)
from kaigents_nb.values.refusals import Refused
from kaigents_nb.values.standard_kinds import write_each, write_items, write_set


def writer_for(cls: type) -> Writer | None:
    """Return the writer for a class, or None."""
    if issubclass(cls, enum.Enum):
        return _write_enum
    if (url := model_kinds.url_writer_for(cls)) is not None:
        return url
    if is_pydantic_model(cls):
        return model_kinds.write_model
    if dataclasses.is_dataclass(cls):
        return _write_dataclass
    if is_namedtuple(cls):
        return _write_namedtuple
    if is_builtin_subclass(cls):
        return _write_subclass
    return None


# --- Enum -----------------------------------------------------------------------------------------


def _write_enum(value: enum.Enum, w: Writing) -> dict[str, Any]:
    if value.name in type(value).__members__:
        return tagged("enum", value.name, c=reference(value, w))
    if not isinstance(value, enum.Flag):
        raise Refused(value, "It is no member of its class by name; return .value.")
    return tagged("flag", w.json(value.value), c=reference(value, w))


def _read_enum(raw: dict[str, Any], r: Reading) -> Any:
    cls = named_class(raw, r, lambda cls: issubclass(cls, enum.Enum))
    if raw["v"] not in cls.__members__:
        raise ConversionError(
            f"The saved value is {display_name(cls)}.{raw['v']}, which the class no longer has. "
            f"Known: {list(cls.__members__)}. Add the member and read again."
        )
    return cls.__members__[raw["v"]]


# --- dataclass ------------------------------------------------------------------------------------


def _write_dataclass(value: Any, w: Writing) -> dict[str, Any]:
    cls = type(value)
    if not _is_plain_object(cls):
        raise Refused(value, f"{cls.__name__} is a dataclass and something else as well; return dataclasses.asdict(x).")
    named = reference(value, w)
    names = [field.name for field in dataclasses.fields(value)]
    state = {name: found for name in names if (found := getattr(value, name, MISSING)) is not MISSING}
    more = attributes(value, w, but=state)
    missing = [name for name in names if name not in state]
    return tagged("dataclass", fields_json(state, w), c=named, **more, **({"missing": missing} if missing else {}))


def _is_plain_object(cls: type) -> bool:
    """Tell whether an object's fields are all there is to it."""
    try:
        object.__new__(cls)
    except TypeError:
        return False
    return not issubclass(cls, BaseException)


def _read_dataclass(raw: dict[str, Any], r: Reading) -> Any:
    cls = named_class(raw, r, dataclasses.is_dataclass)
    value, saved = object.__new__(cls), raw["v"]
    for field in dataclasses.fields(cls):
        if field.name in saved:
            held = saved[field.name]
        elif field.name in raw.get("missing", ()):
            continue
        elif field.default is not dataclasses.MISSING:
            held = field.default
        elif field.default_factory is not dataclasses.MISSING:
            held = field.default_factory()
        elif not field.init:
            continue  # it was not set when the value was saved either
        else:
            raise new_field(cls, field.name)
        object.__setattr__(value, field.name, held)
    set_attributes(value, raw)
    return value


# --- tuples and other subclasses of built-in types ------------------------------------------------


def _write_namedtuple(value: Any, w: Writing) -> dict[str, Any]:
    return tagged("namedtuple", fields_json(dict(zip(value._fields, value, strict=True)), w), c=reference(value, w))


def _read_namedtuple(raw: dict[str, Any], r: Reading) -> Any:
    cls = named_class(raw, r, is_namedtuple)
    fields = {**cls._field_defaults, **raw["v"]}
    for name in cls._fields:
        if name not in fields:
            raise new_field(cls, name)
    return tuple.__new__(cls, [fields[name] for name in cls._fields])


def _write_subclass(value: Any, w: Writing) -> dict[str, Any]:
    cls = type(value)
    base = cast(type, builtin_base(cls))
    content: Any
    if base is dict:
        content = write_items(dict.items(value), w)
    elif base in (list, tuple):
        content = write_each(base.__iter__(value), w.json)
    elif base in (set, frozenset):
        content = write_set(base.__iter__(value), w)
    else:
        content = w.json(content_of(value, base))
    return tagged("subclass", content, c=reference(value, w), **attributes(value, w, but=()))


def _read_subclass(raw: dict[str, Any], r: Reading) -> Any:
    cls = named_class(raw, r, is_builtin_subclass)
    value = made(cls, builtin_base(cls), raw["v"])
    set_attributes(value, raw)
    return value


READERS: dict[str, Reader] = {
    **model_kinds.READERS,
    "enum": _read_enum,
    "flag": lambda raw, r: named_class(raw, r, lambda cls: issubclass(cls, enum.Flag))(raw["v"]),
    "dataclass": _read_dataclass,
    "namedtuple": _read_namedtuple,
    "subclass": _read_subclass,
}
