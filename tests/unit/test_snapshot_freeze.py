"""What a notebook's functions need is found over all cells, and computes the same when it is loaded elsewhere."""

# ruff: noqa: E501 - a cell is one line of text here
from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from kaigents_nb.authoring.step import Step
from kaigents_nb.snapshot.freeze import freeze
from tests.unit.snapshot_cells import Notebook, notebook

TYPE_STATEMENTS = sys.version_info >= (3, 12)


@pytest.fixture
def nb() -> Iterator[Notebook]:
    with notebook() as found:
        yield found


# Each: cells, then what run() gives; the loaded code must give the same as the live one.
SAME: dict[str, tuple[list[str], object]] = {
    "helpers of helpers": (
        [
            "def a(x): return b(x) + 1",
            "def b(x): return c(x) * 2",
            "def c(x): return x + K\nK = 5",
            "def run(): return a(1)",
        ],
        13,
    ),
    "mutual recursion": (
        [
            "def even(n): return True if n == 0 else odd(n - 1)",
            "def odd(n): return False if n == 0 else even(n - 1)",
            "def run(): return even(10), odd(10)",
        ],
        (True, False),
    ),
    "imports of every form": (
        [
            "import os.path as osp, json\nimport xml.etree.ElementTree",
            "import xml.dom.minidom",
            "from math import sqrt as root, pi",
            "def run(): return osp.basename('/a/b'), json.dumps([1]), root(9), round(pi, 2), "
            "xml.etree.ElementTree.fromstring('<a/>').tag, xml.dom.minidom.parseString('<b/>').documentElement.tagName",
        ],
        ("b", "[1]", 3.0, 3.14, "a", "b"),
    ),
    "star import": (["from math import *", "def run(): return floor(2.5) + gcd(4, 6) + round(pi)"], 7),
    "the import that worked": (
        [
            "try:\n    import no_such_module as fast\nexcept ImportError:\n    import json as fast",
            "def run(): return fast.loads('[1]')",
        ],
        [1],
    ),
    "redefinition": (["def f(): return 1", "def run(): return f()", "def f(): return 2"], 2),
    "same function twice in a cell": (["def f(): return 1\ndef f(): return 2", "def run(): return f()"], 2),
    "constant changed later": (["LIMIT = 1\ndef run(): return LIMIT", "LIMIT = 10"], 10),
    "augmented and unpacked": (
        ["n = 1\nn += 4\n(a, b), *rest = (1, 2), 3, 4", "def run(): return n, a, b, rest"],
        (5, 1, 2, [3, 4]),
    ),
    "walrus": (["if (n := 10) > 5:\n    pass\nprint(m := 3)", "def run(): return n + m"], 13),
    "name rebound to another kind": (["def f(): return 1", "def run(): return f", "f = 7"], 7),
    "conditional definition": (
        [
            "FAST = True",
            "if FAST:\n    def f(): return 'fast'\nelse:\n    def f(): return 'slow'",
            "def run(): return f()",
        ],
        "fast",
    ),
    "functools.cache": (["import functools", "@functools.cache\ndef f(x): return x * 2", "def run(): return f(4)"], 8),
    "own decorator of another cell": (
        [
            "import functools\ndef twice(fn):\n    @functools.wraps(fn)\n    def w(*a): return 2 * fn(*a)\n    return w",
            "@twice\ndef f(x): return x + 1",
            "def run(): return f(1)",
        ],
        4,
    ),
    "decorator without wraps": (
        [
            "def twice(fn):\n    def w(*a): return 2 * fn(*a)\n    return w",
            "@twice\ndef f(x): return x + 1",
            "def run(): return f(1)",
        ],
        4,
    ),
    "decorator with arguments": (
        [
            "def times(n):\n    return lambda fn: lambda *a: n * fn(*a)",
            "N = 3",
            "@times(N)\ndef f(x): return x",
            "def run(): return f(2)",
        ],
        6,
    ),
    "decorator that is a class": (
        [
            "class Memo:\n    def __init__(self, fn): self.fn = fn; self.kept = {}\n"
            "    def __call__(self, x): return self.kept.setdefault(x, self.fn(x))",
            "@Memo\ndef f(x): return x + BASE",
            "BASE = 10",
            "def run(): return f(1)",
        ],
        11,
    ),
    "made function": (
        ["def make(k):\n    def f(x): return x * k\n    return f", "double = make(2)", "def run(): return double(4)"],
        8,
    ),
    "two made at once": (
        [
            "def make(k): return lambda x: x * k",
            "double, triple = make(2), make(3)",
            "def run(): return double(1) + triple(1)",
        ],
        5,
    ),
    "one of two made at once": (
        [
            "def make(k): return lambda x: x * k",
            "a, b = make(2), make(3)",
            "def b(x): return 0",
            "def run(): return a(1) + b(1)",
        ],
        2,
    ),
    "lambda": (["OFFSET = 3", "f = lambda x: x + OFFSET", "def run(): return f(1)"], 4),
    "two lambdas": (["f, g = (lambda x: x + 1), (lambda x: x * 10)", "def run(): return f(1), g(1)"], (2, 10)),
    "partial": (
        ["from functools import partial\ndef f(a, b): return a - b", "g = partial(f, b=1)", "def run(): return g(5)"],
        4,
    ),
    "wrapped by assignment": (
        [
            "import functools\ndef f(x): return x + 1",
            "f = functools.lru_cache(maxsize=None)(f)",
            "def run(): return f(1)",
        ],
        2,
    ),
    "old version kept": (["def f(x): return x", "old = f\ndef f(x): return old(x) + 1", "def run(): return f(1)"], 2),
    "alias": (["def f(): return 1", "g = f", "def run(): return g() + g()"], 2),
    "alias of the old": (["def f(): return 1", "g = f", "def f(): return 2", "def run(): return g() + 10 * f()"], 21),
    "alias of an import": (
        ["import math\nroot = math.sqrt\nup = str.upper", "def run(): return root(4), up('a')"],
        (2.0, "A"),
    ),
    "alias of a built-in": (["size = len", "def run(): return size([1, 2])"], 2),
    "defaults from globals": (
        ["D = 4\nM = [1]", "def f(x, y=D, *, z=M): return x + y + len(z)", "def run(): return f(1)"],
        6,
    ),
    "annotations": (
        [
            "from dataclasses import dataclass\n@dataclass\nclass Q:\n    price: float",
            "def f(q: Q) -> 'list[Q]': return [q]",
            "def run(): return f(Q(1.0))[0].price",
        ],
        1.0,
    ),
    "future annotations": (
        [
            "from __future__ import annotations\nfrom dataclasses import dataclass",
            "@dataclass\nclass Node:\n    value: int\n    next: Node | None = None",
            "def f(n: Node, m: NotThere = None) -> Node: return n",
            "def run(): return f(Node(1, Node(2))).next.value, f.__annotations__['n']",
        ],
        (2, "Node"),
    ),
    "type checking only": (
        [
            "from __future__ import annotations\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from decimal import Decimal",
            "def f(x: Decimal) -> Decimal: return x",
            "def run(): return f(1)",
        ],
        1,
    ),
    "class with bases, metaclass and attributes": (
        [
            "STEP = 5\nclass Meta(type):\n    def __new__(m, n, b, d): return super().__new__(m, n, b, {**d, 'made': True})",
            "class Base(metaclass=Meta):\n    limit = STEP\n    def size(self): return self.limit + EXTRA",
            "class Sub(Base):\n    def size(self): return super().size() * 2",
            "EXTRA = 1",
            "def run(): return Sub().size(), Sub.made",
        ],
        (12, True),
    ),
    "class members of every sort": (
        [
            "import functools\nA, B, C = 1, 2, 3",
            "class K:\n    @property\n    def a(self): return A\n    @staticmethod\n    def b(): return B\n"
            "    @functools.cached_property\n    def c(self): return C\n    @classmethod\n    def make(cls): return cls()",
            "def run(): k = K.make(); return k.a, k.b(), k.c",
        ],
        (1, 2, 3),
    ),
    "class changed later": (
        [
            "class C:\n    limit = 1",
            "C.limit = 7\ndef total(self): return self.limit + T\nC.total = total",
            "T = 1",
            "def run(): return C().total()",
        ],
        8,
    ),
    "class redefined": (
        ["class C:\n    def f(self): return 1", "class C:\n    def f(self): return 2", "def run(): return C().f()"],
        2,
    ),
    "function attribute": (["def f(): return f.count", "f.count = 3", "def run(): return f()"], 3),
    "subclasses that register": (
        [
            "class Plugin:\n    known = {}\n    def __init_subclass__(cls): Plugin.known[cls.__name__] = cls",
            "class Csv(Plugin):\n    ext = '.csv'",
            "def run(): return Plugin.known['Csv'].ext",
        ],
        ".csv",
    ),
    "decorator that registers": (
        [
            "REGISTRY = {}\nORDER = []\ndef register(fn):\n    REGISTRY[fn.__name__] = fn\n    ORDER.append(fn)\n    return fn",
            "@register\ndef search(): return 's'\n@register\ndef buy(): return 'b'",
            "def run(): return [f() for f in ORDER], REGISTRY['buy'](), list(REGISTRY)",
        ],
        (["s", "b"], "b", ["search", "buy"]),
    ),
    "singledispatch": (
        [
            "import functools\n@functools.singledispatch\ndef area(x): return 'any'",
            "@area.register\ndef _(x: int): return 'int'",
            "@area.register(str)\ndef _(x): return 'str'",
            "def run(): return area(1), area('a'), area(None)",
        ],
        ("int", "str", "any"),
    ),
    "lists and dicts of functions": (
        [
            "def a(): return 1\ndef b(): return 2",
            "tools = [a, b]\nby_name = {'a': a, 'n': 3, 'deep': {'b': (b, len)}}",
            "def run(): return [t() for t in tools], by_name['a'](), by_name['n'], by_name['deep']['b'][1]('xy')",
        ],
        ([1, 2], 1, 3, 2),
    ),
    "list filled later": (
        [
            "tools = []\ndef a(): return 1",
            "tools.append(a)\ntools += [len]",
            "def run(): return tools[0](), tools[1]('ab')",
        ],
        (1, 2),
    ),
    "list made by a comprehension": (
        [
            "def make(k): return lambda x: x * k",
            "fs = [make(k) for k in (1, 2)]",
            "def run(): return [f(10) for f in fs]",
        ],
        [10, 20],
    ),
    "nested functions and comprehensions": (
        [
            "A, B, C, D, X = 1, 2, 3, 4, 99",
            "def run():\n    X = 0\n    def inner(y): return [A + y + z for z in range(B) if (lambda: C)()]\n"
            "    return inner(X), {D: X for _ in 'a'}, sum(A for A in [5])",
        ],
        ([1, 2], {4: 0}, 5),
    ),
    "global statement": (
        [
            "count = 5",
            "def bump():\n    global count, fresh\n    count += 1\n    fresh = count",
            "def run(): bump(); bump(); return fresh",
        ],
        7,
    ),
    "globals used only in methods": (
        ["RATE = 2", "class T:\n    def f(self): return RATE", "def run(): return T().f()"],
        2,
    ),
    "names of the class body": (
        ["x = 1", "class T:\n    x = x + 1\n    y = x * 10", "def run(): return T.x, T.y"],
        (2, 20),
    ),
    "enum, NamedTuple, namedtuple, TypedDict": (
        [
            "import enum, collections\nfrom typing import NamedTuple, TypedDict",
            "class Color(enum.Enum):\n    RED = 1",
            "class P(NamedTuple):\n    x: int = 1",
            "Q = collections.namedtuple('Q', 'a b')\nFlag = enum.Flag('Flag', 'A B')\nclass T(TypedDict):\n    k: int",
            "mode = Color.RED\norigin = P(4)\nq = Q(1, 2)",
            "def run(): return Color.RED is mode, origin.x, P().x, q.b, isinstance(q, Q), (Flag.A | Flag.B).value, T(k=1)",
        ],
        (True, 4, 1, 2, True, 3, {"k": 1}),
    ),
    "pydantic": (
        [
            "from pydantic import BaseModel, Field\nfrom datetime import datetime",
            "class Item(BaseModel):\n    price: float = Field(gt=0)\n    when: datetime | None = None",
            "class Order(BaseModel):\n    items: list['Item']\n    parent: 'Order | None' = None",
            "best = Order(items=[Item(price=2)])",
            "def run(): return best.items[0].price + Order(items=[{'price': 1, 'when': '2024-01-01'}]).items[0].when.year, "
            "isinstance(best, Order)",
        ],
        (2026.0, True),
    ),
    "instances of own classes as constants": (
        [
            "from dataclasses import dataclass, field\n@dataclass\nclass Inner:\n    n: int",
            "@dataclass(frozen=True)\nclass Quote:\n    name: str\n    parts: tuple = ()",
            "BEST = Quote('a', (Inner(1), Inner(2)))\nALL = {'x': [BEST]}",
            "def run(): return BEST.parts[1].n, ALL['x'][0].name, type(BEST) is Quote",
        ],
        (2, "a", True),
    ),
    "only the value names the class": (
        [
            "from dataclasses import dataclass\n@dataclass\nclass Q:\n    n: int\n    def twice(self): return 2 * self.n",
            "q = Q(2)",
            "def run(): return q.twice()",
        ],
        4,
    ),
    "data classes that hold functions": (
        [
            "from dataclasses import dataclass\nfrom typing import Callable\n@dataclass\nclass Tool:\n    name: str\n    fn: Callable",
            "def search(): return 's'",
            "tools = [Tool('search', search), Tool('size', lambda: 3)]\none = Tool('x', search)",
            "def run(): return [t.fn() for t in tools], one.fn()",
        ],
        (["s", 3], "s"),
    ),
    "patterns, loggers, sentinels": (
        [
            "import re, logging\nWORD = re.compile(r'\\w+')\nlog = logging.getLogger('x')\nMISSING = object()",
            "def run(): return WORD.findall('a b'), log.name, MISSING is MISSING",
        ],
        (["a", "b"], "x", True),
    ),
    "type variables and aliases": (
        [
            "from typing import TypeVar, Literal, Callable, NewType, Generic\nT = TypeVar('T')\nVec = list[float]\nSide = Literal['CN', 'VN']\n"
            "Fn = Callable[[int], int]\nUserId = NewType('UserId', int)\nMaybe = int | None",
            "class Box(Generic[T]):\n    def __init__(self, x: T): self.x = x",
            "def f(v: Vec, s: Side, g: Fn, u: UserId, m: Maybe) -> T: return v",
            "def run(): return f(Box([1.0]).x, 'CN', abs, UserId(3), None)",
        ],
        [1.0],
    ),
    "values of all sorts": (
        [
            "from datetime import date, timedelta\nfrom decimal import Decimal\nfrom pathlib import Path\nimport numpy as np, pandas as pd",
            "D = date(2024, 1, 2)\nT = timedelta(days=2)\nM = Decimal('1.50')\nF = Path('a') / 'b'\nA = np.arange(3)\n"
            "DF = pd.DataFrame({'x': [1, 2]}, index=['a', 'b'])\nS = {'b', 'a'}\nFS = frozenset({1})\nNAN = float('nan')\n"
            "BIG = list(range(5000))\nB = b'\\x00\\xff'\nTEXT = 'é\\n\"quoted\" ' * 30\nR = range(3)",
            "def run(): return (D + T).isoformat(), str(M), str(F), int(A.sum()), DF.loc['b', 'x'].item(), sorted(S), FS, "
            "NAN != NAN, sum(BIG), B, len(TEXT), TEXT[:3], list(R)",
        ],
        (
            "2024-01-04",
            "1.50",
            "a/b",
            3,
            2,
            ["a", "b"],
            frozenset({1}),
            True,
            12497500,
            b"\x00\xff",
            330,
            'é\n"',
            [0, 1, 2],
        ),
    ),
    "a resource": (
        [
            "class Client:\n    def __init__(self): self.n = URL\n    def get(self): return self.n",
            "URL = 'local'\n@kg.resource\ndef client(): return Client()\nother = kg.resource(Client)",
            "def run(): return client.get() + other().get()",
        ],
        "locallocal",
    ),
    "a resource of an imported class": (
        ["import decimal\nctx = kg.resource(decimal.Context)", "def run(): return ctx().prec"],
        28,
    ),
    "steps among steps": (
        [
            "@kg.step\ndef search(x): return x + 1",
            "@kg.step(retry=kg.Retry(max_attempts=2), timeout=60)\ndef run(): return search(1)",
        ],
        2,
    ),
    "step by assignment": (
        ["def f(x): return x\nf = kg.step(f)\ng = kg.step(timeout='5 min')(lambda_ := f.fn)", "def run(): return f(1)"],
        1,
    ),
    "cell magic": (["%%time\nRATE = 2\ndef f(x):\n    return x * RATE", "def run(): return f(2)"], 4),
    "capture magic": (
        ["%%capture out\nimport json\ndef f(x):\n    print(x)\n    return json.dumps(x)", "def run(): return f(2)"],
        "2",
    ),
    "line magics, shell and help": (
        ["%time n = 3\n!true\nlen?\nfiles = !echo a\ndef f(): return n", "def run(): return f(), files[0]"],
        (3, "a"),
    ),
    "top-level await": (
        ["import asyncio\nasync def get(): return 5\nn = await get()\ndef f(): return n", "def run(): return f()"],
        5,
    ),
    "indented cell": (
        ["    K = 2\n    def f():\n        return '''a\n    b''' * K", "def run(): return f()"],
        "a\nb" * 2,
    ),
    "odd layout": (
        [
            "\n\n# a comment\nx = 1; y = 2 ; f = lambda: x + y  # together\nclass A: z = 3; w = 4\nif x: g = lambda: 5",
            "def run(): return f(), A.z, g()",
        ],
        (3, 3, 5),
    ),
    "strings that must not move": (
        ["if True:\n    def f():\n        return '''one\n    two\nthree'''", "def run(): return f()"],
        "one\n    two\nthree",
    ),
    "failed cell": (["def f(): return 1", "def run(): return f()"], 1),
    "blocks that bind": (
        [
            "import contextlib\nfor i in range(3): pass\nwith contextlib.nullcontext(4) as w: pass\nmatch [1, 2]:\n    case [a, *b]: pass",
            "def run(): return i, w, a, b",
        ],
        (2, 4, 1, [2]),
    ),
    "generator and async functions": (
        [
            "import asyncio\ndef gen(n):\n    yield from range(n)\nasync def get(x): return [y async for y in agen(x)]\nasync def agen(x):\n    yield x",
            "def run(): return list(gen(2)), asyncio.new_event_loop().run_until_complete(get(1)) if False else 1",
        ],
        ([0, 1], 1),
    ),
    "bound and deleted": (
        [
            "x = 1\ntmp = 2\ndel tmp",
            "def f():\n    try:\n        return tmp\n    except NameError:\n        return x",
            "def run(): return f()",
        ],
        1,
    ),
    "class decorated": (
        [
            "def tag(cls): cls.tagged = TAG; return cls\nTAG = 'x'",
            "@tag\nclass C:\n    pass",
            "def run(): return C.tagged",
        ],
        "x",
    ),
    "abstract classes": (
        [
            "import abc\nclass A(abc.ABC):\n    @abc.abstractmethod\n    def f(self): ...",
            "class B(A):\n    def f(self): return 1",
            "def run(): return B().f()",
        ],
        1,
    ),
    "exceptions": (
        [
            "class NotFound(LookupError):\n    '''No such thing.'''",
            "def run():\n    try: raise NotFound('x')\n    except NotFound as e: return str(e)",
        ],
        "x",
    ),
    "display in a cell": (["def run(): return callable(display)"], True),
    "operator tools": (["from operator import itemgetter\nfirst = itemgetter(0)", "def run(): return first([7])"], 7),
    "numpy functions": (
        [
            "import numpy as np\nlog = np.log1p\nrng = np.random.default_rng",
            "def run(): return log(0.0), rng(1).integers(5) >= 0",
        ],
        (0.0, True),
    ),
    "method as a function": (
        [
            "class K:\n    def f(self): return 1\n    @staticmethod\n    def g(): return 2",
            "h = K.g",
            "def run(): return h()",
        ],
        2,
    ),
    "import in a function": (
        ["def run():\n    import json as j\n    from math import floor\n    return j.dumps(floor(2.5))"],
        "2",
    ),
    "module-level code of several cells": (
        [
            "base = 3\nscale = base * 2",
            "class Cfg:\n    value = scale\n    table = {k: scale for k in 'ab'}",
            "def run(): return Cfg.value, Cfg.table",
        ],
        (6, {"a": 6, "b": 6}),
    ),
    "f-strings, star arguments, slices": (
        [
            "W, ARGS, KW, LO = 8, (1,), {'b': 2}, 1",
            "def f(a, b): return f'{a + b:>{W}}'",
            "def run(): return f(*ARGS, **KW), 'abc'[LO:]",
        ],
        ("       3", "bc"),
    ),
    "words that are names too": (
        [
            "import threading\nclient = threading.Lock()\nfrom typing import Literal",
            "def f(x: Literal['client'] = 'client', y: 'client' = 1): return x",
            "def run(): return f()",
        ],
        "client",
    ),
    "bare annotations": (["x: int = 5\ny: int", "def run():\n    z: NotReal = x\n    return z"], 5),
    "protocols and generic models": (
        [
            "from typing import Protocol, Generic, TypeVar, runtime_checkable\nfrom pydantic import BaseModel\nT = TypeVar('T')\n@runtime_checkable\nclass P(Protocol):\n    def f(self): ...\nclass G(BaseModel, Generic[T]):\n    x: T\nGI = G[int]",
            "g = G[int](x=1)\ngg = GI(x=2)",
            "def run(): return isinstance(3, P), g.x, gg.x, GI(x='4').x",
        ],
        (False, 1, 2, 4),
    ),
    "context managers": (
        [
            "import contextlib\nK=1\n@contextlib.contextmanager\ndef c():\n    yield K",
            "def run():\n    with c() as k: return k",
        ],
        1,
    ),
    "decorator class with update_wrapper": (
        [
            "import functools\nclass D:\n    def __init__(self, fn): functools.update_wrapper(self, fn); self.n = 0\n    def __call__(self, *a): self.n += 1; return self.__wrapped__(*a)",
            "@D\ndef f(x): return x+1",
            "def run(): return f(1)",
        ],
        2,
    ),
    "enums with methods and defaults": (
        [
            "import enum\nclass C(enum.IntEnum):\n    A = 1\n    B = enum.auto()\n    @property\n    def d(self): return self.value * M\nM = 10\n@enum.unique\nclass E(str, enum.Enum):\n    X = 'x'",
            "def f(c=C.A, *, e=E.X): return c.d, e",
            "def run(): return f()[0], C.B.d, E('x').value",
        ],
        (10, 20, "x"),
    ),
    "class decorators of the library": (
        [
            "import functools\n@functools.total_ordering\nclass V:\n    def __init__(s, n): s.n = n\n    def __eq__(s, o): return s.n == o.n\n    def __lt__(s, o): return s.n < o.n",
            "def run(): return V(1) >= V(0)",
        ],
        True,
    ),
    "made together with its table": (
        [
            "def make():\n    table = {'a': 1}\n    def get(k): return table[k]\n    return get, table",
            "get, table = make()",
            "def run(): return get('a'), table",
        ],
        (1, {"a": 1}),
    ),
    "dict of classes": (
        ["class A: n=1\nclass B(A): n=2\nKINDS = {c.__name__: c for c in (A, B)}", "def run(): return KINDS['B'].n"],
        2,
    ),
    "patterns in containers": (
        [
            "import re\nBASE = r'\\d+'\nPAT = {'num': re.compile(BASE)}\nP2 = [re.compile('a')]",
            "def run(): return PAT['num'].findall('a1'), P2[0].pattern",
        ],
        (["1"], "a"),
    ),
    "operators in a dict": (
        [
            "import operator\nOPS = {'+': operator.add, '<': operator.lt, 'l': lambda a, b: a}",
            "def run(): return OPS['+'](1,2), OPS['<'](1,2), OPS['l'](7,1)",
        ],
        (3, True, 7),
    ),
    "numpy scalars and types": (
        [
            "import numpy as np\nDT = np.float32\nEPS = np.finfo(float).eps\nK = np.int64(3)\nINFO = np.dtype('f4')",
            "def run(): return float(DT(1)), bool(EPS < 1e-9), int(K), INFO.name",
        ],
        (1.0, True, 3, "float32"),
    ),
    "pandas values and types": (
        [
            "import pandas as pd\nS = pd.Series([1,2], name='x')\nI = pd.Index(['a'])\nT = pd.Timestamp('2024-01-01', tz='UTC')\nNA = pd.NA\nCAT = pd.CategoricalDtype(['a','b'])",
            "def run(): return int(S.sum()), list(I), T.year, NA is pd.NA, list(CAT.categories)",
        ],
        (3, ["a"], 2024, True, ["a", "b"]),
    ),
    "alias of a module's object": (
        ["import os\nenviron = os.environ", "def run(): return environ is os.environ"],
        True,
    ),
    "collections": (
        [
            "from collections import Counter, defaultdict, OrderedDict, deque, ChainMap\nC = Counter('aab')\nD = defaultdict(list); D['a'].append(1)\nO = OrderedDict(a=1)\nQ = deque([1], maxlen=3)",
            "def run(): D['zz']; return C['a'], dict(D), list(O), Q.maxlen",
        ],
        (2, {"a": [1], "zz": []}, ["a"], 3),
    ),
    "global and class attribute of one name": (
        [
            "x = 1\ndef bump():\n    global x\n    x += 1\n    return x",
            "class K:\n    x = 5\n    def f(self): return x, self.x",
            "def run(): return K().f()",
        ],
        (1, 5),
    ),
    "typed dicts by name": (
        [
            "from typing import TypedDict, NotRequired\nclass T(TypedDict):\n    a: NotRequired['U']\nclass U(TypedDict):\n    b: int",
            "def f(t: T) -> U: return t",
            "def run(): return f({'a': {'b': 1}})",
        ],
        {"a": {"b": 1}},
    ),
    "overloads": (
        [
            "from typing import cast, overload\n@overload\ndef f(x: int) -> int: ...\n@overload\ndef f(x: str) -> str: ...\ndef f(x): return x",
            "def run(): return f(1)",
        ],
        1,
    ),
    "methods assigned later": (
        [
            "class A: pass\nA.f = lambda self: G\nsetattr(A, 'g', lambda self: G + 1)\nG = 2",
            "def run(): return A().f(), A().g()",
        ],
        (2, 3),
    ),
    "own decorator on a method": (
        [
            "def deco(f): return lambda *a: f(*a) + OFF\nOFF = 1\nclass A:\n    @deco\n    def f(self): return 1",
            "def run(): return A().f()",
        ],
        2,
    ),
    "star import of values": (["from os.path import *", "def run(): return basename('a/b'), sep"], ("b", "/")),
    "partialmethod": (
        [
            "import functools\nclass A:\n    def f(self, x): return x\n    g = functools.partialmethod(f, 5)",
            "def run(): return A().g()",
        ],
        5,
    ),
    "value made by an older version": (
        ["def f(): return 1\nX = f()\ndef f(): return 2", "def run(): return f(), X"],
        (2, 1),
    ),
    "older class kept": (["class A: n = 1\nB = A", "class A: n = 2", "def run(): return B.n, A.n"], (1, 2)),
    "default of a lambda": (["K = 3\nf = lambda x, k=K: x * k", "def run(): return f(2)"], 6),
    "composed functions": (
        [
            "compose = lambda f, g: lambda x: f(g(x))\ninc = lambda x: x + 1\ntwo = compose(inc, inc)",
            "def run(): return two(1)",
        ],
        3,
    ),
    "lambda in a conditional expression": (
        ["MODE = 'a'\nscore = (lambda x: x) if MODE == 'a' else (lambda x: -x)", "def run(): return score(2)"],
        2,
    ),
    "long literals": (
        [
            "CONFIG = {'a': [1, 2, {'b': (3,)}], 'long': 'x' * 150, 'n': {f'k{i}': i for i in range(40)}}",
            "def run(): return CONFIG['long'][:2], CONFIG['a'], sum(CONFIG['n'].values()), len(str(CONFIG))",
        ],
        ("xx", [1, 2, {"b": (3,)}], 780, 615),
    ),
    "names and text of other scripts": (
        ["größe = 'ü\\u2028\\x0c'\ndef naïve(x): return x + größe", "def run(): return naïve('é')"],
        "éü\u2028\x0c",
    ),
    "indented magic cell": (["%%time\n\n\n    a = 1\n    def f(): return a", "def run(): return f()"], 1),
    "methods of classes and constants": (
        [
            'import datetime\nparse = datetime.datetime.strptime\njoin = ",".join\nclass K:\n    n = 4\n    @classmethod\n    def make(cls): return cls.n\nmake = K.make',
            'def run(): return parse("2024", "%Y").year, join("ab"), make()',
        ],
        (2024, "a,b", 4),
    ),
}
if TYPE_STATEMENTS:
    SAME["type statement"] = (
        ["type Pair[T] = tuple[T, T]\ntype Money = float", "def f[T: int](x: Pair[T]) -> Money: return x[0]", "class Box[T]:\n    def f(self, x: T) -> T: return x", "def run(): return f((1, 2)), Box().f(3), Pair.__name__"],
        (1, 3, "Pair"),
    )  # fmt: skip


@pytest.mark.parametrize("case", SAME)
def test_loaded_code_computes_what_the_cells_do(nb: Notebook, case: str) -> None:
    """Frozen, packed, unpacked and loaded in another module, ``run`` gives what it gives in the notebook."""
    cells, expected = SAME[case]
    nb.cells(*cells)
    assert nb.both() == expected


def test_a_file_executed_in_the_notebook_itself(nb: Notebook, tmp_path: Path) -> None:
    """``%run -i`` defines in the notebook's namespace; the file is read like a cell."""
    (tmp_path / "more.py").write_text("def helper(x):\n    return x + K\n")
    nb.cells("K = 4", f"%run -i {tmp_path / 'more.py'}", "def run(): return helper(1)")
    assert nb.both() == 5
    assert "# more.py, line 1\ndef helper" in nb.freeze().source


def test_warnings_of_the_compiler_are_not_repeated(nb: Notebook) -> None:
    """An odd escape was warned about when its cell ran; freezing and loading say nothing, whatever the filters."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nb.cells("def f(x): return '\\d' + str(x is 1)", "def run(): return f(2)")
    assert nb.both() == "\\dFalse"


def test_the_work_of_freezing_grows_as_the_code_does(nb: Notebook) -> None:
    """Four times the functions in one cell take about four times the calls, and a second freeze takes far fewer."""

    def calls(count: int) -> tuple[int, int]:
        made = "".join(f"def f{n}(x): return max(x, {n})\n" for n in range(count))
        names = " + ".join(f"f{n}(x)" for n in range(count))
        nb.cell(f"{made}@kg.step\ndef run(x): return {names}")
        return _calls(nb["run"]), _calls(nb["run"])

    calls(10)
    few, few_again = calls(50)
    many, many_again = calls(200)
    assert many < 6 * few
    assert many_again < 6 * few_again
    assert many_again < many / 2


def _calls(step: Step[..., object]) -> int:
    """Count the calls of Python functions that freezing takes: it does not depend on the machine's load."""
    events: list[str] = []
    sys.setprofile(lambda frame, event, arg: events.append(event))
    try:
        freeze(step)
    finally:
        sys.setprofile(None)
    return events.count("call")


def test_classes_deep_in_large_values_go_in(nb: Notebook) -> None:
    """The class of one item among many thousands is found."""
    nb.cells(
        "from dataclasses import dataclass\n@dataclass\nclass A:\n    n: int\n@dataclass\nclass B:\n    n: int",
        "many = [A(n) for n in range(11_000)] + [B(5)]",
        "def run(): return many[-1].n, len(many), type(many[-1]).__name__",
    )
    assert nb.both() == (5, 11001, "B")
