"""Calls in an agent's code, each through a function that looks at what it gives.

A step or gate gives something that only can be awaited. What an ``async def`` gives is Python's own coroutine, which is
true, and silent when nobody awaits it; only the code that gets it can be made to look.
"""

from __future__ import annotations

import ast

NOTED = "__kaigents_noted__"
"""The global name of that function: it gets the result and how the call reads."""


def has_coroutines(tree: ast.Module, besides: set[str]) -> bool:
    """Tell whether code has coroutine functions of its own, ``besides`` agents and steps."""
    return any(isinstance(node, ast.AsyncFunctionDef) and node.name not in besides for node in ast.walk(tree))


def noting(tree: ast.Module) -> ast.Module:
    """Return code whose functions note what their calls give; lines and names stay as they are."""
    try:
        return _Noting().visit(tree)  # type: ignore[no-any-return]
    except RecursionError:
        return tree  # an expression of a thousand parts


class _Noting(ast.NodeTransformer):
    def __init__(self) -> None:
        self._inside = False

    def _body(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> ast.AST:
        # Not its decorators, defaults and annotations: they are no part of what it does.
        before, self._inside = self._inside, True
        if isinstance(node, ast.Lambda):
            node.body = self.visit(node.body)
        else:
            node.body = [self.visit(statement) for statement in node.body]
        self._inside = before
        return node

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = _body

    def visit_Await(self, node: ast.Await) -> ast.AST:
        if isinstance(node.value, ast.Call):
            self.generic_visit(node.value)
            return node
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if not self._inside:
            return node
        text = ast.unparse(node.func)
        reads = f"{text}(…)" if node.args or node.keywords else f"{text}()"
        made = ast.Call(ast.Name(NOTED, ast.Load()), [node, ast.Constant(reads)], [])
        for part in (made, made.func, made.args[1]):
            ast.copy_location(part, node)
        if isinstance(node.func, ast.Attribute) and node.func.lineno != node.func.end_lineno:
            # Where Python sees the call of a chain over several lines.
            # Where Python sees the call of a chain over several lines.
            made.lineno, made.col_offset = node.func.end_lineno or node.lineno, 0
        return made
