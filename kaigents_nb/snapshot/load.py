"""Load the code of a run: only what is asked for, into a module of its own."""

from __future__ import annotations

import ast
import functools
import hashlib
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, cast

from kaigents_nb.authoring.step import Step
from kaigents_nb.errors import ConversionError, SnapshotError
from kaigents_nb.snapshot.module import Definition, Snapshot
from kaigents_nb.snapshot.needs import needs_of
from kaigents_nb.snapshot.own_calls import NOTED
from kaigents_nb.snapshot.packages import comes_with
from kaigents_nb.snapshot.private_imports import PrivateImports, unregister
from kaigents_nb.snapshot.run_module import RunModule
from kaigents_nb.snapshot.shown import hide, show
from kaigents_nb.snapshot.untouched import Untouched
from kaigents_nb.values.class_names import MAIN, find_class, type_name
from kaigents_nb.values.decode import decode
from kaigents_nb.values.encoded import RUN_MODULE_PREFIX

_ALWAYS = frozenset(
    {
        "kaigents_nb", "numpy", "pandas", "pyarrow", "pydantic",
        "collections", "concurrent", "decimal", "dis", "enum", "functools", "http", "inspect", "platform", "re",
        "signal", "socket", "ssl", "tokenize", "urllib", "uuid",
    }
)  # fmt: skip
"""What may be imported for a value, whatever the code imports: what every worker has loaded, or nearly so."""
Unwrap = Callable[[object], object]


def load(
    snapshot: Snapshot,
    names: Iterable[str],
    *,
    for_agent: bool,
    unwrap: Unwrap | None = None,
    note: Callable[[Any, str], Any] | None = None,
) -> LoadedCode:
    """Return code ready to be called, having executed what the given global names need.

    Parameters
    ----------
    snapshot
        The code of the run.
    names
        Global names to load at once; others load when they are asked for.
    for_agent
        True to execute an agent's body: steps are known by name only, and what only they need stays unloaded.
    unwrap
        In a sandbox, returns the real object behind a guarded one. Class bodies and annotations are executed
        with the real ones, as pydantic and dataclasses can't work with guards.
    note
        Called with what each call in the code gives, where it has coroutine functions of its own; and with how the
        call reads.

    Raises
    ------
    SnapshotError
        When the code has no such name.
    Exception
        Whatever the code itself raises, with a note that says where.
    """
    loaded = LoadedCode(snapshot, for_agent=for_agent, unwrap=unwrap, note=note if snapshot.has_coroutines else None)
    for name in names:
        loaded.ensure(name)
    return loaded


class LoadedCode:
    """The code of a run in this process. Threads may share it."""

    def __init__(
        self,
        snapshot: Snapshot,
        *,
        for_agent: bool,
        unwrap: Unwrap | None,
        note: Callable[[Any, str], Any] | None = None,
    ) -> None:
        self.snapshot = snapshot
        self._unwrap = unwrap
        self._lock = threading.RLock()
        self._definitions: dict[str, list[Definition]] = {}
        for definition in snapshot.definitions:
            for name in definition.names:
                self._definitions.setdefault(name, []).append(definition)
        self._stubs = {entry["global"]: step for step, entry in snapshot.steps.items()} if for_agent else {}
        self._agents = {entry["global"] for entry in snapshot.agents.values()} if for_agent else set()
        self._done: set[int] = set()
        self.module = _new_module(snapshot, for_agent)
        self.namespace: dict[str, Any] = vars(self.module)
        self._notes = {} if note is None else {NOTED: note}
        self.namespace.update(self._notes)
        self._imports = PrivateImports(snapshot, self.module.__name__, unwrap, self.get, self._lock, self._notes)
        if self._imports.builtins is not None:
            self.namespace["__builtins__"] = self._imports.builtins
        if unwrap is None:
            # What a sandbox has registered ends with it.
            weakref.finalize(self, unregister, self.module.__name__, weakref.ref(self.module)).atexit = False
        show(snapshot, self)
        weakref.finalize(self, hide, snapshot.filename, id(self)).atexit = False

    def get(self, name: str) -> Any:
        """Return the object of a global name, or of a path such as ``"helpers.search"`` or ``"tools['buy']"``."""
        self.ensure(name)
        found: Any = None
        for part in _path(name):
            if isinstance(part, ast.Name):
                found = self.namespace[part.id]
            elif isinstance(part, ast.Attribute):
                found = getattr(found, part.attr)
            elif isinstance(part, ast.Subscript):
                found = found[ast.literal_eval(part.slice)]
        return found

    def held(self, module: str, name: str) -> Any:
        """Return what the run has under a name of the cells (``module`` is empty) or of a module that it carries.

        Raises
        ------
        LookupError
            When it has none.
        """
        if module:
            if not self._imports.carries(module):
                raise LookupError(f"the run does not carry {module!r}")
            return vars(self._imports.module(module))[name]
        if name not in self._definitions:
            raise LookupError(f"the run's code has no name {name!r}")
        self.ensure(name)
        return self.namespace[name]

    def ensure(self, name: str) -> None:
        """Load a global name with all it needs, unless that was done before."""
        first = next(_path(name))
        assert isinstance(first, ast.Name)
        if first.id not in self._definitions:
            known = ", ".join(sorted(self._definitions))
            raise SnapshotError(f"The run's code has no name {first.id!r}. Known: {known}.")
        with self._lock:
            wanted = self._closure(first.id)
            waiting = [d for d in self.snapshot.definitions if id(d) in wanted and id(d) not in self._done]
            untouched = Untouched(self.namespace)
            for name in self._within_reach(waiting):
                if name in self.namespace:
                    untouched.add(name)
            for definition in waiting:
                self._execute(definition)
                self._done.add(id(definition))
                for made in self.snapshot.untouched.keys() & definition.names:
                    untouched.add(made)
                    untouched.begin(made, self.snapshot.untouched[made])
            untouched.restore()
            self._complete_models(wanted)

    def required(self, name: str) -> frozenset[str]:
        """Return the modules (not those inside of packages) that a global name's code can't do without."""
        first = next(_path(name))
        assert isinstance(first, ast.Name)
        wanted = self._closure(first.id)
        parts = [(p, d) for d in self.snapshot.definitions if id(d) in wanted and d.value is None for p in d.parts]
        return frozenset(
            module.partition(".")[0]
            for part, definition in parts
            for module in needs_of(part.text, definition.flags).required
        )

    def resolve(self, module: str, qualname: str) -> type:
        """Return the class of a saved value: from the run's code, or from a module that the code imports.

        Raises
        ------
        LookupError
            When neither has it.
        """
        first, *rest = qualname.split(".")
        found: Any
        own = module in ("__main__", self.snapshot.module) or module.startswith(RUN_MODULE_PREFIX)
        if own:
            name = self.snapshot.types.get(qualname, first)
            if name not in self._definitions:
                raise LookupError(f"the run's code has no class {qualname!r}")
            if name not in self.namespace:  # else it is there, or about to be: a class may keep its own instances
                self.ensure(name)
            found, rest = self.namespace[name], [] if qualname in self.snapshot.types else rest
        else:
            found = self._real(self._module(module))
            rest = [first, *rest]
        for part in rest:
            try:
                found = self._real(getattr(found, part))
            except AttributeError:
                found = None if own else find_class(self._module(module), module, qualname)
                if found is None:
                    raise LookupError(f"{module} has no {qualname!r}") from None
                break
        if not isinstance(found, type):
            raise LookupError(f"{module}:{qualname} is not a class")
        return found

    def _module(self, name: str) -> ModuleType:
        if self._imports.carries(name):
            try:
                return self._imports.module(name)
            except ImportError as error:
                raise LookupError(f"module {name!r} can't be imported here: {error}") from error
        if name in sys.modules:
            return sys.modules[name]
        if not self._may_import(name):
            raise LookupError(f"the run's code does not import {name!r}")
        try:
            __import__(name)
        except ImportError as error:
            raise LookupError(f"module {name!r} can't be imported here: {error}") from error
        return sys.modules[name]

    def _may_import(self, module: str) -> bool:
        """Tell whether reading a value may import a module: what the code imports, or what comes with that."""
        top = module.partition(".")[0]
        return top in _ALWAYS or top in self._imported or comes_with(top, self._imported)

    @functools.cached_property
    def _imported(self) -> frozenset[str]:
        """The packages that the code imports, also those that only some function does when it is called."""
        found = set(self.snapshot.modules)
        for node in ast.walk(ast.parse(self.snapshot.source)):
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module)
        return frozenset(name.partition(".")[0] for name in found)

    def check_readable(self, cls: type) -> None:
        """Refuse a class that a worker which has only the run's code could not find.

        Raises
        ------
        ConversionError
            Saying what to do.
        """
        module, qualname = type_name(cls)
        if module in (MAIN, self.snapshot.module):
            if self.snapshot.types.get(qualname, qualname.partition(".")[0]) not in self._definitions:
                raise ConversionError(
                    f"Class {qualname} is not part of the run's code. Name it in the agent or a step, so that it "
                    "travels along."
                )
        elif not self._imports.carries(module) and not self._may_import(module):
            raise ConversionError(
                f"Its module {module} is not imported by the run's code, so another worker could not read it. "
                f"Write import {module} in a cell or in the step."
            )

    def digest_of(self, name: str) -> str:
        """Return what stands for all the code that a global name executes, directly or not."""
        first = next(_path(name))
        assert isinstance(first, ast.Name)
        wanted = self._closure(first.id)
        digest = hashlib.sha256(self.snapshot.python.encode())
        for definition in self.snapshot.definitions:
            if id(definition) in wanted:
                for part in definition.parts:
                    digest.update(hashlib.sha256(part.text.encode("utf-8", "surrogatepass")).digest())
                if definition.value is not None:
                    digest.update(hashlib.sha256(definition.value.data).digest())
        for module in self.snapshot.local:
            digest.update(hashlib.sha256(repr(module).encode("utf-8", "surrogatepass")).digest())
        return digest.hexdigest()

    # --- which definitions ------------------------------------------------------------------------------------------

    def _closure(self, name: str) -> set[int]:
        seen: set[str] = set()
        found: set[int] = set()
        stack = [name]
        while stack:
            current = stack.pop()
            if current in seen:
                continue
            seen.add(current)
            for definition in self._definitions.get(current, ()):
                found.add(id(definition))
                if self._is_stub(definition):
                    continue
                stack += definition.needs_now
                # Another agent is only started by name: a run of its own executes its body.
                if current == name or current not in self._agents:
                    stack += definition.needs_later
        return found

    def _within_reach(self, waiting: Iterable[Definition]) -> Iterator[str]:
        """Yield the data that executing definitions may change; all else belongs to whoever runs meanwhile."""
        if self.snapshot.untouched:
            called = {name for d in waiting for name in d.needs_now if name in self._definitions}
            reached = set().union(*map(self._closure, called))
            for definition in self.snapshot.definitions:
                if id(definition) in reached:
                    yield from self.snapshot.untouched.keys() & definition.names

    def _is_stub(self, definition: Definition) -> bool:
        return all(name in self._stubs for name in definition.names)

    # --- execution --------------------------------------------------------------------------------------------------

    def _execute(self, definition: Definition) -> None:
        if definition.value is not None:
            value = decode(definition.value, resolve=self.resolve)
            values = (value,) if len(definition.names) == 1 else cast(tuple[object, ...], value)
            self.namespace.update(zip(definition.names, values, strict=True))
            return
        if not self._is_stub(definition):
            self._run(definition)
        for name in definition.names:
            if name in self._stubs and name not in self.namespace:
                step = self._stubs[name]
                self.namespace[name] = Step(None, self.snapshot.options(step), step)

    def _run(self, definition: Definition) -> None:
        namespace = self.namespace
        kept = {name: namespace[name] for name in definition.temporary if name in namespace}
        try:
            with self._real_modules(definition.real):
                for code in self.snapshot.compiled(definition, noted=bool(self._notes)):
                    exec(code, namespace)  # noqa: S102
        except Exception as error:
            part = definition.parts[0]
            place = f" ({part.label}, line {part.line})" if part.label else ""
            error.add_note(f"While loading {', '.join(definition.names)}{place} of the run's code.")
            raise
        finally:
            for name in definition.temporary:
                namespace.pop(name, None)
            namespace.update(kept)

    @contextmanager
    def _real_modules(self, needed: bool) -> Iterator[None]:
        """Let what is executed see the real objects behind guarded ones."""
        if not needed or self._unwrap is None:
            yield
            return
        guarded = {
            name: (value, real) for name, value in self.namespace.items() if (real := self._unwrap(value)) is not value
        }
        self.namespace.update({name: real for name, (_, real) in guarded.items()})
        try:
            yield
        finally:
            for name, (value, real) in guarded.items():
                if self.namespace.get(name) is real:
                    self.namespace[name] = value

    def _real(self, value: object) -> Any:
        return value if self._unwrap is None else self._unwrap(value)

    def _complete_models(self, wanted: set[int]) -> None:
        """Complete pydantic models that name later ones, while the real modules are at hand."""
        open_models = [
            value
            for definition in self.snapshot.definitions
            if id(definition) in wanted and definition.real
            for name in definition.names
            if isinstance(value := self.namespace.get(name), type)
            if vars(value).get("__pydantic_complete__") is False
        ]
        if open_models:
            with self._real_modules(True):
                for model in open_models:
                    model.model_rebuild(raise_errors=False)  # type: ignore[attr-defined]


def _new_module(snapshot: Snapshot, for_agent: bool) -> ModuleType:
    base = RUN_MODULE_PREFIX + snapshot.digest[:12] + ("_agent" if for_agent else "")
    name, number = base, 1
    while name in sys.modules:
        # Loaded more than once in this process: forward references must not find the other one's classes.
        number += 1
        name = f"{base}_{number}"
    module = RunModule(name, snapshot.title)
    vars(module).pop("__spec__", None)
    module.__file__ = snapshot.filename
    module.__package__ = snapshot.package
    # Registered, so that dataclasses, pydantic and typing find what annotations name.
    sys.modules[name] = module
    return module


def _path(name: str) -> Iterator[ast.expr]:
    """Yield the parts of a name or path, the global name first."""
    if name.isidentifier():
        yield ast.Name(name)
        return
    parts: list[ast.expr] = []
    node = ast.parse(name, mode="eval").body
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        parts.append(node)
        node = node.value
    if not isinstance(node, ast.Name):
        raise SnapshotError(f"{name!r} is not a global name or a path from one.")
    yield from (node, *reversed(parts))
