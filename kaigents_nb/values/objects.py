"""What objects of the analyst's own classes have in common: the class's name, named parts, attributes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping
from typing import Any

from kaigents_nb.errors import ConversionError
from kaigents_nb.values.class_names import KINDS, MAIN, display_name
from kaigents_nb.values.kinds import Reading, Writing
from kaigents_nb.values.refusals import Refused
from kaigents_nb.values.standard_kinds import write_items

MISSING = object()


def reference(value: Any, w: Writing) -> str:
    """Return the name of a value's class for a tag. Raises Refused."""
    try:
        return w.name(type(value))
    except ConversionError as error:
        raise Refused(value, str(error)) from None


def named_class(raw: dict[str, Any], r: Reading, wanted: Callable[[type], bool]) -> Any:
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


def fields_json(state: Mapping[str, Any], w: Writing) -> dict[str, Any]:
    """Return the JSON of named parts; a refusal says which one it was."""
    out = {}
    for name, value in state.items():
        try:
            out[name] = w.json(value)
        except Refused as refusal:
            refusal.path.append(f".{name}")
            raise
    return out


def slots(cls: type) -> set[str]:
    """Return the names of what instances hold outside of their ``__dict__``."""
    found: set[str] = set()
    for parent in cls.__mro__:
        own = vars(parent).get("__slots__", ())
        for name in (own,) if isinstance(own, str) else own:
            private = name.startswith("__") and not name.endswith("__")
            found.add(f"_{parent.__name__.lstrip('_')}{name}" if private else name)
    return found - {"__dict__", "__weakref__"}


def attributes(value: Any, w: Writing, but: Collection[str]) -> dict[str, Any]:
    """Return what an object holds beside its fields, for a tag. What is computed is computed anew."""
    cls = type(value)
    held = {name: found for name in sorted(slots(cls)) if (found := getattr(value, name, MISSING)) is not MISSING}
    extra = {
        name: found
        for name, found in {**held, **getattr(value, "__dict__", {})}.items()
        if name not in but and not (isinstance(name, str) and name.startswith("__") and name.endswith("__"))
        if not isinstance(getattr(cls, name, None) if isinstance(name, str) else None, functools.cached_property)
    }
    return {"a": write_items(extra.items(), w)} if extra else {}


def set_attributes(value: Any, raw: dict[str, Any]) -> None:
    """Undo :func:`attributes`."""
    if "a" not in raw:
        return
    outside = slots(type(value))
    for name, held in raw["a"]:
        if name in outside:
            object.__setattr__(value, name, held)
        else:
            value.__dict__[name] = held


def new_field(cls: type, name: str) -> ConversionError:
    """Return the error for a class that got a field which nothing can fill."""
    return ConversionError(
        f"{display_name(cls)} has a new field {name!r}, which the saved value lacks. "
        f"Give {name!r} a default value and read again."
    )
