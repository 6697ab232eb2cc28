"""Programs of cells that hold state, and what becomes of it: carried exactly, told at the start, or refused.

Each defines ``run()``, which a step of the run calls. ``CARRIED``: a worker that has seen no cell gives the same as the
notebook. ``TOLD``: the start says this (a pattern), and the run is made. ``REFUSED``: it is not started, and says this.
"""

# ruff: noqa: E501 - a cell is one line of text here
from __future__ import annotations

CARRIED: dict[str, tuple[str, ...]] = {
    "a class attribute set by a method": (
        "class Counter:\n    total = 0\n    @classmethod\n    def add(cls, n):\n        cls.total += n",
        "for n in range(4): Counter.add(n)",
        "def run(): return Counter.total",
    ),
    "a class attribute that was computed": (
        "import uuid\nclass Session:\n    key = uuid.uuid4().hex",
        "def run(): return Session.key",
    ),
    "a list in a class, filled later": (
        "class Log:\n    lines = []\n    def write(self, text): self.lines.append(text)",
        "Log().write('a')\nLog.lines.append('b')",
        "def run(): return Log.lines, Log().lines is Log.lines",
    ),
    "a class attribute that only a method makes": (
        "class Lazy:\n    @classmethod\n    def table(cls):\n"
        "        if not hasattr(cls, '_table'): cls._table = {'n': 1}\n        return cls._table",
        "Lazy.table()['n'] = 7",
        "def run(): return Lazy.table()",
    ),
    "a frame in a class": (
        "import pandas as pd\nclass Store:\n    frame = None",
        "def fill(): Store.frame = pd.DataFrame({'a': [1, 2]})\nfill()",
        "def run(): return Store.frame['a'].tolist()",
    ),
    "an attribute of a class inside a class": (
        "class Outer:\n    class Inner:\n        n = 0\n    @staticmethod\n    def up(): Outer.Inner.n += 1",
        "Outer.up(); Outer.up()",
        "def run(): return Outer.Inner.n",
    ),
    "a subclass with a state of its own": (
        "class Base:\n    seen = 0\n    @classmethod\n    def see(cls): cls.seen += 1",
        "class Left(Base): pass\nclass Right(Base): pass",
        "Left.see(); Left.see(); Base.see()",
        "def run(): return Base.seen, Left.seen, Right.seen, 'seen' in vars(Right)",
    ),
    "a class variable of a dataclass": (
        "from dataclasses import dataclass\nfrom typing import ClassVar\n@dataclass\nclass Item:\n    name: str\n"
        "    made: ClassVar[int] = 0\n    def __post_init__(self): type(self).made += 1",
        "items = [Item('a'), Item('b')]",
        "def run(): return Item.made, [i.name for i in items]",
    ),
    "a class variable of a pydantic model": (
        "from typing import ClassVar\nfrom pydantic import BaseModel\nclass Price(BaseModel):\n    usd: float\n"
        "    factor: ClassVar[float] = 1.0\ndef set_factor(f): Price.factor = f",
        "set_factor(2.5)",
        "def run(): return Price(usd=2).usd * Price.factor",
    ),
    "instances that their own class keeps": (
        "from dataclasses import dataclass\nfrom typing import ClassVar\n@dataclass\nclass Item:\n    name: str\n"
        "    known: ClassVar[list] = []\n    def __post_init__(self): self.known.append(self)",
        "first = Item('a'); Item('b')",
        "def run(): return [i.name for i in Item.known], Item.known[0] is first, Item('c') is Item.known[2]",
    ),
    "an attribute of an Enum": (
        "from enum import Enum\nclass Mode(Enum):\n    FAST = 1\n    SLOW = 2",
        "def choose(mode): Mode.default = mode\nchoose(Mode.SLOW)",
        "def run(): return Mode.default.name, Mode.default is Mode.SLOW, len(Mode)",
    ),
    "a method that was replaced in a function": (
        "class Quote:\n    def total(self): return 1\ndef dearer(self): return 2",
        "def patch(): Quote.total = dearer\npatch()",
        "def run(): return Quote().total()",
    ),
    "an attribute that was deleted": (
        "class Quote:\n    old = 1\n    new = 2",
        "def tidy(): del Quote.old\ntidy()",
        "def run(): return hasattr(Quote, 'old'), Quote.new",
    ),
    "a registry that was emptied": (
        "class Base:\n    known = {}\n    def __init_subclass__(cls): Base.known[cls.__name__] = cls",
        "class One(Base): n = 1",
        "Base.known.pop('One')",
        "def run(): return list(Base.known), One.n",
    ),
    "a closure's counter": (
        "def make():\n    n = 0\n    def up():\n        nonlocal n\n        n += 1\n        return n\n    return up\nup = make()",
        "up(); up()",
        "def run(): return up(), up()",
    ),
    "two closures over one list": (
        "def make():\n    items = []\n    def put(x): items.append(x)\n    def get(): return items\n    return put, get",
        "put, get = make()",
        "put(1); put({'a': 2})",
        "def run():\n    put(3)\n    return get()",
    ),
    "a closure over a value by chance": (
        "import random\ndef make():\n    secret = random.random()\n    return lambda: secret",
        "draw = make()",
        "def run(): return draw()",
    ),
    "a closure over a frame": (
        "import pandas as pd\ndef make():\n    frame = pd.DataFrame({'a': []})\n    def put(x):\n        nonlocal frame\n"
        "        frame = pd.DataFrame({'a': [*frame['a'], x]})\n    def get(): return frame['a'].tolist()\n"
        "    return put, get\nput, get = make()",
        "put(1.5); put(2.5)",
        "def run(): return get()",
    ),
    "the state of a decorator": (
        "import functools\ndef counted(f):\n    calls = {'n': 0}\n    @functools.wraps(f)\n    def g(*a):\n"
        "        calls['n'] += 1\n        return f(*a), calls['n']\n    return g",
        "@counted\ndef double(x): return 2 * x",
        "double(1); double(2)",
        "def run(): return double(4)",
    ),
    "the state of a decorating object": (
        "import functools\nclass Counted:\n    def __init__(self, f):\n        functools.update_wrapper(self, f)\n"
        "        self.f, self.n = f, 0\n    def __call__(self, *a):\n        self.n += 1\n        return self.f(*a), self.n",
        "@Counted\ndef double(x): return 2 * x",
        "double(1); double(2)",
        "def run(): return double(4)",
    ),
    "a mutable default": (
        "def keep(x, seen=[]):\n    seen.append(x)\n    return list(seen)",
        "keep(1); keep(2)",
        "def run(): return keep(3)",
    ),
    "a keyword's mutable default": (
        "def keep(x, *, seen={}):\n    seen[x] = len(seen)\n    return dict(seen)",
        "keep('a'); keep('b')",
        "def run(): return keep('c')",
    ),
    "a default that was computed": (
        "import time\ndef begun(at=time.time_ns()): return at",
        "def run(): return begun()",
    ),
    "a default that is a global list": (
        "SEEN = []\ndef keep(x, seen=SEEN):\n    seen.append(x)\n    return SEEN",
        "keep(1)",
        "def run(): return keep(2)",
    ),
    "a method's mutable default": (
        "class Box:\n    def keep(self, x, seen=[]):\n        seen.append(x)\n        return list(seen)",
        "Box().keep(1)",
        "def run(): return Box().keep(2)",
    ),
    "an attribute of a function": (
        "def f():\n    f.calls = getattr(f, 'calls', 0) + 1\n    return f.calls",
        "f(); f()",
        "def run(): return f()",
    ),
    "an attribute of a step": (
        "@kg.step\ndef f():\n    f.calls += 1\n    return f.calls\nf.calls = 0",
        "f(); f()",
        "def run(): return f()",
    ),
    "the arguments of a partial": (
        "from functools import partial\ndef put(seen, x):\n    seen.append(x)\n    return list(seen)\nkeep = partial(put, [])",
        "keep(1); keep(2)",
        "def run(): return keep(3)",
    ),
    "ABC.register": (
        "from abc import ABC\nclass Shape(ABC): pass\nclass Square: pass",
        "Shape.register(Square)\nShape.register(list)",
        "def run(): return isinstance(Square(), Shape), isinstance([], Shape), isinstance((), Shape)",
    ),
    "a class registered with a class of the library": (
        "from collections.abc import Sequence\nclass Row: pass",
        "for cls in (Row,): Sequence.register(cls)",
        "def run(): return isinstance(Row(), Sequence)",
    ),
    "a registry filled by a decorator": (
        "TOOLS = {}\ndef tool(f):\n    TOOLS[f.__name__] = f\n    return f",
        "@tool\ndef add(a, b): return a + b\n@tool\ndef sub(a, b): return a - b",
        "def run(): return {name: f(5, 3) for name, f in TOOLS.items()}",
    ),
    "a registry in a class": (
        "class Tools:\n    known = {}\n    @classmethod\n    def register(cls, f):\n        cls.known[f.__name__] = f\n        return f",
        "@Tools.register\ndef add(a, b): return a + b",
        "@Tools.register\ndef sub(a, b): return a - b",
        "def run(): return {name: f(5, 3) for name, f in Tools.known.items()}",
    ),
    "a registry in a closure": (
        "def registry():\n    known = {}\n    def register(f):\n        known[f.__name__] = f\n        return f\n"
        "    def call(name, *a): return known[name](*a)\n    return register, call\nregister, call = registry()",
        "@register\ndef add(a, b): return a + b",
        "def run(): return call('add', 2, 3)",
    ),
    "a registry of subclasses": (
        "class Plugin:\n    known = []\n    def __init_subclass__(cls): Plugin.known.append(cls)",
        "class One(Plugin): n = 1\nclass Two(Plugin): n = 2",
        "def run(): return [c.n for c in Plugin.known]",
    ),
    "functions by type": (
        "from functools import singledispatch\n@singledispatch\ndef show(x): return 'any'\ndef show_int(x): return 'int'",
        "@show.register\ndef _(x: str): return 'str'",
        "show.register(int, show_int)",
        "def run(): return show(1), show('a'), show(None)",
    ),
    "an accessor of pandas": (
        "import pandas as pd\n@pd.api.extensions.register_dataframe_accessor('mine')\nclass Mine:\n"
        "    def __init__(self, frame): self.frame = frame\n    def double(self): return (self.frame * 2)['a'].tolist()",
        "def run(): return pd.DataFrame({'a': [1, 2]}).mine.double()",
    ),
    "one object under two globals": (
        "from dataclasses import dataclass\n@dataclass\nclass Cell:\n    n: int = 0",
        "E = Cell()\ngrid = [[E, Cell()], [E, E]]",
        "def run():\n    E.n = 5\n    return grid[0][0] is E, [[c.n for c in row] for row in grid]",
    ),
    "one list under two names": (
        "a = [1]\nb = a\nc = {'inner': a}",
        "def run():\n    b.append(2)\n    return a, c, a is b, c['inner'] is a",
    ),
    "rows that are one list": (
        "grid = [[0] * 2] * 3",
        "def run():\n    grid[0][0] = 1\n    return grid",
    ),
    "an object shared by a class and a global": (
        "CACHE = {}\nclass Client:\n    cache = None\n    @classmethod\n    def use(cls, cache): cls.cache = cache",
        "Client.use(CACHE)",
        "def run():\n    CACHE['k'] = 1\n    return Client.cache, Client.cache is CACHE",
    ),
    "an unnamed object in two values": (
        "shared = {'n': 0}\nleft, right = {'s': shared, 'v': (1,)}, {'s': shared, 'f': [2.5]}\ndel shared",
        "def run():\n    left['s']['n'] = 3\n    return right, left['s'] is right['s']",
    ),
    "a list named in a table of functions": (
        "SEEN = []\ndef add(x): SEEN.append(x)\nhandlers = {'log': (add, SEEN)}",
        "handlers['also'] = (add, SEEN)",
        "def run():\n    handlers['log'][0](1)\n    return handlers['log'][1], handlers['also'][1] is SEEN",
    ),
    "an object that holds functions, changed later": (
        "from dataclasses import dataclass, field\n@dataclass\nclass Node:\n    name: str\n    hooks: list = field(default_factory=list)",
        "def first(): return 1\nn = Node('a', hooks=[first])",
        "n.hooks.append('late')\nn.name = 'b'",
        "def run(): return n.name, len(n.hooks), n.hooks[0](), n.hooks[1:]",
    ),
    "an agent of a framework, given a handoff later": (
        "from dataclasses import dataclass, field\n@dataclass\nclass Agent:\n    name: str\n    tools: list = field(default_factory=list)\n"
        "    handoffs: list = field(default_factory=list)",
        "def look(): return 'x'\nfaq_agent = Agent('faq', [look])\ntriage = Agent('triage', [look], [faq_agent])",
        "def later(): faq_agent.handoffs.append(triage)\nlater()",
        "def run(): return [a.name for a in faq_agent.handoffs], faq_agent.handoffs[0] is triage, triage.handoffs[0] is faq_agent",
    ),
    "objects made in a comprehension, changed in a loop": (
        "from dataclasses import dataclass, field\n@dataclass\nclass Node:\n    f: object\n    hooks: list = field(default_factory=list)",
        "def one(): return 1\nnodes = {k: Node(one) for k in 'xy'}",
        "for node in nodes.values(): node.hooks.append(node.f())",
        "def run(): return {k: n.hooks for k, n in nodes.items()}, nodes['x'].f()",
    ),
    "decimal's precision": (
        "import decimal\ndecimal.getcontext().prec = 50",
        "def run(): return str(decimal.Decimal(1) / 3), decimal.getcontext().prec",
    ),
    "decimal's rounding": (
        "from decimal import Decimal, getcontext, ROUND_DOWN\ngetcontext().rounding = ROUND_DOWN",
        "def run(): return str(round(Decimal('2.675'), 2)), str(Decimal(2) / 3)",
    ),
    "numpy's errors": (
        "import numpy as np\nold = np.seterr(divide='raise')",
        "def run():\n    try:\n        return float(np.float64(1) / 0)\n    except FloatingPointError:\n        return 'raised'",
    ),
    "a counter in a global": (
        "n = 0\ndef up():\n    global n\n    n += 1\n    return n",
        "up(); up()",
        "def run(): return up()",
    ),
    "names noted by a decorator": (
        "NAMES, N = [], 0\ndef tool(f):\n    global N\n    N += 1\n    NAMES.append(f.__name__)\n    return f",
        "@tool\ndef add(a, b): return a + b\n@tool\ndef sub(a, b): return a - b",
        "def run(): return NAMES, N, add(5, 3), sub(5, 3)",
    ),
    "a number that a decorator gave": (
        "N = 0\ndef tool(f):\n    global N\n    N += 1\n    me = N\n    def g(*a): return me, f(*a)\n    return g",
        "@tool\ndef add(a, b): return a + b\n@tool\ndef sub(a, b): return a - b",
        "def run(): return sub(5, 3), N",
    ),
    "what a decorator notes in itself": (
        "def tool(f):\n    tool.names.append(f.__name__)\n    return f\ntool.names = []",
        "@tool\ndef add(a, b): return a + b",
        "def run(): return tool.names, add(5, 3)",
    ),
    "a registry that was emptied whole": (
        "TOOLS = {}\ndef tool(f):\n    TOOLS[f.__name__] = f\n    return f",
        "@tool\ndef add(a, b): return a + b",
        "TOOLS.clear()",
        "def run(): return TOOLS, add(1, 2)",
    ),
    "a registry of data that refuses what it knows": (
        "SPECS = {}\ndef tool(f):\n    if f.__name__ in SPECS: raise ValueError('twice')\n"
        "    SPECS[f.__name__] = {'nr': len(SPECS)}\n    return f",
        "@tool\ndef add(a, b): return a + b\n@tool\ndef sub(a, b): return a - b",
        "def more(): SPECS['sub']['uses'] = 3\nmore()",
        "def run(): return SPECS, add(1, 2), sub(1, 2)",
    ),
    "a registry that has functions beside data": (
        "G = {'n': 0, 'names': [], 'fs': []}\ndef tool(f):\n    G['n'] += 1\n    G['names'].append(f.__name__)\n"
        "    G['fs'].append(f)\n    return f",
        "@tool\ndef add(a, b): return a + b\n@tool\ndef sub(a, b): return a - b",
        "def run(): return G['n'], G['names'], [f(5, 3) for f in G['fs']]",
    ),
    "a tuple that a decorator makes longer": (
        "FS, NAMES = (), None\ndef tool(f):\n    global FS, NAMES\n    FS = (*FS, f)\n    NAMES = NAMES or []\n"
        "    NAMES.append(f.__name__)\n    return f",
        "@tool\ndef add(a, b): return a + b\n@tool\ndef sub(a, b): return a - b",
        "def run(): return [f(5, 3) for f in FS], NAMES",
    ),
    "registries of other kinds, changed later": (
        "from collections import Counter, OrderedDict, defaultdict\nC, O, D = Counter(), OrderedDict(), defaultdict(list)\n"
        "def tool(f):\n    C[f] += 1; O[f.__name__] = f; D['all'].append(f)\n    return f",
        "@tool\ndef add(a, b): return a + b\n@tool\ndef sub(a, b): return a - b",
        "def later(): tool(add); O.move_to_end('add'); D['mine'].append(sub)\nlater()",
        "def run(): return list(C.values()), list(O), {k: [f(5, 3) for f in v] for k, v in D.items()}, D['new']",
    ),
    "settings that a decorator reads": (
        "LIMITS = {}\ndef fill(): LIMITS['add'] = 5\nfill()",
        "def limited(f):\n    limit = LIMITS[f.__name__]\n    return lambda *a: min(f(*a), limit)",
        "@limited\ndef add(a, b): return a + b",
        "def run(): return add(5, 3), LIMITS",
    ),
    "tallies that classes and calls fill": (
        "import enum, numpy as np\nfrom collections import Counter, OrderedDict, deque\n"
        "from dataclasses import dataclass, field\n@dataclass\nclass Stats:\n    n: int = 0\n"
        "    names: list = field(default_factory=list)",
        "S, C, O, Q, A = Stats(), Counter(), OrderedDict(), deque(maxlen=3), np.zeros(2)",
        "def note(name):\n    S.n += 1; S.names.append(name); C[name] += 1; O[name] = S.n; Q.append(name); A[0] += 1\n"
        "    return S.n",
        "class Base:\n    def __init_subclass__(cls): note(cls.__name__)",
        "class One(Base): nr = note('body')",
        "O.pop('One')",
        "def run():\n    mine = S.names\n    note('later')\n    return One.nr, S, C, O, Q, A.tolist(), mine is S.names",
    ),
    "a list that a decorated function keeps": (
        "NAMES = []\ndef kept(f):\n    NAMES.append(f.__name__)\n    mine = NAMES\n"
        "    def g(*a):\n        mine.append('called')\n        return f(*a)\n    return g",
        "@kept\ndef add(a, b): return a + b",
        "add(1, 2)",
        "def run(): return add(1, 2), NAMES",
    ),
    "a cache that remembers answers": (
        "import functools\n@functools.lru_cache\ndef slow(x): return x * 2",
        "slow(1); slow(2)",
        "def run(): return slow(2)",
    ),
}

TOLD: dict[str, tuple[tuple[str, ...], str]] = {
    "a seed of random": (
        ("import random\nrandom.seed(1)", "def run(): return random.random()"),
        r"random\.seed.*In \[2\].*in the step",
    ),
    "a seed of numpy": (
        ("import numpy as np\nnp.random.seed(1)", "def run(): return np.random.rand()"),
        r"np\.random\.seed.*in the step",
    ),
    "a seed in a function": (
        ("import random\ndef prepare(): random.seed(1)\nprepare()", "def run(): return random.random()"),
        r"random\.seed.*in the step",
    ),
    "matplotlib's settings": (
        (
            "import matplotlib\nmatplotlib.rcParams['font.size'] = 20",
            "def run(): return matplotlib.rcParams['font.size']",
        ),
        r"rcParams.*rc_context",
    ),
    "pandas' options": (
        (
            "import pandas as pd\npd.set_option('display.precision', 2)",
            "def run(): return pd.get_option('display.precision')",
        ),
        r"pd\.set_option.*option_context",
    ),
    "pandas' options as attributes": (
        (
            "import pandas as pd\npd.options.display.precision = 2",
            "def run(): return pd.get_option('display.precision')",
        ),
        r"pd\.options\.display\.precision.*option_context",
    ),
    "warning filters": (
        ("import warnings\nwarnings.filterwarnings('error')", "def run(): return 1"),
        r"warnings\.filterwarnings.*catch_warnings",
    ),
    "the environment": (
        ("import os\nos.environ['MODE'] = 'x'", "def run(): return os.environ.get('MODE')"),
        r"MODE.*environment",
    ),
    "the working directory": (("import os\nos.chdir(os.getcwd())", "def run(): return 1"), r"os\.chdir.*absolute path"),
    "the locale": (
        (
            "import locale\nx = locale.setlocale(locale.LC_ALL, 'C')",
            "def run(): return locale.setlocale(locale.LC_ALL)",
        ),
        r"locale\.setlocale.*in the step",
    ),
    "the level of logging": (
        ("import logging\nlogging.basicConfig(level=20)", "def run(): return 1"),
        r"logging\.basicConfig",
    ),
    "the level of a logger": (
        ("import logging\nlog = logging.getLogger('mine')\nlog.setLevel(10)", "def run(): return log.level"),
        r"log\.setLevel",
    ),
    "a default time-out": (
        ("import socket\nsocket.setdefaulttimeout(5)", "def run(): return 1"),
        r"socket\.setdefaulttimeout",
    ),
    "an object of one's own in a class": (
        (
            "class Tally:\n    def __init__(self): self.q = []",
            "class App:\n    tally = Tally()\nApp.tally.q.append(1)",
            "def run(): return len(App.tally.q)",
        ),
        r"App\.tally.*makes anew",
    ),
    "a queue in a closure": (
        (
            "import queue\ndef make():\n    q = queue.Queue()\n    def put(x):\n        q.put(x)\n        return q.qsize()\n    return put\nput = make()",
            "put(1)",
            "def run(): return put(2)",
        ),
        r"put.*q.*Queue.*makes anew",
    ),
    "an imported module's setting": (
        ("import json.encoder\njson.encoder.FLOAT_REPR = 'x'", "def run(): return json.dumps(1)"),
        r"json\.encoder\.FLOAT_REPR.*in the step",
    ),
    "what a cache remembers and was changed": (
        (
            "import functools\n@functools.cache\ndef settings(): return {'n': 0}",
            "settings()['n'] = 5",
            "def run(): return settings()['n']",
        ),
        r"settings remembers a dict in a functools cache, which starts empty.*global",
    ),
    "what a cache of a method remembers": (
        (
            "import functools\nclass App:\n    @classmethod\n    @functools.lru_cache(maxsize=4)\n"
            "    def rows(cls, n): return [n]",
            "App.rows(1).append(2)",
            "def run(): return App.rows(1)",
        ),
        r"App\.rows remembers a list in a functools cache",
    ),
    "a view of an array": (
        (
            "import numpy as np\ngrid = np.zeros((2, 2))\nrow = grid[0]",
            "def run():\n    row[0] = 1\n    return float(grid[0, 0])",
        ),
        r"row.*memory.*grid",
    ),
}

REFUSED: dict[str, tuple[tuple[str, ...], str]] = {
    "an unnamed function added later": (
        (
            "from dataclasses import dataclass, field\n@dataclass\nclass Node:\n    hooks: list = field(default_factory=list)",
            "def first(): return 1\nn = Node(hooks=[first])",
            "n.hooks.append(lambda: 2)",
            "def run(): return [h() for h in n.hooks]",
        ),
        r"n\.hooks.*In \[4\]",
    ),
    "an unnamed method put into a class": (
        (
            "class Quote:\n    def total(self): return 1",
            "def patch(): Quote.total = lambda self: 2\npatch()",
            "def run(): return Quote().total()",
        ),
        r"Quote\.total",
    ),
    "an unnamed function in a registry": (
        (
            "class Tools:\n    known = {}",
            "Tools.known['add'] = lambda a, b: a + b",
            "def run(): return Tools.known['add'](1, 2)",
        ),
        r"Tools\.known",
    ),
    "a generator of chance": (
        ("import random\nrng = random.Random(7)", "def run(): return rng.random()"),
        r"rng",
    ),
    "a counter of itertools": (
        ("import itertools\nids = itertools.count()\nnext(ids)", "def run(): return next(ids)"),
        r"ids",
    ),
    "a variable of a context": (
        (
            "from contextvars import ContextVar\nuser = ContextVar('user', default='x')\ntoken = user.set('ann')",
            "def run(): return user.get()",
        ),
        r"user",
    ),
}
