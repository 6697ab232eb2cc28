"""What a local module holds at ``start()`` beyond what its source gives when it is imported again."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

from kaigents_nb.snapshot import live
from kaigents_nb.snapshot.capture import VALUE_LIMIT_BYTES, held_bytes, literal
from kaigents_nb.snapshot.classify import Classifier
from kaigents_nb.snapshot.containers import written
from kaigents_nb.snapshot.imports import value_import
from kaigents_nb.snapshot.origin import assigned_in, origin_of
from kaigents_nb.snapshot.sources import read_cells
from kaigents_nb.snapshot.state import HOLE, Finding, Slot, StateReader
from kaigents_nb.values.sharing import has_identity

_MADE: dict[type, tuple[str, ...]] = {
    list: ("list",),
    dict: ("dict", "defaultdict", "OrderedDict", "Counter"),
    set: ("set",),
}


class ModuleState:
    """Looks at one loaded module of the analyst's."""

    def __init__(self, module: ModuleType, notebook: Mapping[int, str]) -> None:
        self.module = module
        self._namespace = vars(module)
        self._cells = read_cells(self._namespace)
        classifier = Classifier(self._namespace, self._cells)
        self.names = classifier.names
        self._package = classifier.package
        self._reader = StateReader(self._namespace, self._cells, self.names, module.__name__)
        self._reader.elsewhere = notebook

    def findings(self) -> Iterator[Finding]:
        """Yield what differs from the source."""
        for name, value in list(self._namespace.items()):
            if name.startswith("__") or isinstance(value, ModuleType) or not name.isidentifier():
                continue
            bindings = self._cells.bindings(name)
            if any(s.leaf.header for s in bindings) or self._is_imported(name, value):
                continue
            if live.is_code(value):
                origin = origin_of(name, value, self._cells, self._namespace)
                if origin is not None:
                    yield from self._reader.findings(name, value, origin)
            elif held_bytes(value) <= VALUE_LIMIT_BYTES and self._reader.mentioned(name):
                node = assigned_in(bindings[-1].node, name) if bindings else None
                form = self._form(name, value, node)
                yield from self._reader.value(name, form, value, node, bindings[-1] if bindings else None)

    def line(self, slot: Slot, keep: Callable[[object, str], str]) -> str:
        """Return the statement that sets a slot, in the module's own namespace."""
        value: Any = slot.value
        known = self.names.get(id(value), slot.path)
        text: str | None
        if known != slot.path and (live.is_code(value) or has_identity(value)):
            text = known
        elif live.is_code(value) or live.holds_code(value):
            text = written(value, self.names)
        else:
            text = literal(value)
        return slot.form.replace(HOLE, text if text is not None else keep(value, slot.path))

    def line_outside(self, slot: Slot, notebook: Mapping[int, str]) -> str:
        """Return the statement that sets a slot in the notebook's code, which the module imports nothing from."""
        root = f"__import__({self.module.__name__!r}, fromlist=['*'])"
        own = {key: f"{root}.{name}" for key, name in self.names.items()}
        tree = ast.parse(slot.form.replace(HOLE, "_hole_"))
        names = {name: f"{root}.{name}" for name in self._namespace if not name.startswith("__")}
        names["_hole_"] = written(slot.value, {**own, **notebook})
        return ast.unparse(_Renamed(names).visit(tree))

    def _is_imported(self, name: str, value: object) -> bool:
        statements = self._cells.bindings(name) or self._cells.bindings("*")
        imports = [s for s in statements if isinstance(s.node, (ast.Import, ast.ImportFrom))]
        return bool(imports) and value_import(name, value, imports, self._package) is not None

    @staticmethod
    def _form(name: str, value: object, node: ast.expr | None) -> str:
        """Fill what the source makes, so that what else refers to it sees it too."""
        made = type(node).__name__.lower()
        if isinstance(node, ast.Call) and isinstance(node.func, (ast.Name, ast.Attribute)):
            made = ast.unparse(node.func).rpartition(".")[2]
        for kind, makers in _MADE.items():
            if isinstance(value, kind) and made in makers:
                return f"{name}[:] = {HOLE}" if kind is list else f"{name}.clear(); {name}.update({HOLE})"
        return f"{name} = {HOLE}"


class _Renamed(ast.NodeTransformer):
    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """Put an expression where a name stands."""
        if node.id not in self._names:
            return node
        found = ast.parse(self._names[node.id], mode="eval").body
        if isinstance(found, ast.Attribute):
            found.ctx = node.ctx
        return found


def of_notebook(slot: Slot, own: Mapping[int, str], notebook: Mapping[int, str]) -> list[str]:
    """Return the names of the notebook's functions and classes that a module holds."""
    items: list[Any] = [slot.value, *live.walk(slot.value)]
    return [notebook[id(item)] for item in items if live.is_code(item) and id(item) in notebook and id(item) not in own]
