"""Tracebacks show the analyst's cells and the libraries they call, and nothing of the machinery."""

# ruff: noqa: E501 - a cell or program is one line of text here
from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from kaigents_nb.snapshot.load import load
from kaigents_nb.snapshot.module import Snapshot
from kaigents_nb.snapshot.tracebacks import LIMIT_CHARS, analyst_traceback
from tests.unit.snapshot_cells import Notebook, notebook


@pytest.fixture
def nb() -> Iterator[Notebook]:
    with notebook() as found:
        yield found


def failure(nb: Notebook, *cells: str, args: tuple[Any, ...] = (), limit: int = LIMIT_CHARS) -> str:
    nb.cells(*cells)
    snapshot = nb.freeze()
    fn = load(snapshot, [snapshot.root], for_agent=False).get(snapshot.root)
    try:
        fn(*args)
    except BaseException as error:
        return analyst_traceback(error, snapshot, limit)
    raise AssertionError("it did not fail")


def test_lines_are_lines_of_cells(nb: Notebook) -> None:
    """Each frame names its cell and the line in it, with the source and what Python marks in it."""
    text = failure(nb, "\ndef rate(c):\n    return {'CN': 1}[c]", "def run():\n    x = 1\n    return rate('VN') + x")
    assert text.split("\n")[0] == "Traceback (most recent call last):"
    assert "  In [3], line 3, in run\n    return rate('VN') + x" in text
    assert "  In [2], line 3, in rate\n    return {'CN': 1}[c]\n" in text
    assert "~~~^^^" in text
    assert text.endswith("\nKeyError: 'VN'")
    assert "kaigents" not in text


def test_libraries_below_are_shown(nb: Notebook) -> None:
    """Frames of what the analyst's code called are kept, their paths short."""
    text = failure(nb, "import json\nimport pandas as pd", "def run():\n    return pd.DataFrame({'a': [1]})['b']")
    assert "  In [3], line 2, in run\n" in text
    assert "  pandas/core/frame.py, line " in text
    assert text.endswith("KeyError: 'b'")
    text = failure(nb, "def run():\n    return json.loads('{')")
    assert "  json/decoder.py, line " in text


def test_the_machinery_is_not_shown(nb: Notebook) -> None:
    """asyncio and kaigents_nb frames above and between are left out."""
    text = failure(
        nb,
        "import asyncio\nasync def inner():\n    raise ValueError('x')\nasync def outer():\n    await asyncio.wait_for(inner(), 5)",
        "def run():\n    kg.track(boom()).__next__()",
        "def boom():\n    yield asyncio.run(outer())",
    )
    assert [line.strip() for line in text.split("\n") if line.startswith("  In")] == [
        "In [3], line 2, in run",
        "In [4], line 2, in boom",
        "In [2], line 5, in outer",
        "In [2], line 3, in inner",
    ]
    assert "asyncio/" not in text
    assert "progress.py" not in text


def test_causes_contexts_and_notes_are_kept(nb: Notebook) -> None:
    """The chain of exceptions reads as Python prints it."""
    text = failure(
        nb,
        "def run():\n    try:\n        try:\n            1 / 0\n        except ZeroDivisionError:\n            {}['k']\n"
        "    except KeyError as e:\n        error = ValueError('bad')\n        error.add_note('look at supplier 3')\n        raise error from e",
    )
    assert text.index("ZeroDivisionError") < text.index("During handling") < text.index("KeyError: 'k'")
    assert text.index("KeyError: 'k'") < text.index("direct cause") < text.index("ValueError: bad\nlook at supplier 3")
    text = failure(
        nb,
        "def run():\n    try:\n        1 / 0\n    except ZeroDivisionError:\n        raise ValueError('y') from None",
    )
    assert "ZeroDivisionError" not in text.replace("except ZeroDivisionError", "")


def test_groups_show_their_members(nb: Notebook) -> None:
    """An ExceptionGroup lists what is in it."""
    text = failure(nb, "def run():\n    raise ExceptionGroup('two', [ValueError('a'), KeyError('b')])")
    assert "ExceptionGroup: two (2 sub-exceptions)" in text
    assert "ValueError: a" in text
    assert "KeyError: 'b'" in text


def test_deep_recursion_is_folded(nb: Notebook) -> None:
    """A thousand calls of the same line are said in one."""
    text = failure(nb, "def f(n):\n    return f(n + 1)", "def run():\n    return f(0)")
    assert "more times]" in text
    assert len(text) < 2000
    text = failure(nb, "def a(n):\n    return b(n + 1)\ndef b(n):\n    return a(n)", "def run():\n    return a(0)")
    assert "calls left out" in text
    assert len(text) < 5000


def test_odd_exceptions_do_no_harm(nb: Notebook) -> None:
    """A huge message is cut, lone surrogates are escaped, a broken __str__ and a cycle of causes are borne."""
    text = failure(nb, "def run():\n    raise ValueError('x' * 100_000)")
    assert len(text) < LIMIT_CHARS
    assert "ValueError: xxx" in text and text.endswith("xxx")
    text = failure(nb, "def run():\n    raise ValueError('first ' + 'x' * 100_000 + ' last')", limit=2_500)
    assert len(text) <= 2_500 and text.startswith("Traceback (most recent call last):\n  In [")
    assert "ValueError: first xxx" in text and text.endswith("xxx last")
    text = failure(nb, "def run():\n    raise ValueError('\\udc80')")
    assert text.encode().endswith(rb"ValueError: \udc80")
    text = failure(nb, "class Odd(Exception):\n    def __str__(self): raise RuntimeError\ndef run():\n    raise Odd")
    assert "Odd: <exception str() failed>" in text
    text = failure(
        nb, "def run():\n    a, b = ValueError('a'), ValueError('b')\n    a.__cause__, b.__cause__ = b, a\n    raise a"
    )
    assert text.count("direct cause") == 1
    text = failure(nb, "def run():\n    compile('x =', 'cell', 'exec')")
    assert "SyntaxError: invalid syntax" in text


def test_huge_messages_leave_room_for_the_lines(nb: Notebook) -> None:
    """However long the messages of a chain are, every place where one was raised is shown."""
    text = failure(
        nb,
        "def run():\n    try:\n        try:\n            raise KeyError('x' * 50_000)\n        except KeyError as e:\n"
        "            raise TypeError('y' * 50_000) from e\n    except TypeError as e:\n        raise ValueError('z' * 50_000) from e",
    )
    assert [line for line in text.split("\n") if line.startswith("  In")] == [
        f"  In [2], line {number}, in run" for number in (4, 6, 8)
    ]
    assert len(text) < LIMIT_CHARS


def test_a_long_chain_is_bounded(nb: Notebook) -> None:
    """Of thousands of exceptions, each raised while handling the one before, the first and the last are shown."""
    text = failure(
        nb,
        "def run():\n    last = None\n    for n in range(3000):\n        error = ValueError(n)\n"
        "        error.__cause__, last = last, error\n    raise last",
    )
    assert text.startswith("ValueError: 0\n")
    assert text.endswith("\nValueError: 2999")
    assert len(text) <= LIMIT_CHARS


def test_an_exception_without_frames_of_the_analyst_is_one_line(nb: Notebook) -> None:
    """What fails in the machinery shows no foreign frames."""
    nb.cell("def run(): return 1")
    snapshot: Snapshot = nb.freeze()
    try:
        asyncio.get_running_loop()
    except RuntimeError as error:
        assert analyst_traceback(error, snapshot) == "RuntimeError: no running event loop"
