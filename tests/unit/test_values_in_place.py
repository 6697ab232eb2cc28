"""Values that an agent changes in place have a new row in ``variables()``, whatever their kind; none is stale."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from tests.unit.test_recorder import record

MODULE = "kaigents_run_cells"
CLASSES = """
import array, collections, contextlib, datetime, decimal, enum, fractions, functools, heapq, io, itertools, queue
import random, re, string, threading, types, weakref
from collections import ChainMap, Counter, OrderedDict, UserDict, UserList, UserString, defaultdict, deque, namedtuple
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType, SimpleNamespace
from typing import NamedTuple
import numpy as np
import pandas as pd

class Color(Enum):
    RED = 1
    BLUE = 2

class Bag(dict): pass
class Row(list): pass
class Tags(set): pass
class Tally(Counter): pass
class Line(deque): pass
class Text(str): pass
class Whole(int): pass
class Error(Exception): pass
class Callable:
    def __init__(self): self.seen = []
    def __call__(self, x): self.seen.append(x)
class Plain:
    def __init__(self): self.n = 0
class Slots:
    __slots__ = ("n", "__weakref__")
    def __init__(self): self.n = 0
class SlotsChild(Slots):
    __slots__ = ("m", "f")
    def __init__(self):
        self.n, self.m, self.f = 0, [], lambda: 0
class Refuses:
    def __init__(self): self.n = 0
    def __reduce_ex__(self, protocol): raise TypeError("no")
class RefusesInit(dict):
    def __init__(self, need): super().__init__(); self.need = need
    def __reduce_ex__(self, protocol): raise TypeError("no")
class SameText:
    def __init__(self): self.n = 0
    def __repr__(self): return "SameText"
    def __reduce_ex__(self, protocol): raise TypeError("no")
class Equal:
    def __init__(self): self.n = 0
    def __eq__(self, other): return True
    def __hash__(self): return 1
class State:
    def __init__(self): self.n = 0; self.f = lambda: 0
    def __getstate__(self): return {}
class Hidden:
    def __init__(self): self.n = 0
    def __getattribute__(self, name):
        if name == "__dict__": raise AttributeError(name)
        return object.__getattribute__(self, name)
class Cached:
    @functools.cached_property
    def n(self): return [1]
@dataclass
class Point:
    x: int = 0
    tags: list = field(default_factory=list)
@dataclass
class Rule:
    check: object
    limits: list
@dataclass(slots=True)
class Slim:
    x: int = 0
    f: object = None
class Pair(NamedTuple):
    name: str
    tags: list
Duo = namedtuple("Duo", "a b")
class Locked:
    def __init__(self, seen=None): self.lock = threading.Lock(); self.n = 0; self.seen = [] if seen is None else seen
class Named(np.ndarray): pass
class Sheet(pd.DataFrame):
    _metadata = ["title"]
    title = ""
    @property
    def _constructor(self): return Sheet
class Node:
    def __init__(self): self.me = self; self.n = 0; self.f = lambda: 0
def outer():
    n = 0
    def count():
        nonlocal n
        n += 1
        return n
    return count
def numbers():
    yield from range(9)
"""

KINDS = {
    # made by → changed by
    "dict": ("{}", "x['a'] = 1"),
    "list": ("[]", "x.append(1)"),
    "set": ("set()", "x.add('a')"),
    "bytearray": ("bytearray()", "x.append(1)"),
    "array": ("array.array('i')", "x.append(1)"),
    "memoryview": ("memoryview(bytearray(2))", "x[0] = 7"),
    "Counter": ("Counter()", "x['a'] += 1"),
    "Counter of Enums": ("Counter([Color.RED])", "x[Color.BLUE] += 1"),
    "OrderedDict": ("OrderedDict(a=1, b=2)", "x.move_to_end('a')"),
    "deque": ("deque()", "x.append(1)"),
    "deque rotated": ("deque([1, 2])", "x.rotate()"),
    "ChainMap": ("ChainMap({}, {})", "x['a'] = 1"),
    "UserDict": ("UserDict()", "x['a'] = 1"),
    "UserList": ("UserList()", "x.append(1)"),
    "defaultdict(list)": ("defaultdict(list)", "x['a'].append(1)"),
    "defaultdict(lambda)": ("defaultdict(lambda: 0)", "x['a'] += 1"),
    "defaultdict(lambda) of lists": ("defaultdict(lambda: [])", "x['a'].append(1)"),
    "defaultdict(list) of dataclasses": ("defaultdict(list, a=[Point()])", "x['a'][0].x = 1"),
    "nested defaultdict": ("defaultdict(lambda: defaultdict(int))", "x['a']['b'] += 1"),
    "defaultdict(lambda) twice": ("defaultdict(lambda: 0, a=1)", "x['a'] += 1"),
    "defaultdict of a local class": ("defaultdict(Point)", "x['a'].tags.append(1)"),
    "subclass of dict": ("Bag(a=[])", "x['a'].append(1)"),
    "subclass of dict, attribute": ("Bag()", "x.note = 1"),
    "subclass of list": ("Row()", "x.append(1)"),
    "subclass of list, with lambda": ("Row([lambda: 0])", "x.append(1)"),
    "subclass of set": ("Tags()", "x.add(1)"),
    "subclass of set, with Enum": ("Tags({Color.RED})", "x.add(Color.BLUE)"),
    "subclass of Counter": ("Tally()", "x['a'] += 1"),
    "subclass of deque": ("Line([], 3)", "x.append(lambda: 0)"),
    "subclass of str, attribute": ("Text('a')", "x.note = 1"),
    "subclass of int, attribute": ("Whole(1)", "x.note = 1"),
    "subclass that refuses pickle": ("RefusesInit(1)", "x['a'] = 1"),
    "SimpleNamespace": ("SimpleNamespace(n=0)", "x.n = 1"),
    "SimpleNamespace with lambda": ("SimpleNamespace(f=lambda: 0, n=[])", "x.n.append(1)"),
    "NamedTuple with a list": ("Pair('a', [])", "x.tags.append(1)"),
    "namedtuple with a lambda": ("Duo(lambda: 0, [])", "x.b.append(1)"),
    "tuple with a list": ("([], lambda: 0)", "x[0].append(1)"),
    "dataclass": ("Point()", "x.x = 1"),
    "dataclass with a list": ("Point()", "x.tags.append(1)"),
    "dataclass with a lambda": ("Rule(lambda v: v, [])", "x.limits.append(1)"),
    "dataclass with slots": ("Slim()", "x.x = 1"),
    "dataclass with slots and lambda": ("Slim(0, lambda: 0)", "x.x = 1"),
    "plain object": ("Plain()", "x.n = 1"),
    "plain object with a lambda": ("Callable()", "x(lambda: 0)"),
    "object in a list": ("[Plain()]", "x[0].n = 1"),
    "slots": ("Slots()", "x.n = 1"),
    "slots of two classes": ("SlotsChild()", "x.n = 1"),
    "slots of two classes, list": ("SlotsChild()", "x.m.append(1)"),
    "refuses pickle": ("Refuses()", "x.n = 1"),
    "refuses pickle in a dict": ("{'a': Refuses()}", "x['a'].n = 1"),
    "refuses pickle, same text": ("SameText()", "x.n = 1"),
    "equal to all": ("Equal()", "x.n = 1"),
    "hides its __dict__": ("Hidden()", "x.n = 1"),
    "cached property": ("Cached()", "x.n"),
    "holds itself": ("Node()", "x.n = 1"),
    "list that holds itself": ("(lambda a: (a.append(a), a)[1])([])", "x.append(1)"),
    "exception, arguments": ("Error('a')", "x.args = ('b',)"),
    "exception, attribute": ("Error('a')", "x.note = [1]"),
    "exception, note": ("Error('a')", "x.add_note('b')"),
    "mapping proxy": ("(lambda d: (MappingProxyType(d), d))({})", "x[1]['a'] = 1"),
    "dict view": ("(lambda d: (d.keys(), d))({})", "x[1]['a'] = 1"),
    "iterator": ("iter([1, 2])", "next(x)"),
    "itertools.count": ("itertools.count()", "next(x)"),
    "itertools.cycle": ("itertools.cycle('ab')", "next(x)"),
    "islice": ("itertools.islice('abc', 3)", "next(x)"),
    "enumerate": ("enumerate('ab')", "next(x)"),
    "zip": ("zip('ab', 'cd')", "next(x)"),
    "map": ("map(lambda v: v, [1, 2])", "next(x)"),
    "random": ("random.Random(1)", "x.random()"),
    "numpy generator": ("np.random.default_rng(1)", "x.random()"),
    "partial": ("functools.partial(lambda *a: a, [])", "x.args[0].append(1)"),
    "StringIO": ("io.StringIO()", "x.write('a')"),
    "BytesIO": ("io.BytesIO()", "x.write(b'a')"),
    "queue": ("queue.SimpleQueue()", "x.put(1)"),
    "queue.Queue": ("queue.Queue()", "x.put(1)"),
    "asyncio.Queue": ("asyncio.Queue()", "x.put_nowait(1)"),
    "asyncio.Event": ("asyncio.Event()", "x.set()"),
    "with a lock": ("Locked()", "x.n = 1"),
    "with a lock, list": ("Locked()", "x.seen.append(1)"),
    "with a lock, deep": ("{'a': [Locked()]}", "x['a'][0].seen.append(1)"),
    "with a lock, table": ("Locked(pd.DataFrame({'a': range(500)}))", "x.seen.loc[250, 'a'] = 0"),
    "with a lock, array": ("Locked(np.zeros(5_000))", "x.seen[2_500] = 1"),
    "with a lock, long text": ("Locked('x' * 50_000)", "x.seen = 'x' * 25_000 + 'y' + 'x' * 24_999"),
    "with a lock, bytes": ("Locked(bytearray(50_000))", "x.seen[25_000] = 1"),
    "with a client": ("Rule(io.open(0, closefd=False), [])", "x.limits.append(1)"),
    "subclass of dict with a lock": ("Bag(a=threading.Lock(), b=list(range(500)))", "x['b'][450] = 0"),
    "subclass of list with a generator": ("Row([numbers(), {}])", "x[1]['a'] = 1"),
    "subclass of set with a lock": ("Tags({threading.Lock()})", "x.add(1)"),
    "subclass of deque with a generator": ("Line([numbers(), []])", "x[1].append(1)"),
    "slots with a lock": ("Slim(0, threading.Lock())", "x.x = 1"),
    "namedtuple with a lock": ("Pair(threading.Lock(), [])", "x.tags.append(1)"),
    "SimpleNamespace with a lock": ("SimpleNamespace(l=threading.Lock(), n=[])", "x.n.append(1)"),
    "exception with a lock": ("Error(threading.Lock(), [])", "x.args[1].append(1)"),
    "partial with keywords": ("functools.partial(print, sep=[])", "x.keywords['sep'].append(1)"),
    "subclass of ndarray": ("np.zeros(2).view(Named)", "x.note = 'a'"),
    "mask": ("np.ma.array([1, 2], mask=[0, 1])", "x.mask[0] = True"),
    "subclass of DataFrame": ("Sheet({'a': [1]})", "x.title = 'b'"),
    "WeakValueDictionary": ("(lambda p: (weakref.WeakValueDictionary(), p))(Plain())", "x[0]['a'] = x[1]"),
    "decimal context": ("decimal.Context()", "x.prec = 3"),
    "ndarray": ("np.zeros(2)", "x[0] = 1"),
    "ndarray of objects": ("np.array([[], {}], object)", "x[0].append(1)"),
    "ndarray view": ("np.zeros(4)[::2]", "x[0] = 1"),
    "structured ndarray": ("np.zeros(2, [('a', 'i4')])", "x['a'][0] = 1"),
    "masked array": ("np.ma.array([1, 2])", "x[0] = np.ma.masked"),
    "DataFrame": ("pd.DataFrame({'a': [1]})", "x.loc[0, 'a'] = 2"),
    "DataFrame column": ("pd.DataFrame({'a': [1]})", "x['b'] = 2"),
    "DataFrame attrs": ("pd.DataFrame({'a': [1]})", "x.attrs['n'] = 1"),
    "DataFrame of lists": ("pd.DataFrame({'a': [[]]})", "x.loc[0, 'a'].append(1)"),
    "Series": ("pd.Series([1, 2])", "x[0] = 5"),
    "Series name": ("pd.Series([1, 2])", "x.name = 'b'"),
    "Index name": ("pd.Index([1, 2])", "x.name = 'b'"),
    "Categorical": ("pd.Categorical(['a', 'b'])", "x[0] = 'b'"),
}


# Python 3.12 says that some iterators won't be copied for ever; who runs a notebook does not see that.
@pytest.mark.filterwarnings("ignore:.*from itertools:DeprecationWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_a_value_changed_in_place_has_a_row_of_its_own(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there when it is bound and when it is changed, and not when nothing happens to it."""
    make, change = KINDS[kind]
    monkeypatch.setitem(sys.modules, MODULE, ModuleType(MODULE))
    recorder, result = record(
        CLASSES + f"\nasync def run():\n    x = {make}\n    y = 1\n    {change}\n    z = 2\n    return 0\n",
        __name__=MODULE,
    )
    assert result == 0
    changes = [change for change in recorder.log.changes if change.name == "x"]
    lines = [recorder.rows[change.row].line for change in changes]
    first = recorder.rows[0].line
    assert lines == [first, first + 2]
