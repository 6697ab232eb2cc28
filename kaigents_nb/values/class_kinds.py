"""Kinds for the analyst's own classes: dataclass, pydantic model, Enum, NamedTuple, subclass of a built-in.

They are stamped with the class's name and rebuilt field by field: no ``__init__``, ``__post_init__`` or
validator runs when a value is read back, so a value comes back as it was and reading has no side effects.

When a class was re-defined since: a saved field that it no longer has is dropped, a new field gets its
default, and a new field without a default is an error that says so.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
from collections.abc import Callable
from typing import Any, cast

from kaigents_nb.errors import ConversionError
from kaigents_nb.values.class_names import (
    BUILTIN_BASES,
    KINDS,
    MAIN,
    builtin_base,
    display_name,
    is_builtin_subclass,
    is_namedtuple,
    is_pydantic_model,
    type_name,
)
from kaigents_nb.values.kinds import Reader, Reading, Writer, Writing, tagged
from kaigents_nb.values.refusals import Refused, inside
from kaigents_nb.values.standard_kinds import BUILTINS, write_each, write_items, write_set

_MISSING = object()


def writer_for(cls: type) -> Writer | None:
    """Return the writer for a class, or None."""
    if issubclass(cls, enum.Enum):
        return _write_enum
    if is_pydantic_model(cls):
        return _write_model
    if dataclasses.is_dataclass(cls):
        return _write_dataclass
    if is_namedtuple(cls):
        return _write_namedtuple
    if is_builtin_subclass(cls):
        return _write_subclass
    return None


def _reference(value: Any) -> str:
    try:
        return ":".join(type_name(type(value)))
    except ConversionError as error:
        raise Refused(value, str(error)) from None


def _class(raw: dict[str, Any], r: Reading, wanted: Callable[[type], bool]) -> Any:
    """Return the class named by a tag, once it is sure that it is of the right sort."""
    module, _, qualname = raw["c"].partition(":")
    try:
        cls = r.resolve(module, qualname)
    except LookupError as error:
        shown = qualname if module == MAIN else f"{module}.{qualname}"
        do = f"Run the cell that defines {qualname}" if module == MAIN else f"Import {module}"
        why = str(error.args[0]) if error.args else "not found"
        raise ConversionError(
            f"The saved value is a {shown}, which is not known here ({why}). {do} and read again."
        ) from error
    if not isinstance(cls, type) or not wanted(cls):
        raise ConversionError(f"The saved value names {module}:{qualname}, which is not {KINDS} as it was; refused.")
    return cls


def _fields(state: dict[str, Any], w: Writing) -> dict[str, Any]:
    out = {}
    for name, value in state.items():
        with inside(f".{name}"):
            out[name] = w.json(value)
    return out


# --- Enum -----------------------------------------------------------------------------------------


def _write_enum(value: enum.Enum, w: Writing) -> dict[str, Any]:
    if value.name in type(value).__members__:
        return tagged("enum", value.name, c=_reference(value))
    return tagged("flag", w.json(value.value), c=_reference(value))


def _read_enum(raw: dict[str, Any], r: Reading) -> Any:
    cls = _class(raw, r, lambda cls: issubclass(cls, enum.Enum))
    if raw["v"] not in cls.__members__:
        raise ConversionError(
            f"The saved value is {display_name(cls)}.{raw['v']}, which the class no longer has. "
            f"Known: {list(cls.__members__)}. Add the member and read again."
        )
    return cls.__members__[raw["v"]]


# --- dataclass ------------------------------------------------------------------------------------


def _write_dataclass(value: Any, w: Writing) -> dict[str, Any]:
    cls = type(value)
    if isinstance(value, (BaseException, *BUILTIN_BASES)):
        raise Refused(value, f"{cls.__name__} is a dataclass and something else as well; return dataclasses.asdict(x).")
    reference = _reference(value)
    names = [field.name for field in dataclasses.fields(value)]
    state = {name: found for name in names if (found := getattr(value, name, _MISSING)) is not _MISSING}
    extra = {
        name: held
        for name, held in getattr(value, "__dict__", {}).items()
        if name not in state
        and not name.startswith("__")
        and not isinstance(getattr(cls, name, None), functools.cached_property)
    }
    more = {"a": write_items(extra.items(), w)} if extra else {}
    return tagged("dataclass", _fields(state, w), c=reference, **more)


def _read_dataclass(raw: dict[str, Any], r: Reading) -> Any:
    cls = _class(raw, r, dataclasses.is_dataclass)
    value, saved = object.__new__(cls), raw["v"]
    for field in dataclasses.fields(cls):
        if field.name in saved:
            held = saved[field.name]
        elif field.default is not dataclasses.MISSING:
            held = field.default
        elif field.default_factory is not dataclasses.MISSING:
            held = field.default_factory()
        elif not field.init:
            continue  # it was not set when the value was saved either
        else:
            raise _new_field(cls, field.name)
        object.__setattr__(value, field.name, held)
    if "a" in raw:
        value.__dict__.update(raw["a"])
    return value


def _new_field(cls: type, name: str) -> ConversionError:
    return ConversionError(
        f"{display_name(cls)} has a new field {name!r}, which the saved value lacks. "
        f"Give {name!r} a default value and read again."
    )


# --- pydantic -------------------------------------------------------------------------------------


def _write_model(value: Any, w: Writing) -> dict[str, Any]:
    cls = type(value)
    held = value.__dict__
    fields = {name: held[name] for name in cls.model_fields if name in held}
    raw = tagged("model", _fields(fields, w), c="", set=sorted(value.__pydantic_fields_set__))
    generic = cls.__pydantic_generic_metadata__
    if generic["origin"] is not None:
        raw["c"], raw["args"] = _generic_reference(value, generic)
    else:
        raw["c"] = _reference(value)
    if value.__pydantic_extra__:
        raw["extra"] = write_items(value.__pydantic_extra__.items(), w)
    if value.__pydantic_private__:
        set_ = {k: v for k, v in value.__pydantic_private__.items() if type(v).__name__ != "PydanticUndefinedType"}
        raw["private"] = _fields(set_, w)
    return raw


def _generic_reference(value: Any, generic: dict[str, Any]) -> tuple[str, list[str]]:
    try:
        names = [":".join(type_name(cls)) for cls in (generic["origin"], *generic["args"])]
    except AttributeError:
        raise Refused(value, "Only classes can be its type arguments; make a named subclass of it.") from None
    except ConversionError as error:
        raise Refused(value, str(error)) from None
    return names[0], names[1:]


def _read_model(raw: dict[str, Any], r: Reading) -> Any:
    cls = _class(raw, r, is_pydantic_model)
    if "args" in raw:
        cls = cls[tuple(_argument(name, r) for name in raw["args"])]
    saved, state = raw["v"], {}
    for name, field in cls.model_fields.items():
        if name in saved:
            state[name] = saved[name]
        elif name not in raw["set"] and not field.is_required():
            state[name] = field.get_default(call_default_factory=True)
        else:
            raise _new_field(cls, name)
    value = cls.__new__(cls)
    # What pydantic itself does for a copy; its own method, as the class might have another idea of it.
    base: Any = next(b for b in cls.__mro__ if b.__module__.startswith("pydantic.") and "__setstate__" in vars(b))
    base.__setstate__(
        value,
        {
            "__dict__": state,
            "__pydantic_fields_set__": set(raw["set"]) - (set(saved) - set(state)),
            "__pydantic_extra__": dict(raw.get("extra", ())) if cls.model_config.get("extra") == "allow" else None,
            "__pydantic_private__": _private(cls, raw.get("private", {})) if cls.__private_attributes__ else None,
        },
    )
    return value


def _private(cls: Any, saved: dict[str, Any]) -> dict[str, Any]:
    state = {}
    for name, attribute in cls.__private_attributes__.items():
        held = saved[name] if name in saved else attribute.get_default()
        if type(held).__name__ != "PydanticUndefinedType":
            state[name] = held
    return state


def _argument(name: str, r: Reading) -> Any:
    module, _, qualname = name.partition(":")
    if module == "builtins" and qualname in BUILTINS:
        return BUILTINS[qualname]
    return _class({"c": name}, r, lambda cls: True)


# --- tuples and other subclasses of built-in types ------------------------------------------------


def _write_namedtuple(value: Any, w: Writing) -> dict[str, Any]:
    return tagged("namedtuple", _fields(dict(zip(value._fields, value, strict=True)), w), c=_reference(value))


def _read_namedtuple(raw: dict[str, Any], r: Reading) -> Any:
    cls = _class(raw, r, is_namedtuple)
    fields = {**cls._field_defaults, **raw["v"]}
    for name in cls._fields:
        if name not in fields:
            raise _new_field(cls, name)
    return tuple.__new__(cls, [fields[name] for name in cls._fields])


def _write_subclass(value: Any, w: Writing) -> dict[str, Any]:
    cls = type(value)
    base = cast(type, builtin_base(cls))
    if any(vars(parent).get("__slots__") for parent in cls.__mro__):
        raise Refused(value, f"Return {base.__name__}(x).")
    content: Any
    if base is dict:
        content = write_items(dict.items(value), w)
    elif base in (list, tuple):
        content = write_each(base.__iter__(value), w.json)
    elif base in (set, frozenset):
        content = write_set(base.__iter__(value), w)
    else:
        # The base's own conversion; the subclass's __str__ or __int__ may say anything.
        content = w.json(_CONTENT[base](value))
    held = getattr(value, "__dict__", None)
    more = {"a": write_items(held.items(), w)} if held else {}
    return tagged("subclass", content, c=_reference(value), **more)


def _read_subclass(raw: dict[str, Any], r: Reading) -> Any:
    cls = _class(raw, r, is_builtin_subclass)
    base = cast(Any, builtin_base(cls))
    if base in (list, dict, set):
        value = base.__new__(cls)
        (base.extend if base is list else base.update)(value, raw["v"])
    else:
        value = base.__new__(cls, raw["v"])
    if "a" in raw:
        value.__dict__.update(raw["a"])
    return value


_CONTENT: dict[type, Callable[[Any], Any]] = {
    str: lambda value: str.__str__(value)[:],
    int: int.__int__,
    float: float.__float__,
    bytes: lambda value: bytes.__getitem__(value, slice(None)),
}

READERS: dict[str, Reader] = {
    "enum": _read_enum,
    "flag": lambda raw, r: _class(raw, r, lambda cls: issubclass(cls, enum.Flag))(raw["v"]),
    "dataclass": _read_dataclass,
    "model": _read_model,
    "namedtuple": _read_namedtuple,
    "subclass": _read_subclass,
}
