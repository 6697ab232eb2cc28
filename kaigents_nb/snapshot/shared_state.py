"""What is kept in a module that was imported: all runs of a worker share it, and the next worker has not got it."""

from __future__ import annotations

import ast
from collections.abc import Container

from kaigents_nb.snapshot.cells import dotted

_CHANGES = frozenset({
    "append", "extend", "insert", "add", "update", "setdefault", "pop", "popitem", "remove", "discard", "clear", "sort",
})  # fmt: skip


def changed(node: ast.AST, imported: Container[str]) -> bool:
    """Whether a statement or call changes something of a module, or that was imported from one."""
    return any(_is_shared(target, imported) for target in _targets(node))


def _targets(node: ast.AST) -> list[ast.expr]:
    """Return what a statement or call changes."""
    match node:
        case ast.Assign(targets=targets) | ast.Delete(targets=targets):
            return targets
        case ast.AugAssign(target=target) | ast.AnnAssign(target=target):
            return [target]
        case ast.Call(func=ast.Name(id="setattr" | "delattr"), args=[first, *_]):
            return [ast.Attribute(first, "", ast.Store())]
        case ast.Call(func=ast.Attribute(value=ast.Attribute() | ast.Subscript() as value, attr=attr)):
            return [value] if attr in _CHANGES else []
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name) as value, attr=attr)) if name.isupper():
            return [ast.Subscript(value, value, ast.Store())] if attr in _CHANGES else []
    return []


def _is_shared(target: ast.expr, imported: Container[str]) -> bool:
    inside = target
    while isinstance(inside, ast.Subscript):
        inside = inside.value
    match dotted(inside):
        case [first, *attributes]:
            return first in imported and bool(attributes or inside is not target)
    return False
