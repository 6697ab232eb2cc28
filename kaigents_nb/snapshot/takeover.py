"""Taking over a statement as source: with what it builds upon, what changed its object since, and if it still holds."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from types import FunctionType
from typing import Any

from kaigents_nb.snapshot import live
from kaigents_nb.snapshot.capture import literal
from kaigents_nb.snapshot.cells import DEFINITIONS, Cells, Statement
from kaigents_nb.snapshot.drafts import Draft
from kaigents_nb.snapshot.module import Part
from kaigents_nb.snapshot.needs import needs_of
from kaigents_nb.snapshot.problems import Problem


class Takeover:
    """Makes drafts of statements; what one statement binds becomes one draft."""

    def __init__(self, namespace: Mapping[str, Any], cells: Cells) -> None:
        self._namespace = namespace
        self._cells = cells
        self._by_statement: dict[tuple[int, Any], Draft] = {}

    def take(self, name: str, origin: Statement, value: object, *, shared: bool = True) -> Draft | Problem:
        """Return the draft that takes over ``origin`` for a name; with ``shared=False`` for this name alone."""
        key = (id(origin.leaf), origin.order)
        known = self._by_statement.get(key) if shared else None
        if known is not None:
            known.names.add(name)
            return known
        chain = self._chain(origin, value)
        if any(needs_of(statement.text, origin.cell.flags).awaits for statement in chain):
            return Problem(
                f"{name} is made with a top-level await ({at(origin)})",
                "Make it in a step, or without await.",
            )
        changed = self._changes(name, origin, value)
        if isinstance(changed, Problem):
            return changed
        own = set().union(*(s.leaf.binds for s in chain))
        for statement in chain:
            if (stale := self._stale(name, statement, value, own)) is not None:
                return stale
        draft = Draft(
            {name},
            [Part(s.text, s.cell.label, s.text_line) for s in chain] + changed,
            order=(1, *origin.order, name),
            binds=own,
            flags=origin.cell.flags,
            real=_makes_types(origin.node, value),
            origin=origin,
        )
        if shared:
            self._by_statement[key] = draft
        return draft

    def _chain(self, origin: Statement, value: object) -> list[Statement]:
        """Return the statement behind those that it builds upon: ``f = cache(f)`` needs the ``f`` before it."""
        chain = [origin]
        within = list(live.functions_within(value))
        while built_upon := {
            use.name
            for use in needs_of(chain[0].text, origin.cell.flags).uses
            if use.now and not use.annotation and use.name in chain[0].leaf.binds
        }:
            before = [
                statement
                for name in built_upon
                for statement in self._cells.bindings(name)
                if statement.order < chain[0].order and not statement.leaf.header
            ]
            before = [s for s in before if self._is_within(s, within)] or before
            if not before:
                break
            chain.insert(0, max(before, key=lambda s: s.order))
        return chain

    def _is_within(self, statement: Statement, functions: list[FunctionType]) -> bool:
        """Tell whether a definition can be that of one of the functions which a value is built upon."""
        node = statement.node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return True
        known = [f.__code__ for f in functions if f.__code__.co_name == node.name]
        return not known or any(statement.defines(code) for code in known)

    def _changes(self, name: str, origin: Statement, value: object) -> list[Part] | Problem:
        """Return what later statements changed in a class or function: ``Quote.total = total``."""
        parts = []
        for statement in self._cells.changes(name, origin):
            node = statement.node
            if isinstance(node, ast.Expr) and ast.unparse(node.value).startswith(f"{name}."):
                continue  # a call of one of its methods that only looks like a change of a list
            if isinstance(value, type) and isinstance(node, DEFINITIONS) and self._is_bound(statement, node.name):
                continue  # a definition of its own; what a class keeps of it is state
            if statement.leaf.looped:
                if _is_plain_attribute(node, value):
                    continue  # state
                return Problem(
                    f"{name} is changed in a loop ({at(statement)})", "Write the changes one by one, or in its class."
                )
            text = statement.text
            match node:
                case (
                    ast.Assign(targets=[ast.Attribute(value=ast.Name(), attr=attribute)])
                    | ast.AugAssign(target=ast.Attribute(value=ast.Name(), attr=attribute))
                ):
                    held = vars(value).get(attribute) if hasattr(value, "__dict__") else None
                    if (plain := literal(held)) is not None:
                        text = f"{name}.{attribute} = {plain}"
            parts.append(Part(text, statement.cell.label, statement.text_line))
        return parts

    def _is_bound(self, statement: Statement, name: str) -> bool:
        function = live.function_in(self._namespace.get(name))
        return function is not None and statement.defines(function.__code__)

    def _stale(self, name: str, statement: Statement, value: object, own: set[str]) -> Problem | None:
        """Refuse what was made with a value that a later cell has changed: made again, it would be another."""
        for use in needs_of(statement.text, statement.cell.flags).uses:
            if not use.now or use.annotation or use.name in own or use.name not in self._namespace:
                continue
            bindings = [
                s for s in self._cells.bindings(use.name) if not isinstance(s.node, (ast.Import, ast.ImportFrom))
            ]
            before = [s for s in bindings if s.order < statement.order]
            after = [s for s in bindings if s.order > statement.order]
            if not before or not after or before[-1].text == after[-1].text:
                continue
            now = self._namespace[use.name]
            held = [*live.values_held(value), *(value.__mro__ if isinstance(value, type) else ())]
            if any(h is now or (literal(h) is not None and literal(h) == literal(now)) for h in held):
                continue
            return Problem(
                f"{name} was made ({at(statement)}) with a {use.name} that was changed afterwards ({at(after[-1])})",
                f"Run the cell of {name} again, or give the two values of {use.name} different names.",
            )
        return None


def _is_plain_attribute(node: ast.stmt, value: object) -> bool:
    """Tell whether a statement sets an attribute that holds plain data now."""
    match node:
        case (
            ast.Assign(targets=[ast.Attribute(value=ast.Name(), attr=attribute)])
            | ast.AugAssign(target=ast.Attribute(value=ast.Name(), attr=attribute))
        ):
            return literal(getattr(value, "__dict__", {}).get(attribute, ...)) is not None
    return False


def at(statement: Statement) -> str:
    """Return a statement's place as people read it: ``In [3], line 5``."""
    return f"{statement.cell.label}, line {statement.line}"


def _makes_types(node: ast.stmt, value: object) -> bool:
    """Tell whether a statement makes types, or only annotations and defaults that need no guarded module."""
    if isinstance(value, type) or live.is_type_form(value) or isinstance(node, ast.ClassDef):
        return True
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        defaults = [*node.args.defaults, *(d for d in node.args.kw_defaults if d is not None)]
        return not any(isinstance(part, ast.Call) for default in defaults for part in ast.walk(default))
    return False
