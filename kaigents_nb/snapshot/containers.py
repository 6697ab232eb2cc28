"""Lists, dicts, … that hold code: taken over as written, or written anew from what they hold."""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping
from types import FunctionType
from typing import Any

from kaigents_nb.snapshot.capture import literal
from kaigents_nb.snapshot.live import holds_code, in_module, is_code, is_data_instance, is_remade
from kaigents_nb.snapshot.origin import resolve
from kaigents_nb.values.sharing import has_identity, objects_in


def is_as_written(node: ast.expr | None, value: object, namespace: Mapping[str, Any]) -> bool:
    """Tell whether a container still holds what its literal says, as far as that can be told without running it."""
    match node:
        case ast.Name() | ast.Attribute():
            return resolve(node, namespace) is value
        case ast.Constant():
            return type(node.value) is type(value) and node.value == value
        case ast.Lambda():
            return isinstance(value, FunctionType) and value.__code__.co_firstlineno == node.lineno
        case ast.Call():
            return is_code(value) or is_remade(value) or (is_data_instance(value) and holds_code(value))
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            return (
                isinstance(value, (list, tuple))
                and type(value) is (list if isinstance(node, ast.List) else tuple)
                and len(parts) == len(value)
                and all(is_as_written(part, item, namespace) for part, item in zip(parts, value, strict=True))
            )
        case ast.Set(elts=parts):
            return (
                type(value) is set
                and len(parts) == len(value)
                and all(any(is_as_written(part, item, namespace) for item in value) for part in parts)
            )
        case ast.Dict(keys=keys, values=parts):
            return (
                type(value) is dict
                and len(keys) == len(value)
                and all(
                    is_as_written(key, k, namespace) and is_as_written(part, v, namespace)
                    for (key, part), (k, v) in zip(zip(keys, parts, strict=True), value.items(), strict=True)
                )
            )
    return False


def _holds_named(value: object, names: Mapping[int, str]) -> bool:
    """Tell whether a container holds an object that has a global name, and must stay that one object."""
    return any(item is not value and id(item) in names for item in objects_in(value))


class Unnamed(Exception):
    """Something in a container has no name by which to write it."""

    def __init__(self, path: str, value: object) -> None:
        super().__init__(path)
        self.path = path
        self.value = value


def written(value: object, names: Mapping[int, str], path: str = "") -> str:
    """Return an expression that gives a container with what it holds now, code by its global names.

    Parameters
    ----------
    value
        The container.
    names
        Global name by ``id`` of the object.
    path
        Where in the container it is, for the error.

    Raises
    ------
    Unnamed
        When something in it has no name.
    """
    if id(value) in names and path and has_identity(value):
        return names[id(value)]
    plain = literal(value) if not _holds_named(value, names) else None
    if plain is not None:
        return plain
    if id(value) in names and path:
        return names[id(value)]
    kind = type(value)
    if kind in (list, tuple, set, frozenset):
        assert isinstance(value, (list, tuple, set, frozenset))
        items = [written(item, names, f"{path}[{number}]") for number, item in enumerate(value)]
        inner = ", ".join(sorted(items) if kind in (set, frozenset) else items)
        if kind is tuple:
            return f"({inner},)" if len(items) == 1 else f"({inner})"
        return {list: f"[{inner}]", set: f"{{{inner}}}"}.get(kind, f"frozenset({{{inner}}})")
    if kind is dict:
        assert isinstance(value, dict)
        pairs = [
            f"{written(k, names, f'{path} key')}: {written(v, names, f'{path}[{k!r}]')}" for k, v in dict.items(value)
        ]
        return f"{{{', '.join(pairs)}}}"
    if is_code(value):
        module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
        if module == "builtins" and isinstance(name, str) and in_module("builtins", name) is value:
            return name
        if isinstance(module, str) and isinstance(name, str) and in_module(module, name) is value:
            owner = names.get(id(sys.modules[module]))  # an imported module that has a global name
            if owner:
                return f"{owner}.{name}"
    raise Unnamed(path, value)
