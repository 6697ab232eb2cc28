"""Cells as text and syntax: which statement bound which name, in the order in which it was executed."""

from __future__ import annotations

import ast
import collections
import functools
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import CodeType

from kaigents_nb.values.encoded import RUN_MODULE_PREFIX

OWN_FILES = "<kaigents "
"""How the file names of code that we compile begin."""
_IGNORED = ("ignore", None, Warning, re.compile(OWN_FILES), 0)
"""An entry of ``warnings.filters``: nothing is warned about in those files."""
_AGAIN = (
    "ignore",
    re.compile("registration of accessor", re.IGNORECASE),
    UserWarning,
    re.compile(RUN_MODULE_PREFIX),
    0,
)
"""Another: code that registers an accessor of pandas does it again where it is loaded."""

PARSE_FLAGS = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT

DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_CAPTURES = {ast.MatchAs: "name", ast.MatchStar: "name", ast.MatchMapping: "rest", ast.ExceptHandler: "name"}
_MUTATORS = frozenset(
    {"append", "extend", "insert", "update", "add", "pop", "popitem", "remove", "discard", "clear", "setdefault"}
    | {"sort", "reverse"}
)


@dataclass(frozen=True, eq=False)
class Leaf:
    """One simple statement or definition, with the names it binds and the objects it changes in place."""

    node: ast.stmt
    binds: tuple[str, ...]
    changes: tuple[str, ...]
    header: bool = False
    """The names are bound by the head of a block (``for x in``, ``with … as x``), which can't go in alone."""
    looped: bool = False
    """It is inside a ``for`` or ``while``."""
    touches: tuple[str, ...] = ()
    """The names below which it changes something further down: ``node.hooks.append(…)``."""


@dataclass(frozen=True, eq=False)
class Cell:
    """One executed cell (or a script, or a module): its Python text, and how people see its lines."""

    label: str
    text: str
    order: tuple[int, ...]
    filenames: frozenset[str] = frozenset()
    """File names that its code objects may carry."""
    first_line: int = 1
    """The line, as people see it, of the first line of ``text``."""
    flags: int = 0
    """Compiler flags of ``from __future__`` imports that were active."""


@dataclass(frozen=True, eq=False)
class _Function:
    """A ``def`` or ``lambda``, wherever it stands."""

    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
    outermost: ast.stmt | None
    """The definition at the top level of a cell or block in which it stands; itself, if it is one."""


@dataclass(frozen=True, eq=False)
class Statement:
    """A statement of a cell."""

    cell: Cell
    leaf: Leaf

    @property
    def node(self) -> ast.stmt:
        """The syntax."""
        return self.leaf.node

    @property
    def order(self) -> tuple[tuple[int, ...], int]:
        """When it was executed, to compare with others."""
        return self.cell.order, self.node.lineno

    @property
    def line(self) -> int:
        """Its first line as people see it in the cell; decorators are part of it."""
        return first_line(self.node) + self.cell.first_line - 1

    @functools.cached_property
    def text(self) -> str:
        """Its source, cut out of the cell and moved to the left margin."""
        return segment(self.cell.text, self.node)

    @property
    def text_line(self) -> int:
        """The line, as people see it, of the first line of ``text``."""
        return self.line - (1 if self.text.startswith(_WRAPPER) else 0)

    def holds(self, code: CodeType) -> bool:
        """Tell whether a code object was compiled from this statement."""
        end = self.node.end_lineno or self.node.lineno
        return code.co_filename in self.cell.filenames and first_line(self.node) <= code.co_firstlineno <= end

    def defines(self, code: CodeType) -> bool:
        """Tell whether a code object is the body of the function that this statement defines."""
        return (
            isinstance(self.node, DEFINITIONS)
            and code.co_name == self.node.name
            and code.co_filename in self.cell.filenames
            and code.co_firstlineno in (first_line(self.node), self.node.lineno)
        )


class Cells:
    """All cells of a notebook (or the one file of a script or module), in the order of their execution."""

    def __init__(self, cells: Iterable[Cell]) -> None:
        self._bindings: dict[str, list[Statement]] = collections.defaultdict(list)
        self._changes: dict[str, list[Statement]] = collections.defaultdict(list)
        self._touched: dict[str, list[Statement]] = collections.defaultdict(list)
        self._cells: list[Cell] = []
        for cell in sorted(cells, key=lambda c: c.order):
            self._cells.append(cell)
            for leaf in outline(cell.text):
                statement = Statement(cell, leaf)
                for name in leaf.binds:
                    self._bindings[name].append(statement)
                for name in leaf.changes:
                    self._changes[name].append(statement)
                for name in (*leaf.changes, *leaf.touches):
                    self._touched[name].append(statement)

    def __iter__(self) -> Iterator[Cell]:
        return iter(self._cells)

    def bindings(self, name: str) -> Sequence[Statement]:
        """Return the statements that bound a name at the top level of a cell, oldest first."""
        return self._bindings.get(name, ())

    def changes(self, name: str, after: Statement | None = None) -> list[Statement]:
        """Return the statements that changed the object behind a name, oldest first; only those after another."""
        return [found for found in self._changes.get(name, ()) if after is None or found.order > after.order]

    def touched(self, name: str, after: Statement) -> Statement | None:
        """Return the last statement after another that changed something in the object behind a name."""
        found = [s for s in self._touched.get(name, ()) if s.order > after.order]
        return found[-1] if found else None

    def registered(self, name: str) -> list[str]:
        """Return what was defined with a decorator that registers with something below a name."""
        return [
            statement.node.name
            for statement in self._changes.get(name, ())
            if isinstance(statement.node, DEFINITIONS)
            and any("register" in part for d in statement.node.decorator_list for part in _decorator(d)[1:])
        ]

    def node_of(self, code: CodeType) -> ast.AST | None:
        """Return the ``def`` or ``lambda``, wherever it stands in a cell, that a function's code was compiled from."""
        found = self._function_of(code)
        return found.node if found is not None else None

    def around(self, code: CodeType) -> ast.AST | None:
        """Return the outermost ``def`` in which that stands: what made the function."""
        found = self._function_of(code)
        return found.outermost if found is not None else None

    def _function_of(self, code: CodeType) -> _Function | None:
        for cell in reversed(self._cells):
            if code.co_filename in cell.filenames:
                found = _functions_in(cell.text).get((code.co_name, code.co_firstlineno))
                if found is not None:
                    return found
        return None

    def defining(self, code: CodeType) -> Statement | None:
        """Return the statement that defines the function with this body at the top level of a cell."""
        found = [s for s in self.bindings(code.co_name) if s.defines(code)]
        return found[-1] if found else None

    def knows(self, filename: str) -> bool:
        """Tell whether code with this file name comes from one of the cells."""
        return any(filename in cell.filenames for cell in self._cells)


def compile_quietly(source: str | ast.Module, filename: str, flags: int = 0) -> CodeType:
    """Compile; what the analyst's code is warned about was shown when its cell was executed."""
    _hush()
    code: CodeType = compile(source, filename, "exec", flags, dont_inherit=True)
    return code


def parse_once(text: str) -> ast.Module:
    """Return the syntax of a text. Raises SyntaxError."""
    _hush()
    while True:
        try:
            tree: ast.Module = compile(text, f"{OWN_FILES}cell>", "exec", PARSE_FLAGS, dont_inherit=True)
        except SystemError:
            # Python 3.11 counts how deep a tree is for all threads in one place: another one made a tree meanwhile.
            if sys.version_info >= (3, 12):
                raise
        else:
            return tree


@functools.lru_cache(maxsize=4096)
def parse(text: str) -> ast.Module:
    """Return the syntax of a whole cell; it is kept and shared, so never change it. Raises SyntaxError."""
    return parse_once(text)


def _hush() -> None:
    # Not warnings.catch_warnings(): threads that use it at the same time restore each other's filters. This filter
    # stays, and is only about compiling under our own file names.
    if _IGNORED not in warnings.filters:
        warnings.filterwarnings("ignore", module=OWN_FILES)
    if _AGAIN not in warnings.filters:
        warnings.filterwarnings("ignore", "registration of accessor", UserWarning, RUN_MODULE_PREFIX)


@functools.lru_cache(maxsize=4096)
def outline(text: str) -> tuple[Leaf, ...]:
    """Return the statements of a text, blocks taken apart; none when it is not Python (its cell failed)."""
    try:
        return tuple(_leaves(parse(text).body))
    except (SyntaxError, ValueError, RecursionError):
        return ()


@functools.lru_cache(maxsize=4096)
def _functions_in(text: str) -> dict[tuple[str, int], _Function]:
    """Return the functions of a text by name and first line; of several on one line, the last."""
    found: dict[tuple[str, int], _Function] = {}
    for leaf in outline(text):
        outermost = leaf.node if isinstance(leaf.node, DEFINITIONS) else None
        for node in ast.walk(leaf.node):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
                function = _Function(node, outermost)
                for line in {node.lineno, first_line(node)}:
                    found[getattr(node, "name", "<lambda>"), line] = function
    return found


def _leaves(body: Sequence[ast.stmt], looped: bool = False) -> Iterator[Leaf]:
    for node in body:
        blocks = [b for field in ("body", "orelse", "finalbody") if (b := getattr(node, field, None))]
        if isinstance(node, DEFINITIONS) or not (blocks or isinstance(node, ast.Match)):
            yield Leaf(
                node, tuple(bound_names(node)), tuple(_changed(node)), looped=looped, touches=tuple(_touched(node))
            )
            continue
        parts = getattr(node, "handlers", None) or getattr(node, "cases", None) or ()
        head = [child for child in ast.iter_child_nodes(node) if not isinstance(child, (ast.stmt, *map(type, parts)))]
        patterns = [part.pattern for part in parts if isinstance(part, ast.match_case)]
        if bound := tuple(bound_names(*head, *patterns)):
            yield Leaf(node, bound, (), header=True)
        for block in (*blocks, *(part.body for part in parts)):
            yield from _leaves(block, looped or isinstance(node, (ast.For, ast.AsyncFor, ast.While)))


def bound_names(*nodes: ast.AST) -> Iterator[str]:
    """Yield the names that nodes bind where they stand, not those inside of functions, classes and comprehensions."""
    stack = list(nodes)
    while stack:
        node = stack.pop()
        match node:
            case ast.Name():
                if isinstance(node.ctx, ast.Store):
                    yield node.id
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name
            case ast.alias():
                yield node.asname or node.name.partition(".")[0]
            case ast.comprehension():
                stack += [node.iter, *node.ifs]
            case ast.Lambda() | ast.AnnAssign(value=None):
                pass
            case _:
                if captured := getattr(node, _CAPTURES.get(type(node), ""), None):
                    yield captured
                stack += ast.iter_child_nodes(node)


def _changed(node: ast.stmt) -> Iterator[str]:
    match node:
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=attr))):
            if attr in _MUTATORS:
                yield name
        case ast.Expr(value=ast.Call(func=ast.Name(id="setattr" | "delattr"), args=[ast.Name(id=name), *_])):
            yield name
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield from (parts[0] for d in node.decorator_list if len(parts := _decorator(d)) > 1)
        case ast.Assign() | ast.Delete() | ast.AugAssign() | ast.AnnAssign():
            for target in node.targets if isinstance(node, (ast.Assign, ast.Delete)) else [node.target]:
                inner: ast.expr = target
                while isinstance(inner, (ast.Attribute, ast.Subscript)):
                    inner = inner.value
                if isinstance(inner, ast.Name) and inner is not target:
                    yield inner.id


def _decorator(node: ast.expr) -> list[str]:
    """Return the parts of a decorator's name: ``["pd", "api", "extensions", "register_dataframe_accessor"]``."""
    return dotted(node.func if isinstance(node, ast.Call) else node)


def _touched(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Attribute):
        inner: ast.expr = node.value.func
        while isinstance(inner, (ast.Attribute, ast.Subscript)):
            inner = inner.value
        if isinstance(inner, ast.Name) and node.value.func.attr in _MUTATORS:
            yield inner.id


# --- text -----------------------------------------------------------------------------------------------------------

_LINE_END = re.compile(r"\r\n|\r|\n")
_REST = re.compile(r"\s*(#.*)?")
_WRAPPER = "if True:\n"


_ATTRIBUTE = re.compile(r"(?<=\.)\w+|(?<=['\"])\w+(?=['\"])|\b\w+(?=\s*[:=])")


@functools.lru_cache(maxsize=4096)
def mentioned_attributes(text: str) -> frozenset[str]:
    """Return the words of a text that may be names of attributes: behind a dot, in quotes, or given a value."""
    return frozenset(_ATTRIBUTE.findall(text))


@functools.lru_cache(maxsize=256)
def split_lines(text: str) -> tuple[str, ...]:
    """Split as the parser counts lines: ``str.splitlines`` also splits at form feeds and the like."""
    return tuple(_LINE_END.split(text))


def first_line(node: ast.stmt | ast.expr) -> int:
    """Return the first line of a statement, its decorators included."""
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(decorator.lineno for decorator in decorators)])


def dotted(node: ast.expr | None) -> list[str]:
    """Return the parts of a name or dotted name, ``["np", "random"]``; none for any other expression."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return [node.id, *reversed(parts)] if isinstance(node, ast.Name) else []


def imported_names(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield the names that imports bind, with the dotted name of what they stand for."""
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                yield (alias.asname, alias.name) if alias.asname else (top, top)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield what is made of statements, outer ones first: a tenth of what ``ast.walk`` yields."""
    waiting = collections.deque([tree])
    while waiting:
        node = waiting.popleft()
        yield node
        for field in ("body", "handlers", "cases", "orelse", "finalbody"):
            waiting += getattr(node, field, ())


def segment(text: str, node: ast.stmt) -> str:
    """Return the source of one statement at the left margin."""
    last = node.end_lineno or node.lineno
    start = first_line(node)
    lines = list(split_lines(text)[start - 1 : last])
    # Offsets count bytes. A decorated definition starts at its "@", which has the same column.
    after = lines[-1].encode()[node.end_col_offset or 0 :].decode()
    before = lines[0].encode()[: node.col_offset].decode()
    if not _REST.fullmatch(after):
        lines[-1] = lines[-1][: len(lines[-1]) - len(after)]
    if before.strip():
        lines[0] = lines[0][len(before) :]
        return "\n".join(lines)
    if not before:
        return "\n".join(lines)
    moved = "\n".join(line.removeprefix(before) for line in lines)
    try:
        # Text inside a string literal may have moved too, which would change its value.
        if ast.dump(parse_once(moved)) == ast.dump(ast.Module([node], [])):
            return moved
    except SyntaxError:
        pass
    return _WRAPPER + "\n".join(lines)
