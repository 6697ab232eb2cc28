"""Moments of runs from cells: which line, as Jupyter shows it, and which variables, before and after a call."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import kaigents_nb as kg
from kaigents_nb.control.run import Run
from kaigents_nb.errors import NoSuchMoment, RunFailed
from tests.unit.snapshot_cells import Notebook, notebook

pytestmark = pytest.mark.usefixtures("server")

STEP = "@kg.step\nasync def add(x, y=1):\n    return x + y"
HELPERS = """\
# some lines
# before
async def last_return(x):
    doubled = x * 2
    return await add(doubled)

async def last_assignment(x):
    before = x
    found = await add(x)

class Basket:
    async def run(self, x):
        self.total = await add(x)

async def deep(x):
    found = 0
    try:
        with_it = 1
    finally:
        found += await add(x)
"""
AGENTS = """\
import asyncio

@kg.agent
async def inner(x):
    kept = await add(x)

class Other:
    async def run(self, x):
        self.total = await add(x, 5)

@kg.agent
async def outer(x):
    state = {}
    basket, other = Basket(), Other()
    one = await last_return(x)
    await last_assignment(x)
    await basket.run(x)
    await other.run(x)
    await deep(x)
    nothing = await inner(
        x,
    )
    many = [await add(i) for i in range(2)]
    for i in range(2):
        state[i] = await add(i)
    a, b = await asyncio.gather(add(10), add(20))
    if (walrus := await add(30)) > 1:
        state["walrus"] = walrus
    decision = await kg.approve("Go on?")
    total = await add(a, y=b)
"""
BREAKS = """\
@kg.agent
async def breaks(x):
    y = await add(x)
    if y > 2:
        raise ValueError(y)
    return y
"""


@pytest.fixture(scope="module")
def nb() -> Iterator[Notebook]:
    with notebook() as found:
        found.cells(STEP, HELPERS, AGENTS)
        yield found


@pytest.fixture(scope="module")
def run(server: object, nb: Notebook) -> Run:
    started: Run = nb["outer"].start(1)
    started.wait_for_gate(30)
    assert started.at("last").variables["a"] == 11
    assert "decision" not in started.at("last").after().variables
    started.approve()
    started.result(30)
    return started


NOTHING = object()
CALLS = [
    # which call of add, function, text, name, its value before the await and after it
    (1, "last_return", "return await add(doubled)", "doubled", 2, 2),
    (2, "last_assignment", "found = await add(x)", "found", NOTHING, 2),
    (5, "deep", "found += await add(x)", "found", 0, 2),
    (6, "outer", "many = [await add(i) for i in range(2)]", "many", NOTHING, [1, 2]),
    (8, "outer", "state[i] = await add(i)", "state", {}, {0: 1}),
    (9, "outer", "state[i] = await add(i)", "state", {0: 1}, {0: 1, 1: 2}),
    (10, "outer", "a, b = await asyncio.gather(add(10), add(20))", "b", NOTHING, 21),
    (11, "outer", "a, b = await asyncio.gather(add(10), add(20))", "a", NOTHING, 11),
    (12, "outer", "if (walrus := await add(30)) > 1:", "walrus", NOTHING, 31),
    (13, "outer", "total = await add(a, y=b)", "total", NOTHING, 32),
]


@pytest.mark.parametrize(("number", "function", "source", "name", "before", "after"), CALLS)
def test_a_step_is_before_its_await_and_after_it(
    run: Run, number: int, function: str, source: str, name: str, before: object, after: object
) -> None:
    """On every line, also a function's last, ``at(step=)`` is before the await, and ``after()`` when it was over."""
    moment = run.at(step=("add", number))
    assert (moment.function, moment.source, moment.step) == (function, source, "add")
    assert "add" in moment.waiting_for
    assert moment.variables.get(name, NOTHING) == before
    over = moment.after()
    assert over.variables[name] == after and "add" not in over.waiting_for
    assert (over.source, over.number, over.code_line) == (moment.source, moment.number, moment.code_line)
    assert over.event_id >= moment.event_id and over.time >= moment.time
    assert over.changes.get(name, after) == after


def test_an_object_and_a_called_agent_too(run: Run) -> None:
    """What a line writes into an object, and the last line of an agent that an agent calls."""
    basket = run.at(step=("add", 3))
    assert "total" not in vars(basket.variables["self"]) and basket.after().variables["self"].total == 2
    call = run.at(step="inner")
    assert "nothing" not in call.variables and call.after().variables["nothing"] is None
    child = Run(kg.connect(), f"{run.id}/inner-6")
    assert child.at(step="add").variables == {"x": 1}
    assert child.at(step="add").after().variables == child.at("last").variables == {"x": 1, "kept": 2}


def test_the_last_line_of_a_function_by_its_number_is_as_the_function_left_it(run: Run) -> None:
    """Nothing later shows that."""
    last = run.at("last")
    assert (last.variables["total"] == 32 and last == last.after()) or last.variables == last.after().variables
    assert run.at(step=("add", -1)).variables.get("total") is None
    assert run.at(step=("add", -1)) != last


def test_line_numbers_are_those_of_the_cell_everywhere(run: Run, nb: Notebook) -> None:
    """trace(), variables(), at(), frames, explorer, diff, errors: the number that Jupyter shows beside the line."""
    lines = run.trace()
    texts = {cell: text.split("\n") for cell, text in _cells(nb).items()}
    for row in lines.itertuples():
        assert texts[row.cell][row.line - 1].strip().startswith(row.source), row
        assert run.code().split("\n")[row.code_line - 1].strip() == row.source
    for row in run.variables().itertuples():
        text = texts[row.cell][row.line - 1]
        assert row.variable in text or "def " in text or "await " in text, row
    for number in range(len(lines)):
        moment = run.at(number)
        assert moment.line == lines.line[number] and moment.cell == (lines.cell[number], lines.line[number])
        assert f"{lines.cell[number]}, line {moment.line}" in repr(moment)
        assert f"{lines.cell[number]}, line {moment.line}" in moment._repr_html_()
        assert moment.frames[0].line == moment.line


def test_a_line_that_several_cells_have_is_asked_back(run: Run) -> None:
    """By its cell, or by its function, it is one line; a bare number that one cell has is enough."""
    lines = run.trace()
    shared = [int(line) for line in set(lines.line) if lines[lines.line == line].cell.nunique() > 1]
    assert shared
    for line in shared:
        with pytest.raises(NoSuchMoment, match=r"in 2 cells\. Say which: run\.at\(line=\('In \["):
            run.at(line=line)
        for cell in set(lines[lines.line == line].cell):
            assert run.at(line=(cell, line)).cell == (cell, line)
    only = next(int(line) for line in lines.line if line not in shared)
    assert run.at(line=only).line == only
    assert run.at(line=("last_return", 5)).source == "return await add(doubled)"
    with pytest.raises(NoSuchMoment, match=r"line 99 of deep\. Executed: "):
        run.at(line=("deep", 99))


def test_errors_tracebacks_and_differences_have_the_same_numbers(nb: Notebook) -> None:
    """A failure's traceback, its moment, its row and a diff name one line."""
    nb.cell(BREAKS)
    label = f"In [{nb.shell.execution_count - 1}]"
    fine, broken = nb["breaks"].start(1), nb["breaks"].start(5)
    fine.result(20)
    with pytest.raises(RunFailed) as failed:
        broken.result(20)
    assert f"{label}, line 5, in breaks" in str(failed.value)
    moment = broken.at("failure")
    assert (moment.cell, moment.line) == ((label, 5), 5)
    lines = broken.trace()
    assert lines[lines.raised != ""][["cell", "line"]].values.tolist() == [[label, 5]]
    parts = kg.diff(fine, broken)
    assert f"x in breaks, {label}, line 3" in set(parts["where"])
    assert parts[parts.kind == "line"]["where"].tolist() == [f"breaks, {label}, line 6"]


PRINTS = """\
import sys, traceback, warnings

@kg.step
def prints():
    warnings.warn("careful")
    try:
        1 / 0
    except ZeroDivisionError:
        traceback.print_exc()

@kg.agent
async def asks():
    await prints()
"""


def test_what_a_step_prints_of_its_lines_has_the_same_numbers(nb: Notebook) -> None:
    """A traceback that it prints itself, and a warning."""
    nb.cell(PRINTS)
    label = f"In [{nb.shell.execution_count - 1}]"
    run = nb["asks"].start()
    with pytest.warns(UserWarning, match="careful"):
        run.result(20)
    [printed] = run.steps().output
    assert f"{label}, line 7, in prints" in printed and "kaigents " not in printed


def test_a_file_beside_the_notebook_is_named_too(nb: Notebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What its code is refused, by its own line."""
    (tmp_path / "reads_beside.py").write_text("import io\n\ndef read(name):\n    return io.open(name).read()\n")
    monkeypatch.syspath_prepend(tmp_path)
    nb.cell("import reads_beside\n\n@kg.agent\nasync def reads(name):\n    return reads_beside.read(name)")
    run = nb["reads"].start(str(tmp_path / "reads_beside.py"))
    with pytest.raises(RunFailed, match=r"open '.*' can't be used in an agent \(reads_beside\.py, line 4\)"):
        run.result(20)


def _cells(nb: Notebook) -> dict[str, str]:
    return {f"In [{number}]": text for number, text in enumerate(nb.shell.user_ns["In"])}
