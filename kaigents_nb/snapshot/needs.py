"""Which global names a piece of source needs, when it needs them, and on which line.

The compiler itself decides what is global: the source is compiled and its code objects are read, so nested
functions, comprehensions, class bodies and ``global`` statements are all right by construction.
"""

from __future__ import annotations

import ast
import dis
import functools
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import CodeType

from kaigents_nb.snapshot.cells import OWN_FILES, compile_quietly, dotted, parse_once

_MODULE_NAMES = frozenset(
    {"__name__", "__builtins__", "__doc__", "__package__", "__loader__", "__spec__", "__debug__", "__annotations__"}
    | {"__build_class__", "__module__", "__qualname__", "__file__", "__class__", "__conditional_annotations__"}
)
_NOW = ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>", "<generic parameters of ")

_NAME_ERROR = frozenset({"NameError"})
_IMPORT_ERROR = frozenset({"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})


@dataclass(frozen=True)
class Need:
    """One use of a global name."""

    name: str
    line: int
    """Line in the text, from 1."""
    function: str = ""
    """The function it is used in; empty at the top level."""
    now: bool = False
    """Needed when the definition itself is executed, and not only when it is called."""
    annotation: bool = False
    """Only used in an annotation."""
    text: bool = False
    """Only used in an annotation that Python keeps as text, so it need not exist."""
    guarded: bool = False
    """In a ``try`` that catches NameError."""


@dataclass(frozen=True)
class Needs:
    """What a piece of source needs."""

    uses: tuple[Need, ...]
    written: frozenset[str]
    """Globals that its functions assign (``global x``)."""
    modules: frozenset[str]
    """Modules that it imports, absolute names; what is imported from a module may be one too."""
    required: frozenset[str]
    """Those without which it does not work: not tried, with ``except ImportError``, as one of several."""
    chains: frozenset[str]
    """Dotted names such as ``helpers.search``."""
    awaits: bool
    """It awaits something when it is executed."""


@functools.lru_cache(maxsize=4096)
def needs_of(text: str, flags: int) -> Needs:
    """Return the global names that source needs.

    Parameters
    ----------
    text
        One or more statements.
    flags
        ``from __future__`` flags that are active.
    """
    tree = parse_once(text)
    code = compile_quietly(tree, f"{OWN_FILES}needs>", flags | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    nodes = list(ast.walk(tree))
    annotations = [
        found for node in nodes for name in ("annotation", "returns") if (found := getattr(node, name, None))
    ]
    spans = {(n.lineno, n.col_offset) for a in annotations for n in ast.walk(a) if isinstance(n, ast.Name)}
    written: set[str] = set()
    uses = list(_uses(code, now=True, function="", spans=spans, written=written))
    guards = {line for node in nodes if isinstance(node, ast.Try) for line in _guarded_lines(node, _NAME_ERROR)}
    tried = {line for node in nodes if isinstance(node, ast.Try) for line in _guarded_lines(node, _IMPORT_ERROR)}
    if guards:
        uses = [replace(use, guarded=True) if use.line in guards else use for use in uses]
    evaluated = {use.name for use in uses}
    for annotation in annotations:
        uses += [need for need in _text_names(annotation) if need.name not in evaluated]
    return Needs(
        uses=tuple(dict.fromkeys(uses)),
        written=frozenset(written),
        modules=frozenset(
            m for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom)) for m in _imported(node)
        ),
        required=frozenset(
            m
            for node in nodes
            if isinstance(node, (ast.Import, ast.ImportFrom)) and node.lineno not in tried
            for m in _imported(node)
        ),
        chains=frozenset(c for node in nodes if isinstance(node, ast.Attribute) and (c := ".".join(dotted(node)))),
        awaits=bool(code.co_flags & inspect.CO_COROUTINE),
    )


def _uses(
    code: CodeType, *, now: bool, function: str, spans: set[tuple[int, int]], written: set[str]
) -> Iterator[Need]:
    line, stored = code.co_firstlineno, set()
    for instruction in dis.get_instructions(code):
        position = instruction.positions
        if position is not None and position.lineno is not None:
            line = position.lineno
        match instruction.opname:
            case "LOAD_GLOBAL" | "LOAD_NAME" | "LOAD_FROM_DICT_OR_GLOBALS":
                name = instruction.argval
                if name in _MODULE_NAMES or (name in stored and instruction.opname == "LOAD_NAME"):
                    continue
                at = (line, position.col_offset) if position and position.col_offset is not None else None
                yield Need(name, line, function, now, annotation=at in spans)
            case "STORE_NAME":
                stored.add(instruction.argval)
            case "STORE_GLOBAL" | "DELETE_GLOBAL":
                written.add(instruction.argval)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            is_class = not constant.co_flags & inspect.CO_OPTIMIZED
            name = constant.co_name
            inner = function if name.startswith("<") else constant.co_qualname.replace(".<locals>", "")
            yield from _uses(
                constant,
                now=now and (is_class or name.startswith(_NOW)),
                function=inner,
                spans=spans,
                written=written,
            )


def _text_names(annotation: ast.expr) -> Iterator[Need]:
    """Yield the names of an annotation, looking into the text of strings in it."""
    for node in ast.walk(annotation):
        if isinstance(node, ast.Name):
            yield Need(node.id, node.lineno, now=True, annotation=True, text=True)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            try:
                inner = ast.parse(node.value.strip(), mode="eval")
            except (SyntaxError, ValueError):
                continue
            for part in ast.walk(inner):
                if isinstance(part, ast.Name):
                    yield Need(part.id, node.lineno, now=True, annotation=True, text=True)


def _guarded_lines(node: ast.Try, errors: frozenset[str]) -> range:
    types = [part for handler in node.handlers if handler.type is not None for part in ast.walk(handler.type)]
    bare = errors is _IMPORT_ERROR and any(handler.type is None for handler in node.handlers)
    if bare or any(isinstance(part, ast.Name) and part.id in errors for part in types):
        return range(node.body[0].lineno, (node.body[-1].end_lineno or 0) + 1)
    return range(0)


def _imported(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif node.module and not node.level:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names if alias.name != "*")
