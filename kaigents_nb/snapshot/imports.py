"""Import statements that give a name the value it has."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType

from kaigents_nb.snapshot.cells import Statement
from kaigents_nb.snapshot.live import in_module
from kaigents_nb.snapshot.module import Part

_DOTTED = re.compile(r"import \w+\.[\w.]+$")
_SCALARS = (int, float, str, bytes, bool, complex, type(None), tuple)


def module_imports(name: str, value: ModuleType, bindings: Sequence[Statement], package: str) -> list[Part]:
    """Return the import statements that give a name this module; none when it can't be imported.

    ``import a.b`` and ``import a.c`` both bind ``a``: all of them are needed.
    """
    found: dict[str, Part] = {}
    for statement in reversed(bindings):
        for text, target in _alternatives(statement, name, package):
            if target is value and (not found or _DOTTED.match(text)):
                found.setdefault(text, Part(text, statement.cell.label, statement.line))
    if not found and sys.modules.get(value.__name__) is value and value.__spec__ is not None:
        text = f"import {value.__name__}" if value.__name__ == name else f"import {value.__name__} as {name}"
        found[text] = Part(text)
    return [found[text] for text in sorted(found)]


def value_import(name: str, value: object, bindings: Sequence[Statement], package: str) -> Part | None:
    """Return the import statement of a cell that gives a name this value, else None."""
    for statement in reversed(bindings):
        if not isinstance(statement.node, ast.ImportFrom):
            if isinstance(value, _SCALARS):
                return None  # equal numbers are often the same object by chance
            continue
        for text, target in _alternatives(statement, name, package):
            if target is value or _reloaded(target, value):
                return Part(text, statement.cell.label, statement.line)
    return None


def _alternatives(statement: Statement, name: str, package: str) -> Iterator[tuple[str, object]]:
    """Yield what an import statement may bind to a name: the statement for it alone, and the value it gives now."""
    node = statement.node
    if isinstance(node, ast.Import):
        for alias in node.names:
            top = alias.name.partition(".")[0]
            if alias.asname == name:
                yield f"import {alias.name} as {name}", sys.modules.get(alias.name)
            elif alias.asname is None and top == name and alias.name in sys.modules:
                yield f"import {alias.name}", sys.modules.get(top)
    elif isinstance(node, ast.ImportFrom):
        source = node.module or ""
        if node.level:
            source = importlib.util.resolve_name("." * node.level + source, package) if package else ""
        for alias in node.names:
            if source and (alias.asname or alias.name) == name:
                text = f"from {source} import {alias.name}" + (f" as {name}" if alias.asname else "")
                yield text, _attribute(source, alias.name)
            elif source and alias.name == "*" and (starred := _attribute(source, name)) is not None:
                yield f"from {source} import {name}", starred


def _attribute(module: str, name: str) -> object:
    found = in_module(module, name)
    return sys.modules.get(f"{module}.{name}") if found is None else found


def _reloaded(current: object, value: object) -> bool:
    """Tell whether a value is an earlier version of what its module has now, which was reloaded since."""
    return (
        current is not None
        and type(current) is type(value)
        and not isinstance(value, _SCALARS)
        and isinstance(getattr(value, "__qualname__", None), str)
        and getattr(value, "__qualname__", None) == getattr(current, "__qualname__", None)
        and getattr(value, "__module__", None) == getattr(current, "__module__", None)
    )
