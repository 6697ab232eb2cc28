"""The local modules of one run: imported from the source that it carries, and seen by its own code only.

Two runs in one process may carry different versions of ``util``: each has its own, and the process's ``sys.modules``
says nothing of either under that name. A module knows its own name; its classes say, in ``__module__``, under which
name of the run's it is registered.
"""

from __future__ import annotations

import ast
import builtins
import importlib.util
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any

from kaigents_nb.snapshot.cells import compile_quietly, parse
from kaigents_nb.snapshot.local_modules import LocalModule
from kaigents_nb.snapshot.module import Snapshot
from kaigents_nb.snapshot.run_module import RunModule

Unwrap = Callable[[object], object]

_MODULES = sys.modules
"""Those of the process. In a thread that executes a workflow, where garbage may be collected too, ``sys.modules`` are
others."""


class PrivateImports:
    """What ``import`` does in the code of one run, and in the modules that it carries."""

    def __init__(
        self,
        snapshot: Snapshot,
        registered: str,
        unwrap: Unwrap | None,
        kept: Callable[[str], object],
        lock: AbstractContextManager[object],
        notes: Mapping[str, object],
    ) -> None:
        self._snapshot = snapshot
        self._carried = {module.name: module for module in snapshot.local}
        self._tops = {name.partition(".")[0] for name in self._carried}
        self._registered = registered
        self._unwrap = unwrap
        self._kept = kept
        self._lock = lock
        self._notes = notes
        self._loaded: dict[str, ModuleType] = {}
        self._executing = 0
        self.builtins = {**vars(builtins), "__import__": self._import} if self._carried else None
        """What code gets as ``__builtins__``; None where nothing is carried."""

    def carries(self, name: str) -> bool:
        """Tell whether a module is one of the run's own."""
        return name.partition(".")[0] in self._tops

    def module(self, name: str) -> ModuleType:
        """Return one of the run's own modules, executing it the first time.

        Raises
        ------
        ModuleNotFoundError
            When the run does not carry it.
        """
        with self._lock:
            return self._loaded.get(name) or self._first(name)

    def _first(self, name: str) -> ModuleType:
        parent, _, child = name.rpartition(".")
        if parent:
            self.module(parent)
            if name in self._loaded:
                return self._loaded[name]
        carried = self._carried.get(name)
        if carried is None:
            raise ModuleNotFoundError(
                f"No module named {name!r} among those that the run carries: {', '.join(sorted(self._carried))}. "
                "Only what is imported by name in the code goes along.",
                name=name,
            )
        module = self._new(carried)
        if parent:
            setattr(self._loaded[parent], child, module)
        return module

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        package = str((globals or {}).get("__package__") or "")
        absolute = importlib.util.resolve_name("." * level + name, package) if level and package else name
        if not self.carries(absolute):
            found = builtins.__import__(name, globals, locals, fromlist or (), level)
            return self._unwrap(found) if self._executing and self._unwrap is not None else found
        module = self.module(absolute)
        if not fromlist:
            return module if level else self._loaded[absolute.partition(".")[0]]
        names = getattr(module, "__all__", ()) if "*" in fromlist else fromlist
        for item in names:
            if not hasattr(module, item) and f"{absolute}.{item}" in self._carried:
                self.module(f"{absolute}.{item}")
        return module

    def _new(self, carried: LocalModule) -> ModuleType:
        registered = f"{self._registered}.{carried.name}"
        # Its classes say that name, under which all that looks up their annotations finds the right module.
        module = RunModule(registered)
        namespace = vars(module)
        namespace.pop("__spec__", None)
        namespace["__builtins__"] = self.builtins
        namespace.update(self._notes)
        module.__file__ = carried.path
        module.__package__ = carried.name if carried.package else carried.name.rpartition(".")[0]
        if carried.package:
            module.__path__ = []
        sys.modules[registered] = module
        if self._unwrap is None:
            weakref.finalize(self, unregister, registered, weakref.ref(module)).atexit = False
        self._loaded[carried.name] = module
        try:
            self._executing += 1
            try:
                exec(self._snapshot.compiled_module(carried, noted=bool(self._notes)), namespace)  # noqa: S102
            finally:
                self._executing -= 1
            self._set_state(carried, namespace)
        except BaseException:
            self._loaded.pop(carried.name, None)
            sys.modules.pop(registered, None)
            raise
        module.__name__ = carried.name
        _complete(module, registered)
        self._guard(carried, namespace)
        return module

    def _set_state(self, carried: LocalModule, namespace: dict[str, Any]) -> None:
        if not carried.state:
            return
        code = compile_quietly(carried.state, f"{self._snapshot.filename[:-1]} {carried.file}, as it was at the start>")
        for name in code.co_names:
            if name.startswith("_kept_"):
                namespace[name] = self._kept(name)
        exec(code, namespace)  # noqa: S102
        for name in [name for name in namespace if name.startswith("_kept_")]:
            del namespace[name]

    def _guard(self, carried: LocalModule, namespace: dict[str, Any]) -> None:
        """In a sandbox, let the module's functions see guarded modules; its classes were made with the real ones."""
        if self._unwrap is None:
            return
        for node in _top_level_imports(carried.source):
            guarded: dict[str, Any] = {"__builtins__": self.builtins, "__package__": namespace["__package__"]}
            try:
                exec(compile_quietly(ast.Module([node], []), self._snapshot.filename), guarded)  # noqa: S102
            except ImportError:
                continue  # of one that is tried first
            for name, value in guarded.items():
                if name in namespace and self._unwrap(value) is namespace[name]:
                    namespace[name] = value


def _top_level_imports(source: str) -> Iterator[ast.Import | ast.ImportFrom]:
    for node in parse(source).body:
        for part in ast.walk(node) if isinstance(node, (ast.Try, ast.If, ast.With)) else [node]:
            if isinstance(part, (ast.Import, ast.ImportFrom)) and getattr(part, "module", "") != "__future__":
                yield part


def _complete(module: ModuleType, registered: str) -> None:
    """Complete pydantic models that name later ones, while the real modules are at hand."""
    for value in list(vars(module).values()):
        own = isinstance(value, type) and value.__module__ == registered
        if own and vars(value).get("__pydantic_complete__") is False:
            value.model_rebuild(raise_errors=False)


def unregister(name: str, module: weakref.ref[ModuleType]) -> None:
    """Take a module out of the process; its classes still work where somebody has kept one."""
    # Another one may have that name by now.
    if name in _MODULES and _MODULES[name] is module():
        del _MODULES[name]
