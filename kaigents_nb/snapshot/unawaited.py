"""Calls that nobody awaits, found in the source of an agent and of what it uses: they would never run.

The run refuses them too, but it can't see all: ``is None`` asks no object, and what an ``async def`` without a
decorator gives is Python's own coroutine, which is true and says nothing.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_ONLY_LOOK_AT = (
    ast.If, ast.IfExp, ast.While, ast.Assert, ast.BoolOp, ast.UnaryOp, ast.Compare, ast.Attribute, ast.FormattedValue,
    ast.Match,
)  # fmt: skip
"""What uses the value of a name without awaiting it."""
_LOOKS = frozenset({"isinstance", "bool", "str", "repr", "print", "type", "hasattr", "getattr", "callable"})


def async_functions(nodes: Iterable[ast.AST]) -> set[str]:
    """Return the names of the coroutine functions among the nodes: what they give must be awaited."""
    return {
        node.name
        for node in nodes
        if isinstance(node, ast.AsyncFunctionDef)
        and not node.decorator_list
        and not any(isinstance(part, (ast.Yield, ast.YieldFrom)) for part in ast.walk(node))
    }


def unawaited(function: _Function, must_be: Callable[[ast.Call], bool]) -> Iterator[tuple[int, str]]:
    """Yield the line of each call that ``must_be`` awaited and is not, and what is wrong with it."""
    handed_on = _handed_on(function)
    for node in chain.from_iterable(map(ast.walk, function.body)):
        for call in _looked_at(node):
            if isinstance(call, ast.Call) and must_be(call):
                text = ast.unparse(call.func)
                yield call.lineno, f"{text}() is not awaited, so it would never run. Write: await {text}(...)."
        for target, call in _kept(node):
            if (
                isinstance(target, ast.Name)
                and target.id not in handed_on
                and isinstance(call, ast.Call)
                and must_be(call)
            ):
                text = ast.unparse(call.func)
                yield (
                    call.lineno,
                    f"{text}() is kept as {target.id!r} and never awaited, so it would never run. "
                    f"Write: {target.id} = await {text}(...).",
                )


def _looked_at(node: ast.AST) -> list[ast.expr]:
    """Return what a statement or expression takes for a result, at once."""
    match node:
        case ast.Expr(value=value) | ast.FormattedValue(value=value):
            return [value]
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test) | ast.Assert(test=test):
            return [test]
        case ast.UnaryOp(operand=operand):
            return [operand]
        case ast.Compare(left=left, comparators=others):
            return [left, *others]
        case ast.Match(subject=subject):
            return [subject]
    return []


def _kept(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Yield what a statement or expression puts under which names."""
    match node:
        case ast.Assign(targets=targets, value=value):
            for target in targets:
                yield from _pairs(target, value)
        case ast.AnnAssign(target=target, value=ast.expr() as value) | ast.NamedExpr(target=target, value=value):
            yield target, value


def _pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[ast.expr, ast.expr]]:
    match target, value:
        case ((ast.Tuple(elts=targets) | ast.List(elts=targets)), (ast.Tuple(elts=values) | ast.List(elts=values))):
            if len(targets) == len(values):
                yield from zip(targets, values, strict=True)
        case _:
            yield target, value


def _handed_on(function: _Function) -> set[str]:
    """Return the names whose value goes somewhere that could await it."""
    names: set[str] = set()
    inside: list[tuple[ast.AST, bool]] = [(function, False)]
    while inside:
        node, is_async = inside.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            is_async = isinstance(node, ast.AsyncFunctionDef)
        looks = isinstance(node, _ONLY_LOOK_AT) or (isinstance(node, ast.Return) and is_async)
        looks = looks or (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _LOOKS)
        for child in ast.iter_child_nodes(node):
            inside.append((child, is_async))
            if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Load) and not looks:
                names.add(child.id)
    return names
