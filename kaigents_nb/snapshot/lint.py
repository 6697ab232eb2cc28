"""What an agent must not do and the sandbox does not notice, found in its source before the run starts.

Looked at are the agents' bodies and the functions that they use, of the notebook and of modules beside it, but for
steps.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from kaigents_nb.snapshot.cells import dotted, imported_names, parse_once
from kaigents_nb.snapshot.module import Snapshot
from kaigents_nb.snapshot.problems import refuse
from kaigents_nb.snapshot.reached import Function, reached
from kaigents_nb.snapshot.reached_modules import reached_in_modules
from kaigents_nb.snapshot.shared_state import changed
from kaigents_nb.snapshot.unawaited import async_functions, unawaited
from kaigents_nb.snapshot.wrapped import name_in_code

_STEP = "Do it in a @kg.step and await that."
_FORBIDDEN = {
    "numpy.random": "numpy's random numbers differ at each replay. Use kg.random(), or draw them in a @kg.step.",
    "threading": f"Threads can't be replayed. Use asyncio.gather() over steps. {_STEP}",
    "multiprocessing": f"Processes can't be replayed. {_STEP}",
    "concurrent.futures": "Threads and processes can't be replayed. Use asyncio.gather() over steps.",
    "subprocess": f"A program's output can't be replayed. {_STEP}",
    "os.system": f"A program's output can't be replayed. {_STEP}",
    "os.popen": f"A program's output can't be replayed. {_STEP}",
    "asyncio.to_thread": f"Threads can't be replayed. {_STEP}",
    "asyncio.create_subprocess_exec": f"A program's output can't be replayed. {_STEP}",
    "asyncio.create_subprocess_shell": f"A program's output can't be replayed. {_STEP}",
    "sys.exit": "It would end the worker. Use return, or raise an exception of your own.",
    "os._exit": "It would end the worker. Use return, or raise an exception of your own.",
    "exit": "It would end the worker. Use return, or raise an exception of your own.",
    "quit": "It would end the worker. Use return, or raise an exception of your own.",
    "input": "Nobody answers input() in a run. Use await kg.approve(question).",
    "id": "It is another number in each process. Use a key of your own, such as a name or a position.",
    "hash": "It is another number in each process. Use the value itself, or hashlib.",
    "random.SystemRandom": "Chance can't be replayed. Use kg.random().",
    "pandas.Timestamp.now": "The time differs at each replay. Use pd.Timestamp(kg.now()).",
    "pandas.Timestamp.today": "The time differs at each replay. Use pd.Timestamp(kg.now()).",
    "pandas.Timestamp.utcnow": "The time differs at each replay. Use pd.Timestamp(kg.now()).",
    "pyarrow.parquet": _STEP,
    "pyarrow.csv": _STEP,
    "pyarrow.dataset": _STEP,
    **dict.fromkeys(
        [f"polars.{way}_{kind}" for way in ("read", "scan") for kind in ("csv", "parquet", "ndjson", "ipc")], _STEP
    ),
    "duckdb": _STEP,
    "pandas.read_parquet": _STEP,
    "pandas.read_orc": _STEP,
    "atexit.register": "It would be registered again at each replay. Use try: ... finally:.",
    "gc.disable": "Every run of this worker shares it. Do it in a @kg.step.",
    "pandas.set_option": "Every run of this worker shares the options. Set them in a step or a cell.",
    "numpy.seterr": "Every run of this worker shares it. Use with np.errstate(...).",
    "numpy.set_printoptions": "Every run of this worker shares it. Use with np.printoptions(...).",
    "sys.setrecursionlimit": "Every run of this worker shares it. Set it in a cell.",
}
_UNSEEDED = {"random.Random": "It draws another seed at each replay. Use kg.random(), or random.Random(seed)."}
_SAY_NOW = frozenset({"pandas.Timestamp", "pandas.to_datetime", "numpy.datetime64"})
_NOW = frozenset({"now", "today"})
_OF_A_MOMENT = {"time.ctime": 0, "time.gmtime": 0, "time.asctime": 0, "time.strftime": 1}
"""By name, with how many arguments they tell the time of now."""
_DRAWS = {"sample": ("pandas", "k"), "rvs": ("scipy", "")}
"""Methods that draw by chance unless they have a ``random_state``: whose, and what tells others of that name apart."""
_WRITES = frozenset({"to_parquet", "to_orc"})
"""Methods of a DataFrame that write a file where they are given a name, and which Python is not told of."""
_SHARED = "is shared by all runs of a worker, and gone in the next one. Keep it in a variable of the agent."
_TIME = "The time differs at each replay. Use kg.now()."
_ENVIRONMENT = "It may differ wherever the run goes on. Read it in a @kg.step, or hand it over as an argument."
_AWAITED = frozenset(
    {
        "kaigents_nb.approve", "kaigents_nb.ask", "kaigents_nb.choose", "kaigents_nb.sleep",
        "asyncio.sleep", "asyncio.wait_for", "asyncio.wait",
    }
)  # fmt: skip
_SEEDED = frozenset({"default_rng", "RandomState", "Generator", "SeedSequence", "PCG64", "MT19937", "Philox", "SFC64"})
_ORDER_FREE = frozenset({"sorted", "sum", "min", "max", "any", "all", "len", "set", "frozenset"})
_KEEPS_ORDER = frozenset({"list", "tuple", "enumerate", "iter", "reversed", "zip", "map", "filter", "str", "repr"})
_SET_METHODS = frozenset({"union", "intersection", "difference", "symmetric_difference"})


def lint(snapshot: Snapshot) -> None:
    """Refuse agents that could not be replayed.

    Raises
    ------
    CannotFreeze
        When :func:`findings` has any.
    """
    found = findings(snapshot)
    if found:
        raise refuse(snapshot.root_name, found)


def findings(snapshot: Snapshot) -> list[str]:
    """Return what agents do that can't be replayed: the cell's line, and the way out."""
    tree = parse_once(snapshot.source)
    imported = dict(imported_names(tree))
    agents = {name_in_code(entry["global"]) for entry in snapshot.agents.values()}
    steps = {name_in_code(entry["global"]) for entry in snapshot.steps.values()}
    packages = {module.partition(".")[0] for module in snapshot.modules}
    found: list[str] = []
    awaited = agents | steps | async_functions(tree.body)
    uses = list(reached(tree, agents, steps))
    for use in uses:
        called = f", which {use.agent}() uses" if use.agent != use.name else ""
        for line, what in sorted(set(_Body(use.node, imported, awaited, agents, packages).findings())):
            where = snapshot.where(line)
            place = f"{where[0]}, line {where[1]}" if where else f"line {line}"
            found.append(f"{use.name}(), {place}{called}: {what}")
    for inside in reached_in_modules(snapshot.local, uses, imported):
        use = inside.use
        for line, what in sorted(set(_Body(use.node, dict(inside.imported), set(), set(), packages).findings())):
            found.append(f"{use.name}(), {inside.file}, line {line}, which {use.agent}() uses: {what}")
    return found


class _Body:
    """The body of one agent, or of a function that it uses."""

    def __init__(
        self, agent: Function, imported: dict[str, str], awaited: set[str], agents: set[str], packages: set[str]
    ) -> None:
        self._agent = agent
        self._awaited = awaited
        self._agents = agents
        self._nested = async_functions(node for node in ast.walk(agent) if node is not agent)
        self._packages = packages
        local = {
            node.id for node in ast.walk(agent) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        } | {node.arg for node in ast.walk(agent) if isinstance(node, ast.arg)}
        self._imported = {name: target for name, target in imported.items() if name not in local}
        self._imported |= dict(imported_names(agent))
        self._hidden = local | set(self._imported)
        self._sets: set[str] = set()
        self._sets = self._set_variables()
        self._order_free = {
            id(argument)
            for node in ast.walk(agent)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _ORDER_FREE
            for argument in node.args
            if not any(isinstance(part, (ast.Await, ast.NamedExpr)) for part in ast.walk(argument))
        }
        self._order_free |= {
            id(part)
            for node in ast.walk(agent)
            if isinstance(node, ast.Set) or (isinstance(node, (ast.List, ast.Tuple)) and id(node) in self._order_free)
            for part in node.elts
        }

    def findings(self) -> Iterator[tuple[int, str]]:
        yield from unawaited(self._agent, self._is_durable)
        for statement in self._agent.body:
            for node in ast.walk(statement):
                if isinstance(node, (ast.stmt, ast.Call)) and changed(node, self._imported):
                    yield node.lineno, f"what {ast.unparse(node)[:60]} changes {_SHARED}"
                if isinstance(node, ast.Call):
                    yield from self._call(node)
                elif isinstance(node, (ast.Attribute, ast.Name)) and self._dotted(node) == "os.environ":
                    yield node.lineno, f"{ast.unparse(node)} can't be used in an agent. {_ENVIRONMENT}"
                elif isinstance(node, (ast.Starred, ast.FormattedValue)):
                    if id(node) not in self._order_free and self._is_set(node.value):
                        yield node.lineno, self._unordered(node.value)
                elif isinstance(node, (ast.For, ast.AsyncFor)) and self._is_set(node.iter):
                    yield node.iter.lineno, self._unordered(node.iter)
                elif (
                    isinstance(node, (ast.ListComp, ast.DictComp, ast.GeneratorExp))
                    and id(node) not in self._order_free
                ):
                    for generator in node.generators:
                        if self._is_set(generator.iter):
                            yield generator.iter.lineno, self._unordered(generator.iter)

    def _is_durable(self, node: ast.Call) -> bool:
        first, *attributes = dotted(node.func) or [""]
        if attributes == ["start"] and first in self._agents:
            attributes = []
        known = self._nested if first in self._nested else self._awaited - self._hidden
        return (first in known and not attributes) or self._dotted(node.func) in _AWAITED

    def _call(self, node: ast.Call) -> Iterator[tuple[int, str]]:
        name = self._dotted(node.func)
        for forbidden, advice in _FORBIDDEN.items():
            if name == forbidden or name.startswith(f"{forbidden}."):
                seeded = forbidden == "numpy.random" and name.rpartition(".")[2] in _SEEDED
                if not (seeded and (node.args or node.keywords)):
                    yield node.lineno, self._refused(node, advice)
        yield from self._chance_and_time(node, name)
        match node.func:
            case ast.Attribute(value=inner, attr="pop") if not node.args and self._is_set(inner):
                yield node.lineno, self._unordered(inner)
            case ast.Attribute(attr="join"):
                yield from self._in_order(node)
        if name in _KEEPS_ORDER and id(node) not in self._order_free:
            yield from self._in_order(node)

    def _in_order(self, node: ast.Call) -> Iterator[tuple[int, str]]:
        for argument in node.args:
            if self._is_set(argument):
                yield argument.lineno, self._unordered(argument)

    def _refused(self, node: ast.Call, advice: str) -> str:
        return f"{ast.unparse(node.func)}() can't be used in an agent. {advice}"

    def _chance_and_time(self, node: ast.Call, name: str) -> Iterator[tuple[int, str]]:
        first = node.args[0] if node.args else None
        keywords = {keyword.arg for keyword in node.keywords}
        if name in _UNSEEDED and not node.args:
            yield node.lineno, self._refused(node, _UNSEEDED[name])
        if name in _SAY_NOW and isinstance(first, ast.Constant) and first.value in _NOW:
            yield node.lineno, f"{ast.unparse(node)} can't be used in an agent. {_TIME}"
        if name in _OF_A_MOMENT and len(node.args) <= _OF_A_MOMENT[name]:
            yield node.lineno, self._refused(node, _TIME)
        if name == "os.getenv":
            yield node.lineno, self._refused(node, _ENVIRONMENT)
        match node.func:
            case ast.Attribute(attr=attr) if attr in _WRITES and node.args and "pandas" in self._packages:
                yield node.lineno, self._refused(node, f"It would be written again at each replay. {_STEP}")
            case ast.Attribute(attr=attr) if attr in _DRAWS and "random_state" not in keywords:
                package, others = _DRAWS[attr]
                if package in self._packages and others not in keywords and (package != "pandas" or len(node.args) < 2):
                    yield node.lineno, self._refused(node, "It draws otherwise at each replay. Give it random_state=.")

    def _dotted(self, node: ast.expr) -> str:
        first, *attributes = dotted(node) or [""]
        if first in self._imported:
            first = self._imported[first]
        elif first in self._hidden or attributes:
            return ""  # something of the agent's own
        return ".".join([first, *attributes])

    def _is_set(self, node: ast.expr) -> bool:
        match node:
            case ast.Set(elts=parts):
                # Small ints have the same order in every process.
                return not all(isinstance(p, ast.Constant) and isinstance(p.value, int) for p in parts)
            case ast.SetComp():
                return True
            case ast.Call(func=ast.Name(id="set" | "frozenset" as name), args=args):
                return name not in self._hidden and bool(args)
            case ast.Call(func=ast.Attribute(value=inner, attr=attr)) if attr in _SET_METHODS:
                return self._is_set(inner)
            case ast.BinOp(left=left, op=ast.BitOr() | ast.BitAnd() | ast.Sub() | ast.BitXor(), right=right):
                return self._is_set(left) or self._is_set(right)
            case ast.Name(id=name):
                return name in self._sets
        return False

    def _set_variables(self) -> set[str]:
        """Return the local names that only ever stand for sets."""
        given: dict[str, list[ast.expr | None]] = {}
        plain: dict[int, ast.expr] = {}
        for node in ast.walk(self._agent):  # a statement before what is in it
            if isinstance(node, ast.Assign) and len(node.targets) == 1:
                plain[id(node.targets[0])] = node.value
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                given.setdefault(node.id, []).append(plain.get(id(node)))
        return {
            name for name, values in given.items() if all(value is not None and self._is_set(value) for value in values)
        }

    def _unordered(self, node: ast.expr) -> str:
        text = ast.unparse(node)
        shown = text if len(text) <= 60 else text[:59] + "…"
        return (
            f"the order of the set {shown} differs in each process, so the run could not be replayed. "
            f"Use sorted({shown})."
        )
