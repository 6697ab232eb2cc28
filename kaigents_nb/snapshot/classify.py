"""What becomes of one global name: an import, source, a captured value, or a refusal."""

from __future__ import annotations

import ast
import io
import re
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from kaigents_nb.errors import ConversionError
from kaigents_nb.snapshot import live
from kaigents_nb.snapshot.capture import (
    VALUE_LIMIT_BYTES,
    held_bytes,
    literal,
    secret_word,
    shape_of,
    size_text,
)
from kaigents_nb.snapshot.cells import DEFINITIONS, OWN_FILES, Cells, Statement, compile_quietly
from kaigents_nb.snapshot.containers import Unnamed, is_as_written, written
from kaigents_nb.snapshot.drafts import Draft
from kaigents_nb.snapshot.imports import module_imports, value_import
from kaigents_nb.snapshot.module import Part
from kaigents_nb.snapshot.origin import assigned_in, origin_of, resolve
from kaigents_nb.snapshot.problems import Problem, with_article
from kaigents_nb.snapshot.takeover import Takeover, at
from kaigents_nb.values.class_names import MAIN, display_name, type_name
from kaigents_nb.values.encode import encode
from kaigents_nb.values.encoded import Encoded

_OUTPUT_NAME = re.compile(r"_+|_i+|_i?\d+|_i?h|_oh|_dh|In|Out")
_CONTAINERS = (list, tuple, dict, set, frozenset)
_RUN_ONCE = (types.GeneratorType, types.AsyncGeneratorType, map, filter, zip, enumerate, reversed)
_SAVED_CLASS = re.compile(rb'"c":"([^":]+):([^"]+)"')
_RESOURCE = "Make it in a function marked @kg.resource, or in the step that uses it."
_SMALLER = "Load it in the step that uses it, pass it as an argument, or make it smaller."


def _gist(code: types.CodeType) -> tuple[object, ...]:
    """What a function refers to: its names, parameters and plain constants."""
    plain = tuple(repr(item) for item in code.co_consts if not isinstance(item, types.CodeType))
    return code.co_names, code.co_varnames, plain


class Classifier:
    """Decides over global names of one namespace; what one statement binds becomes one draft."""

    def __init__(self, namespace: Mapping[str, Any], cells: Cells) -> None:
        self.namespace = namespace
        self.cells = cells
        self.module: str = namespace.get("__name__", "__main__")
        self.package: str = namespace.get("__package__") or ""
        self._source = Takeover(namespace, cells)
        self.names: dict[int, str] = {}
        """Global name by ``id`` of its object; an object's own name comes before others."""
        for name, value in namespace.items():
            own = getattr(value, "__name__", None) if live.is_code(value) else None
            if (
                name.isidentifier()
                and not _OUTPUT_NAME.fullmatch(name)
                and (id(value) not in self.names or name == own)
            ):
                self.names[id(value)] = name

    def classify(self, name: str, value: object) -> Draft | Problem:
        """Return what becomes of a name that has this value."""
        bindings = self.cells.bindings(name)
        if isinstance(value, ModuleType):
            return self._patched(name) or self._module(name, value)
        found = value_import(name, value, bindings or self.cells.bindings("*"), self.package)
        if found is not None:
            return self._patched(name) or self._import(name, [found])
        if live.is_code(value):
            return self._code(name, value)
        if isinstance(value, _CONTAINERS) and live.holds_code(value):
            return self._container(name, value)
        return self._plain(name, value)

    # --- imports ----------------------------------------------------------------------------------------------------

    def _module(self, name: str, value: ModuleType) -> Draft | Problem:
        if value.__name__ in (self.module, "__main__"):
            return Problem(
                f"{name} is the notebook itself, as a module",
                "Use its functions and values by their own names.",
            )
        parts = module_imports(name, value, self.cells.bindings(name), self.package)
        if parts:
            return self._import(name, parts)
        return Problem(
            f"{name} is a module that was made while the notebook ran, not imported",
            "Save it as a .py file beside the notebook and import it.",
        )

    def _patched(self, name: str) -> Problem | None:
        """Refuse an imported module or class into which a cell put a function of its own."""
        for statement in self.cells.changes(name):
            targets = statement.node.targets if isinstance(statement.node, ast.Assign) else []
            for target in targets:
                function = live.function_in(resolve(target, self.namespace))
                if function is not None and function.__globals__ is self.namespace:
                    return Problem(
                        f"{ast.unparse(target)} was replaced by a function of the notebook ({at(statement)}), which "
                        "a worker's own import would not have",
                        f"Call {function.__name__}() by its name instead.",
                    )
        return None

    def _import(self, name: str, parts: list[Part]) -> Draft:
        return Draft({name}, parts, order=(0, parts[0].label, parts[0].line, name), binds={name})

    # --- code -------------------------------------------------------------------------------------------------------

    def _code(self, name: str, value: object) -> Draft | Problem:
        function = live.function_in(value)
        own_name = getattr(value, "__name__", None) or (function.__name__ if function else None)
        if isinstance(own_name, str) and own_name != name and self.namespace.get(own_name) is value:
            return self._written(name, own_name)
        origin = origin_of(name, value, self.cells, self.namespace)
        place = live.place_of(value)
        if place is not None and place[0] not in (self.module, "__main__"):
            assigned = assigned_in(origin.node, name) if origin is not None else None
            if assigned is None or resolve(assigned, self.namespace) is not value:
                module, attribute = place
                if module == "builtins":
                    return Draft({name}, [Part(f"{name} = {attribute}")], order=(0, "", 0, name), binds={name})
                text = f"from {module} import {attribute}" + (f" as {name}" if name != attribute else "")
                return self._import(name, [Part(text)])
        if function is not None and self._is_edited(function, origin):
            return Problem(
                f"{name} is not what its file says now: {_file(function)} was changed since it was started",
                "Start it again.",
            )
        if origin is not None:
            return self._source.take(name, origin, value)
        if isinstance(value, (FunctionType, type)) or (function is not None and value is not function):
            return self._earlier(name, value, function)
        return Problem(
            f"{name} is {with_article(display_name(type(value)))} whose source is not known",
            "Define it at the top level of a cell.",
        )

    def _written(self, name: str, text: str, value: Encoded | None = None) -> Draft:
        """Return ``name = text``, which stands where the name was bound last."""
        latest = self._latest(name)
        place, order = ((latest.cell.label, latest.line), latest.order) if latest else (("", 0), ((0,), 0))
        part = Part(f"{name} = {text}", *place)
        return Draft({name}, [part], order=(1, *order, name), binds={name}, value=value)

    def _earlier(self, name: str, value: object, function: FunctionType | None) -> Draft | Problem:
        """Take over an earlier version of a function, kept under another name: ``old = f`` and then a new ``f``."""
        made, renamed = self._renamed(name, value)
        if made is None and function is not None and function.__globals__ is self.namespace:
            made = self.cells.defining(function.__code__)
            renamed = Part(f"{name} = {function.__code__.co_name}")
            if made is not None and value is not function and not getattr(made.node, "decorator_list", ()):
                made = None
        if made is not None:
            draft = self._source.take(name, made, value, shared=False)
            if isinstance(draft, Draft):
                draft.parts.append(renamed)
                draft.binds.add(name)
            return draft
        what = f"{name} is a {'class' if isinstance(value, type) else 'function'} whose source is not known"
        if function is not None and function.__globals__ is not self.namespace:
            file = _file(function)
            return Problem(
                f"{what}: it comes from {file}, executed by %run or the like",
                f"Import it instead, for example: from {file.removesuffix('.py')} import {name}."
                if file.endswith(".py")
                else "Define it in a cell, or import it from a module.",
            )
        if function is not None and function.__code__.co_filename == "<stdin>":
            return Problem(
                f"{what}: this Python does not keep what is typed at its prompt",
                "Use a notebook, a script, or Python 3.13.",
            )
        return Problem(f"{what}", "Define it with def at the top level of a cell, or import it from a module.")

    def _renamed(self, name: str, value: object) -> tuple[Statement | None, Part]:
        """Return the statement that made a value which ``name = other`` took over when ``other`` still had it."""
        for statement in reversed(self.cells.bindings(name)):
            assigned = assigned_in(statement.node, name)
            if isinstance(assigned, ast.Name):
                made = origin_of(assigned.id, value, self.cells, self.namespace, before=statement)
                if made is not None:
                    return made, Part(f"{name} = {assigned.id}", statement.cell.label, statement.line)
        return None, Part("")

    def _is_edited(self, function: FunctionType, origin: Statement | None) -> bool:
        """Tell whether a script's file no longer has the code that runs; the text of a cell never changes."""
        code = function.__code__
        if self.module != "__main__" or not Path(code.co_filename).is_file() or not self.cells.knows(code.co_filename):
            return False
        if origin is None or not origin.defines(code):
            return "<" not in function.__qualname__ and self.cells.defining(code) is None
        whole = compile_quietly(origin.text, f"{OWN_FILES}script>", origin.cell.flags)
        now = [c for c in whole.co_consts if isinstance(c, types.CodeType) and c.co_name == code.co_name]
        # Not co_code: it depends on how the text was compiled, so equal text can give other bytes.
        return all(_gist(c) != _gist(code) for c in now)

    # --- containers -------------------------------------------------------------------------------------------------

    def _container(self, name: str, value: object) -> Draft | Problem:
        origin = self._latest(name)
        assigned = assigned_in(origin.node, name) if origin is not None else None
        changes = self.cells.changes(name, origin) if origin is not None else []
        as_written = assigned is not None and not changes and is_as_written(assigned, value, self.namespace)
        if origin is not None and as_written:
            return self._source.take(name, origin, value)
        try:
            text = written(value, self.names)
        except (Unnamed, RecursionError) as unnamed:
            made_whole = isinstance(assigned, (ast.Call, ast.ListComp, ast.DictComp, ast.SetComp, ast.BinOp))
            if origin is not None and made_whole and not changes and not isinstance(origin.node, ast.AugAssign):
                return self._source.take(name, origin, value)
            path = f"{name}{unnamed.path}" if isinstance(unnamed, Unnamed) else name
            held = display_name(type(unnamed.value)) if isinstance(unnamed, Unnamed) else "container that holds itself"
            return Problem(
                f"{path} is {with_article(held)} that has no global name of its own, or an earlier version of what has",
                f"Define it at the top level of a cell, then write {name} as one list or dict of names "
                "(or run its cell again).",
            )
        draft = self._written(name, text)
        empties: dict[type, str] = {list: "[]", dict: "{}", set: "set()", tuple: "()", frozenset: "frozenset()"}
        empty = empties.get(type(value))
        if empty:
            fill = f"{name}[:] = {text}" if empty == "[]" else f"{name}.clear()\n{name}.update({text})"
            fill = draft.parts[0].text if isinstance(value, (tuple, frozenset)) else fill
            begun = empty if assigned is None or _literal_of(assigned, type(value)) is None else ast.unparse(assigned)
            draft.filled, draft.empty = replace(draft.parts[0], text=fill), f"{name} = {begun}"
        return draft

    # --- values -----------------------------------------------------------------------------------------------------

    def _plain(self, name: str, value: object) -> Draft | Problem:
        word = secret_word(name, value)
        if word is not None:
            return Problem(
                f"{name} looks like a secret (a {word}), which would be saved with the run for all who can read it",
                f'Read it where it is used, in a step or @kg.resource: os.environ["{name}"]. '
                "If it is no secret, give it another name.",
            )
        text = literal(value)
        if text is not None:
            return replace(self._written(name, text), captured=True)
        latest = self._latest(name)
        assigned = latest if latest is not None and not latest.leaf.header else None
        if live.is_remade(value) and assigned is not None:
            return self._source.take(name, assigned, value)
        held = held_bytes(value)
        if held > 4 * VALUE_LIMIT_BYTES:
            return self._too_large(name, value, held)
        try:
            encoded = encode(value, name=name)
        except ConversionError as error:
            if assigned is not None and (
                live.holds_code(value)
                or isinstance(assigned.node, DEFINITIONS)
                or resolve(assigned_in(assigned.node, name), self.namespace) is value
            ):
                return self._source.take(name, assigned, value)
            return _alive(name, value, error)
        if len(encoded.data) > VALUE_LIMIT_BYTES:
            return self._too_large(name, value, len(encoded.data))
        return replace(self._written(name, kept(value), encoded), captured=True)

    def _too_large(self, name: str, value: object, size_bytes: int) -> Problem:
        return Problem(
            f"{name} is {with_article(shape_of(value))} of {size_text(size_bytes)}; "
            f"up to {size_text(VALUE_LIMIT_BYTES)} travel with the run",
            _SMALLER,
        )

    def _latest(self, name: str) -> Statement | None:
        bindings = self.cells.bindings(name)
        return bindings[-1] if bindings else None


def _literal_of(node: ast.expr, kind: type) -> object:
    """Return what a literal of plain values gives, where that is of a kind; else None."""
    try:
        found = ast.literal_eval(node)
    except (ValueError, SyntaxError, TypeError):
        return None
    return found if type(found) is kind else None


def kept(value: object) -> str:
    """Return what stands in the text for a value that is not in it."""
    return f"...  # {shape_of(value)}, kept beside this text"


def own_classes(classes: Iterable[type], encoded: Encoded | None, module: str) -> Iterator[str]:
    """Yield the names of those of a value's classes that are the notebook's, or were when it was encoded."""
    for cls in classes:
        try:
            home, qualname = type_name(cls)
        except ConversionError:  # it can't be saved, which is said elsewhere
            continue
        if home in (module, MAIN):
            yield qualname
    if encoded is not None:
        for found in _SAVED_CLASS.findall(encoded.data):
            if found[0].decode() == module:
                yield found[1].decode()


def _alive(name: str, value: object, error: ConversionError) -> Problem:
    inside = re.match(r"Can't save (.+?), of type (.+?)\. ", str(error))
    path, kind = (inside[1], inside[2]) if inside else (name, display_name(type(value)))
    advice = _RESOURCE
    if isinstance(value, io.IOBase):
        advice = "Open it in the step that uses it: with open(...) as file."
    elif isinstance(value, _RUN_ONCE):
        advice = "It can be read only once. Make it a list, or make it in the step that uses it."
    elif isinstance(value, types.CoroutineType):
        advice = "It was not awaited: write await before the call that made it."
    elif type(value).__module__ == "__main__" and path == name:
        advice = f"If it is data, make {type(value).__name__} a @dataclass. If it is live: " + _RESOURCE
    return Problem(f"{path} is {with_article(kind)}, a live object that can't travel with the run", advice)


def _file(function: FunctionType) -> str:
    return Path(function.__code__.co_filename).name
