"""What the recorder sees of an agent's code, without a server: lines, values, branches, exceptions."""

from __future__ import annotations

import asyncio
import collections
import math
import sys
import textwrap
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kaigents_nb.replay.copies import Copier, same
from kaigents_nb.replay.recorder import Enough, Recorder
from kaigents_nb.replay.records import DELETED
from kaigents_nb.replay.statements import Statements
from kaigents_nb.values.stand_in import StandIn

FILE = "<kaigents test>"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def record(source: str, *args: Any, max_bytes: int = 2**28, **names: Any) -> tuple[Recorder, Any]:
    """Execute the function ``run`` of a module and return what was recorded, and its result or exception."""
    source = textwrap.dedent(source).strip("\n") + "\n"
    namespace: dict[str, Any] = {"asyncio": asyncio, **names}
    exec(compile(source, FILE, "exec"), namespace)
    recorder = Recorder(FILE, Statements(source), max_bytes)

    recorder.at(1, NOW)

    async def call() -> Any:
        before = sys.gettrace()
        sys.settrace(recorder.trace_function)
        try:
            return await namespace["run"](*args)
        except Exception as error:
            return error
        finally:
            sys.settrace(before)

    result = asyncio.run(call())
    recorder.finish()
    assert recorder.problem is None
    return recorder, result


def lines(recorder: Recorder) -> list[tuple[str, int]]:
    return [(recorder.frames[row.frame].function, row.line) for row in recorder.rows]


def changed(recorder: Recorder) -> list[tuple[int, dict[str, Any]]]:
    return [(row.line, row.changed) for row in recorder.rows if row.changed]


def test_each_row_is_a_statement_and_what_it_changed():
    """One row per executed statement, in order, with what executing it changed."""
    recorder, _ = record("""
        async def run(n):
            total = 0
            for i in range(n):
                total += i
            return total
    """, 2)  # fmt: skip
    assert [line for _, line in lines(recorder)] == [2, 3, 4, 3, 4, 3, 5]
    assert changed(recorder) == [(2, {"total": 0}), (3, {"i": 0}), (3, {"i": 1}), (4, {"total": 1})]
    assert [(c.name, c.value, c.row) for c in recorder.log.changes[:1]] == [("n", 2, -1)]


def test_statement_over_lines_is_one_row():
    """A statement over several lines, with a comprehension in it, is one row with its first line."""
    recorder, _ = record("""
        async def run():
            values = [
                x * y
                for x in range(3)
                for y in range(2)
            ]
            named = dict(
                a=values,
                b=sorted(
                    values,
                    key=lambda v: -v,
                ),
            )
            return (
                named
            )
    """)  # fmt: skip
    assert [line for _, line in lines(recorder)] == [2, 7, 14]
    assert changed(recorder)[0] == (2, {"values": [0, 0, 0, 1, 0, 2]})


def test_comprehension_variables_are_not_the_functions():
    """A comprehension's variable is no variable of the function, on any Python; its own of that name is."""
    recorder, _ = record("""
        async def run():
            x = "mine"
            inner = [
                x
                for x in range(3)
            ]
            squares = {k: k for k in inner}
            return x
    """)  # fmt: skip
    assert [c.name for c in recorder.log.changes] == ["x", "inner", "squares"]


def test_with_and_finally_are_not_executed_twice():
    """The end of a ``with`` block and of ``finally`` after ``return`` add no rows; a new round of a loop does."""
    recorder, result = record("""
        from contextlib import nullcontext
        async def run():
            for i in range(2):
                with nullcontext(i) as held:
                    try:
                        if i:
                            raise KeyError(i)
                    except KeyError as error:
                        continue
                    finally:
                        last = held
            try:
                return last
            finally:
                done = True
    """)  # fmt: skip
    assert result == 1
    body = [4, 5, 6]
    assert [line for _, line in lines(recorder)] == [
        3, *body, 11, 3, *body, 7, 8, 9, 11, 3, 12, 13, 15,
    ]  # fmt: skip


def test_loops_on_one_line():
    """A loop on one line has a row per round."""
    recorder, _ = record("""
        async def run(n):
            while n > 0: n -= 1
            return n
    """, 3)  # fmt: skip
    assert [line for _, line in lines(recorder)][-1] == 3
    assert len(lines(recorder)) >= 4


def test_values_are_copies():
    """Changing a list later does not change an earlier row; what did not change is kept once."""
    recorder, _ = record("""
        async def run():
            rows = [{"a": [1]}]
            rows.append({"b": 2})
            rows[0]["a"].append(5)
            return rows
    """)  # fmt: skip
    values = [c.value for c in recorder.log.changes]
    assert values == [[{"a": [1]}], [{"a": [1]}, {"b": 2}], [{"a": [1, 5]}, {"b": 2}]]
    assert values[0][0] is values[1][0]
    assert values[1][1] is values[2][1]


def test_branches_and_callers():
    """Branches of a gather have numbers of their own, functions they call belong to them."""
    recorder, _ = record("""
        async def deeper(i):
            await asyncio.sleep(0)
            return -i
        async def one(i):
            return await deeper(i)
        async def run():
            await deeper(0)
            return await asyncio.gather(one(1), one(2))
    """)  # fmt: skip
    branches = {(f.function, f.branch, f.parent) for f in recorder.frames}
    assert branches == {
        ("run", 0, -1), ("deeper", 0, 0), ("one", 1, -1), ("one", 2, -1), ("deeper", 1, 2), ("deeper", 2, 4),
    }  # fmt: skip


def test_exceptions_and_where_they_pass():
    """The line that raised and those it passed have the same exception; a loop's end is no exception."""
    recorder, _ = record("""
        def fail(x):
            raise ValueError("no", x)
        def count():
            yield from [1, 2]
        async def run():
            for n in count():
                pass
            it = iter([])
            try:
                next(it)
            except StopIteration:
                pass
            try:
                fail([n])
            except ValueError as error:
                seen = error
            return seen
    """)  # fmt: skip
    raised = [(row.line, row.raised.number, row.raised.text) for row in recorder.rows if row.raised]
    assert raised == [
        (10, 0, "StopIteration"),
        (14, 1, "ValueError: ('no', [2])"),
        (2, 1, "ValueError: ('no', [2])"),
    ]
    assert [c.name for c in recorder.log.changes if c.value is DELETED] == ["error"]
    seen = next(c.value for c in recorder.log.changes if c.name == "seen")
    assert type(seen) is ValueError and seen.args == ("no", [2])


def test_frames_that_fail_say_so():
    """The frame that an exception left knows it; one that caught it does not."""
    recorder, result = record("""
        async def inner():
            raise LookupError("gone")
        async def run(again):
            try:
                await inner()
            except LookupError:
                if again:
                    raise
    """, True)  # fmt: skip
    assert isinstance(result, LookupError)
    assert [f.failure for f in recorder.frames] == [0, 0]
    assert [(row.line, row.raised.number) for row in recorder.rows if row.raised] == [(5, 0), (2, 0), (8, 0)]
    recorder, _ = record("""
        async def run():
            try:
                raise LookupError("gone")
            except LookupError:
                pass
    """)  # fmt: skip
    assert [f.failure for f in recorder.frames] == [-1]


def test_generators_closures_and_classes():
    """Generators, nested functions and methods are functions like any other; code is no variable."""
    recorder, result = record("""
        class Box:
            def __init__(self, items):
                self.items = items
            def __iter__(self):
                for item in self.items:
                    yield item
        async def run():
            import math
            total = 0
            def add(x):
                nonlocal total
                total += x
            for item in Box([1, 2]):
                add(item)
            return total
    """)  # fmt: skip
    assert result == 3
    names = {f.function for f in recorder.frames}
    assert names == {"__init__", "__iter__", "run", "add"}
    mine = [c for c in recorder.log.changes if recorder.frames[c.frame].function == "run"]
    assert {c.name for c in mine} == {"total", "item"}
    assert [c.value for c in mine if c.name == "total"] == [0, 1, 3]


def test_what_cant_be_copied_is_text():
    """A client or generator is a short text, says so, and does not count as changed again and again."""
    recorder, _ = record("""
        async def run(lock):
            client = lock
            pair = [lock, 1]
            x = 1
            x = 2
            return client
    """, __import__("threading").Lock())  # fmt: skip
    changes = [(c.name, c.copied, type(c.value)) for c in recorder.log.changes]
    assert changes[:3] == [("lock", False, StandIn), ("client", False, StandIn), ("pair", False, list)]
    assert len(changes) == 5


class Hostile:
    """A class whose every method raises."""

    def __init__(self) -> None:
        self.x = 1

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("do not compare me")

    __hash__ = None  # type: ignore[assignment]

    def __deepcopy__(self, memo: object) -> object:
        raise RuntimeError("do not copy me")

    def __reduce_ex__(self, protocol: object) -> Any:
        raise RuntimeError("do not pickle me")

    def __repr__(self) -> str:
        raise RuntimeError("do not print me")

    def __bool__(self) -> bool:
        raise RuntimeError("do not test me")


class Rude(Exception):
    """An exception that can't be printed."""

    def __str__(self) -> str:
        raise RuntimeError("no")


def test_hostile_values_do_no_harm():
    """Values and exceptions whose own code raises change nothing for the agent or the recording."""
    recorder, result = record("""
        async def run(hostile, rude):
            held = {"h": hostile, "l": [hostile]}
            try:
                raise rude
            except Exception:
                pass
            return "fine"
    """, Hostile(), Rude())  # fmt: skip
    assert result == "fine"
    assert [row.raised.text for row in recorder.rows if row.raised] == ["Rude"]


@dataclass
class Point:
    """An analyst's class."""

    x: int
    tags: list[str]


class Colour(Enum):
    """An analyst's enum."""

    RED = 1


def _frame() -> pd.DataFrame:
    return pd.DataFrame({"n": [1, 2], "f": [1.0, math.nan], "s": ["a", None], "o": [[1], {}]})


CELL: dict[str, Any] = {"__name__": "__main__"}
"""Names of a cell: no import finds its classes and functions, so pickle takes none of them."""
exec(
    textwrap.dedent("""
        import collections, enum, typing, types
        from dataclasses import dataclass, field

        class Bag(dict): pass
        class Rows(list): pass
        class Names(set): pass
        class Recent(collections.deque): pass
        class Stage(enum.Enum):
            OPEN = 1
            DONE = 2
        class Pair(typing.NamedTuple):
            name: str
            tags: list
        @dataclass
        class Rule:
            check: typing.Callable
            limits: list = field(default_factory=list)
        class Slotted:
            __slots__ = ("check", "n")
            def __repr__(self):
                return f"Slotted({self.n})"
            def __init__(self):
                self.check, self.n = (lambda: 0), [1]
        class Secretive:  # its copies are made without its cache
            def __repr__(self):
                return f"Secretive({self.n})"
            def __init__(self):
                self.n, self.cache = [1], (lambda: 0)
            def __getstate__(self):
                return {"n": self.n, "cache": None}
    """),
    CELL,
)


def _cell(source: str) -> Any:
    """Return a maker of fresh values of the cell's classes."""
    return lambda: eval(source, CELL)


CHANGES: dict[str, tuple[Any, Any]] = {
    "list": (lambda: [1, 2], lambda v: v.append(3)),
    "nested": (lambda: {"a": {"b": [1]}}, lambda v: v["a"]["b"].append(2)),
    "key order": (lambda: {"a": 1, "b": 2}, lambda v: v.update(a=v.pop("a"))),
    "set": (lambda: {1, 2}, lambda v: v.add(3)),
    "set in list": (lambda: [{1, (2, "x")}], lambda v: v[0].discard(1)),
    "bytearray": (lambda: bytearray(b"ab"), lambda v: v.extend(b"c")),
    "true is not one": (lambda: [1], lambda v: v.__setitem__(0, True)),
    "one is not 1.0": (lambda: [1], lambda v: v.__setitem__(0, 1.0)),
    "minus zero": (lambda: [0.0], lambda v: v.__setitem__(0, -0.0)),
    "dataclass": (lambda: Point(1, ["a"]), lambda v: v.tags.append("b")),
    "dataclass in list": (lambda: [Point(1, []), Point(2, [])], lambda v: setattr(v[1], "x", 3)),
    "array": (lambda: np.zeros(4), lambda v: v.__setitem__(2, 1)),
    "array in dict": (lambda: {"a": np.array([[1, 2]])}, lambda v: v["a"].__setitem__((0, 1), 5)),
    "object array": (lambda: np.array([[1], "x"], dtype=object), lambda v: v[0].append(2)),
    "frame": (_frame, lambda v: v.__setitem__("n", [5, 6])),
    "frame cell": (_frame, lambda v: v.loc.__setitem__((0, "n"), 9)),
    "frame text": (_frame, lambda v: v.loc.__setitem__((0, "s"), "z")),
    "frame object cell": (_frame, lambda v: v.loc[0, "o"].append(2)),
    "frame column": (_frame, lambda v: v.insert(0, "new", 1)),
    "frame index": (_frame, lambda v: setattr(v, "index", ["x", "y"])),
    "frame names": (_frame, lambda v: setattr(v, "columns", list("abcd"))),
    "frame attrs": (_frame, lambda v: v.attrs.update(unit="EUR")),
    "series": (lambda: pd.Series([1, 2], name="s"), lambda v: v.__setitem__(0, 7)),
    "exception": (lambda: ValueError([1]), lambda v: v.args[0].append(2)),
    "random": (lambda: __import__("random").Random(3), lambda v: v.random()),
}


@pytest.mark.parametrize("name", CHANGES)
def test_keeper_sees_every_change_and_only_changes(name):
    """A copy is reused as long as nothing changed, whatever was looked at; a change gives a new, true copy."""
    make, change = CHANGES[name]
    live, copier = make(), Copier()
    first = copier.copy(live)
    assert copier.whole
    for _ in range(2):
        repr(live)
        assert copier.copy(live, first) is first
    change(live)
    second = copier.copy(live, first)
    assert second is not first
    assert copier.copy(live, second) is second
    assert same(first, make()) and same(second, live)
    assert not same(first, second)


CELL_CHANGES: dict[str, tuple[Any, Any]] = {
    "defaultdict": (_cell("collections.defaultdict(lambda: 0, a=1)"), lambda v: v["b"]),
    "defaultdict item": (_cell("collections.defaultdict(lambda: [], a=[1])"), lambda v: v["a"].append(2)),
    "dict subclass": (_cell("Bag(a=[1])"), lambda v: v["a"].append(2)),
    "dict subclass attribute": (_cell("Bag(a=[1])"), lambda v: setattr(v, "note", "x")),
    "list subclass": (_cell("Rows([[1], Rule(lambda: 0)])"), lambda v: v[1].limits.append(2)),
    "set subclass": (_cell("Names({1})"), lambda v: v.add(2)),  # numbers: texts have an order of their own
    "set subclass attribute": (_cell("Names({'a'})"), lambda v: setattr(v, "note", 1)),
    "deque": (lambda: collections.deque([[1]], maxlen=3), lambda v: v[0].append(2)),
    "deque subclass": (_cell("Recent([[1]], maxlen=3)"), lambda v: v[0].append(2)),
    "deque subclass item": (_cell("Recent([[1]], maxlen=3)"), lambda v: v.append(2)),
    "Counter of enum": (_cell("collections.Counter([Stage.OPEN])"), lambda v: v.subtract(list(v))),
    "Counter of enum key": (_cell("collections.Counter([Stage.OPEN])"), lambda v: v.update([CELL["Stage"].DONE])),
    "OrderedDict order": (lambda: collections.OrderedDict(a=1, b=2), lambda v: v.move_to_end("a")),
    "namespace": (_cell("types.SimpleNamespace(check=lambda: 0, items=[1])"), lambda v: v.items.append(2)),
    "named tuple": (_cell("Pair('a', [lambda: 0])"), lambda v: v.tags.append(2)),
    "cell dataclass": (_cell("Rule(lambda: 0, [1])"), lambda v: v.limits.append(2)),
    "cell dataclass lambda": (_cell("Rule(lambda: 0, [1])"), lambda v: setattr(v, "check", len)),
    "cell dataclass in deque": (_cell("collections.deque([Rule(lambda: 0)])"), lambda v: v[0].limits.append(2)),
    "cell dataclass in Counter": (_cell("Bag(a=Bag(b=(Rule(lambda: 0),)))"), lambda v: v["a"]["b"][0].limits.append(2)),
    "slots": (_cell("Slotted()"), lambda v: v.n.append(2)),
    "state of its own": (_cell("Secretive()"), lambda v: v.n.append(2)),
    "exception note": (lambda: ValueError(1), lambda v: v.add_note("a")),
    "table in namespace": (_cell("types.SimpleNamespace(f=lambda: 0)"), lambda v: setattr(v, "t", _frame())),
}


@pytest.mark.parametrize("name", CELL_CHANGES)
def test_keeper_sees_changes_of_what_pickle_refuses(name):
    """Values of a cell's own classes, and those that hold a lambda, show as changed when they are, and only then."""
    make, change = CELL_CHANGES[name]
    live, copier = make(), Copier()
    held = [{"held": live}]
    first = copier.copy(held)
    text = repr(first)
    assert copier.whole and text == repr(held)
    for _ in range(2):
        assert copier.copy(held, first) is first
    change(live)
    second = copier.copy(held, first)
    assert second is not first and second[0]["held"] is not first[0]["held"]
    assert copier.copy(held, second) is second
    assert (repr(first), repr(second)) == (text, repr(held))
    alone = copier.copy(live)
    assert alone is not live and copier.copy(live, alone) is alone


@pytest.mark.parametrize(
    "value",
    [None, True, 7, 2.5, math.nan, "text", b"bytes", (1, "a"), Decimal("1.0"), NOW, Colour.RED, frozenset({1}), 10**40],
    ids=repr,
)
def test_keeper_keeps_equal_immutable_values(value):
    """Binding an equal value of the same type again is no change."""
    again = type(value)(str(value)) if isinstance(value, (Decimal, float)) else value
    copier = Copier()
    assert copier.copy(again, copier.copy(value)) is copier.copy(value) or same(again, value)


def test_keeper_takes_cycles_sharing_and_depth():
    """Values that hold themselves, share parts a billion times, or are very deep are copied in no time."""
    ring: list[Any] = [1]
    ring.append(ring)
    shared: list[Any] = []
    for _ in range(40):
        shared = [shared, shared]
    deep: list[Any] = []
    for _ in range(500):
        deep = [deep]
    for value in (ring, shared, deep):
        copier = Copier()
        copy = copier.copy(value)
        assert copier.copy(value, copy) is copy or value is ring
    recorder, _ = record("""
        async def run(ring, shared, deep):
            pair = (1,)
            for _ in range(40):
                pair = (pair, pair)
            held, named = [pair], {"pair": pair}
            for _ in range(3):
                shared = [shared, shared]
            return ring
    """, ring, shared, deep)  # fmt: skip
    assert recorder.rows


def test_memory_is_bounded():
    """Beyond the cap values are short texts, and the row where that began is known."""
    recorder, _ = record("""
        async def run():
            data, total = [], 0
            for i in range(20):
                data = ["x" * 50_000 + str(i)] + data
                total += i
            return total
    """, max_bytes=500_000)  # fmt: skip
    kept = [c for c in recorder.log.changes if c.name == "data" and c.copied]
    texts = [c for c in recorder.log.changes if c.name == "data" and not c.copied]
    assert 5 < len(kept) < 12 and len(kept) + len(texts) == 21
    assert all(isinstance(c.value, str) and len(c.value) < 3000 for c in texts)
    assert recorder.rows[recorder.log.limit_row].line == 4
    assert [c.value for c in recorder.log.changes if c.name == "total"][-1] == 190
    assert recorder.log.size_bytes < 600_000


def test_endless_agent_is_stopped():
    """A trace has an end even where the agent has none."""
    body = "        try:\n            pass\n        except Exception:\n            pass\n"
    source = "async def run():\n    while True:\n" + body
    namespace: dict[str, Any] = {}
    exec(compile(source, FILE, "exec"), namespace)
    recorder = Recorder(FILE, Statements(source), max_lines=100)
    recorder.at(1, NOW)

    async def call() -> None:
        before = sys.gettrace()
        sys.settrace(recorder.trace_function)
        try:
            await namespace["run"]()
        finally:
            sys.settrace(before)

    with pytest.raises(Enough, match="more than 100 lines"):
        asyncio.run(call())
    assert len(recorder.rows) == 100 and isinstance(recorder.problem, Enough)


def test_recorder_never_throws_into_the_agent():
    """When recording itself breaks, the agent goes on and what was seen is kept."""
    broken = Recorder(FILE, Statements(""))
    broken.log = None  # type: ignore[assignment]
    namespace: dict[str, Any] = {}
    exec(compile("async def run():\n    x = 1\n    return x\n", FILE, "exec"), namespace)

    async def call() -> Any:
        before = sys.gettrace()
        sys.settrace(broken.trace_function)
        try:
            return await namespace["run"]()
        finally:
            sys.settrace(before)

    assert asyncio.run(call()) == 1
    assert isinstance(broken.problem, AttributeError)
