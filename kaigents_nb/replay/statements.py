"""The statements of a run's code, by line: a trace has one row per executed statement.

An interpreter reports a statement that is written over several lines, the end of a ``with`` block or a comprehension
as several lines, and every version of Python reports others. The statement is what the analyst wrote.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import CodeType

from kaigents_nb.snapshot.cells import bound_names, first_line, parse_once

_INLINES = sys.version_info >= (3, 12)
"""Since Python 3.12 a list comprehension has no frame of its own: its variables are among those of its function."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Inlined:
    """What comprehensions add to their function's code, where they are part of it."""

    offsets: frozenset[int] = frozenset()
    """Instructions inside a comprehension."""
    targets: frozenset[str] = frozenset()
    """Names that comprehensions bind."""
    hidden: frozenset[str] = frozenset()
    """Those that the function itself does not bind."""


class Statements:
    """Where the statements of a module are."""

    def __init__(self, source: str) -> None:
        self._start: dict[int, int] = {}
        self.loops: set[int] = set()
        """Lines of loops, whose head is executed once per round."""
        self.one_liners: set[int] = set()
        """Those of loops with their body on the same line."""
        self._functions: dict[tuple[int, str], Function] = {}
        self._comprehensions: list[ast.ListComp | ast.SetComp | ast.DictComp] = []
        try:
            tree = parse_once(source)
        except SyntaxError:
            return  # written for a newer Python: then every line is a statement
        self._read(tree.body)
        for node in ast.walk(tree):
            if isinstance(node, (ast.ListComp, ast.SetComp, ast.DictComp)):
                self._comprehensions.append(node)
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                self._functions[first_line(node), node.name] = node

    def start(self, line: int) -> int:
        """Return the first line of the statement that a line belongs to."""
        return self._start.get(line, line)

    def head(self, code: CodeType) -> int:
        """Return the line of a function's ``def``; 0 where its body is on the same line."""
        node = self._functions.get((code.co_firstlineno, code.co_name))
        return node.lineno if node is not None and self._start.get(node.body[0].lineno) != node.lineno else 0

    def inlined(self, code: CodeType) -> Inlined:
        """Return what of a function's code belongs to comprehensions in it."""
        node = self._functions.get((code.co_firstlineno, code.co_name))
        inner = [] if node is None else [c for c in self._comprehensions if node.lineno <= c.lineno <= _end(node)[0]]
        if not _INLINES or node is None or not inner:
            return Inlined()
        areas = [((c.lineno, c.col_offset), _end(c)) for c in inner]
        offsets = {
            2 * index
            for index, (line, end_line, column, end_column) in enumerate(code.co_positions())
            if line is not None and end_line is not None and column is not None and end_column is not None
            if any(first <= (line, column) and (end_line, end_column) <= last for first, last in areas)
        }
        targets = {name for c in inner for g in c.generators for name in bound_names(g.target)}
        return Inlined(frozenset(offsets), frozenset(targets), frozenset(targets - _own_names(node)))

    def _read(self, body: Sequence[ast.stmt]) -> None:
        for node in body:
            blocks = [block for name in ("body", "orelse", "finalbody") if (block := getattr(node, name, None))]
            if not blocks and not isinstance(node, ast.Match):
                self._mark(node.lineno, _end(node)[0], node.lineno)
                continue
            first_inside = node.cases[0].pattern.lineno if isinstance(node, ast.Match) else first_line(blocks[0][0])
            self._mark(first_line(node), max(node.lineno, first_inside - 1), node.lineno)
            if isinstance(node, (ast.For, ast.AsyncFor, ast.While)):
                self.loops.add(node.lineno)
                if first_inside == node.lineno:
                    self.one_liners.add(node.lineno)
            for part in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
                line = part.pattern.lineno if isinstance(part, ast.match_case) else part.lineno
                self._mark(line, max(line, first_line(part.body[0]) - 1), line)
                self._read(part.body)
            for block in blocks:
                self._read(block)

    def _mark(self, first: int, last: int, start: int) -> None:
        # Several statements on one line are one row.
        start = self._start.get(start, start)
        for line in range(first, last + 1):
            self._start[line] = start


def _end(node: ast.stmt | ast.expr) -> tuple[int, int]:
    return node.end_lineno or node.lineno, node.end_col_offset or 0


def _own_names(function: Function) -> set[str]:
    """Return the names that a function binds outside its comprehensions."""
    arguments = function.args
    plain = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    named = {a.arg for a in (*plain, arguments.vararg, arguments.kwarg) if a is not None}
    return named.union(bound_names(*function.body))
