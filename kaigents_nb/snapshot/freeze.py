"""Freeze an agent or step: find all that it needs over all cells, as source or as values, and refuse the rest."""

from __future__ import annotations

import builtins
import difflib
import inspect
import platform
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import ModuleType
from typing import Any

from kaigents_nb.authoring.agent import Agent
from kaigents_nb.authoring.durations import seconds
from kaigents_nb.authoring.step import Step
from kaigents_nb.errors import CannotFreeze, ConversionError
from kaigents_nb.snapshot import live
from kaigents_nb.snapshot.capture import TOTAL_LIMIT_BYTES, size_text
from kaigents_nb.snapshot.cells import Statement
from kaigents_nb.snapshot.classify import Classifier, own_classes
from kaigents_nb.snapshot.drafts import Draft, in_order
from kaigents_nb.snapshot.identity import keep, settle
from kaigents_nb.snapshot.local_modules import find_local_modules
from kaigents_nb.snapshot.module import Snapshot
from kaigents_nb.snapshot.module_state import ModuleState, of_notebook
from kaigents_nb.snapshot.needs import Need
from kaigents_nb.snapshot.packages import distributions_of, is_local, packages_of
from kaigents_nb.snapshot.problems import Problem, Use, refuse
from kaigents_nb.snapshot.settings import carried_settings, told_settings
from kaigents_nb.snapshot.sources import read_cells, shell_of
from kaigents_nb.snapshot.state import Slot, StateReader
from kaigents_nb.snapshot.untouched import data_within_reach
from kaigents_nb.snapshot.wrapped import behind, refusal
from kaigents_nb.values.encoded import Encoded
from kaigents_nb.values.sharing import has_identity

_CONTAINER_DEPTH = 3


def freeze(root: Agent[..., Any, Any] | Step[..., Any], *, values: tuple[object, ...] = ()) -> Snapshot:
    """Return the code that an agent or step needs, as it is now; nothing of it is executed.

    Functions, classes, imports and what is made of them go in as source, plain values as they are at this moment.

    Parameters
    ----------
    root
        The agent or step. The module it lives in (the notebook, a script, an importable module) is carried;
        other modules are imported where the run is executed.
    values
        Arguments of the run: the notebook's classes that they are made of go in too.

    Raises
    ------
    CannotFreeze
        When something that is needed can't travel; the message lists everything, where it is used and what to do.
    """
    return _Freezer(root, values).snapshot()


class _Freezer:
    def __init__(self, root: Agent[..., Any, Any] | Step[..., Any], values: tuple[object, ...]) -> None:
        self._root = root
        self._namespace = _namespace_of(root)
        self._shell = shell_of(self._namespace)
        self._classifier = Classifier(self._namespace, read_cells(self._namespace))
        self._root_name = self._classifier.names.get(id(root)) or _wrapper_of(root, self._namespace)
        self._values = values
        self._drafts: dict[str, Draft] = {}
        self._problems: dict[str, Problem] = {}
        self._uses: dict[str, list[tuple[Use, Need]]] = defaultdict(list)
        self._read: set[int] = set()
        self._wanted: list[str] = []
        self._seen: set[str] = set()
        self._types: dict[str, str] = {}
        self._state = StateReader(
            self._namespace, self._classifier.cells, self._classifier.names, self._classifier.module
        )
        self._slots: list[tuple[Draft, Slot]] = []
        self._stateful: list[tuple[str, Problem]] = []
        self._told: list[str] = []
        self._modules: dict[str, ModuleState] = {}
        self._module_slots: list[tuple[ModuleState, Slot, Draft | None]] = []
        self._filled_modules: dict[str, set[str]] = defaultdict(set)
        self._module_state: dict[str, list[str]] = defaultdict(list)

    def snapshot(self) -> Snapshot:
        self._want(self._root_name)
        for value in self._values:
            self._want_classes(value, None)
        for name in self._wanted:  # which grows meanwhile
            self._define(name)
        self._settle()
        drafts = list({id(draft): draft for draft in self._drafts.values()}.values())
        steps, agents = self._callables()
        imported = {module for draft in drafts for _, needs in draft.needs() for module in needs.modules}
        local = find_local_modules(imported | self._foreign_modules(drafts))
        self._stateful += [("", problem) for problem in local.problems]
        self._told += local.told
        modules = local.imported
        self._check(drafts)
        taken = [draft.origin for draft in drafts if draft.origin is not None]
        self._told += told_settings(self._classifier.cells, self._namespace, taken, modules)
        loaded = tuple(sorted(module for module in modules if module in sys.modules))
        doc = inspect.cleandoc(self._root.__doc__ or "").partition("\n")[0]
        return Snapshot(
            root=self._root_name,
            root_name=self._root.name,
            title=doc or self._root.name,
            python=platform.python_version(),
            definitions=tuple(in_order(drafts)),
            steps=steps,
            agents=agents,
            packages=packages_of(modules | {module.name for module in local.modules}),
            modules=loaded,
            installed=distributions_of(modules, loaded),
            module=self._classifier.module,
            package=self._classifier.package,
            types=self._types,
            told=tuple(dict.fromkeys(self._told)),
            settings=carried_settings(),
            local=tuple(
                replace(module, state="\n".join(self._module_state.get(module.name, ()))) for module in local.modules
            ),
            untouched=data_within_reach(self._drafts, self._classifier.cells),
        )

    # --- the walk ---------------------------------------------------------------------------------------------------

    def _want(self, name: str) -> None:
        if name not in self._seen:
            self._seen.add(name)
            self._wanted.append(name)

    def _define(self, name: str) -> None:
        if name in self._namespace:
            value = self._namespace[name]
        elif _is_injected(name):
            value = vars(builtins)[name]
        else:
            if name not in vars(builtins):
                self._problems[name] = self._undefined(name)
            return
        if name == "open" and getattr(value, "__globals__", {}).get("__name__", "").startswith("IPython"):
            return  # IPython's guard around the built-in one; its __module__ is that of the one it wraps
        if name == "get_ipython" or self._is_notebooks_own(name, value):
            self._problems[name] = Problem(
                "a magic, !command or get_ipython()" if name == "get_ipython" else f"{name}",
                "It exists only in a notebook and can't travel with the run. "
                "Do the same in plain Python, for example with subprocess.run() in a step.",
            )
            return
        found = self._classifier.classify(name, value)
        if isinstance(found, Problem):
            self._problems[name] = found
            return
        self._drafts[name] = found
        self._follow(name, value, found)
        if not found.captured and found.origin is None:
            self._look_at_modules(found)
            # An import: what a decorator of the module has registered with it (an accessor of pandas) is needed too.
            for registered in self._classifier.cells.registered(name):
                if registered in self._namespace:
                    found.needs_later.add(registered)
                    self._want(registered)

    def _follow(self, name: str, value: object, draft: Draft) -> None:
        """Look up what a definition needs in turn."""
        if draft.value is not None or not draft.parts:
            self._want_classes(value, draft)
        module = self._classifier.module
        if isinstance(value, type) and value.__module__ == module:
            if value.__qualname__ != name and "<locals>" not in value.__qualname__:
                self._types[value.__qualname__] = name
            for subclass in _registered(value):
                known = self._classifier.names.get(id(subclass))
                if known is not None:
                    draft.needs_later.add(known)
                    self._want(known)
        if draft.origin is not None:
            self._look_at_state(name, value, draft, draft.origin)
        if id(draft) in self._read:
            return
        self._read.add(id(draft))
        for part, need in ((part, need) for part, needs in draft.needs() for need in needs.uses):
            if need.name in draft.binds and need.name not in self._drafts and need.now:
                continue  # bound by an earlier line of the same definition
            if need.text and not self._is_type(need.name):
                continue
            line = part.line + need.line - 1 if part.label else 0
            self._uses[need.name].append((Use(need.function, part.label, line), need))
            (draft.needs_now if need.now else draft.needs_later).add(need.name)
            self._want(need.name)

    def _want_classes(self, value: object, draft: Draft | None) -> None:
        """Take in the notebook's classes that a captured value is made of."""
        encoded = draft.value if draft is not None else None
        classes = live.classes_in(value)
        bound = {cls.__qualname__: self._classifier.names.get(id(cls)) for cls in classes}
        for qualname in set(own_classes(classes, encoded, self._classifier.module)):
            # A generic model's qualname is "Page[int]".
            name = bound.get(qualname) or qualname.partition(".")[0].partition("[")[0]
            if name in self._namespace:
                self._want(name)
                if draft is not None:
                    draft.needs_now.add(name)
            elif draft is None:
                self._problems[name] = Problem(
                    f"an argument holds an instance of {qualname}, a class that no global name is bound to",
                    "Run the cell that defines it again, or define it at the top level of a cell.",
                )

    def _look_at_state(self, name: str, value: object, draft: Draft, origin: Statement) -> None:
        """Take in what an object holds now, beyond what its statement gives."""
        for found in self._state.findings(name, value, origin):
            if isinstance(found, Slot):
                self._slots.append((draft, found))
                self._want_classes(found.value, None)
                for item in (found.value, *live.walk(found.value)):
                    known = self._classifier.names.get(id(item))
                    if known is not None and known != name and (live.is_code(item) or has_identity(item)):
                        draft.needs_later.add(known)
                        self._want(known)
            elif isinstance(found, Problem):
                self._stateful.append((name, found))
            else:
                self._told.append(found.text)

    def _look_at_modules(self, draft: Draft) -> None:
        """Take in what the local modules behind an import hold now, beyond what their source gives."""
        imported = {m for _, needs in draft.needs() for m in needs.modules if is_local(m.partition(".")[0])}
        for module in find_local_modules(imported).modules if imported else ():
            loaded = sys.modules.get(module.name)
            draft.needs_later |= self._filled_modules[module.name] - draft.names
            if loaded is None or module.name in self._modules:
                continue
            state = self._modules[module.name] = ModuleState(loaded, self._classifier.names)
            for found in state.findings():
                if isinstance(found, Slot):
                    mine = of_notebook(found, state.names, self._classifier.names)
                    self._module_slots.append((state, found, draft if mine else None))
                    draft.needs_later.update(mine)
                    for name in mine:
                        self._want(name)
                    if mine:
                        self._filled_modules[module.name] |= draft.names
                elif isinstance(found, Problem):
                    self._stateful.append(("", replace(found, what=f"{module.name}.{found.what}")))
                else:
                    self._told.append(f"{module.name}.{found.text}")

    def _settle(self) -> None:
        """Write down values and state, so that what is one object here is one object there."""
        try:
            self._told += settle(self._drafts, self._namespace, self._classifier.names, self._slots, self._classes_of)
            for state, slot, draft in self._module_slots:
                if draft is not None:
                    draft.state.append(state.line_outside(slot, self._classifier.names))
                else:
                    self._module_state[state.module.__name__].append(
                        state.line(slot, lambda value, path: keep(self._drafts, value, path, self._classes_of))
                    )
        except ConversionError as error:
            self._stateful.append(("", Problem(str(error), "Break the circle.")))

    def _classes_of(self, value: object, encoded: Encoded) -> set[str]:
        """Return the global names of the notebook's classes that a value is made of."""
        classes = live.classes_in(value)
        bound = {cls.__qualname__: self._classifier.names.get(id(cls)) for cls in classes}
        found = own_classes(classes, encoded, self._classifier.module)
        return {bound.get(name) or name.partition(".")[0].partition("[")[0] for name in found}

    def _is_type(self, name: str) -> bool:
        value = self._namespace.get(name)
        return isinstance(value, (type, ModuleType)) or (value is not None and live.is_type_form(value))

    def _is_notebooks_own(self, name: str, value: object) -> bool:
        hidden = getattr(self._shell, "user_ns_hidden", None) or {}
        return name in hidden and hidden[name] is value and not isinstance(value, ModuleType)

    # --- what is wrong ----------------------------------------------------------------------------------------------

    def _undefined(self, name: str) -> Problem:
        known = [*self._namespace, *vars(builtins)]
        close = difflib.get_close_matches(name, [k for k in known if not k.startswith("_")], n=1)
        meant = f"Did you mean {close[0]!r}?" if close else "Run the cell that defines it."
        return Problem(f"name {name!r} is not defined", meant)

    def _check(self, drafts: list[Draft]) -> None:
        written = {name for draft in drafts for _, needs in draft.needs() for name in needs.written}
        texts = []
        for name, problem in self._problems.items():
            uses = self._uses[name]
            missing = name not in self._namespace
            if uses and missing and all(need.guarded for _, need in uses):
                continue
            if missing and name in written and name not in vars(builtins):
                continue
            texts.append(problem.text([use for use, _ in uses]))
        texts += [problem.text([use for use, _ in self._uses[name]]) for name, problem in self._stateful]
        total = sum(len(draft.value.data) for draft in drafts if draft.value is not None)
        if total > TOTAL_LIMIT_BYTES:
            texts.append(
                f"the captured values have {size_text(total)} together; up to {size_text(TOTAL_LIMIT_BYTES)} travel "
                "with a run. Load the largest in the steps that use them, or pass them as arguments."
            )
        texts += self._clashes()
        texts += self._hidden()
        if texts:
            raise refuse(self._root.name, texts)

    def _clashes(self) -> Iterator[str]:
        """Yield a text for each two steps that history could not tell apart."""
        by_name: dict[tuple[type, str], tuple[str, object]] = {}
        for path, found in self._found_callables():
            first, known = by_name.setdefault((type(found), found.name), (path, found))
            if known is not found:
                kind = "steps" if isinstance(found, Step) else "agents"
                yield f"two {kind} are called {found.name!r}: {first} and {path}. Give each a name of its own."

    def _hidden(self) -> Iterator[str]:
        """Yield a text for each wrapper of a step or agent that would not work in a run."""
        known = {id(found) for _, found in self._found_callables()}
        for name in sorted(self._drafts.keys() & self._namespace.keys()):
            value = self._namespace[name]
            if isinstance(value, (Step, Agent)) or self._drafts[name].origin is None:
                continue
            if (text := refusal(name, value, known)) is not None:
                yield Problem(*text.split(". ", 1)).text([use for use, _ in self._uses[name]])

    # --- steps and agents -------------------------------------------------------------------------------------------

    def _callables(self) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
        steps: dict[str, dict[str, Any]] = {}
        agents: dict[str, dict[str, Any]] = {}
        for path, found in self._found_callables():
            table, options = (steps, _options(found)) if isinstance(found, Step) else (agents, {})
            if found.name not in table or path == found.name:
                table[found.name] = {"global": path, **options}
        return steps, agents

    def _found_callables(self) -> Iterator[tuple[str, Step[..., Any] | Agent[..., Any, Any]]]:
        """Yield the steps and agents that the code can reach, with the expressions that reach them."""
        names = [name for name in sorted(self._drafts) if name in self._namespace]
        for name in names:
            yield from _callables_in(name, self._namespace[name], self._classifier.module, _CONTAINER_DEPTH)
        for name in names:
            value = self._namespace[name]
            wrapped = behind(name, value) if not isinstance(value, (Step, Agent)) else None
            if wrapped is not None:
                yield wrapped
        for draft in {id(d): d for d in self._drafts.values()}.values():
            for _, needs in draft.needs():
                for chain in sorted(needs.chains):
                    base, *attributes = chain.split(".")
                    found = live.follow(self._namespace.get(base), attributes) if base in self._drafts else None
                    if isinstance(found, (Step, Agent)):
                        yield chain, found

    def _foreign_modules(self, drafts: list[Draft]) -> set[str]:
        """Return the modules of classes in captured values and arguments, which reading them back needs."""
        values = [*self._values, *(slot.value for _, slot in self._slots)]
        for draft in drafts:
            if draft.value is not None:
                values += [self._namespace[name] for name in draft.names if name in self._namespace]
        return {
            cls.__module__
            for value in values
            for cls in live.classes_in(value)
            if cls.__module__ not in ("builtins", self._classifier.module)
        }


def _namespace_of(root: Agent[..., Any, Any] | Step[..., Any]) -> Mapping[str, Any]:
    """Return the globals in which the root has a name: its function's, or those of a function it wraps."""
    kind = "agent" if isinstance(root, Agent) else "step"
    function = live.function_in(root)
    if function is None:
        raise CannotFreeze(f"{kind} {root.name!r} has no Python function, so there is no code to freeze.")
    for candidate in (function, *live.functions_held(function)):
        if any(value is root for value in candidate.__globals__.values()) or _wrapper_of(root, candidate.__globals__):
            return candidate.__globals__
    where = function.__qualname__.partition(".<locals>")[0]
    inside = f" It is defined inside {where}()." if "<locals>" in function.__qualname__ else ""
    raise CannotFreeze(
        f"{kind} {root.name!r} has no global name by which a worker could find it.{inside} "
        f"Define it at the top level of a cell or module, or run the cell that defines it again."
    )


def _wrapper_of(root: Agent[..., Any, Any] | Step[..., Any], namespace: Mapping[str, Any]) -> str:
    """Return the global name of what wraps a step or agent from outside, or ``""``."""
    wrappers = ((name, behind(name, value)) for name, value in namespace.items() if callable(value))
    return next((name for name, found in wrappers if found is not None and found[1] is root), "")


def _callables_in(
    path: str, value: object, module: str, depth: int
) -> Iterator[tuple[str, Step[..., Any] | Agent[..., Any, Any]]]:
    if isinstance(value, (Step, Agent)):
        yield path, value
    elif depth and type(value) in (list, tuple):
        assert isinstance(value, (list, tuple))
        for number, item in enumerate(value[:100]):
            yield from _callables_in(f"{path}[{number}]", item, module, depth - 1)
    elif depth and type(value) is dict:
        assert isinstance(value, dict)
        for key, item in list(value.items())[:100]:
            if isinstance(key, (str, int)):
                yield from _callables_in(f"{path}[{key!r}]", item, module, depth - 1)
    elif depth and isinstance(value, type) and value.__module__ == module:
        for name, item in vars(value).items():
            if isinstance(item, (Step, Agent)):
                yield f"{path}.{name}", item


def _options(step: Step[..., Any]) -> dict[str, Any]:
    retry = step.options.retry
    timeout = step.options.timeout
    return {
        "timeout_s": None if timeout is None else seconds(timeout),
        "retry": {
            "max_attempts": retry.max_attempts,
            "first_wait": seconds(retry.first_wait),
            "max_wait": seconds(retry.max_wait),
            "backoff": retry.backoff,
        },
    }


def _registered(cls: type) -> list[type]:
    """Return the subclasses of a class that keeps a register of them."""
    keeps = isinstance(vars(cls).get("__init_subclass__"), classmethod) or type(cls).__module__ == cls.__module__
    return type.__subclasses__(cls) if keeps else []


def _is_injected(name: str) -> bool:
    """Tell whether IPython put a name among the built-in ones, such as ``display``."""
    value = vars(builtins).get(name)
    return name == "get_ipython" or str(getattr(value, "__module__", "")).startswith("IPython")
