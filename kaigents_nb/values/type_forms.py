"""Types as data: what a generic class was given, as in ``Page[Optional[int]]``."""

from __future__ import annotations

import types
import typing
from typing import Any

from kaigents_nb.errors import ConversionError
from kaigents_nb.values.class_names import is_data_class, is_pydantic_model
from kaigents_nb.values.kinds import Reading, Writing
from kaigents_nb.values.standard_kinds import CLASSES

Form = Any
"""``"module:qualname"`` of a class, or ``{"of": what, "args": [...]}``."""

_PLAIN: dict[str, Any] = {"None": type(None), "none": None, "Any": Any, "...": ..., "object": object}
_TYPING: dict[str, Any] = {
    name: getattr(typing, name)
    for name in ("List", "Dict", "Set", "FrozenSet", "Tuple", "Sequence", "Mapping", "Iterable", "Collection")
}
_GENERIC: dict[str, Any] = {cls.__name__: cls for cls in (list, dict, set, frozenset, tuple)}
_UNION, _LITERAL, _MODEL, _LATER = "Union", "Literal", "model", "later"


def write_form(form: Any, w: Writing) -> Form:
    """Return a type as JSON.

    Raises
    ------
    ConversionError
        When it is none that can be read back.
    """
    for name, known in _PLAIN.items():
        if form is known:
            return {"of": name}
    if isinstance(form, str):
        return {"of": _LATER, "args": [form]}
    origin, args = typing.get_origin(form), typing.get_args(form)
    if origin in (typing.Union, types.UnionType):
        return {"of": _UNION, "args": [write_form(arg, w) for arg in args]}
    if origin is typing.Literal:
        return {"of": _LITERAL, "args": [w.json(arg) for arg in args]}
    if isinstance(form, type) and origin is None:
        return write_class(form, w)
    for table, named in ((_GENERIC, type(form) is types.GenericAlias), (_TYPING, True)):
        for name, known in table.items():
            if named and args and (known is origin if table is _GENERIC else getattr(form, "_name", None) == name):
                return {"of": name, "args": [write_form(arg, w) for arg in args]}
    raise ConversionError(f"Its type argument {form!r} can't be saved; make a named subclass of it.")


def write_class(cls: Any, w: Writing) -> Form:
    """Return a class as JSON, a model of a generic one with its arguments. Raises ConversionError."""
    name = _STANDARD.get(cls)
    if name is not None:
        return name
    generic: Any = cls.__pydantic_generic_metadata__ if is_pydantic_model(cls) else None
    if generic is None or generic["origin"] is None:
        if not is_data_class(cls):
            raise ConversionError(f"Its type argument {cls.__qualname__} can't be saved; make a named subclass of it.")
        return w.name(cls)
    return {"of": _MODEL, "c": w.name(generic["origin"]), "args": [write_form(arg, w) for arg in generic["args"]]}


def read_form(form: Form, r: Reading) -> Any:
    """Return the type of :func:`write_form`. Raises LookupError."""
    if isinstance(form, str):
        return _STANDARD_BY_NAME[form] if form in _STANDARD_BY_NAME else r.resolve(*_split(form))
    of = form["of"]
    if of in _PLAIN:
        return _PLAIN[of]
    if of == _LATER:
        return str(form["args"][0])
    if of == _LITERAL:
        return typing.Literal[tuple(form["args"])]
    args = tuple(read_form(arg, r) for arg in form["args"])
    if of == _UNION:
        return typing.Union[args]  # noqa: UP007 - made of values
    if of == _MODEL:
        return parametrized(r.resolve(*_split(form["c"])), args)
    return (_GENERIC.get(of) or _TYPING[of])[args if len(args) > 1 else args[0]]


def parametrized(cls: Any, args: tuple[Any, ...]) -> Any:
    """Return a generic model with its arguments; nothing else is asked for its items."""
    if not isinstance(cls, type) or not is_pydantic_model(cls):
        raise ConversionError(f"{cls!r} is not a pydantic model, which has type arguments; refused.")
    model: Any = cls
    # One that is there already is what fields and cells name: pydantic makes another one in each thread.
    for known in type.__subclasses__(model):
        generic = known.__pydantic_generic_metadata__
        if generic["origin"] is model and generic["args"] == args:
            return known
    return model[args]


def _split(name: str) -> tuple[str, str]:
    module, _, qualname = name.partition(":")
    return module, qualname


_STANDARD: dict[Any, str] = {cls: f"{cls.__module__}:{cls.__qualname__}" for cls in CLASSES}
_STANDARD_BY_NAME = {name: cls for cls, name in _STANDARD.items()}
