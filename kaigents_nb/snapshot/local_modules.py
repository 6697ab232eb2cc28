"""Modules beside the notebook: found through what the code imports, and taken along as source.

A module is *local* when its file is neither the standard library's nor installed: not in ``site-packages``, and not a
part of a distribution that was installed to be edited (``pip install -e``), which a worker needs as any other package.
Its source goes in, and what its objects hold now beyond it; its data files do not.
"""

from __future__ import annotations

import ast
import importlib.machinery
import importlib.util
import sys
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from kaigents_nb.snapshot import live
from kaigents_nb.snapshot.capture import size_text
from kaigents_nb.snapshot.cells import OWN_FILES, compile_quietly, parse, parse_once
from kaigents_nb.snapshot.packages import is_local
from kaigents_nb.snapshot.problems import Problem

SOURCE_LIMIT_BYTES = 8 * 2**20
"""Largest sum of the sources of local modules that travel with a run."""


@dataclass(frozen=True)
class LocalModule:
    """One module as it travels."""

    name: str
    file: str
    """Its path as people know it, such as ``shop/prices.py``."""
    source: str
    package: bool = False
    """It has modules of its own."""
    path: str = ""
    """Where it was: what its ``__file__`` says, also on a machine that has no such file."""
    state: str = ""
    """Statements that set what its objects held at the start."""


@dataclass
class LocalModules:
    """What was found."""

    modules: list[LocalModule] = field(default_factory=list)
    imported: set[str] = field(default_factory=set)
    """What they import besides."""
    problems: list[Problem] = field(default_factory=list)
    told: list[str] = field(default_factory=list)


def find_local_modules(imported: Iterable[str]) -> LocalModules:
    """Return the local modules that code needs which imports these, directly or not; nothing is imported."""
    found = LocalModules()
    seen: set[str] = set()
    stack = sorted(imported, reverse=True)
    while stack:
        name = stack.pop()
        if name in seen:
            continue
        seen.add(name)
        if not is_local(name.partition(".")[0]):
            found.imported.add(name)
            continue
        spec = _spec(name)
        if spec is None:
            continue  # a function or value of its package, or a module that is not there
        stack += [parent for parent in _parents(name) if parent not in seen]
        module = _read(name, spec, found)
        if module is None:
            continue
        found.modules.append(module)
        package = name if module.package else name.rpartition(".")[0]
        stack += sorted(set(_imports(module.source, package)) - seen, reverse=True)
    found.modules.sort(key=lambda module: module.name)
    size = sum(len(module.source) for module in found.modules)
    if size > SOURCE_LIMIT_BYTES:
        names = ", ".join(sorted({module.name.partition(".")[0] for module in found.modules}))
        found.problems.append(
            Problem(
                f"the modules beside the notebook ({names}) have {size_text(size)} of source; up to "
                f"{size_text(SOURCE_LIMIT_BYTES)} travel with a run",
                "Install them as a package, here and where workers run.",
            )
        )
    return found


def _parents(name: str) -> Iterator[str]:
    while name := name.rpartition(".")[0]:
        yield name


def _spec(name: str) -> importlib.machinery.ModuleSpec | None:
    """Find a module without executing its package."""
    loaded = sys.modules.get(name)
    if isinstance(loaded, ModuleType) and loaded.__spec__ is not None:
        return loaded.__spec__
    path: Iterable[str] | None = None
    if parent := name.rpartition(".")[0]:
        above = _spec(parent)
        if above is None or above.submodule_search_locations is None:
            return None
        path = above.submodule_search_locations
    return importlib.machinery.PathFinder.find_spec(name, list(path) if path is not None else None)


def _read(name: str, spec: importlib.machinery.ModuleSpec, found: LocalModules) -> LocalModule | None:
    package = spec.submodule_search_locations is not None
    if spec.origin is None:
        return LocalModule(name, f"{name.replace('.', '/')}/", "", package)  # a folder without __init__.py
    file = Path(spec.origin)
    if file.suffix != ".py":
        found.problems.append(
            Problem(
                f"{name} is {file.name}, which is compiled and not source, so it can't travel with the run",
                "Install it as a package, here and where workers run.",
            )
        )
        return None
    shown = f"{name.replace('.', '/')}/__init__.py" if package else f"{name.replace('.', '/')}.py"
    try:
        source = importlib.util.decode_source(file.read_bytes())
        code = compile_quietly(source, str(file))
    except (OSError, SyntaxError, ValueError) as error:
        found.problems.append(Problem(f"{name} can't be read again from {file}: {error}", "Mend the file."))
        return None
    loaded = sys.modules.get(name)
    edited = next(_edited(loaded, code), None) if loaded is not None else None
    if edited is not None:
        found.problems.append(
            Problem(
                f"{shown} was changed since it was imported: {edited}() is not what the file says now",
                f"Import it again: importlib.reload({name}), or restart the kernel.",
            )
        )
        return None
    if "__file__" in source:
        found.told.append(
            f"{shown} asks for its __file__: the files beside it do not travel with the run, so a worker on another "
            "machine will not find them. Read them in the notebook and pass what they hold, or install the package."
        )
    return LocalModule(name, shown, source, package, str(file))


def _imports(source: str, package: str) -> Iterator[str]:
    """Yield the modules that a module's source imports anywhere, and what may be one."""
    for node in ast.walk(parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                try:
                    module = importlib.util.resolve_name("." * node.level + module, package)
                except ImportError:
                    continue
            if module:
                yield module
                yield from (f"{module}.{alias.name}" for alias in node.names if alias.name != "*")


def _edited(module: ModuleType, now: CodeType) -> Iterator[str]:
    """Yield the functions of a loaded module whose code is not in its file any more."""
    known: dict[tuple[str, int], Any] = {}
    stack = [now]
    while stack:
        code = stack.pop()
        known[code.co_qualname, code.co_firstlineno] = _gist(code)
        stack += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    for function in _functions(module):
        code = function.__code__
        if code.co_filename == now.co_filename and known.get((code.co_qualname, code.co_firstlineno)) != _gist(code):
            yield function.__qualname__


def _functions(module: ModuleType) -> Iterator[FunctionType]:
    for value in list(vars(module).values()):
        members: Collection[object] = [value]
        if isinstance(value, type) and value.__module__ == module.__name__:
            members = list(vars(value).values())
        for member in members:
            function = live.function_in(member)
            if function is not None and function.__globals__ is vars(module):
                yield function


def _gist(code: CodeType) -> tuple[object, ...]:
    plain = tuple(repr(item) for item in code.co_consts if not isinstance(item, CodeType))
    return code.co_names, code.co_varnames, plain


def named_tree(module: LocalModule) -> ast.Module:
    """Return a module's syntax in which ``__name__`` is its own name, under whatever name it is registered."""
    return _Named(module.name).visit(parse_once(module.source))  # type: ignore[no-any-return]


class _Named(ast.NodeTransformer):
    def __init__(self, name: str) -> None:
        self._name = name

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """Replace what asks for the name, and leave the rest."""
        if node.id == "__name__" and isinstance(node.ctx, ast.Load):
            return ast.copy_location(ast.Constant(self._name), node)
        return node


def local_filename(snapshot_filename: str, module: LocalModule) -> str:
    """Return the file name that the compiled code of a module carries."""
    return f"{snapshot_filename[:-1]} {module.file}>"


def is_local_filename(filename: str, snapshot_filename: str) -> bool:
    """Tell whether a file name is that of a module which a snapshot carries."""
    return filename.startswith(f"{snapshot_filename[:-1]} ")


def local_place(filename: str) -> str | None:
    """Return the file of such a name, as people know it; None for another file name."""
    if not filename.startswith(OWN_FILES):
        return None
    return filename.removeprefix(OWN_FILES).partition(" ")[2][:-1] or None
