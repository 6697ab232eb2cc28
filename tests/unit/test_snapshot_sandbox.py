"""In the workflow sandbox, agents are guarded and their classes still work."""

# ruff: noqa: E501 - a cell or program is one line of text here
from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from typing import Any

import pytest
from temporalio.worker.workflow_sandbox import RestrictedWorkflowAccessError, SandboxRestrictions
from temporalio.worker.workflow_sandbox._importer import Importer
from temporalio.worker.workflow_sandbox._restrictions import RestrictionContext

from kaigents_nb.snapshot.load import LoadedCode, load
from tests.unit.snapshot_cells import notebook

CELLS = [
    "from datetime import datetime, date\nimport datetime as dt, random, uuid, time, collections\nfrom typing import NamedTuple, Optional",
    "from dataclasses import dataclass, field\nfrom pydantic import BaseModel",
    "class Model(BaseModel):\n    when: datetime\n    day: Optional[dt.date] = None\n    next: 'Optional[Later]' = None",
    "class Later(BaseModel):\n    at: datetime",
    "@dataclass\nclass Quote:\n    at: datetime\n    days: list[date] = field(default_factory=list)\n    def age(self): return datetime.now()",
    "class Pair(NamedTuple):\n    a: date\nPoint = collections.namedtuple('Point', 'x')\nStamp = datetime | None",
    "def clock(at: datetime = None): return datetime.now()\nDAY = date(2024, 1, 2)\nquote = Quote(datetime(2024, 1, 2), [DAY])",
    "@kg.agent\nasync def run(kind, when: datetime = DAY):\n    Later, Pair, Point, Stamp, clock, random, uuid, time, quote, open\n"
    "    if kind == 'model': return Model(when='2024-01-01T00:00', day='2024-01-02', next={'at': '2024-01-03'})\n"
    "    if kind == 'quote': return Quote(datetime(2024, 1, 1), [DAY]), Pair(DAY), quote\n"
    "    if kind == 'age': return quote.age()\n"
    "    if kind == 'clock': return clock()\n"
    "    if kind == 'random': return random.random()\n"
    "    if kind == 'open': return open('/dev/null')\n"
    "    if kind == 'uuid': return uuid.uuid4()\n"
    "    if kind == 'is': return isinstance(DAY, date), isinstance(quote.at, datetime)",
]


@pytest.fixture
def loaded() -> Iterator[LoadedCode]:
    """The agent's code, loaded and used as a workflow would."""
    with notebook() as nb:
        nb.cells(*CELLS)
        snapshot = nb.freeze()
    context = RestrictionContext()
    importer = Importer(SandboxRestrictions.default.with_passthrough_all_modules(), context)
    context.is_runtime = True
    with importer.applied():
        yield load(snapshot, ["run"], for_agent=True, unwrap=RestrictionContext.unwrap_if_proxied)


def execute(loaded: LoadedCode, kind: str) -> Any:
    coroutine = loaded.get("run").fn(kind)
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it awaited something")


def test_classes_see_the_real_types(loaded: LoadedCode) -> None:
    """pydantic, dataclasses and NamedTuple build their fields from the real datetime."""
    model = execute(loaded, "model")
    assert model.when == datetime(2024, 1, 1)
    assert model.day == date(2024, 1, 2)
    assert model.next.at == datetime(2024, 1, 3)
    quote, pair, captured = execute(loaded, "quote")
    assert (quote.days, pair.a) == ([date(2024, 1, 2)], date(2024, 1, 2))
    assert captured.at == datetime(2024, 1, 2)
    assert loaded.get("Quote").__annotations__["at"] is datetime
    assert loaded.get("run").fn.__annotations__["when"] is datetime
    assert loaded.resolve("__main__", "Quote") is type(captured)
    assert loaded.resolve("datetime", "datetime") is datetime
    assert execute(loaded, "is") == (True, True)


@pytest.mark.parametrize("kind", ["age", "clock", "random", "open", "uuid"])
def test_what_cannot_be_replayed_is_guarded(loaded: LoadedCode, kind: str) -> None:
    """Functions and methods call the guarded modules, also after classes were made with the real ones."""
    with pytest.raises(RestrictedWorkflowAccessError):
        execute(loaded, kind)


def test_the_same_code_outside_is_free() -> None:
    """A step's namespace has nothing of the sandbox in it."""
    with notebook() as nb:
        nb.cells(*CELLS)
        snapshot = nb.freeze()
        code = load(snapshot, ["run"], for_agent=False)
        assert isinstance(code.get("clock")(), datetime)
        assert code.namespace["datetime"] is datetime
