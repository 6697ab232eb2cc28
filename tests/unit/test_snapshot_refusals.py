"""What can't travel is refused when a run starts: the name, where it is used, and what to do."""

# ruff: noqa: E501 - a cell or program is one line of text here
from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

import kaigents_nb as kg
from kaigents_nb.errors import CannotFreeze
from kaigents_nb.snapshot.capture import VALUE_LIMIT_BYTES, secret_word
from kaigents_nb.snapshot.freeze import freeze
from tests.unit.snapshot_cells import Notebook, notebook


@pytest.fixture
def nb() -> Iterator[Notebook]:
    with notebook() as found:
        yield found


def refusal(nb: Notebook, *cells: str) -> str:
    nb.cells(*cells)
    with pytest.raises(CannotFreeze) as caught:
        nb.freeze()
    return str(caught.value)


LIVE = {
    "open file": ("f = open('/dev/null')", "f", "TextIOWrapper", "with open(...)"),
    "generator": ("f = (i for i in 'ab')", "f", "generator", "Make it a list"),
    "iterator": ("f = map(str, [1])", "f", "map", "Make it a list"),
    "lock": ("import threading\nf = threading.Lock()", "f", "lock", "@kg.resource"),
    "thread": ("import threading\nf = threading.Thread()", "f", "threading.Thread", "@kg.resource"),
    "database": ("import sqlite3\nf = sqlite3.connect(':memory:')", "f", "sqlite3.Connection", "@kg.resource"),
    "client": ("import openai\nf = openai.OpenAI(api_key='x')", "f", "openai.OpenAI", "@kg.resource"),
    "clients in a dict": ("import threading\nf = {'a': [threading.Lock()]}", "f['a'][0]", "lock", "@kg.resource"),
    "random generator": ("import random\nf = random.Random(1)", "f", "random.Random", "@kg.resource"),
    "own object": ("class Thing: pass\nf = Thing()", "f", "a Thing", "@dataclass"),
    "bound method": ("class Thing:\n    def m(self): pass\nf = Thing().m", "f", "method", "@kg.resource"),
    "coroutine": ("async def g(): pass\nf = g()", "f", "coroutine", "write await"),
    "exec": ("exec('def f(): pass')", "f", "source is not known", "Define it with def"),
    "made module": ("import types\nf = types.ModuleType('f')", "f", "made while the notebook ran", "save it"),
    "the notebook": ("import __main__ as f", "f", "the notebook itself", "by their own names"),
    "class in a function": ("def g():\n    class T: pass\n    return T\nf = g()()", "f", "T", "@kg.resource"),
    "unnamed": ("def g(): return 1\nf = []\nfor i in range(2): f.append(lambda: i)", "f[0]", "no global name", "of names"),
    "awaited": ("async def g(): return lambda: 1\nf = await g()", "f", "top-level await", "without await"),
}  # fmt: skip


@pytest.mark.parametrize("case", LIVE)
def test_live_objects_are_refused_with_a_way_out(nb: Notebook, case: str) -> None:
    """The message has the variable, its type, where it is used and what to do."""
    cell, name, kind, advice = LIVE[case]
    message = refusal(nb, cell, "def run():\n    return f")
    if hasattr(nb["f"], "close"):
        nb["f"].close()
    assert name in message
    assert kind in message
    assert advice.lower() in message.lower()
    assert "run(), In [3], line 2" in message


def test_all_problems_come_in_one_error(nb: Notebook) -> None:
    """A notebook with three mistakes is told of three."""
    message = refusal(
        nb,
        "import threading\nlock = threading.Lock()",
        "def helper():\n    return scoer() + lock.acquire()\ndef score(): return 1",
        "API_KEY = 'sk-123'\ndef run():\n    return helper(), API_KEY",
    )
    assert "for 3 reasons" in message
    assert "lock is a _thread.lock" in message
    assert "helper(), In [3], line 2" in message
    assert "name 'scoer' is not defined" in message
    assert "Did you mean 'score'?" in message
    assert 'os.environ["API_KEY"]' in message


def test_an_undefined_name_is_forgiven_where_the_code_expects_it(nb: Notebook) -> None:
    """``except NameError`` and globals that a function itself sets are no mistakes."""
    nb.cells(
        "def f():\n    try:\n        nothing\n    except NameError:\n        return 1",
        "def g():\n    global later\n    later = 2\ndef run():\n    g()\n    return f() + later",
    )
    assert nb.both() == 3


@pytest.mark.parametrize("line", ["files = !ls", "%matplotlib inline", "get_ipython().system('ls')"])
def test_magics_in_functions_are_refused(nb: Notebook, line: str) -> None:
    """What only IPython can do exists in no worker."""
    message = refusal(nb, f"def run():\n    {line}")
    assert "magic" in message
    assert "run(), In [2], line 2" in message


def test_big_values_are_refused_with_their_size(nb: Notebook) -> None:
    """Beyond the limit a value is loaded in a step, and a very big one is not even encoded."""
    nb.cell(
        f"import numpy as np, pandas as pd\nframe = pd.DataFrame({{'x': np.random.rand({VALUE_LIMIT_BYTES // 8 + 10})}})"
    )
    message = refusal(nb, "def run(): return frame")
    assert "16 MB" in message
    assert "DataFrame of 2097162 × 1" in message
    assert "Load it in the step" in message
    message = refusal(nb, "frame = np.zeros(200_000_000, dtype='i1')")
    assert "191 MB" in message


def test_values_together_are_limited(nb: Notebook) -> None:
    """Many values that each fit may not fit together."""
    cells = [f"import numpy as np\na{i} = np.random.rand({15 * 2**20 // 8})" for i in range(3)]
    assert "45 MB together" in refusal(nb, *cells, "def run(): return a0, a1, a2")


SECRETS = {
    "API_KEY": True, "openai_api_key": True, "openaiApiKey": True, "token": True, "GITHUB_TOKEN": True, "db_password": True,
    "client_secret": True, "AWS_SECRET_ACCESS_KEY": True, "PASSWD": True, "passphrase": True, "OPENAI_KEY": True, "token2": True,
    "key": False, "sort_key": False, "KEY": False, "tokenizer": False, "TOKEN_URL": False, "tokens": False, "eos_token": False,
    "primary_key": False, "password_field": False, "secretary": False, "monkey": False, "author": False,
}  # fmt: skip


@pytest.mark.parametrize("name", SECRETS)
def test_secrets_are_told_by_their_names(name: str) -> None:
    """Names of secrets are found, and words that only look alike are not."""
    assert (secret_word(name, "x1y2") is not None) == SECRETS[name]


def test_only_text_is_a_secret() -> None:
    """A number, an empty text or a list is none, whatever its name."""
    assert [secret_word("token", value) for value in (3, "", " ", ["a"], None)] == [None] * 5


def test_a_secret_in_an_imported_module_stays_there(
    nb: Notebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``from config import API_KEY`` goes in as that import, so the key is never saved."""
    (tmp_path / "config_for_test.py").write_text("API_KEY = 'sk-very-secret'")
    monkeypatch.syspath_prepend(tmp_path)
    nb.cells("from config_for_test import API_KEY", "def run(): return API_KEY")
    snapshot = nb.freeze()
    assert "sk-very-secret" not in snapshot.source
    assert snapshot.packages["config_for_test"] == "local"
    sys.modules.pop("config_for_test")


STALE = {
    "made with a value changed since": ["n = 2\ndef make(k): return lambda x: x * k", "f = make(n)", "n = 5"],
    "changed in the same cell": ["def make(k): return lambda x: x * k\nn = 2\nf = make(n)\nn = 3"],
    "decorator redefined": [
        "def deco(g): return lambda: g()",
        "@deco\ndef f(): return 1",
        "def deco(g): return lambda: -g()",
    ],
    "base class redefined": ["class A: x = 1", "class f(A): pass", "class A: x = 2"],
    "class attribute": ["X = 1", "class f:\n    x = X", "X = 2"],
    "list of an earlier version": ["def g(): return 1", "f = [g]", "def g(): return 2"],
    "partial of an earlier version": [
        "from functools import partial\ndef g(): return 1",
        "f = partial(g)",
        "def g(): return 2",
    ],
}


@pytest.mark.parametrize("case", STALE)
def test_what_was_made_with_older_code_is_refused(nb: Notebook, case: str) -> None:
    """Made again it would differ from what the notebook has, so the analyst is asked to run the cell again."""
    assert "again" in refusal(nb, *STALE[case], "def run(): return f")


def test_running_the_same_cells_again_is_no_change(nb: Notebook) -> None:
    """A cell executed twice with the same text leaves what was made with it valid."""
    cells = ["n = 2\ndef make(k): return lambda x: x * k", "f = make(n)"]
    nb.cells(*cells, cells[0], "def run(): return f(3)")
    assert nb.both() == 6


def test_a_default_that_is_still_the_same_is_no_change(nb: Notebook) -> None:
    """What counts is the value that the function holds, not that a cell bound the name again."""
    nb.cells("D = 2", "def f(x=D): return x", "D = 1 + 1", "def run(): return f()")
    assert nb.both() == 2


def test_two_steps_of_one_name_are_refused(nb: Notebook) -> None:
    """History could not tell their calls apart."""
    message = refusal(
        nb,
        "@kg.step\ndef f(): return 1\ng = f\n@kg.step\ndef f(): return 2",
        "@kg.agent\nasync def run(): return await f(), await g()",
    )
    assert "two steps are called 'f'" in message


def test_steps_inside_functions_are_refused() -> None:
    """A worker could not find them; the message says so."""

    @kg.step
    def inner() -> int:
        return 1

    with pytest.raises(CannotFreeze, match=r"defined inside test_steps_inside_functions_are_refused\(\)"):
        freeze(inner)


def test_functions_of_a_run_script_are_to_be_imported(nb: Notebook, tmp_path: Path) -> None:
    """``%run helpers.py`` gives functions another namespace; importing it is the way out."""
    (tmp_path / "helpers_run.py").write_text("K = 2\ndef helper(): return K\n")
    message = refusal(nb, f"%run {tmp_path}/helpers_run.py", "def run(): return helper()")
    assert "from helpers_run import helper" in message


def test_a_patched_library_is_refused(nb: Notebook) -> None:
    """A function put into an imported class would be missing in the worker."""
    message = refusal(
        nb,
        "import decimal",
        "def half(self): return self / 2",
        "decimal.half = half",
        "def run(): return decimal.half(2)",
    )
    del sys.modules["decimal"].half  # type: ignore[attr-defined]
    assert "decimal.half" in message
    assert "half" in message


def test_freezing_executes_nothing(nb: Notebook) -> None:
    """No property, factory, __getattr__ or cell runs while freezing."""
    nb.cells(
        "ran = []\nclass Odd:\n    def __getattr__(self, name): ran.append(name); raise AttributeError(name)\n"
        "    def __eq__(self, other): ran.append('eq'); return True\n    def __bool__(self): ran.append('bool'); return True\n"
        "    def __call__(self): ran.append('call')\n    __hash__ = object.__hash__",
        "@kg.resource\ndef client(): ran.append('client')\ncached = 3",
        "odd = Odd()\nlist_of = [odd]\ndef run(): return client, ran and list_of and odd",
    )
    with pytest.raises(CannotFreeze):
        nb.freeze()
    assert [name for name in nb["ran"] if not name.startswith("_")] == []


def test_a_module_without_source_is_no_crash() -> None:
    """Functions from a namespace that has no file and no cells are refused in words."""
    module = types.ModuleType("bare")
    exec("import kaigents_nb as kg\n@kg.step\ndef run(): return 1", vars(module))
    with pytest.raises(CannotFreeze, match="source is not known"):
        freeze(module.run)
