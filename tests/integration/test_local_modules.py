"""Modules beside the notebook travel with the code: a worker in another folder has none of their files."""

from __future__ import annotations

import importlib
import importlib.machinery
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from kaigents_nb.errors import CannotFreeze, RunFailed
from tests.unit.snapshot_cells import Notebook, notebook
from tests.workers import elsewhere as in_another_process

pytestmark = pytest.mark.usefixtures("server")

FILES = {
    "stock.py": """
        from __future__ import annotations
        import datetime
        import logging
        from pydantic import BaseModel
        log = logging.getLogger(__name__)
        FACTOR = 1
        SEEN = []
        TOOLS = {}
        class Order(BaseModel):
            name: str
            lines: list[Line] = []
        class Line(BaseModel):
            n: int
        class Refused(Exception):
            pass
        def tool(f):
            TOOLS[f.__name__] = f
            return f
        @tool
        def first():
            return 1
        def see(x):
            SEEN.append(x)
            return list(SEEN)
        def order(n):
            return Order(name=log.name, lines=[Line(n=n * FACTOR)])
        def refuse(n):
            raise Refused(f"not {n}")
        def clock():
            return getattr(datetime.datetime, "now")()
        def noise():
            import numpy
            return numpy.random.rand()
        """,
    "shop/__init__.py": "from .prices import price\nRATE = 2",
    "shop/prices.py": """
        from . import deep
        def price(n):
            from shop.late import double
            return double(n) + deep.BASE
        """,
    "shop/deep.py": "import json\nBASE = json.loads('5')",
    "shop/late.py": "def double(n): return 2 * n",
    "shop/unused.py": "raise RuntimeError('never imported')",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The notebook's folder, with modules in it that are forgotten afterwards."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(dedent(text))
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in ("stock", "shop"):
            del sys.modules[name]


@pytest.fixture
def nb(folder: Path) -> Iterator[Notebook]:
    """A notebook of that folder."""
    with notebook() as fresh:
        yield fresh


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A worker in a process and a folder of its own; this process executes nothing."""
    with in_another_process("local.ipynb") as started:
        started.start(cwd=tmp_path_factory.mktemp("elsewhere"))
        yield


def agent(*lines: str) -> str:
    """Return the cell of a step with these lines, and of an agent that awaits it."""
    body = "\n".join(f"    {line}" for line in lines)
    return f"@kg.step\ndef work():\n{body}\n@kg.agent\nasync def program(): return await work()"


def test_modules_and_what_they_hold_travel(elsewhere: None, nb: Notebook) -> None:
    """Submodules, relative and late imports, constants that were changed and registered functions are there."""
    nb.cells(
        "import stock, shop\nfrom stock import see\nfrom shop.prices import price",
        "see(1)\nstock.FACTOR = 3\n@stock.tool\ndef mine(): return 2",
        agent("return see(2), stock.order(1), {k: f() for k, f in stock.TOOLS.items()}, price(4), shop.RATE"),
    )
    run = nb["program"].start()
    seen, order, tools, price, rate = run.result(60)
    stock = sys.modules["stock"]
    assert (seen, tools, price, rate) == ([1, 2], {"first": 1, "mine": 2}, 13, 2)
    assert type(order) is stock.Order, "a value comes back as what the notebook knows"
    assert order == stock.Order(name="stock", lines=[stock.Line(n=3)])
    code = run.code()
    assert "def see(x):" in code
    assert "never imported" not in code


def test_two_runs_with_two_versions_of_a_module(elsewhere: None, nb: Notebook, folder: Path) -> None:
    """One worker executes both at the same time, each with its own; their code has different digests."""
    (folder / "stock.py").write_text("def version(): return 'old'\nclass Old(Exception): pass\n")
    importlib.invalidate_caches()
    cell = "@kg.step\ndef work(): return stock.version()\n@kg.agent\nasync def program():\n    first = await work()\n"
    cell += "    await kg.approve('go on?')\n    return first, await work()"
    nb.cells("import stock", cell)
    old = nb["program"].start()
    old.wait_for_gate(60)
    (folder / "stock.py").write_text("# another version, of other length\ndef version(): return 'new'\n")
    with pytest.raises(CannotFreeze, match=r"stock\.py was changed since it was imported.*importlib\.reload\(stock\)"):
        nb["program"].start()
    nb.cell("import importlib; importlib.reload(stock); del stock.Old")
    new = nb["program"].start()
    new.wait_for_gate(60)
    old.approve()
    new.approve()
    assert old.result(60) == ("old", "old")
    assert new.result(60) == ("new", "new")


def test_an_error_in_a_module_shows_its_lines(elsewhere: None, nb: Notebook) -> None:
    """The traceback has the module's file and line as people know them, and the error its own name."""
    step = agent("return stock.refuse(3)").replace("@kg.step", "@kg.step(retry=kg.Retry(max_attempts=1))")
    nb.cells("import stock", step)
    run = nb["program"].start()
    with pytest.raises(RunFailed, match="not 3") as caught:
        run.result(60)
    assert type(caught.value.__cause__) is sys.modules["stock"].Refused
    text = run.view().error
    assert "stock.py, line" in text
    assert 'raise Refused(f"not {n}")' in text
    assert "kaigents_run" not in text


def test_an_agent_is_guarded_in_its_modules_too(elsewhere: None, nb: Notebook) -> None:
    """What can't be replayed is refused where a module does it, and plain work is done."""
    nb.cells(
        "import stock, shop",
        "@kg.agent\nasync def program(): return shop.RATE, stock.order(2).lines[0].n, str(stock.clock())",
    )
    run = nb["program"].start()
    with pytest.raises(RunFailed, match=r"Use kg\.now"):
        run.result(60)
    assert "stock.py, line" in run.view().error
    nb.cell("@kg.agent\nasync def program(): return shop.RATE, stock.order(2).lines[0].n, stock.see(1)")
    assert nb["program"].start().result(60) == (2, 2, [1])


def test_what_a_module_does_for_an_agent_is_looked_over(nb: Notebook) -> None:
    """What the guard does not notice is refused at the start, with the module's line."""
    nb.cells("import stock", "@kg.agent\nasync def program(): return stock.noise()")
    with pytest.raises(CannotFreeze, match=r"noise\(\), stock\.py, line \d+, which program\(\) uses: .*numpy"):
        nb["program"].start()


def test_a_compiled_module_is_refused_in_words(nb: Notebook, folder: Path) -> None:
    """It can't be carried as source."""
    nb.cells("import shop", agent("import native", "return native.f()"))
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    (folder / f"native{suffix}").write_bytes(b"")
    importlib.invalidate_caches()
    with pytest.raises(CannotFreeze, match=r"native is native.*compiled and not source"):
        nb["program"].start()


def test_data_files_beside_a_module_are_told(
    elsewhere: None, nb: Notebook, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A module that looks for its own folder says at the start that its files stay here."""
    (folder / "stock.py").write_text("from pathlib import Path\ndef folder(): return Path(__file__).parent.name\n")
    importlib.invalidate_caches()
    nb.cells("import stock", agent("return stock.folder()"))
    assert nb["program"].start().result(60) == folder.name
    assert "stock.py asks for its __file__" in capsys.readouterr().err
