"""What can't be replayed is refused when the run starts; what can be is let through."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from kaigents_nb.errors import CannotFreeze
from kaigents_nb.snapshot.lint import findings, lint
from tests.unit.snapshot_cells import Notebook, notebook


@pytest.fixture(scope="module")
def nb() -> Iterator[Notebook]:
    with notebook() as found, pytest.MonkeyPatch.context() as patch:
        for name in ("polars", "duckdb"):
            patch.setitem(sys.modules, name, ModuleType(name))
        sys.modules["polars"].RATES = {}  # type: ignore[attr-defined]
        found.cells(
            "import numpy as np, asyncio, os, subprocess, threading, random\n"
            "import duckdb, polars as pl, pandas as pd\n"
            "from numpy.random import default_rng as rng\nfrom concurrent.futures import ThreadPoolExecutor\n"
            "from os import environ\nfrom polars import RATES",
            "def draws(): return np.random.rand()\ndef again(): return draws()",
            "class Finder:\n    def __init__(self): self.x = np.random.rand()\n"
            "    def find(self): return np.random.rand()",
            "class Quote:\n    def noise(self): return np.random.rand()\n    def __hash__(self): return hash(1)",
            "@kg.step\ndef search(x):\n    np.random.seed(1)\n    return {y for y in {x}}",
        )
        yield found


REFUSED = {
    "np.random.rand()": "kg.random()",
    "np.random.seed(3)": "kg.random()",
    "rng()": "kg.random()",
    "x = [await search(s) for s in {'a', 'b'}]": "sorted(",
    "for s in set(names): await search(s)": "sorted(set(names))",
    "wanted = set(names)\n    for s in wanted: await search(s)": "sorted(wanted)",
    "for s in set(names) & {'a'}: await search(s)": "sorted(",
    "for s in set(names).union(names): await search(s)": "sorted(",
    "for i, s in enumerate(set(names)): await search(s)": "sorted(set(names))",
    "await asyncio.gather(*[search(s) for s in set(names)])": "sorted(",
    "await search(list({n for n in names}))": "sorted(",
    "async def inner():\n        for s in frozenset(names): await search(s)\n    await inner()": "sorted(",
    "input('ok?')": "kg.approve",
    "threading.Thread(target=print).start()": "@kg.step",
    "ThreadPoolExecutor()": "asyncio.gather",
    "subprocess.run(['ls'])": "@kg.step",
    "os.system('ls')": "@kg.step",
    "await asyncio.to_thread(print)": "@kg.step",
    "return pl.read_csv('a.csv')": "@kg.step",
    "return duckdb.sql('select 1')": "@kg.step",
    "os.path.sep = '/'": "a variable of the agent",
    "os.environ.update(a='b')": "a variable of the agent",
    "RATES['a'] = 1": "a variable of the agent",
    "RATES.update(a=1)": "a variable of the agent",
    "del os.path.sep": "a variable of the agent",
    "environ['HOME']": "hand it over as an argument",
    "return hash(names[0])": "hashlib",
    "seen = {id(name): name for name in names}": "a key of your own",
    "return f'{set(names)}'": "sorted(",
    "return min(*set(names), key=len), [*{*names}]": "sorted(",
}


@pytest.mark.parametrize("body", REFUSED)
def test_what_cannot_be_replayed_is_refused(nb: Notebook, body: str) -> None:
    """The message has the cell's line and the way out."""
    nb.cell(f"@kg.agent\nasync def run(names):\n    {body}")
    label = f"In [{nb.shell.execution_count - 1}], line "
    with pytest.raises(CannotFreeze) as caught:
        lint(nb.freeze())
    assert REFUSED[body] in str(caught.value)
    assert f"run(), {label}" in str(caught.value)


IN_HELPERS = {
    "return draws()": "draws(), In [3], line 1, which run() uses: np.random.rand()",
    "return [again() for _ in names]": "draws(), In [3], line 1, which run() uses: np.random.rand()",
    "x = [print, draws][1]": "draws(), In [3], line 1, which run() uses: np.random.rand()",
    "return Finder()": "Finder.__init__(), In [4], line 2, which run() uses: np.random.rand()",
    "return Finder().find()": "Finder.find(), In [4], line 3, which run() uses: np.random.rand()",
}


@pytest.mark.parametrize("body", IN_HELPERS)
def test_what_an_agent_uses_is_looked_at(nb: Notebook, body: str) -> None:
    """Functions that it calls or hands on, and methods of classes that it uses, by their own line."""
    nb.cell(f"@kg.agent\nasync def run(names):\n    {body}")
    assert any(found.startswith(IN_HELPERS[body]) for found in findings(nb.freeze()))


ALLOWED = [
    "for s in sorted(set(names)): await search(s)",
    "for s in [1, 2]: await search(s)",
    "for s in {'a': 1, 'b': 2}: await search(s)",
    "for s in {1, 2, 3}: await search(s)",
    "return sum(x for x in set(names)), len({n for n in names}), 'a' in {'a', 'b'}, max(set(names))",
    "return {n.upper() for n in set(names)}",
    "seen = set()\n    seen.add(1)\n    return seen",
    "seen = {1}\n    seen = [1]\n    for s in seen: await search(s)",
    "set = list\n    for s in set(names): await search(s)",
    "gen = np.random.default_rng(42)\n    return gen.integers(3)",
    "x: np.random.Generator | None = None",
    "return np.random",
    "input = len\n    return input('a')",
    "self = names\n    return self.input()",
    "return sorted([n for n in set(names)])",
    "for s in dict.fromkeys(names): await search(s)",
    "return os.path.join('a', 'b'), threading.__name__",
    "return Quote(), random.Random(3).random()",
    "return kg.random().sample(names, 2), kg.random().sample(names, k=2)",
    "return pd.DataFrame({'a': names}).sample(1, random_state=3)",
    "rates = {}\n    rates['a'] = 1\n    rates.update(b=2)\n    return sorted([*set(names)]), min({*names})",
    "id = 3\n    return dict(id=id, hash=id)",
    "return ', '.join(sorted(set(names)))",
]


@pytest.mark.parametrize("body", ALLOWED)
def test_what_can_be_replayed_is_let_through(nb: Notebook, body: str) -> None:
    """No false alarms; and steps may do as they like."""
    nb.cell(f"@kg.agent\nasync def run(names):\n    {body}")
    assert findings(nb.freeze()) == []
    lint(nb.freeze())


@pytest.mark.parametrize("call", ["search('a')", "kg.sleep(3)", "kg.approve('Go on?')"])
def test_a_step_that_nobody_awaits_is_refused(nb: Notebook, call: str) -> None:
    """A statement that only calls a step would never run it."""
    nb.cell(f"@kg.agent\nasync def run(names):\n    await search('b')\n    {call}")
    assert "is not awaited" in findings(nb.freeze())[0]
    nb.cell(f"@kg.agent\nasync def run(names):\n    later = {call}\n    await later")
    assert findings(nb.freeze()) == []


@pytest.mark.parametrize(
    "use",
    ["if d:\n        await search('b')", "return d.approved", "assert d", "return d", "return f'{d}'", "pass",
     "return not d and d == 1"],
)  # fmt: skip
def test_a_kept_call_that_nobody_awaits_is_refused(nb: Notebook, use: str) -> None:
    """A decision that is looked at and never awaited would always be true."""
    nb.cell(f"@kg.agent\nasync def run(names):\n    d = kg.approve('Pay?')\n    {use}")
    assert "is kept as 'd' and never awaited" in findings(nb.freeze())[0]


@pytest.mark.parametrize(
    "use",
    ["await d", "x, y = await asyncio.gather(d, d)", "several = [d]\n    await asyncio.gather(*several)",
     "e = d\n    return await e", "return (await d).approved"],
)  # fmt: skip
def test_a_kept_call_that_is_handed_on_is_let_through(nb: Notebook, use: str) -> None:
    """What may be awaited somewhere is left to the run, which knows."""
    nb.cell(f"@kg.agent\nasync def run(names):\n    d = kg.approve('Pay?')\n    {use}")
    assert findings(nb.freeze()) == []


@pytest.mark.parametrize(
    "body",
    ["d: kg.Decision = kg.approve('Pay?')\n    if d is not None: return 1",
     "if (d := kg.approve('Pay?')) is not None: return 1",
     "d, e = kg.approve('Pay?'), 1\n    if d: return e",
     "e = d = kg.approve('Pay?')\n    return 1",
     "d = kg.approve('Pay?')\n    match d:\n        case kg.Decision(approved=False): return 1",
     "d = kg.approve('Pay?')\n    if not isinstance(d, str): return 1",
     "if kg.approve('Pay?') is not None: return 1",
     "if asks('Pay?'): return 1", "d = asks('Pay?')\n    if d: return 1", "asks('Pay?')",
     "async def inner(): return await kg.approve('Pay?')\n    d = inner()\n    if d: return 1",
     "below.start('Pay?')", "d = below.start('Pay?')\n    return 1", "asyncio.sleep(3)"],
)  # fmt: skip
def test_whatever_forgets_await_is_refused(nb: Notebook, body: str) -> None:
    """However it is kept or looked at, and also where the call is one of an async def of one's own."""
    nb.cells(
        "async def asks(q): return await kg.approve(q)",
        "@kg.agent\nasync def below(q): return await asks(q)",
        f"@kg.agent\nasync def run(names):\n    {body}",
    )
    found = findings(nb.freeze())[0]
    assert "await" in found and "would never run" in found


@pytest.mark.parametrize(
    "body",
    ["return await given('Pay?')", "return await asyncio.gather(asks('a'), asks('b'))",
     "task = asyncio.create_task(asks('a'))\n    return await task",
     "async with opened() as it: return it", "return [one async for one in each()]",
     "calls = {name: asks for name in names}\n    return await calls['a']('Pay?')",
     "asks = len\n    asks(names)", "return sorted(names, key=lambda name: name if name else '')", "later: object = asks('a')\n    return await later"],
)  # fmt: skip
def test_what_is_awaited_elsewhere_is_let_through(nb: Notebook, body: str) -> None:
    """A function may give a call to whoever awaits it; generators and decorated functions are no coroutines."""
    nb.cells(
        "import contextlib",
        "async def asks(q): return await kg.approve(q)",
        "def given(q):\n    d = kg.approve(q)\n    return d",
        "@contextlib.asynccontextmanager\nasync def opened(): yield 1",
        "async def each(): yield await kg.approve('Pay?')",
        f"@kg.agent\nasync def run(names):\n    {body}",
    )
    assert findings(nb.freeze()) == []


def test_all_findings_come_at_once(nb: Notebook) -> None:
    """Agents that the agent awaits are looked at too."""
    nb.cells(
        "@kg.agent\nasync def child(): input()",
        "@kg.agent\nasync def run():\n    np.random.rand()\n    return await child()",
    )
    found = findings(nb.freeze())
    assert len(found) == 2
    with pytest.raises(CannotFreeze, match="for 2 reasons"):
        lint(nb.freeze())
