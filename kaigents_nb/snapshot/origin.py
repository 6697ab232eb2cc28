"""Which statement of which cell made a live object, checked against the object itself.

The latest statement that bound the name is only the first guess: its cell may have failed before it got there, the
name may have been bound otherwise since, or the object may be an earlier version kept under another name.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Mapping
from types import BuiltinMethodType, FunctionType, MethodType, ModuleType
from typing import Any

from kaigents_nb.snapshot.cells import Cells, Statement, dotted, first_line
from kaigents_nb.snapshot.live import follow, function_in, functions_held

_METHODS = (BuiltinMethodType, MethodType)


def origin_of(
    name: str, value: object, cells: Cells, namespace: Mapping[str, Any], before: Statement | None = None
) -> Statement | None:
    """Return the statement that gave a name its value, which is code; None when no cell's text fits.

    Only statements executed before another are considered, when that is given.
    """
    candidates = [
        s for s in reversed(cells.bindings(name)) if not s.leaf.header and (before is None or s.order < before.order)
    ]
    return next((s for s in candidates if _fits(s, name, value, cells, namespace)), None)


def _fits(statement: Statement, name: str, value: object, cells: Cells, namespace: Mapping[str, Any]) -> bool:
    node = statement.node
    if isinstance(node, ast.ClassDef):
        return _fits_class(statement, node, value, cells)
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return _fits_function(statement, node, value, cells)
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return False  # the value was compared with what the import gives before
    return _fits_assignment(statement, name, value, cells, namespace)


def _fits_function(
    statement: Statement, node: ast.FunctionDef | ast.AsyncFunctionDef, value: object, cells: Cells
) -> bool:
    if isinstance(value, FunctionType) and statement.defines(value.__code__):
        return True  # whatever functools.wraps says that it wraps
    function = function_in(value)
    if function is None:
        return bool(node.decorator_list)
    if statement.defines(function.__code__):
        # Something wrapped it: its decorators, or else a later call such as ``f = cache(f)``.
        return value is function or bool(node.decorator_list)
    if not node.decorator_list or function.__code__.co_name == node.name:
        return False
    # A decorator without functools.wraps: the function itself is in the closure of what replaced it.
    held = [f for f in functions_held(function) if f.__code__.co_name == node.name]
    if held:
        return any(statement.defines(f.__code__) for f in held)
    # A library's wrapper, but not another def of these cells that was given this name since.
    code = function.__code__
    return "<locals>" in code.co_qualname or not cells.knows(code.co_filename)


def _fits_class(statement: Statement, node: ast.ClassDef, value: object, cells: Cells) -> bool:
    if not isinstance(value, type):
        return bool(node.decorator_list)
    if value.__name__ != node.name:
        return False
    members = (m if isinstance(m, FunctionType) else function_in(m) for m in vars(value).values())
    own = [m.__code__ for m in members if m is not None and m.__qualname__.startswith(f"{value.__qualname__}.")]
    for code in own:
        if cells.knows(code.co_filename):
            return statement.holds(code)
    line = vars(value).get("__firstlineno__")  # Python 3.13
    return line is None or line in (node.lineno, first_line(node))


def _fits_assignment(
    statement: Statement, name: str, value: object, cells: Cells, namespace: Mapping[str, Any]
) -> bool:
    assigned = assigned_in(statement.node, name)
    owner = getattr(value, "__self__", None) if type(value) in _METHODS else None
    if owner is not None and not isinstance(owner, ModuleType) and isinstance(assigned, ast.Attribute):
        # A method of a class or of a constant: datetime.strptime, ", ".join.
        given = assigned.value
        fixed = isinstance(given, ast.Constant) or (isinstance(owner, type) and resolve(given, namespace) is owner)
        return fixed and assigned.attr == getattr(value, "__name__", None)
    if isinstance(assigned, (ast.Name, ast.Attribute)):
        return resolve(assigned, namespace) is value  # else it named an earlier version
    if isinstance(value, FunctionType):
        # The code's own name: functools.wraps gives the function that of another.
        code = value.__code__
        if code.co_qualname == "<lambda>":
            lambdas = [part for part in ast.walk(statement.node) if isinstance(part, ast.Lambda)]
            here = code.co_filename in statement.cell.filenames
            return here and any(part.lineno == code.co_firstlineno for part in lambdas)
        # Made by a call, or else it has its own def, which this statement only gave a second name.
        return "<locals>" in code.co_qualname or not cells.knows(code.co_filename)
    if isinstance(value, type):
        made_by_class_statement = any(
            isinstance(s.node, ast.ClassDef) and _fits_class(s, s.node, value, cells)
            for s in cells.bindings(value.__name__)
        )
        return "<locals>" in value.__qualname__ or not made_by_class_statement
    return True


def assigned_in(node: ast.stmt, name: str) -> ast.expr | None:
    """Return the expression whose value goes to a name, where one expression does."""
    match node:
        case ast.Assign(targets=targets, value=value):
            for target in targets:
                match target, value:
                    case ast.Name(id=found), _ if found == name:
                        return value
                    case (
                        (ast.Tuple(elts=names) | ast.List(elts=names)),
                        (ast.Tuple(elts=values) | ast.List(elts=values)),
                    ):
                        for one, given in zip(names, values, strict=False):
                            if isinstance(one, ast.Name) and one.id == name:
                                return given
        case ast.AnnAssign(value=value):
            return value
    return None


def resolve(expression: ast.expr | None, namespace: Mapping[str, Any]) -> object:
    """Return what a name or dotted name stands for now; None for any other expression."""
    if not (parts := dotted(expression)):
        return None
    name, *attributes = parts
    return follow(namespace[name] if name in namespace else vars(builtins).get(name), attributes)
