"""Which functions of the local modules that a run carries an agent uses, as far as their names tell."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kaigents_nb.snapshot.cells import dotted, imported_names, parse
from kaigents_nb.snapshot.local_modules import LocalModule
from kaigents_nb.snapshot.reached import Use, reached


@dataclass(frozen=True)
class ModuleUse:
    """A function of a local module, and the agent that uses it."""

    use: Use
    file: str
    imported: Mapping[str, str]
    """What the names stand for that its module imports."""


def reached_in_modules(
    modules: tuple[LocalModule, ...], uses: list[Use], imported: Mapping[str, str]
) -> Iterator[ModuleUse]:
    """Yield the functions that others use by ``module.name`` or an imported name, and what those use in turn."""
    trees = {module.name: parse(module.source) for module in modules}
    files = {module.name: module.file for module in modules}
    seen: set[tuple[str, str]] = set()
    stack = [(use.node, use.agent, imported) for use in uses]
    while stack:
        node, agent, names = stack.pop()
        for module, function in _named(node, names, trees):
            if (module, function) in seen:
                continue
            inside = dict(imported_names(trees[module]))
            for use in reached(trees[module], {function}, set()):
                seen.add((module, use.name))
                yield ModuleUse(Use(use.name, use.node, agent), files[module], inside)
                stack.append((use.node, agent, inside))


def _named(node: ast.AST, names: Mapping[str, str], trees: Mapping[str, ast.Module]) -> Iterator[tuple[str, str]]:
    for part in ast.walk(node):
        first, *attributes = (dotted(part) if isinstance(part, (ast.Name, ast.Attribute)) else None) or [""]
        if first in names:
            module, _, function = ".".join([names[first], *attributes]).rpartition(".")
            if module in trees:
                yield module, function
