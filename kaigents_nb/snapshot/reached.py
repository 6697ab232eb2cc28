"""Which functions of a run's code an agent uses: what they do, it does."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

Function = ast.FunctionDef | ast.AsyncFunctionDef

_AT_MAKING = frozenset({"__init__", "__new__", "__post_init__", "__enter__", "__aenter__", "__call__"})
"""Methods that nobody calls by their name."""


@dataclass(frozen=True)
class Use:
    """A function, and the agent that uses it: itself, or by way of others."""

    name: str
    node: Function
    agent: str


def reached(tree: ast.Module, agents: set[str], steps: set[str]) -> Iterator[Use]:
    """Yield each agent and each function that agents use, once.

    A method counts as used where a method of its name is: which class is meant, the source does not say.
    """
    functions = {node.name: node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    seen: set[int] = set()
    for agent in (name for name in functions if name in agents):
        stack: list[tuple[str, Function]] = [(agent, functions[agent])]
        used_classes: dict[str, ast.ClassDef] = {}
        attributes: set[str] = set()
        while stack:
            name, node = stack.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            yield Use(name, node, agent)
            for part in ast.walk(node):
                if isinstance(part, ast.Attribute):
                    attributes.add(part.attr)
                elif isinstance(part, ast.Name) and part.id in classes:
                    used_classes[part.id] = classes[part.id]
                elif isinstance(part, ast.Name) and part.id in functions and part.id not in agents | steps:
                    stack.append((part.id, functions[part.id]))
            for cls in used_classes.values():
                stack += [
                    (f"{cls.name}.{method.name}", method)
                    for method in cls.body
                    if isinstance(method, (ast.FunctionDef, ast.AsyncFunctionDef))
                    and method.name in attributes | _AT_MAKING
                ]
