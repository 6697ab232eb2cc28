"""The notebooks run from top to bottom, with a person who decides from outside, through the public API."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import psutil
import pytest
from nbclient import NotebookClient

import kaigents_nb as kg
from kaigents_nb.server.embedded import ServerInfo
from tests.support import ROOT

Decide = Callable[[Any], object]
Execute = Callable[..., Any]


class Person(threading.Thread):
    """Decides every gate that opens while the notebook runs; ``decided`` has the run ids."""

    def __init__(self, agent: str, decide: Decide) -> None:
        super().__init__(name="person", daemon=True)
        self._agent, self._decide = agent, decide
        self._gone = threading.Event()
        self._old = set(kg.pending()["run_id"])
        self.decided: list[str] = []
        self.error: Exception | None = None

    def run(self) -> None:
        """Look at what is pending until sent away."""
        while not self._gone.wait(0.2):
            pending = kg.pending()
            for run_id in pending[pending["agent"] == self._agent]["run_id"]:
                if run_id not in self._old:
                    self._old.add(run_id)
                    try:
                        self._decide(kg.run(run_id))
                    except Exception as error:
                        self.error = error
                    self.decided.append(run_id)

    def leave(self) -> None:
        """Stop deciding; raise what went wrong."""
        self._gone.set()
        self.join(timeout=30)
        if self.error is not None:
            raise self.error


@pytest.fixture
def execute(server: ServerInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Execute]:
    """Return a function that runs a notebook in a folder of its own and gives it back with its outputs."""
    # This process decides and must not execute anything.
    monkeypatch.setenv("KAIGENTS_WORKER", "off")
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    assert kg.connect().address == server.address

    def run(name: str, agent: str = "", decide: Decide | None = None) -> Any:
        copy = shutil.copy(ROOT / "notebooks" / f"{name}.ipynb", tmp_path)
        notebook = nbformat.read(copy, as_version=4)
        environment = {key: value for key, value in os.environ.items() if key != "KAIGENTS_WORKER"}
        client = NotebookClient(
            notebook,
            timeout=180,
            kernel_name="python3",
            store_widget_state=False,
            resources={"metadata": {"path": str(tmp_path)}},
        )
        person = Person(agent, decide) if decide is not None else None
        if person is not None:
            person.start()
        left: list[psutil.Process] = []  # what a notebook that fails has no cell left to stop
        try:
            with client.setup_kernel(env=environment):
                kernel = psutil.Process(client.km.provisioner.pid)
                try:
                    for index, cell in enumerate(notebook.cells):
                        client.execute_cell(cell, index)
                finally:
                    left = kernel.children(recursive=True)
        finally:
            for process in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            if person is not None:
                person.leave()
        assert person is None or len(person.decided) == 1
        return notebook

    yield run
    kg.disconnect()


def text(notebook: Any, cell_id: str) -> str:
    """Return all that a cell has put out, as plain text."""
    (cell,) = [cell for cell in notebook.cells if cell.id == cell_id]
    parts = []
    for output in cell.outputs:
        assert output.output_type != "error"
        parts.append(output.text if output.output_type == "stream" else output.data.get("text/plain", ""))
    return "\n".join(parts)


def test_quickstart(execute: Execute) -> None:
    """The quickstart finds the cheapest quote, shows two steps and finds the run again."""
    notebook = execute("01_quickstart")
    assert "Helian Photovoltaics" in text(notebook, "result")
    for step in ("find_quotes", "cheapest"):
        assert step in text(notebook, "steps-table")
    assert text(notebook, "again") == text(notebook, "result")
    assert "best_offer" in text(notebook, "runs")


def test_quickstart_is_ten_lines() -> None:
    """What an analyst writes in the quickstart is ten lines."""
    notebook = nbformat.read(ROOT / "notebooks/01_quickstart.ipynb", as_version=4)
    (source,) = [cell.source for cell in notebook.cells if cell.id == "agent"]
    assert len([line for line in source.splitlines() if line.strip()]) == 10


def test_sourcing_agent_approved(execute: Execute, tmp_path: Path) -> None:
    """The supplier that a person chooses gets exactly one letter; the decision is on record."""
    notebook = execute(
        "02_sourcing_agent",
        "sourcing_agent",
        lambda run: run.approve(choice="Mekong Solar Works", by="Ada", comment="good rating"),
    )
    assert "'contacted'" in text(notebook, "result")
    (letter,) = (tmp_path / "outbox").iterdir()
    assert "Dear Mekong Solar Works team" in letter.read_text()
    assert "Dear Mekong Solar Works team" in text(notebook, "letter")
    for step in ("search_suppliers", "analyze_tariffs", "contact_manufacturer"):
        assert step in text(notebook, "steps-table")
    assert "Ada" in text(notebook, "decisions")


def test_sourcing_agent_rejected(execute: Execute, tmp_path: Path) -> None:
    """After a rejection nothing is written to anybody, and the notebook still runs to its end."""
    notebook = execute("02_sourcing_agent", "sourcing_agent", lambda run: run.reject(comment="too expensive", by="Ada"))
    assert "'rejected'" in text(notebook, "result")
    assert "too expensive" in text(notebook, "result")
    assert not (tmp_path / "outbox").exists()


def test_crash_and_resume(execute: Execute, tmp_path: Path) -> None:
    """A worker is killed in a step; another goes on and no finished step ran twice."""
    notebook = execute("03_crash_and_resume")
    assert "No finished step ran twice." in text(notebook, "check")
    lines = [line.split(", process ") for line in (tmp_path / "ledger.txt").read_text().splitlines()]
    assert [what for what, _ in lines].count("find_prices begins") == 1
    first, second = lines[0][1], lines[-1][1]
    assert first != second
    assert [process for _, process in lines] == [first] * 3 + [second] * 4
    assert "59.66" in text(notebook, "resume")


@pytest.mark.parametrize("published", [True, False], ids=["published", "rejected"])
def test_analyst_pipeline(execute: Execute, tmp_path: Path, published: bool) -> None:
    """The fit is as good as ever, a report is there if it was approved, and the plot is drawn."""
    notebook = execute(
        "04_analyst_pipeline",
        "progression_study",
        lambda run: run.approve(by="Grace") if published else run.reject(by="Grace"),
    )
    assert "'patients': 433" in text(notebook, "result")
    assert "Grace" in text(notebook, "decisions")
    report = tmp_path / "reports/diabetes.md"
    assert report.exists() == published
    if published:
        assert "Released by Grace" in report.read_text()
    (plot,) = [cell for cell in notebook.cells if cell.id == "plot"]
    assert any("image/png" in output.get("data", {}) for output in plot.outputs)


def test_time_travel(execute: Execute, tmp_path: Path) -> None:
    """A run goes wrong at its seventh step; the fork runs from there with the mended cell, and nothing before it."""
    notebook = execute("05_time_travel")
    assert "ValueError: The buildings used 5,049,576 kWh" in text(notebook, "failed")
    assert "raise ValueError" in text(notebook, "failure")
    assert "5040000.0" in text(notebook, "prev")
    assert "5048736.0" in text(notebook, "variables")
    for shown in ("step", "explore"):
        assert "building = 'pool'" in text(notebook, shown)
        assert "* days = DataFrame 7 × 2: day, kwh" in text(notebook, shown)

    used = pd.read_csv(tmp_path / "report.csv").set_index("building")["kwh"]
    assert used["pool"] == 5040
    assert used.sum() == 14_616
    buildings = ["town hall", "library", "school", "museum", "depot", "theatre", "pool", "fire station"]
    first, after = [f"daily_use {building}" for building in buildings], ["main_meter", "write_report"]
    assert (tmp_path / "ledger.txt").read_text().splitlines() == [*first, "main_meter", *first[6:], *after]
    assert "step output" in text(notebook, "diff").splitlines()[1]
    assert re.search(r"\bcompleted\b[\s\S]+\bfailed\b", text(notebook, "runs"))


def test_model_agent(execute: Execute, tmp_path: Path) -> None:
    """A model chooses the tools, meets an outage, and its order waits for a person."""
    notebook = execute("06_model_agent", "sourcing", lambda run: run.approve(comment="as agreed"))
    assert "Done: ordered 500 units from" in text(notebook, "result")
    assert len((tmp_path / "orders.txt").read_text().splitlines()) == 1
    assert re.search(r"landed_cost\]\s*$", text(notebook, "calls"), re.MULTILINE)
    assert re.search(r"^1 +scripted/sourcing .* 3 +\\?$", text(notebook, "calls"), re.MULTILINE)
    assert "USD landed" in text(notebook, "agent-as-tool")
    assert text(notebook, "critic") == "'Helian is cheapest.'"


def test_rows(execute: Execute) -> None:
    """A worker is killed in the middle of 500 rows, and none that was answered is asked again."""
    notebook = execute("07_rows")
    assert "requests for 500 words" in text(notebook, "proof")
    assert re.match(r"9\d% as the ten people say", text(notebook, "truth"))
