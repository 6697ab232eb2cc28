"""A frozen module: readable, traceable to its cells, and loaded only as far as it is needed."""

# ruff: noqa: E501 - a cell or program is one line of text here
from __future__ import annotations

import copy
import dataclasses
import gc
import linecache
import sys
import textwrap
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ipykernel.compiler import XCachingCompiler
from temporalio.worker.workflow_sandbox import SandboxRestrictions
from temporalio.worker.workflow_sandbox._importer import Importer
from temporalio.worker.workflow_sandbox._restrictions import RestrictionContext

from kaigents_nb.authoring.step import Step
from kaigents_nb.errors import CannotFreeze, SnapshotError
from kaigents_nb.snapshot.freeze import freeze
from kaigents_nb.snapshot.load import LoadedCode, load
from kaigents_nb.snapshot.module import Snapshot
from kaigents_nb.snapshot.tracebacks import analyst_traceback
from kaigents_nb.values.decode import decode
from kaigents_nb.values.encode import encode
from tests.unit.snapshot_cells import KEY, Notebook, notebook

CELLS = [
    "import numpy as np\nRATES = {'CN': 0.25}\nTABLE = np.arange(5000.0)",
    "\n\ndef rate(country):\n    return RATES[country]",
    "@kg.step(timeout='5 min', retry=kg.Retry(max_attempts=3, first_wait='2 s', give_up_on=(KeyError,)))\n"
    "def search(country):\n    '''Find it.'''\n    return rate(country) + TABLE[0] + np.pi\n"
    "@kg.step\ndef buy(x):\n    return x",
    "@kg.agent\nasync def child(x):\n    return await buy(helper(x))\ndef helper(x): return x + 1",
    "@kg.agent\nasync def sourcing(country: str):\n    '''Find a supplier.\n\n    More.\n    '''\n"
    "    found = await search(country)\n    return await child(found), double(found)\ndouble = lambda x: 2 * x",
]


@pytest.fixture
def nb() -> Iterator[Notebook]:
    with notebook() as found:
        yield found


def test_the_module_is_readable_and_says_where_each_line_is_from(nb: Notebook) -> None:
    """The text is valid Python; each line leads back to its cell, blank lines on top counted."""
    nb.cells(*CELLS)
    snapshot = nb.freeze("sourcing")
    compile(snapshot.source, "x", "exec")
    lines = snapshot.source.split("\n")
    assert lines[0] == f"# The code of sourcing, frozen with Python {snapshot.python}."
    number = lines.index("    return RATES[country]") + 1
    assert lines[number - 3] == "# In [3], line 3"
    assert snapshot.where(number) == ("In [3]", 4)
    assert snapshot.where(1) is None
    assert "RATES = {'CN': 0.25}" in lines
    assert "TABLE = ...  # ndarray of 5000, kept beside this text" in lines
    assert snapshot.title == "Find a supplier."
    assert (snapshot.root, snapshot.root_name) == ("sourcing", "sourcing")
    assert snapshot.packages["numpy"] == sys.modules["numpy"].__version__
    assert {"numpy", "kaigents_nb"} <= set(snapshot.modules)


def test_steps_and_agents_are_listed_with_their_options(nb: Notebook) -> None:
    """Durations are seconds; classes to give up on stay with the step itself."""
    nb.cells(*CELLS)
    snapshot = nb.freeze("sourcing")
    assert set(snapshot.steps) == {"search", "buy"}
    assert snapshot.steps["search"]["timeout_s"] == 300
    options = snapshot.options("search")
    assert (options.timeout, options.retry.max_attempts, options.retry.first_wait) == (300, 3, 2)
    assert snapshot.step_global("buy") == "buy"
    assert {name: entry["global"] for name, entry in snapshot.agents.items()} == {
        "child": "child",
        "sourcing": "sourcing",
    }
    with pytest.raises(SnapshotError, match=r"no step 'sell'. Known: \['buy', 'search'\]"):
        snapshot.step_global("sell")
    loaded = load(snapshot, ["search"], for_agent=False)
    assert loaded.get("search").options.retry.give_up_on == (KeyError,)


def test_the_digest_is_of_the_content(nb: Notebook) -> None:
    """The same cells freeze to the same digest; a changed value to another."""
    nb.cells(*CELLS, "S = {'b', 'a', 'c'}\n@kg.step\ndef use(): return S")
    first, again = nb.freeze("sourcing"), nb.freeze("sourcing")
    assert first.digest == again.digest
    assert first == again
    assert hash(first) == hash(again)
    assert Snapshot.unpack(first.pack(KEY), KEY) == first
    assert "S = {'a', 'b', 'c'}" in nb.freeze("use").source
    nb.cell("RATES['VN'] = 0.1")
    assert nb.freeze("sourcing").digest != first.digest


def test_a_run_keeps_its_code(nb: Notebook) -> None:
    """Changing a value or running a cell again changes later snapshots only."""
    nb.cells(*CELLS)
    loaded = nb.load("search")
    nb.cells("RATES['CN'] = 99", "def rate(country): return -1")
    assert loaded.get("search")("CN") == pytest.approx(0.25 + 3.14159265)


def test_an_agent_loads_without_what_its_steps_need(nb: Notebook) -> None:
    """For the agent's body steps are names with options; their helpers, values and heavy imports stay unloaded."""
    nb.cells(*CELLS)
    snapshot = nb.freeze("sourcing")
    loaded = load(snapshot, [snapshot.root], for_agent=True)
    search = loaded.get("search")
    assert isinstance(search, Step)
    assert search.fn is None
    assert (search.name, search.options) == ("search", snapshot.options("search"))
    assert {"rate", "TABLE", "np", "RATES", "helper"}.isdisjoint(loaded.namespace)
    assert loaded.namespace["double"](4) == 8
    assert loaded.get("child").name == "child"
    child = load(snapshot, ["child"], for_agent=True)
    assert "helper" in child.namespace
    assert "double" not in child.namespace


def test_a_step_loads_without_the_agent(nb: Notebook) -> None:
    """An activity executes only what its step needs; the next step adds to it."""
    nb.cells(*CELLS)
    snapshot = nb.freeze("sourcing")
    loaded = load(snapshot, ["buy"], for_agent=False)
    assert {"sourcing", "np", "TABLE", "rate"}.isdisjoint(loaded.namespace)
    loaded.ensure("search")
    assert loaded.get("search")("CN") > 3
    assert "sourcing" not in loaded.namespace
    with pytest.raises(SnapshotError, match="no name 'serch'"):
        loaded.ensure("serch")


def test_steps_are_found_behind_modules_containers_and_classes(
    nb: Notebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step need not be a global of the notebook: an imported one, an attribute, an item."""
    (tmp_path / "helpers_of_mine.py").write_text(
        "import kaigents_nb as kg\n@kg.step\ndef search(): return 's'\n@kg.step(timeout=9)\ndef load(): return 'l'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    nb.cells(
        "import helpers_of_mine as helpers\nfrom helpers_of_mine import load as fetch",
        "def make(k):\n    def item(): return k\n    item.__name__ = f'item_{k}'\n    return kg.step(item)",
        "tools = {'a': make('a'), 'b': [make('b')]}\nclass Tools:\n    @kg.step\n    def inner(x): return x",
        "@kg.agent\nasync def run(): return helpers.search(), fetch(), tools['a'](), tools['b'][0](), Tools.inner(5)",
    )
    snapshot = nb.freeze()
    assert {name: entry["global"] for name, entry in snapshot.steps.items()} == {
        "search": "helpers.search",
        "load": "fetch",
        "item_a": "tools['a']",
        "item_b": "tools['b'][0]",
        "inner": "Tools.inner",
    }
    loaded = load(snapshot, [], for_agent=False)
    assert [loaded.get(snapshot.step_global(name))() for name in ("search", "load", "item_a", "item_b")] == [
        "s",
        "l",
        "a",
        "b",
    ]
    assert loaded.get(snapshot.step_global("inner"))(5) == 5
    assert load(snapshot, ["run"], for_agent=True).get("fetch").fn is None
    sys.modules.pop("helpers_of_mine")


def test_classes_are_resolved_in_the_code_first(nb: Notebook) -> None:
    """Saved values name classes: the notebook's, those of imported modules, and no others."""
    nb.cells(
        "import decimal, collections, textwrap\nfrom dataclasses import dataclass\n@dataclass\nclass Quote:\n    class Unit: pass\n"
        "    n: int\nP = collections.namedtuple('Point', 'x')",
        "def run(): return Quote(1), P(1), decimal.Decimal(1), textwrap",
    )
    loaded = load(nb.freeze(), [], for_agent=False)
    quote = loaded.resolve("__main__", "Quote")
    assert quote is loaded.get("Quote")
    assert quote is not nb["Quote"]
    assert loaded.resolve("__main__", "Quote.Unit") is quote.Unit  # type: ignore[attr-defined]
    assert loaded.resolve("__main__", "Point") is loaded.get("P")
    assert loaded.resolve("decimal", "Decimal") is sys.modules["decimal"].Decimal
    for module, name in [
        ("__main__", "Nope"),
        ("decimal", "Nope"),
        ("ftplib", "FTP"),
        ("decimal", "getcontext"),
        ("no.such", "X"),
    ]:
        sys.modules.pop("ftplib", None)
        with pytest.raises(LookupError):
            loaded.resolve(module, name)
    wanted = sys.modules.pop("textwrap")
    assert loaded.resolve("textwrap", "TextWrapper").__name__ == "TextWrapper"
    sys.modules["textwrap"] = wanted


def test_classes_of_arguments_are_carried(nb: Notebook) -> None:
    """An argument's class goes in although no code names it."""
    nb.cells("from dataclasses import dataclass\n@dataclass\nclass Quote:\n    n: int", "def run(q): return q.n")
    assert "class Quote" not in nb.freeze().source
    assert "class Quote" in nb.freeze(values=([nb["Quote"](1)],)).source


def test_classes_of_arguments_are_carried_however_deep(nb: Notebook) -> None:
    """Also from frames of objects, arrays, attributes, type arguments and deep lists, and classes made by calls."""
    nb.cells(
        "import dataclasses, typing, numpy as np, pandas as pd, pydantic\nT = typing.TypeVar('T')\n"
        + "\n".join(
            f"@dataclasses.dataclass\nclass {name}:\n    x: int = 1" for name in ("Cell", "Item", "Deep", "Note")
        )
        + "\nclass Stack(list): pass\nclass Page(pydantic.BaseModel, typing.Generic[T]):\n    items: list[T] = []\n"
        "class Row(pydantic.BaseModel): pass\nMade = dataclasses.make_dataclass('Made', ['x'])",
        "stack = Stack()\nstack.note = Note()\ndeep = Deep()\nfor _ in range(50): deep = [deep]\n"
        "values = (pd.DataFrame({'o': pd.Series([Cell()], dtype=object)}), np.array([Item(), None], dtype=object),\n"
        "    stack, deep, Page[typing.Optional[Row]](), Made(1))",
        "def run(*values): return values",
    )
    source = nb.freeze(values=(nb["values"],)).source
    for name in ("Cell", "Item", "Deep", "Note", "Stack", "Page", "Row"):
        assert f"class {name}" in source
    assert "Made = dataclasses.make_dataclass" in source


def test_an_argument_of_a_class_without_a_name_is_refused(nb: Notebook) -> None:
    """Nobody could find its class; the message says so before anything is started."""
    nb.cells("import pydantic\ndef make(): return pydantic.create_model('Gone', a=(int, 1))()", "def run(x): return x")
    gone = nb["make"]()
    with pytest.raises(
        CannotFreeze, match="an argument holds an instance of Gone, a class that no global name is bound"
    ):
        nb.freeze(values=(gone,))


def test_loaded_modules_do_not_mix(nb: Notebook) -> None:
    """Loaded twice, each has its own classes; forward references find their own; unused modules go away."""
    nb.cells(
        "from __future__ import annotations\nfrom pydantic import BaseModel\nclass Node(BaseModel):\n    kids: list[Node] = []\n    leaf: Leaf | None = None\n"
        "class Leaf(BaseModel):\n    n: int",
        "def run(): return Node(kids=[{'kids': []}], leaf={'n': 1})",
    )
    snapshot = nb.freeze()
    one, two = load(snapshot, ["run"], for_agent=False), load(snapshot, ["run"], for_agent=False)
    assert one.module.__name__ != two.module.__name__
    assert type(one.get("run")().kids[0]) is one.get("Node")
    assert type(two.get("run")().leaf) is two.get("Leaf")
    name = two.module.__name__
    assert sys.modules[name] is two.module
    del two
    gc.collect()
    assert name not in sys.modules


def test_threads_may_load_at_once(nb: Notebook) -> None:
    """Steps start in parallel; each definition is executed once."""
    nb.cells(
        "import time\nclass C:\n    made = time.sleep(0.05)",
        "def a(): return C\ndef b(): return C\ndef run(): return a, b",
    )
    loaded = load(nb.freeze(), [], for_agent=False)
    found: list[Any] = []
    threads = [threading.Thread(target=lambda name=name: found.append(loaded.get(name)())) for name in "abab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1


def test_debuggers_see_the_source(nb: Notebook) -> None:
    """linecache has the module's text, with the line numbers that code objects carry."""
    nb.cells(*CELLS)
    loaded = nb.load("search")
    code = loaded.get("rate").__code__
    assert code.co_filename == loaded.snapshot.filename
    assert linecache.getline(code.co_filename, code.co_firstlineno) == "def rate(country):\n"
    linecache.checkcache()
    assert linecache.getline(code.co_filename, code.co_firstlineno + 1) == "    return RATES[country]\n"


def test_an_import_that_fails_says_where(nb: Notebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker without a module raises ImportError with the cell; it can be tried again."""
    (tmp_path / "site-packages").mkdir()  # installed: a module beside the notebook travels
    (tmp_path / "site-packages" / "gone_soon.py").write_text("x = 1")
    monkeypatch.syspath_prepend(tmp_path / "site-packages")
    nb.cells("import gone_soon", "def run(): return gone_soon.x")
    loaded = load(nb.freeze(), [], for_agent=False)
    monkeypatch.setitem(sys.modules, "gone_soon", None)
    with pytest.raises(ImportError) as caught:
        loaded.ensure("run")
    assert caught.value.__notes__ == ["While loading gone_soon (In [2], line 1) of the run's code."]
    monkeypatch.delitem(sys.modules, "gone_soon")
    assert loaded.get("run")() == 1
    sys.modules.pop("gone_soon", None)


def test_cells_named_as_ipykernel_names_them(nb: Notebook) -> None:
    """In a kernel the file name is a hash of the cell, the same for the same text executed twice."""
    nb.shell.compile = XCachingCompiler()
    nb.cells("def f(x): return x", "%%time\ndef g(x):\n    return f(x)", "def f(x): return x", "def run(): return g(1)")
    snapshot = nb.freeze()
    assert "# In [4], line 1\ndef f(x)" in snapshot.source
    assert "# In [3], line 2\ndef g(x)" in snapshot.source
    assert nb.both() == 1


def test_a_failed_or_silent_cell_counts_as_far_as_it_got(nb: Notebook) -> None:
    """A cell that raised before the definition did not define; one that raised after it did."""
    nb.cells("def f(): return 1\ndef g(): return 1")
    nb.cell("1 / 0\ndef f(): return 2", fails=True)
    nb.cell("def g(): return 2\n1 / 0", fails=True)
    nb.cell("def f(: nonsense", fails=True)
    nb.cell("def h(): return 3", store_history=False)
    nb.cell("def run(): return f(), g(), h()")
    assert nb.both() == (1, 2, 3)


def test_history_that_was_cleared_is_no_loss(nb: Notebook) -> None:
    """Functions are found by the text that their code objects lead to."""
    nb.cells("def f(): return 1\nclass C:\n    def m(self): return f()", "@kg.step\ndef run(): return C().m()")
    nb.shell.history_manager.reset(new_session=False)
    nb.shell.user_ns["In"][:] = [""]
    assert nb.both() == 1


def test_an_importable_module_is_carried_like_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The root's own module goes in as source, its relative imports made absolute; others are imported."""
    package = tmp_path / "my_agents_pkg"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "tools.py").write_text("def double(x): return 2 * x\nX = 5\n")
    (package / "agents.py").write_text(
        textwrap.dedent(
            """
            import kaigents_nb as kg
            from dataclasses import dataclass
            from .tools import double
            from . import tools

            @dataclass
            class Quote:
                n: int

            @kg.step
            def search(n):
                from .tools import X
                return Quote(double(n) + tools.X + X)
            """
        )
    )
    monkeypatch.syspath_prepend(tmp_path)
    import my_agents_pkg.agents as agents  # type: ignore[import-not-found]

    snapshot = freeze(agents.search)
    assert "from my_agents_pkg.tools import double" in snapshot.source
    assert "# agents.py, line 11\n@kg.step" in snapshot.source
    loaded = load(snapshot, ["search"], for_agent=False)
    result = loaded.get("search")(1)
    assert result.n == 12
    assert type(result) is not agents.Quote
    assert loaded.resolve("my_agents_pkg.agents", "Quote") is type(result)
    assert snapshot.packages["my_agents_pkg"] == "local"
    for name in [name for name in sys.modules if name.startswith("my_agents_pkg")]:
        sys.modules.pop(name)


def test_package_differences_name_both_versions(nb: Notebook) -> None:
    """A worker with other versions can say so."""
    nb.cells("import numpy as np", "def run(): return np")
    snapshot = nb.freeze()
    assert snapshot.package_differences() == []
    other = Snapshot(
        **{
            **{f: getattr(snapshot, f) for f in snapshot.__dataclass_fields__},
            "packages": {"numpy": "0.1", "nope": "1"},
        }
    )
    assert other.package_differences() == ["nope 1 → not installed", f"numpy 0.1 → {snapshot.packages['numpy']}"]


def test_a_long_notebook_freezes_only_what_is_needed(nb: Notebook) -> None:
    """Of 100 cells the 30 that are needed travel, each with its constant."""
    for n in range(100):
        nb.cell(
            f"K{n} = {n}\ndef f{n}(x):\n    for i in range(x):\n        x += K{n} * i\n    return f{max(n - 1, 70)}(x - 1)"
        )
    nb.cell("@kg.step\ndef run(): return f99(1)")
    assert len(freeze(nb["run"]).definitions) == 62


def test_end_of_one_load_leaves_the_module_of_another(nb):
    """Sandboxes have module names of their own: the end of one run must not take away another one's module."""
    nb.cells(*CELLS)
    snapshot = nb.freeze("sourcing")
    first = load(snapshot, ["sourcing"], for_agent=True)
    name = first.module.__name__
    del sys.modules[name]  # as it is in another sandbox
    second = load(snapshot, ["sourcing"], for_agent=True)
    assert second.module.__name__ == name
    del first
    gc.collect()
    assert sys.modules[name] is second.module
    del second
    gc.collect()
    assert name not in sys.modules


def test_a_class_outlasts_its_code(nb: Notebook) -> None:
    """What somebody has kept of code that is gone still works, with its resource; a traceback then has no source."""
    nb.cells(
        "import itertools\nfrom dataclasses import dataclass\nNUMBERS = [0]\n@kg.resource\ndef made():\n    NUMBERS[0] += 1\n    return NUMBERS[0]",
        "@dataclass\nclass Quote:\n    n: int\n    def tax(self): return self.n * rate() + made()\n    def fails(self): return 1 / 0",
        "def rate(): return 2\ndef run(n): return Quote(n)",
    )
    loaded = nb.load("run")
    quote = loaded.get("run")(3)
    assert (quote.tax(), quote.tax()) == (7, 7)
    name, filename = loaded.module.__name__, loaded.snapshot.filename
    assert linecache.getline(filename, 1)
    del loaded
    gc.collect()
    assert name not in sys.modules
    assert not linecache.getline(filename, 1)
    assert quote.tax() == 7
    assert dataclasses.replace(quote, n=4) == copy.deepcopy(dataclasses.replace(quote, n=4))
    assert dataclasses.asdict(quote) == {"n": 3}
    again = decode(encode(quote), resolve=lambda module, qualname: type(quote))
    assert again == quote
    with pytest.raises(ZeroDivisionError) as caught:
        quote.fails()
    assert "in fails" in "".join(traceback.format_exception(caught.value))


def test_a_module_ends_wherever_garbage_is_collected(nb: Notebook) -> None:
    """Also in the thread of a workflow, whose sys.modules are its own."""
    nb.cells(*CELLS)
    loaded = nb.load("search")
    name = loaded.module.__name__
    assert name in sys.modules
    with Importer(SandboxRestrictions.default.with_passthrough_all_modules(), RestrictionContext()).applied():
        del loaded
        gc.collect()
    assert name not in sys.modules


def test_source_is_shown_as_long_as_one_needs_it(nb: Notebook) -> None:
    """Two loads of one code show one source; it goes with the last of them."""
    nb.cells(*CELLS)
    snapshot = nb.freeze("search")
    one, two = load(snapshot, ["search"], for_agent=False), load(snapshot, ["search"], for_agent=True)
    with pytest.raises(KeyError) as caught:
        one.get("rate")("nowhere")
    assert "return RATES[country]" in analyst_traceback(caught.value, snapshot)
    del one, caught
    gc.collect()
    assert linecache.getline(snapshot.filename, 1)
    del two
    gc.collect()
    assert not linecache.getline(snapshot.filename, 1)


def test_loading_more_takes_nothing_from_those_who_run_meanwhile(monkeypatch):
    """What a running step changes while another name is loaded is kept, and what loading changes is not."""
    with notebook() as nb:
        nb.cells(
            "NAMES, SEEN = [], []\ndef noted(f):\n    NAMES.append(f.__name__)\n    SEEN.append(f.__name__)\n    return f",
            "@noted\ndef first(): return NAMES, SEEN\ndef other(): return SEEN\n@noted\ndef last(): return 3",
            "def run(): return first(), other(), last()",
        )
        snapshot = nb.freeze()
    loaded = load(snapshot, ["first"], for_agent=False)
    assert loaded.get("first")() == (["first", "last"], ["first", "last"])
    execute = LoadedCode._execute

    def while_another_runs(self, definition):
        execute(self, definition)
        loaded.namespace["SEEN"].append("running")

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(LoadedCode, "_execute", while_another_runs)
        loaded.ensure("other")
    assert loaded.get("first")()[1] == ["first", "last", "running"]
    loaded.ensure("last")
    assert loaded.get("first")() == (["first", "last"], ["first", "last", "running"])
