"""The notebooks as they are committed: code and prose, nothing that a run or a machine has left."""

from __future__ import annotations

import re
from typing import Any

import nbformat
import pytest

from tests.support import ROOT

FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))

MACHINE_PATH = re.compile(r"(?<![\w.])(/(home|root|work|tmp|Users|opt|usr|var)/|[A-Z]:\\\\)")


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request: pytest.FixtureRequest) -> Any:
    """Return each committed notebook."""
    return nbformat.read(request.param, as_version=4)


def test_reading_order_has_no_gap() -> None:
    """The notebooks are numbered from 01 on."""
    assert [path.stem[:2] for path in NOTEBOOKS] == [f"{n:02}" for n in range(1, len(NOTEBOOKS) + 1)]


def test_valid(notebook: Any) -> None:
    """The notebook is valid and asks for any Python 3 kernel."""
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"


def test_no_trace_of_a_run(notebook: Any) -> None:
    """No outputs, execution counts, widget state or cell metadata are committed."""
    assert "widgets" not in notebook.metadata
    for cell in notebook.cells:
        assert not cell.metadata, cell.id
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None), cell.id


def test_no_machine_paths(notebook: Any) -> None:
    """Nothing in it names a folder of the machine it was written on."""
    for cell in notebook.cells:
        assert not MACHINE_PATH.search(cell.source), cell.id


def test_cell_ids_are_words(notebook: Any) -> None:
    """Cell ids are given by hand, so that they stay the same and tests can point at a cell."""
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    for cell_id in ids:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", cell_id), cell_id


def test_links_between_notebooks(notebook: Any) -> None:
    """Every link to another notebook leads to one."""
    for cell in notebook.cells:
        for target in re.findall(r"\]\(([^):]+\.ipynb)\)", cell.source):
            assert (FOLDER / target).exists(), target
