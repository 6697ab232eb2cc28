"""What can't be saved is refused, with its path, its type and what to do."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import datetime as dt
import enum
import functools
import io
import math
import re
import socket
import threading
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kaigents_nb.errors import ConversionError
from kaigents_nb.values.encode import encode
from tests.unit import values_examples as ex


def _local() -> Any:
    @dataclasses.dataclass
    class Inside:
        x: int

    return Inside(1)


def _estimator() -> Any:
    from sklearn.linear_model import LinearRegression

    return LinearRegression()


def _figure() -> Any:
    from matplotlib.figure import Figure

    return Figure()


def _frame_of_locks() -> Any:
    return pd.DataFrame({"a": pd.Series([1, threading.Lock()], dtype=object)})


def _closed_socket() -> Any:
    with socket.socket() as value:
        return value


def _cycle() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


@dataclasses.dataclass
class DictToo(dict[str, int]):
    x: int


REFUSED: dict[str, tuple[Any, str]] = {
    "function": (lambda: len, "type builtin_function_or_method. Functions travel with the code of a run"),
    "lambda": (lambda: lambda: 1, "type function. Functions travel"),
    "decorated": (lambda: functools.lru_cache(_local), "Functions travel"),
    "partial": (lambda: functools.partial(len), "Functions travel"),
    "module": (lambda: math, "type module. Return plain data"),
    "class": (lambda: int, "type type. Return an instance"),
    "generator": (lambda: (i for i in []), "type generator. It can be read only once: return list(x)."),
    "map": (lambda: map(str, []), "return list(x)"),
    "keys": (lambda: {}.keys(), "It is a view of a dict: return list(x)."),
    "file": (lambda: io.StringIO(), "type _io.StringIO. It is an open file: return its content or its path."),
    "socket": (_closed_socket, "make live objects such as clients and connections with @kg.resource."),
    "lock": (threading.Lock, "@kg.resource"),
    "error": (lambda: ValueError("x"), "type ValueError. Return str(error), or raise it."),
    "own class": (ex.Plain, "type tests.unit.values_examples.Plain. Return plain data"),
    "estimator": (_estimator, "Return its parameters (.get_params(), .coef_) or its predictions, or save it to a file"),
    "figure": (_figure, "type matplotlib.figure.Figure. Save the picture with fig.savefig(path) and return the path."),
    "local class": (_local, "Class Inside is defined inside _local(), and can't be found"),
    "cycle": (_cycle, "It is nested more than 150 deep, or contains itself. Flatten it."),
    "default factory": (lambda: collections.defaultdict(lambda: 1), "Its default factory is code; return dict(x)."),
    "masked array": (lambda: np.ma.array([1]), "Convert it first, for example with"),
    "matrix": (lambda: np.array([1]).view(np.recarray), "Convert it first"),
    "objects in a record": (lambda: np.zeros(1, [("a", object)]), "Its dtype [('a', 'O')] can't be saved"),
    "offset": (lambda: pd.DateOffset(days=1), "Convert it first"),
    "dataclass and dict": (lambda: DictToo(1), "DictToo is a dataclass and something else as well"),
    "time zone": (lambda: type("Zone", (dt.tzinfo,), {})(), "Return plain data"),
    "mapping proxy": (lambda: vars(ex.Plain), "type mappingproxy. Return dict(x)."),
    "memoryview": (lambda: memoryview(b""), "Return bytes(x)."),
    "stat": (lambda: __import__("os").stat("."), "type os.stat_result. Return plain data"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_advice(name: str) -> None:
    """The message names the type and the way out, for the value alone and inside of others."""
    make, text = REFUSED[name]
    value = make()
    with pytest.raises(ConversionError, match=r"^Can't save result.*, of type ") as caught:
        encode(value)
    assert text in str(caught.value)
    with pytest.raises(ConversionError, match=r"^Can't save details\['client'\]\[0\]"):
        encode({"n": 1, "client": (value,)}, name="details")


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (lambda bad: {"client": [bad]}, "result['client'][0]"),
        (lambda bad: [1, ("a", {2: bad})], "result[1][1][2]"),
        (lambda bad: ex.Quote(bad, []), "result.supplier"),
        (lambda bad: ex.Point(1, [bad]), "result.y[0]"),
        (lambda bad: ex.Open(x=1, more=bad), "result['more']"),
        (lambda bad: {bad}, "result{…}"),
        (lambda bad: {(bad,): 1}, "result[(<built-in function len>,)][0]"),
        (lambda bad: pd.DataFrame({"a": [0], "b": pd.Series([[bad]], dtype=object)}), "result['b'][0][0]"),
        (lambda bad: pd.Series([1], name=bad), "result"),
        (lambda bad: np.array([None, bad], dtype=object), "result[1]"),
    ],
)
def test_path_leads_to_the_value(make: Any, path: str) -> None:
    """The path can be pasted into a cell to see what was refused."""
    with pytest.raises(ConversionError, match=re.escape(f"Can't save {path}, of type builtin_function_or_method")):
        encode(make(len))


async def test_forgotten_await() -> None:
    """A coroutine or task says that an await is missing."""

    async def work() -> int:
        return 1

    coroutine = work()
    with pytest.raises(ConversionError, match="It was not awaited: write `await` before the call"):
        encode([coroutine])
    task = asyncio.ensure_future(coroutine)
    with pytest.raises(ConversionError, match="It was not awaited"):
        encode(task)
    await task


def test_frame_with_attributes_that_cannot_be_saved() -> None:
    """What .attrs holds is part of the frame."""
    frame = pd.DataFrame({"a": [1]})
    frame.attrs["lock"] = threading.Lock()
    with pytest.raises(ConversionError, match=r"Can't save result\.attrs\['lock'\], of type _thread\.lock"):
        encode(frame)


def test_own_class_of_a_notebook() -> None:
    """A class from a cell gets the advice to become a dataclass."""
    cls = type("Client", (), {"__module__": "__main__"})
    with pytest.raises(ConversionError, match=r"of type Client. If it is data, make Client a @dataclass"):
        encode(cls())


def test_long_paths_are_cut() -> None:
    """A path of hundreds of steps stays readable."""
    value: Any = len
    for _ in range(120):
        value = [value]
    with pytest.raises(ConversionError) as caught:
        encode(value)
    assert len(str(caught.value)) < 600


def test_enum_of_a_function_is_refused() -> None:
    """A class that nobody else can find can't be saved, whatever its kind."""

    class Local(enum.Enum):
        A = 1

    with pytest.raises(ConversionError, match="Class Local is defined inside"):
        encode(Local.A)


def test_deep_but_legal_nesting() -> None:
    """Fifty levels are no problem, a thousand are refused and don't crash."""
    value: Any = ()
    for _ in range(50):
        value = {"a": (value,)}
    encode(value)
    for _ in range(1000):
        value = [value]
    with pytest.raises(ConversionError, match="nested"):
        encode(value)
