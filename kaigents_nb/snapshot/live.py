"""What a live object is, found out without running any of its code."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import functools
import logging
import operator
import re
import string
import struct
import sys
import types
import typing
import zoneinfo
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

from kaigents_nb.authoring.agent import Agent
from kaigents_nb.authoring.options import Retry, StepOptions
from kaigents_nb.authoring.resource import Resource
from kaigents_nb.authoring.step import Step
from kaigents_nb.values.encode import classes_of

MAX_DEPTH = 6
MAX_ITEMS = 10_000
"""How far into a container is looked for code."""

_CALLABLES: tuple[type, ...] = (
    FunctionType,
    types.BuiltinFunctionType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.ClassMethodDescriptorType,
    functools.partialmethod,
    type(functools.lru_cache(maxsize=None)(lambda: None)),
    staticmethod,
    classmethod,
    operator.itemgetter,
    operator.attrgetter,
    operator.methodcaller,
)
_TYPE_FORMS: tuple[type, ...] = (
    types.GenericAlias,
    types.UnionType,
    typing.TypeVar,
    typing.ParamSpec,
    typing.TypeVarTuple,
    typing.NewType,
    typing.ForwardRef,
    typing._SpecialForm,
    typing._GenericAlias,  # type: ignore[attr-defined]
)
_REMADE: tuple[type, ...] = (
    re.Pattern,
    logging.Logger,
    logging.LoggerAdapter,
    string.Template,
    struct.Struct,
    zoneinfo.ZoneInfo,
    Retry,
    StepOptions,
)
"""Never changed once made: making them again from their statement gives the same."""

_METHODS: tuple[Any, ...] = (staticmethod, classmethod, types.MethodType)
_MAX_WITHIN = 500

_MISSING = object()


def is_code(value: object) -> bool:
    """Tell whether a value is code (a function, class, step, type alias, …), which goes in as source."""
    kind = type(value)
    return (
        isinstance(value, type)
        or kind in _CALLABLES
        or is_type_form(value)
        or issubclass(kind, (Step, Agent, Resource, functools.partial))
        or (kind.__module__ == "numpy" and kind.__name__ == "ufunc")
        or (isinstance(value, types.MethodType) and isinstance(value.__self__, type))
        or (callable(value) and place_of(value) is not None)
    )


def is_type_form(value: object) -> bool:
    """Tell whether a value is a type alias, type variable or other form that annotations use."""
    kind = type(value)
    return (
        isinstance(value, _TYPE_FORMS)
        or (kind.__module__ in ("typing", "typing_extensions") and kind.__name__ == "TypeAliasType")
        or (kind.__module__, kind.__name__) == ("pydantic.type_adapter", "TypeAdapter")
    )


def is_remade(value: object) -> bool:
    """Tell whether a value is as good when its statement makes it again: compiled patterns, loggers."""
    kind = type(value)
    if kind.__module__.partition(".")[0] == "pandas" and kind.__name__.endswith("Dtype"):
        return True
    return kind is object or isinstance(value, _REMADE)


def function_in(value: object) -> FunctionType | None:
    """Return the analyst's function behind decorators, partials, steps and the like; None when there is none."""
    for _ in range(50):
        if isinstance(value, FunctionType):
            inner = vars(value).get("__wrapped__", _MISSING)
            if inner is _MISSING:
                return value
            value = inner
            continue
        if isinstance(value, (Step, Agent)):
            inner = value.fn
        elif isinstance(value, Resource):
            inner = object.__getattribute__(value, "_factory")
        elif isinstance(value, (functools.partial, functools.cached_property)):
            inner = value.func
        elif isinstance(value, _METHODS):
            inner = value.__func__
        elif isinstance(value, property):
            inner = value.fget
        else:
            inner = _attributes(value).get("__wrapped__")
        if inner is None:
            return None
        value = inner
    return None


def _closed_over(function: FunctionType) -> Iterator[object]:
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # an empty cell
            yield cell.cell_contents


def functions_held(function: FunctionType, depth: int = 3) -> Iterator[FunctionType]:
    """Yield the functions in a function's closure: what a decorator without ``functools.wraps`` wraps."""
    for value in _closed_over(function):
        held = function_in(value)
        if held is not None and held is not function:
            yield held
            if depth:
                yield from functions_held(held, depth - 1)


def functions_within(value: object) -> Iterator[FunctionType]:
    """Yield all functions that a callable is built upon: what it wraps, closes over, was bound to or keeps."""
    stack: list[object] = [value]
    seen: set[int] = set()
    while stack and len(seen) < _MAX_WITHIN:
        item = stack.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, FunctionType):
            yield item
            stack += [*values_held(item), vars(item).get("__wrapped__")]
        elif isinstance(item, functools.partial):
            stack += [item.func, *item.args, *item.keywords.values()]
        elif callable(item) and not isinstance(item, (type, ModuleType)):
            stack += [item.__func__] if isinstance(item, _METHODS) else _attributes(item).values()


def wrapped_in(value: object) -> object:
    """Return what a function or object says it wraps, as ``functools.wraps`` has it; None where it says nothing."""
    return _attributes(value).get("__wrapped__")


def parts_of(value: object) -> Iterator[object]:
    """Yield what a function closes over, a partial was made of, or a callable object keeps."""
    if isinstance(value, FunctionType):
        yield from _closed_over(value)
    elif isinstance(value, functools.partial):
        yield from (value.func, *value.args, *value.keywords.values())
    else:
        yield from _attributes(value).values()


def values_held(value: object) -> Iterator[object]:
    """Yield what a function or partial took in when it was made: defaults, closure, bound arguments."""
    while isinstance(value, functools.partial):
        yield from (*value.args, *value.keywords.values())
        value = value.func
    inner = function_in(value)
    for function in {inner, value} if isinstance(value, FunctionType) else {inner}:
        if isinstance(function, FunctionType):
            yield from function.__defaults__ or ()
            yield from (function.__kwdefaults__ or {}).values()
            yield from _closed_over(function)


def children(value: object) -> Iterator[object]:
    """Yield what a container or an instance of a data class holds."""
    if type(value) in (set, frozenset):
        yield from typing.cast(typing.Iterable[object], value)
    elif isinstance(value, dict):
        yield from dict.keys(value)
        yield from dict.values(value)
    elif isinstance(value, (list, tuple)):
        yield from list.__iter__(value) if isinstance(value, list) else tuple.__iter__(value)
    elif not isinstance(value, (type, ModuleType, enum.Enum)) and is_data_instance(value):
        yield from _attributes(value).values()


def walk(value: object) -> Iterator[object]:
    """Yield a value and all it holds, each object once, up to a limit."""
    seen: set[int] = set()
    level = [value]
    for _ in range(MAX_DEPTH):
        below: list[object] = []
        for item in level:
            if type(item) in _SCALARS or id(item) in seen:
                continue
            seen.add(id(item))
            if len(seen) > MAX_ITEMS:
                return
            yield item
            below.extend(children(item))
        level = below
        if not level:
            return


_SCALARS = frozenset({str, bytes, int, float, bool, complex, type(None)})


def holds_code(value: object) -> bool:
    """Tell whether a container or data instance holds code, or what only its source can make, somewhere inside."""
    return any(item is not value and (is_code(item) or is_remade(item)) for item in walk(value))


def classes_in(value: object) -> set[type]:
    """Return the classes whose instances a value holds, itself included: all whose names are saved with it."""
    return {type(item) for item in walk(value)} | classes_of(value)


def is_data_instance(value: object) -> bool:
    """Tell whether a value is an instance of a dataclass, NamedTuple or pydantic model."""
    kind = type(value)
    return (
        dataclasses.is_dataclass(kind)
        or (isinstance(value, tuple) and hasattr(kind, "_fields"))
        or hasattr(kind, "__pydantic_fields__")
    )


def place_of(value: object) -> tuple[str, str] | None:
    """Return the module and name from which a value can be imported, else None."""
    if not callable(value) and not is_type_form(value):
        return None
    module: object
    name: object
    if isinstance(value, type):
        module, name = str(value.__module__), str(value.__qualname__)
    else:
        own = _attributes(value)
        module = own.get("__module__") or getattr(value, "__module__", None)
        name = getattr(value, "__name__", None) or getattr(value, "_name", None)
    if not isinstance(module, str) or not isinstance(name, str) or "." in name:
        return None
    return (module, name) if in_module(module, name) is value else None


def in_module(module: str, name: str) -> object:
    """Return what a loaded module has under a name, or None."""
    loaded = sys.modules.get(module)
    if loaded is None:
        return None
    found = vars(loaded).get(name, _MISSING)
    # Packages may make their names on first use; asking them is what the import statement does too.
    return getattr(loaded, name, None) if found is _MISSING else found


def follow(value: object, attributes: list[str]) -> object:
    """Follow attributes through modules and classes; None when that would run code or leads nowhere."""
    for attribute in attributes:
        if isinstance(value, ModuleType):
            value = in_module(value.__name__, attribute) if sys.modules.get(value.__name__) is value else None
        elif isinstance(value, type):
            value = next((vars(c)[attribute] for c in value.__mro__ if attribute in vars(c)), None)
            value = value.__func__ if isinstance(value, staticmethod) else value
        else:
            return None
    return value


def _attributes(value: object) -> dict[str, Any]:
    try:
        found = object.__getattribute__(value, "__dict__")
    except (AttributeError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}
