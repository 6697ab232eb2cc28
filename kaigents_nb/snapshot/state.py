"""What the objects of definitions hold at ``start()`` that their statements alone would not give again.

A class that its methods have counted in, a closure's variables, a default that was filled, what was registered: found
by comparing the live object with its source, and never by executing anything.
"""

from __future__ import annotations

import abc
import ast
import collections.abc
import dataclasses
import enum
import functools
import gc
import inspect
import logging
import numbers
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import FunctionType, MappingProxyType, ModuleType
from typing import Any

from kaigents_nb.authoring.agent import Agent
from kaigents_nb.authoring.resource import Resource
from kaigents_nb.authoring.step import Step
from kaigents_nb.errors import ConversionError
from kaigents_nb.snapshot import live
from kaigents_nb.snapshot.capture import literal
from kaigents_nb.snapshot.cells import DEFINITIONS, Cells, Statement, mentioned_attributes
from kaigents_nb.snapshot.containers import Unnamed, is_as_written, written
from kaigents_nb.snapshot.problems import Problem, with_article
from kaigents_nb.snapshot.takeover import at
from kaigents_nb.values.class_names import display_name, is_data_class, is_namedtuple, is_pydantic_model
from kaigents_nb.values.encode import encode
from kaigents_nb.values.sharing import has_identity

_DEPTH = 8
_WRAPPED = "__wrapped__"
_OWN_ATTRIBUTES = frozenset({"fn", "options", "name", *functools.WRAPPER_ASSIGNMENTS, _WRAPPED})
_SYNCHRONIZERS = (type(threading.Lock()), type(threading.RLock()), threading.Event, threading.Condition)
_KEEP_NOTHING = (*_SYNCHRONIZERS, logging.Logger, ModuleType, Resource, type(NotImplemented), type(...))
"""As good when they are made anew."""
_SCALARS = (str, bytes, int, float, bool, complex, type(None))
_WAY_OUT = "Keep plain data there (a @dataclass, a dict), make it in a @kg.resource, or in the step that uses it."


HOLE = "\0"


@dataclass(frozen=True)
class Slot:
    """A place that is set, once its object was made by its statement, to what it holds now."""

    path: str
    """As people read it: ``Counter.total``."""
    form: str
    """The statement that sets it, with ``HOLE`` for the value."""
    value: object


@dataclass(frozen=True)
class Told:
    """State that stays here, in a sentence."""

    text: str


Finding = Slot | Problem | Told


class StateReader:
    """Looks at the objects of one namespace."""

    def __init__(self, namespace: Mapping[str, Any], cells: Cells, names: Mapping[int, str], module: str) -> None:
        self.elsewhere: Mapping[int, str] = {}
        """Names of what is not of this namespace, and can be reached all the same."""
        self._namespace = namespace
        self._cells = cells
        self._names = names
        self._module = module

    def findings(self, name: str, value: object, origin: Statement) -> Iterator[Finding]:
        """Yield what a global name's object holds, that its statement would not give."""
        node: ast.AST | None = origin.node
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            node = next((n for n in [node.value] if isinstance(n, ast.expr)), None)
        yield from _Look(self, name, origin).at(name, name, value, node)

    def value(
        self, path: str, form: str, value: object, node: ast.expr | None, origin: Statement | None
    ) -> Iterator[Finding]:
        """Yield what becomes of a module's global that is not code."""
        look = _Look(self, path, origin)
        foreign = type(value).__module__.partition(".")[0] not in (self._module, *sys.stdlib_module_names)
        for found in look.consider(path, form, path, value, node):
            if not (isinstance(found, Told) and foreign):  # a client of a library is made anew by its statement
                yield found

    def mentioned(self, attribute: str) -> bool:
        """Tell whether an attribute is in the text of the cells, or only something that a library put there."""
        return any(attribute in mentioned_attributes(cell.text) for cell in self._cells)

    def is_own(self, function: FunctionType) -> bool:
        """Tell whether a function's code is in the cells."""
        return self._cells.knows(function.__code__.co_filename)


class _Look:
    """At one global name."""

    def __init__(self, reader: StateReader, name: str, origin: Statement | None) -> None:
        self._reader = reader
        self._name = name
        self._origin = origin
        self._seen: set[int] = set()

    def at(self, path: str, expr: str, value: object, node: ast.AST | None, depth: int = _DEPTH) -> Iterator[Finding]:
        """Yield the findings in an object; ``expr`` is the expression that reaches it."""
        if depth == 0 or id(value) in self._seen or (path != self._name and self._has_own_name(value)):
            return
        self._seen.add(id(value))
        look: Callable[[str, str, Any, ast.AST | None, int], Iterator[Finding]] | None = None
        if isinstance(value, type):
            look = self._class
        elif isinstance(value, FunctionType):
            look = self._function
        elif isinstance(value, (Step, Agent)):
            look = self._marked
        elif isinstance(value, functools.partial):
            look = self._partial
        elif isinstance(value, (list, tuple, dict)) and not hasattr(value, "_fields"):
            look = self._container
        if look is not None:
            yield from look(path, expr, value, node, depth - 1)
        elif isinstance(value, Resource):
            factory = object.__getattribute__(value, "_factory")
            yield from self.at(path, f"object.__getattribute__({expr}, '_factory')", factory, None, depth - 1)
        elif isinstance(value, property):
            for part in ("fget", "fset", "fdel"):
                yield from self.at(path, f"{expr}.{part}", getattr(value, part), None, depth - 1)
        elif isinstance(value, functools.cached_property):
            yield from self.at(path, f"{expr}.func", value.func, None, depth - 1)
        elif isinstance(value, (staticmethod, classmethod)):
            yield from self.at(path, f"{expr}.__func__", value.__func__, None, depth - 1)
        elif type(value).__module__ == self._reader._module or live.is_data_instance(value):
            yield from self._instance(path, expr, value, node, depth - 1)
        else:
            if isinstance(value, functools._lru_cache_wrapper):
                yield from _remembered(path, value)
            inner = getattr(value, "__dict__", {}).get(_WRAPPED) if callable(value) else None
            yield from self.at(path, f"{expr}.{_WRAPPED}", inner, None, depth - 1)

    def _has_own_name(self, value: object) -> bool:
        name = self._reader._names.get(id(value))
        if name is None or not (live.is_code(value) or has_identity(value)):
            return False
        bindings = self._reader._cells.bindings(name)
        return not (bindings and bindings[-1].leaf.header)  # the last one of a loop

    # --- functions --------------------------------------------------------------------------------------------------

    def _function(
        self, path: str, expr: str, function: FunctionType, node: ast.AST | None, depth: int
    ) -> Iterator[Finding]:
        own = self._reader.is_own(function)
        if own:
            text = self._reader._cells.node_of(function.__code__)
            yield from self._defaults(path, expr, function, text)
            yield from self._attributes(path, expr, function)
        for number, (name, cell) in enumerate(
            zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        ):
            try:
                content = cell.cell_contents
            except ValueError:
                continue  # empty
            inner, here = f"{expr}.__closure__[{number}].cell_contents", f"{path}'s variable {name}"
            if live.is_code(content) or isinstance(content, (staticmethod, classmethod, property)):
                yield from self.at(path if content is not function else here, inner, content, None, depth)
            elif own and name != "__class__" and not self._explained(function, name, content):
                yield from self.consider(here, f"{inner} = {HOLE}", inner, content, None)
        yield from self.at(path, f"{expr}.{_WRAPPED}", vars(function).get(_WRAPPED), None, depth)
        registry = vars(function).get("registry")
        if isinstance(registry, MappingProxyType) and "dispatch" in vars(function):
            yield from self._dispatched(path, expr, registry)

    def _defaults(self, path: str, expr: str, function: FunctionType, node: ast.AST | None) -> Iterator[Finding]:
        arguments = getattr(node, "args", None)
        code, defaults = function.__code__, function.__defaults__ or ()
        names = code.co_varnames[: code.co_argcount][code.co_argcount - len(defaults) :]
        given = list(getattr(arguments, "defaults", ()))
        given = given if len(given) == len(defaults) else [None] * len(defaults)
        held = f"{expr}.__defaults__"
        for number, (name, value, text) in enumerate(zip(names, defaults, given, strict=True)):
            around = [f"*{held}[:{number}]"] * (number > 0), [f"*{held}[{number + 1}:]"] * (number + 1 < len(defaults))
            inside = ", ".join([*around[0], HOLE, *around[1]])
            form = f"{held} = ({inside}{',' if len(defaults) == 1 else ''})"
            yield from self.consider(f"{path}'s default {name}", form, f"{held}[{number}]", value, text)
        keyword = {
            a.arg: d
            for a, d in zip(getattr(arguments, "kwonlyargs", ()), getattr(arguments, "kw_defaults", ()), strict=True)
        }
        for name, value in (function.__kwdefaults__ or {}).items():
            held = f"{expr}.__kwdefaults__[{name!r}]"
            yield from self.consider(f"{path}'s default {name}", f"{held} = {HOLE}", held, value, keyword.get(name))

    def _attributes(
        self, path: str, expr: str, value: FunctionType | Step[..., Any] | Agent[..., Any, Any]
    ) -> Iterator[Finding]:
        inner = getattr(value, "fn", None) or vars(value).get(_WRAPPED)
        copied = getattr(inner, "__dict__", {})
        for name, held in list(vars(value).items()):
            if name in _OWN_ATTRIBUTES or (name in copied and copied[name] is held):
                continue
            if name.isidentifier() and self._reader.mentioned(name):
                yield from self.consider(f"{path}.{name}", f"{expr}.{name} = {HOLE}", f"{expr}.{name}", held, None)

    def _marked(self, path: str, expr: str, value: Any, node: ast.AST | None, depth: int) -> Iterator[Finding]:
        yield from self._attributes(path, expr, value)
        yield from self.at(path, f"{expr}.fn", value.fn, node, depth)

    def _explained(self, function: FunctionType, name: str, value: object) -> bool:
        """Tell whether a closure's variable surely is, when it is made again, what it is now."""
        if not isinstance(value, _SCALARS):
            return isinstance(value, ModuleType)
        factory = self._reader._cells.around(function.__code__)
        if factory is None:
            return False
        parts = [*ast.walk(factory), *(ast.walk(self._origin.node) if self._origin is not None else ())]
        if any(isinstance(part, ast.Nonlocal) and name in part.names for part in parts):
            return False
        if made := [part.value for part in parts if isinstance(part, ast.Assign) and _binds(part, name)]:
            # A global that it was taken from may have been another at that time, and be another when it is made again.
            return all(isinstance(p, ast.Constant) and is_as_written(p, value, self._reader._namespace) for p in made)
        return any(
            is_as_written(part, value, self._reader._namespace)
            for part in parts
            if isinstance(part, (ast.Constant, ast.Name, ast.Attribute))
        )

    def _dispatched(self, path: str, expr: str, registry: Mapping[Any, Any]) -> Iterator[Finding]:
        """Yield what ``show.register(int, show_int)`` registered; as a decorator it is a part of the definition."""
        for cls, function in registry.items():
            inner = live.function_in(function)
            statement = self._reader._cells.node_of(inner.__code__) if inner is not None else None
            decorators = getattr(statement, "decorator_list", ())
            if inner is None or any(ast.unparse(d).startswith(f"{self._name}.register") for d in decorators):
                continue
            if cls is object:
                continue  # the function itself
            yield from self.consider(
                f"{path} for {display_name(cls)}", f"{expr}.register(*{HOLE})", "", (cls, function), None
            )

    def _partial(
        self, path: str, expr: str, value: functools.partial[Any], node: ast.AST | None, depth: int
    ) -> Iterator[Finding]:
        yield from self.at(path, f"{expr}.func", value.func, None, depth)
        given = list(node.args[1:]) if isinstance(node, ast.Call) else []
        named = {k.arg: k.value for k in node.keywords} if isinstance(node, ast.Call) else {}
        for number, held in enumerate(value.args):
            text = given[number] if number < len(given) and len(given) == len(value.args) else None
            args = f"(*{expr}.args[:{number}], {HOLE}, *{expr}.args[{number + 1}:])"
            form = f"{expr}.__setstate__(({expr}.func, {args}, {expr}.keywords, vars({expr})))"
            yield from self.consider(f"{path}'s argument {number + 1}", form, f"{expr}.args[{number}]", held, text)
        for name, held in value.keywords.items():
            target = f"{expr}.keywords[{name!r}]"
            yield from self.consider(f"{path}'s argument {name}", f"{target} = {HOLE}", target, held, named.get(name))

    # --- classes and instances --------------------------------------------------------------------------------------

    def _class(self, path: str, expr: str, cls: type, node: ast.AST | None, depth: int) -> Iterator[Finding]:
        if cls.__module__ != self._reader._module:
            return
        body = node.body if isinstance(node, ast.ClassDef) else []
        given: dict[str, ast.AST] = {}
        for statement in body:
            targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
            for target in targets:
                if isinstance(target, ast.Name) and getattr(statement, "value", None) is not None:
                    given[target.id] = statement.value  # type: ignore[attr-defined]
            if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                given[statement.name] = statement
        made_anew = self._is_made_by_others(cls, node)
        for name, held in list(vars(cls).items()):
            if (
                (name.startswith("__") and name.endswith("__"))
                or not name.isidentifier()
                or _is_machinery(cls, name, held)
            ):
                continue
            target, here, text = f"{expr}.{name}", f"{path}.{name}", given.get(name)
            if isinstance(held, FunctionType) and not made_anew and self._is_put_in(held, text):
                yield from self.consider(here, f"{target} = {HOLE}", target, held, text)
            elif isinstance(held, FunctionType) or (
                isinstance(held, type) and held.__qualname__ == f"{cls.__qualname__}.{name}"
            ):
                yield from self.at(here, target, held, text, depth)
            elif isinstance(held, (staticmethod, classmethod, property, functools.cached_property)):
                yield from self.at(here, f"vars({expr})[{name!r}]", held, None, depth)
            elif live.is_code(held) and isinstance(text, DEFINITIONS):
                yield from self.at(here, target, held, text, depth)
            elif not inspect.isdatadescriptor(held) and self._reader.mentioned(name):
                if isinstance(held, (list, dict, set)) and made_anew:
                    text = None  # making what registers with it fills it again
                yield from self.consider(here, f"{target} = {HOLE}", target, held, text)
        if not made_anew and not any(isinstance(part, ast.Delete) for part in body):
            for name in given.keys() - vars(cls).keys():
                yield Slot(f"{path}.{name}", f"del {expr}.{name}", None)
        yield from self._registered(expr, cls)

    def _is_made_by_others(self, cls: type, node: ast.AST | None) -> bool:
        """Tell whether more than its body makes a class: decorators, bases, and what registers with it."""
        return (
            not isinstance(node, ast.ClassDef)
            or bool(node.decorator_list or node.keywords)
            or type(cls) not in (type, abc.ABCMeta)
            or any("__init_subclass__" in vars(b) for b in cls.__mro__ if b.__module__ == cls.__module__)
            or is_data_class(cls)
            or any(isinstance(s.node, DEFINITIONS) for s in self._reader._cells.changes(self._name))
        )

    def _is_put_in(self, function: FunctionType, node: ast.AST | None) -> bool:
        """Tell whether a method was put into its class by a function, and is not a part of its body."""
        code = function.__code__
        if not self._reader.is_own(function) or self._origin is None or self._origin.holds(code):
            return False
        if getattr(node, "decorator_list", ()) and any(
            self._origin.holds(inner.__code__) for inner in live.functions_within(function)
        ):
            return False
        changes = self._reader._cells.changes(self._name, self._origin)
        return not any(statement.holds(code) for statement in changes)

    def _registered(self, expr: str, cls: type) -> Iterator[Finding]:
        """Yield the virtual subclasses of a class, and the classes of others that it was registered with."""
        for other in _virtual_subclasses(cls):
            if not self._decorated(other, self._name):
                yield from self.consider(f"{self._name}.register", f"{expr}.register({HOLE})", "", other, None)
        known = {id(item): item for item in self._reader._namespace.values() if isinstance(item, abc.ABCMeta)}
        known.update(
            {
                id(item): item
                for module in (collections.abc, numbers)
                for item in vars(module).values()
                if isinstance(item, abc.ABCMeta)
            }
        )
        for base in known.values():
            foreign = base.__module__ != self._reader._module
            if foreign and cls in _virtual_subclasses(base) and not self._decorated(cls, base.__name__):
                reached = f"__import__({base.__module__!r}, fromlist=[{base.__name__!r}]).{base.__qualname__}"
                yield Slot(f"{base.__name__}.register", f"{reached}.register({HOLE})", cls)

    def _decorated(self, cls: type, base: str) -> bool:
        return any(
            ast.unparse(decorator).endswith(f"{base}.register")
            for statement in self._reader._cells.bindings(cls.__name__)
            for decorator in getattr(statement.node, "decorator_list", ())
        )

    def _instance(self, path: str, expr: str, value: Any, node: ast.AST | None, depth: int) -> Iterator[Finding]:
        given = _arguments(value, node)
        for name, held in _fields(value).items():
            target, text = f"{expr}.{name}", given.get(name)
            if name == _WRAPPED or (name in functools.WRAPPER_ASSIGNMENTS and callable(value)):
                continue
            if text is None and _is_default(value, name, held):
                continue
            if text is not None and is_as_written(text, held, self._reader._namespace):
                yield from self.at(f"{path}.{name}", target, held, text, depth)
                continue
            if live.is_code(held) and id(held) not in self._reader._names:
                yield from self.at(f"{path}.{name}", target, held, None, depth)
                continue
            form = f"object.__setattr__({expr}, {name!r}, {HOLE})"
            if isinstance(value, tuple):
                form = f"{target}[:] = {HOLE}" if type(held) is list else f"({target}.clear(), {target}.update({HOLE}))"
            yield from self.consider(f"{path}.{name}", form, target, held, text)

    def _container(self, path: str, expr: str, value: Any, node: ast.AST | None, depth: int) -> Iterator[Finding]:
        """Look into what a list or dict holds that stays as its statement makes it."""
        if isinstance(value, dict) and type(value) is not dict and live.holds_code(value):
            # Its statement makes it, and what makes its content fills it; what else was done to it is state.
            yield from self.consider(path, f"({expr}.clear(), {expr}.update({HOLE}))", expr, dict(value), node)
        items = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
        texts: list[ast.AST | None] = [None] * len(items)
        if isinstance(node, (ast.List, ast.Tuple)) and len(node.elts) == len(items):
            texts = list(node.elts)
        elif isinstance(node, ast.Dict) and len(node.values) == len(items):
            texts = list(node.values)
        for (key, held), text in zip(items, texts, strict=True):
            if isinstance(key, (str, int)) and not isinstance(held, _SCALARS):
                yield from self.at(f"{path}[{key!r}]", f"{expr}[{key!r}]", held, text, depth)

    # --- one value --------------------------------------------------------------------------------------------------

    def consider(
        self,
        path: str,
        form: str,
        expr: str,
        value: object,
        text: ast.AST | None,
    ) -> Iterator[Finding]:
        """Yield what becomes of a value in a place, for which the source has an expression, or none."""
        if isinstance(text, ast.expr) and is_as_written(text, value, self._reader._namespace):
            return
        if self._has_own_name(value) or literal(value) is not None:
            yield Slot(path, form, value)
            return
        if live.is_code(value) or live.holds_code(value):
            try:
                written(value, {**self._reader.elsewhere, **self._reader._names}, path="…")
            except (Unnamed, RecursionError) as unnamed:
                changed = self._changed()
                if isinstance(unnamed, Unnamed) and self._is_of_the_statement(unnamed.value):
                    return
                if changed is not None or not isinstance(text, ast.Call):
                    inside = f"{path}{unnamed.path[1:]}" if isinstance(unnamed, Unnamed) else path
                    where = f", changed after its definition ({at(changed)})" if changed is not None else ""
                    yield Problem(
                        f"{inside} holds what has no global name of its own{where}",
                        "Define that at the top level of a cell under a name, and use the name.",
                    )
            else:
                yield Slot(path, form, value)
            return
        try:
            encode(value, name=path)
        except ConversionError:
            if isinstance(value, _KEEP_NOTHING) or live.is_remade(value):
                return
            kind = with_article(display_name(type(value)))
            yield Told(f"{path} is {kind}, which each worker makes anew, without what it holds now. {_WAY_OUT}")
        else:
            yield Slot(path, form, value)

    def _is_of_the_statement(self, value: object) -> bool:
        """Tell whether code is made where its holder is made, each time."""
        function = live.function_in(value)
        return function is not None and self._origin is not None and self._origin.holds(function.__code__)

    def _changed(self) -> Statement | None:
        """Return the last statement that changed something below a global name, as far as the text tells."""
        return self._reader._cells.touched(self._name, self._origin) if self._origin is not None else None


def _binds(statement: ast.Assign, name: str) -> bool:
    parts = [part for target in statement.targets for part in ast.walk(target)]
    return any(isinstance(part, ast.Name) and part.id == name for part in parts)


def _remembered(path: str, function: functools._lru_cache_wrapper[Any]) -> Iterator[Told]:
    """Yield what a cache has that may have been changed since: called again, its function gives a new one."""
    if not function.cache_info().currsize:
        return
    held = gc.get_referents(function)  # … key, answer, …, the cache, the function: nothing else tells what is in it
    end = next((number for number, item in enumerate(held) if item is vars(function).get(_WRAPPED)), 0)
    cache: Any = held[end - 1] if end else {}
    answers = [*held[: max(end - 1, 0)], *(cache.values() if type(cache) is dict else ())]
    for answer in answers:
        if type(answer).__name__ != "_lru_list_elem" and _can_change(answer):
            yield Told(
                f"{path} remembers {with_article(display_name(type(answer)))} in a functools cache, which starts empty "
                "in each worker: what was changed in that since is not there. Keep it in a global, or make it in a "
                "@kg.resource."
            )
            return


def _can_change(value: object) -> bool:
    if isinstance(value, (tuple, frozenset)):
        return any(map(_can_change, value))
    if live.is_code(value) or live.is_remade(value) or isinstance(value, (*_SCALARS, *_KEEP_NOTHING, enum.Enum)):
        return False
    return has_identity(value) or bool(getattr(value, "__dict__", None))


def _virtual_subclasses(cls: type) -> list[type]:
    """Return the classes that were registered with an abstract one."""
    if not isinstance(cls, abc.ABCMeta):
        return []
    references = abc._get_dump(cls)[0]  # type: ignore[attr-defined]
    return sorted((found for ref in references if (found := ref()) is not None), key=lambda found: found.__qualname__)


def _is_machinery(cls: type, name: str, held: object) -> bool:
    """Tell whether a class's attribute was put there by what makes such classes."""
    if name.startswith("_abc_"):
        return True
    if issubclass(cls, enum.Enum):
        return name in cls.__members__ or name.startswith("_")
    if is_namedtuple(cls):
        return name.startswith("_") or name in cls._fields  # type: ignore[attr-defined]
    if is_pydantic_model(cls):
        return name not in getattr(cls, "__class_vars__", ())
    return False


def _fields(value: object) -> dict[str, Any]:
    if isinstance(value, tuple):
        return {name: getattr(value, name) for name in getattr(value, "_fields", ())}
    found = dict(getattr(value, "__dict__", {}))
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            if field.name not in found and hasattr(value, field.name):
                found[field.name] = getattr(value, field.name)
    return found


def _arguments(value: object, node: ast.AST | None) -> dict[str, ast.expr]:
    """Return the expressions that an instance's fields were given in the call that made it."""
    if not isinstance(node, ast.Call):
        return {}
    cls, names = type(value), []
    if dataclasses.is_dataclass(cls):
        names = [field.name for field in dataclasses.fields(cls) if field.init]
    elif isinstance(value, tuple):
        names = list(getattr(cls, "_fields", ()))
    if any(isinstance(argument, ast.Starred) for argument in node.args):
        return {}
    given = dict(zip(names, node.args, strict=False))
    given.update({keyword.arg: keyword.value for keyword in node.keywords if keyword.arg is not None})
    return given


def _is_default(value: object, name: str, held: object) -> bool:
    """Tell whether a field surely holds what it does when nothing is given for it."""
    fields: Mapping[str, Any] = getattr(type(value), "__dataclass_fields__", None) or getattr(
        type(value), "__pydantic_fields__", {}
    )
    field = fields.get(name)
    factory = getattr(field, "default_factory", None)
    if factory in (list, dict, set):
        return type(held) is factory and not held
    default = getattr(field, "default", dataclasses.MISSING)
    return default is held or (isinstance(held, _SCALARS) and type(default) is type(held) and default == held)
