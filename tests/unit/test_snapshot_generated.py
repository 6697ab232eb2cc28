"""Generated notebooks: whatever the cells, the loaded code computes what they do, or is refused with a reason."""

# ruff: noqa: E501 - a cell or program is one line of text here
from __future__ import annotations

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kaigents_nb.errors import CannotFreeze
from tests.unit.snapshot_cells import notebook

FUNCTIONS = [f"f{n}" for n in range(5)]
VALUES = [f"V{n}" for n in range(3)]
DECORATORS = ["plus", "times"]
SLOW = settings(suppress_health_check=[HealthCheck.too_slow])

START = [
    "import functools, math\nfrom operator import add as plus_op",
    "V0 = 1\nV1 = [1, 2]\nV2 = {'k': 3}",
    "def plus(fn):\n    @functools.wraps(fn)\n    def w(x): return fn(x) + 1\n    return w",
    "def times(fn):\n    def w(x): return fn(x) * 2\n    return w",
    "class Box:\n    unit = 1\n    def __init__(self, n): self.n = n\n    def size(self): return self.n * self.unit + len(str(V0))",
    "def f0(x): return x\ndef f1(x): return x + 1\ndef f2(x): return x + 2\ndef f3(x): return x + 3\ndef f4(x): return x + 4",
]


@st.composite
def expressions(draw: st.DrawFn, depth: int = 2) -> str:
    """An expression in ``x`` that calls functions with a smaller number and uses values, classes and imports."""
    kind = draw(st.integers(0, 10 if depth else 3))
    if kind == 0:
        return "x"
    if kind == 1:
        return draw(st.sampled_from(["V0", "sum(V1)", "V2['k']", "len(V1)"]))
    if kind in (2, 3):
        return str(draw(st.integers(0, 9)))
    inner = draw(expressions(depth=depth - 1))
    if kind <= 6:
        return f"{draw(st.sampled_from(FUNCTIONS))}(x - 1) + {inner}"
    if kind == 7:
        return f"sum({inner} for _ in range(2))"
    if kind == 8:
        return f"Box({inner}).size()"
    if kind == 9:
        return f"(lambda y: plus_op(y, {inner}))(x)"
    return f"math.floor({inner})"


@st.composite
def functions(draw: st.DrawFn) -> str:
    """A definition of one of the functions, in one of the forms that analysts write."""
    name, body = draw(st.sampled_from(FUNCTIONS)), draw(expressions())
    text = f"def {name}(x):\n    if x <= 0:\n        return V0\n    return {body}"
    form = draw(st.integers(0, 5))
    if form == 1:
        return f"if V0:\n{_indented(text)}\nelse:\n    def {name}(x): return -1"
    if form == 2:
        return f"%%time\n{text}"
    if form == 3:
        return f"\n\n# {name}\n{text.replace('(x):', '(x, /, *, inner=None):', 1)}"
    if form == 4:
        return f"{name} = lambda x: V0 if x <= 0 else {body}"
    return text


@st.composite
def changes(draw: st.DrawFn) -> str:
    """A cell that changes a value, a class or something in place."""
    number = draw(st.integers(0, 9))
    return draw(
        st.sampled_from(
            [
                f"V0 = {number}",
                f"V1 = [{number}, V0]",
                f"V1.append({number})",
                f"V2['k'] = {number}",
                f"V0 += {number}",
                f"Box.unit = {number}",
                f"class Box:\n    unit = 2\n    def __init__(self, n): self.n = n\n    def size(self): return self.n + {number} * self.unit",
                "Box.size = lambda self: self.n + V0",
                f"tmp, V0 = 0, {number}",
            ]
        )
    )


@st.composite
def made(draw: st.DrawFn) -> str:
    """A cell whose functions are made when it is executed."""
    name, other = draw(st.sampled_from(FUNCTIONS)), draw(st.sampled_from(FUNCTIONS))
    return draw(
        st.sampled_from(
            [
                f"@{draw(st.sampled_from(DECORATORS))}\ndef {name}(x):\n    return x + V0",
                f"@functools.cache\ndef {name}(x):\n    return x if x <= 0 else {other}(x - 1)",
                f"{name} = functools.partial(lambda k, x: k + x, {draw(st.integers(0, 5))})",
                f"{name} = plus(lambda x: x + V0)",
                f"def make(k):\n    def g(x): return x * k + V0\n    return g\n{name} = make(V0)",
                f"{name} = {other}",
                f"old = {name}\ndef {name}(x): return old(x - 1) + 1 if x > 0 else 0",
                f"{name} = plus({name})",
                f"def {name}(x, k=V0): return x + k",
                "def plus(fn): return lambda x: fn(x) + 100",
            ]
        )
    )


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.split("\n"))


RUN = "def run(): return [f(3) for f in (f0, f1, f2, f3, f4)], V0, V1, V2, Box(2).size()"


@SLOW
@given(st.lists(functions() | changes(), max_size=12))
def test_plain_definitions_always_travel(cells: list[str]) -> None:
    """Functions, values and classes, defined and changed in any order over any cells, are never refused."""
    with notebook() as nb:
        nb.cells(*START, *cells, RUN)
        nb.both()


@SLOW
@given(st.lists(functions() | changes() | made(), max_size=12), st.booleans())
@example(["@plus\ndef f1(x):\n    return x + V0", "f1 = f0", "def f0(x):\n    return V0"], False)
def test_made_functions_travel_or_are_refused_with_the_way_out(cells: list[str], rerun: bool) -> None:
    """What was made with something changed since is refused; all else computes the same."""
    with notebook() as nb:
        nb.cells(*START, *cells, *(cells[-2:] if rerun else ()), RUN)
        try:
            nb.both()
        except CannotFreeze as refusal:
            assert "again" in str(refusal)
