"""A type as plain data, so that a step can check what a model wrote: classes by name, others by their parts."""

from __future__ import annotations

import functools
import operator
import types
import typing
from collections.abc import Callable
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import JsonValue

_BUILTINS: dict[str, Any] = {
    kind.__name__: kind for kind in (str, int, float, bool, bytes, list, dict, tuple, set, frozenset)
}
_SPECIAL = {"Any": Any, "JsonValue": JsonValue}


def written(wanted: Any) -> Any:
    """Return a type as JSON data.

    Raises
    ------
    TypeError
        For one that has no name and no known parts.
    """
    if wanted is None or wanted is type(None):
        return "None"
    for name, known in {**_BUILTINS, **_SPECIAL}.items():
        if wanted is known:
            return name
    origin, arguments = get_origin(wanted), get_args(wanted)
    if origin is Literal:
        return {"literal": list(arguments)}
    if origin in (Union, types.UnionType):
        return {"union": [written(part) for part in arguments]}
    if origin is typing.Annotated:
        return written(arguments[0])
    if origin is not None and origin.__name__ in _BUILTINS:
        return {origin.__name__: ["..." if part is Ellipsis else written(part) for part in arguments]}
    if isinstance(wanted, type) and origin is None:
        return {"class": [wanted.__module__, wanted.__qualname__]}
    raise TypeError(f"output={wanted!r} can't be used for rows; take a class, Literal, a union or a container of them.")


def read(data: Any, resolve: Callable[[str, str], type]) -> Any:
    """Undo :func:`written`."""
    if isinstance(data, str):
        return {**_BUILTINS, **_SPECIAL, "None": type(None), "...": ...}[data]
    [(kind, parts)] = data.items()
    if kind == "literal":
        return Literal[tuple(parts)]
    if kind == "class":
        return resolve(*parts)
    arguments = tuple(read(part, resolve) for part in parts)
    return functools.reduce(operator.or_, arguments) if kind == "union" else _BUILTINS[kind][arguments]
