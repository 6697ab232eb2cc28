"""Agents made up by chance, and a reference for their traces: instrumented by their syntax tree and run directly."""

from __future__ import annotations

import ast
import asyncio
import sys
import types
from typing import Any

from hypothesis import strategies as st

HEAD = """\
import asyncio
from contextlib import nullcontext

import kaigents_nb as kg


@kg.step
async def inc(x):
    return x + 1


@kg.step(retry=kg.Retry(max_attempts=1))
async def refuse(x):
    if x % 2:
        raise ValueError("odd", x)
    return x


def halve(x):
    if x > 1:
        return halve(x // 2)
    return x


def pairs(n):
    for i in range(n):
        yield i, [i]


async def branch(i, mine):
    mine.append(i)
    for _ in range(2):
        i = await inc(i)
        mine.append(i)
    if i % 2:
        raise ValueError(i)
    return mine


async def helper(x):
    y = await inc(x)
    def add(z):
        nonlocal y
        y += z
    add(1)
    return y


@kg.agent
async def generated(n):
    a, b = n, 1
    xs, d = [], {}
"""

_names = st.sampled_from(["a", "b"])
_atoms = st.sampled_from(["a", "b", "n", "1", "2", "len(xs)"])
_values = st.one_of(
    _atoms,
    st.builds("{} + {}".format, _atoms, _atoms),
    st.builds("{} % 5".format, _atoms),
    st.builds("-{}".format, _atoms),
)
_conditions = st.one_of(
    st.builds("{} > {}".format, _atoms, _atoms),
    st.builds("{} % 2".format, _atoms),
    st.just("not xs"),
    st.just("a in d"),
)
_simple = st.one_of(
    st.builds("{} = {}".format, _names, _values),
    st.builds("{} += {}".format, _names, _values),
    st.builds("xs.append({})".format, _values),
    st.builds("d[{}] = [{}, xs]".format, _atoms, _values),
    st.just("xs[:] = xs[-2:]"),
    st.just("a, b = b, a"),
    st.builds("{} = await inc({})".format, _names, _values),
    st.builds("{} = await refuse({})".format, _names, _values),
    st.builds("{} = await helper({})".format, _names, _values),
    st.builds("{} = halve({})".format, _names, _values),
    st.just("d = {\n    k: v\n    for k, v in pairs(3)\n}"),
    st.builds("xs = [\n    await inc(v)\n    for v in ({}, 2)\n    if v\n]".format, _atoms),
    st.builds(
        "done = await asyncio.gather(\n    branch({}, []),\n    branch(2, []),\n    return_exceptions=True,\n)".format,
        _atoms,
    ),
    st.just("total = sum(\n    x for x in xs\n    if isinstance(x, int)\n)"),
    st.builds("fn = lambda v: (\n    v + {}\n)\na = fn(b)".format, _atoms),
    st.builds("raise ValueError({})".format, _values),
    st.just("pass"),
    st.just("c = a\ndel c"),
)


@st.composite
def programs(draw: Any) -> str:
    """Return the source of a module with an agent ``generated(n)``."""
    counter = [0]

    def block(depth: int, in_loop: bool) -> list[str]:
        lines: list[str] = []
        for _ in range(draw(st.integers(1, 3))):
            lines += statement(depth, in_loop)
        return lines

    def indented(lines: list[str]) -> list[str]:
        return ["    " + line for line in lines]

    def statement(depth: int, in_loop: bool) -> list[str]:
        kinds = ["simple"] * 4 + ["if", "for", "while", "try", "with", "return"] * (depth > 0) + ["jump"] * in_loop
        kind = draw(st.sampled_from(kinds))
        if kind == "if":
            lines = [f"if {draw(_conditions)}:", *indented(block(depth - 1, in_loop))]
            if draw(st.booleans()):
                lines += [f"elif {draw(_conditions)}:", *indented(block(depth - 1, in_loop))]
            if draw(st.booleans()):
                lines += ["else:", *indented(block(depth - 1, in_loop))]
            return lines
        if kind == "for":
            source = draw(st.sampled_from(["range(2)", "list(xs)[:2]", "pairs(2)", "range(\n    1,\n    3,\n)"]))
            counter[0] += 1
            head, *rest = f"for v{counter[0]} in {source}:".split("\n")
            return [head, *rest, *indented(block(depth - 1, True))]
        if kind == "while":
            counter[0] += 1
            name = f"k{counter[0]}"
            return [f"{name} = 0", f"while {name} < 2:", f"    {name} += 1", *indented(block(depth - 1, True))]
        if kind == "try":
            lines = ["try:", *indented(block(depth - 1, in_loop))]
            lines += [
                "except LookupError:",
                "    b = -1",
                "except ValueError as error:",
                *indented(block(depth - 1, in_loop)),
            ]
            if draw(st.booleans()):
                lines += ["else:", *indented(block(depth - 1, in_loop))]
            if draw(st.booleans()):
                lines += ["finally:", *indented([draw(st.sampled_from(["a += 1", "xs.append(0)"]))])]
            return lines
        if kind == "with":
            return ["with nullcontext(a) as held:", *indented(block(depth - 1, in_loop))]
        if kind == "jump":
            return [f"if {draw(_conditions)}:", "    " + draw(st.sampled_from(["break", "continue"]))]
        if kind == "return":
            return [f"if {draw(_conditions)}:", "    return a, xs"]
        return str(draw(_simple)).split("\n")

    body = [line for _ in range(draw(st.integers(1, 4))) for line in statement(2, False)]
    return HEAD + "\n".join(indented([*body, "return a, b, xs, d"])) + "\n"


class Reference:
    """Runs a module's agent directly and notes every statement and what it changed."""

    def __init__(self, source: str) -> None:
        self.rows: list[tuple[int, str, int, dict[str, str]]] = []
        self._seen: dict[types.FrameType, tuple[list[int], dict[str, str]]] = {}
        self._branches: dict[Any, int] = {}
        tree = ast.fix_missing_locations(_Instrument().visit(ast.parse(source)))
        self._namespace: dict[str, Any] = {
            "__name__": "reference", "__line__": self._line, "__iter__": self._iterate, "__match__": self._match,
            "__exit__": self._exit, "__enter__": self._enter,
        }  # fmt: skip
        exec(compile(tree, "reference", "exec"), self._namespace)

    def run(self, n: int) -> Any:
        """Return the agent's result or exception."""
        try:
            return asyncio.run(self._namespace["generated"].fn(n))
        except ValueError as error:
            return error

    def _texts(self, frame: types.FrameType) -> dict[str, str]:
        return {
            name: f"{type(value).__name__} {value!r}"
            for name, value in frame.f_locals.items()
            if not isinstance(value, types.FunctionType)
        }

    def _enter(self) -> None:
        frame = sys._getframe(1)
        self._seen[frame] = ([], self._texts(frame))

    def _check(self, frame: types.FrameType) -> None:
        rows, before = self._seen[frame]
        after = self._texts(frame)
        changed = {name: text for name, text in after.items() if before.get(name) != text}
        changed |= {name: "_Deleted <deleted>" for name in before if name not in after}
        if rows:
            self.rows[rows[-1]][3].update(changed)
        self._seen[frame] = rows, after

    def _line(self, line: int, frame: types.FrameType | None = None) -> None:
        frame = frame or sys._getframe(1)
        self._check(frame)
        self._seen[frame][0].append(len(self.rows))
        branch = self._branches.setdefault(asyncio.current_task(), len(self._branches))
        self.rows.append((branch, frame.f_code.co_name, line, {}))

    def _iterate(self, line: int, items: Any) -> Any:
        frame = sys._getframe(1)

        def rounds() -> Any:
            for item in items:
                yield item
                self._line(line, frame)

        return rounds()

    def _match(self, line: int, kind: Any) -> Any:
        self._line(line, sys._getframe(1))
        return kind

    def _exit(self) -> None:
        frame = sys._getframe(1)
        self._check(frame)
        del self._seen[frame]


class _Instrument(ast.NodeTransformer):
    """Puts a call before every statement, at every round of a loop, and where a function begins and ends."""

    _inside = False

    def _function(self, node: Any) -> Any:
        if node.name in ("inc", "refuse"):
            return node
        node.body = [
            _call("__enter__"),
            ast.Try(body=self._block(node.body), handlers=[], orelse=[], finalbody=[_call("__exit__")]),
        ]
        return node

    visit_FunctionDef = visit_AsyncFunctionDef = _function

    def _block(self, body: list[ast.stmt]) -> list[ast.stmt]:
        found: list[ast.stmt] = []
        for node in body:
            if not isinstance(node, (ast.While, ast.Nonlocal)):
                found.append(_call("__line__", node.lineno))
            if isinstance(node, ast.For):
                node.iter = _called("__iter__", node.lineno, node.iter)
            elif isinstance(node, ast.While):
                line = _called("__line__", node.lineno)
                node.test = ast.Subscript(
                    value=ast.Tuple(elts=[line, node.test], ctx=ast.Load()), slice=ast.Constant(1), ctx=ast.Load()
                )
            for handler in getattr(node, "handlers", ()):
                handler.type = _called("__match__", handler.lineno, handler.type)
                handler.body = self._block(handler.body)
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                self._function(node)
            else:
                for name in ("body", "orelse", "finalbody"):
                    block = getattr(node, name, None)
                    if isinstance(block, list) and block:
                        setattr(node, name, self._block(block))
            found.append(node)
        return found


def _called(name: str, *args: Any) -> ast.Call:
    values = [arg if isinstance(arg, ast.AST) else ast.Constant(arg) for arg in args]
    return ast.Call(func=ast.Name(name, ast.Load()), args=values, keywords=[])


def _call(name: str, *args: Any) -> ast.Expr:
    return ast.Expr(_called(name, *args))
