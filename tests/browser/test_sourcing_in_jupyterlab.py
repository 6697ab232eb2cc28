"""The running example as an analyst meets it: JupyterLab, a browser, and a click on the card."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

import kaigents_nb as kg
from kaigents_nb.display.kept import GONE
from kaigents_nb.display.kernel import WIDGET_VIEW
from tests.browser.conftest import Lab, NotebookPage, Opener

CHOICE = "Mekong Solar Works"
EXECUTING = "[*]:"
"""What JupyterLab writes beside a cell that is executed or waits for it."""


@pytest.fixture
def sourcing(open_notebook: Opener) -> NotebookPage:
    """Open the sourcing agent's notebook, run it all and wait until its card asks."""
    notebook = open_notebook("02_sourcing_agent")
    notebook.menu("Run", "Run All Cells")
    expect(notebook.button("Approve")).to_be_visible()
    return notebook


def test_run_all_and_approve(sourcing: NotebookPage) -> None:
    """The click is heard while the cell below awaits the run; page, server and saved notebook agree on the end."""
    page, run_id = sourcing.page, sourcing.run_id()
    sourcing.button("Approve").click()
    expect(page.get_by_role("alert").filter(has_text="Choose one of the options first.")).to_be_visible()
    page.get_by_label("Option").select_option(CHOICE)
    page.get_by_label("Comment").fill("good rating")
    expect(page.get_by_text(EXECUTING)).to_have_count(4)
    sourcing.button("Approve").click()

    expect(page.get_by_text(f"Approved: {CHOICE} by").filter(visible=True)).to_be_visible()
    expect(page.get_by_text(f"Dear {CHOICE} team")).to_be_visible()
    expect(page.get_by_text(EXECUTING)).to_have_count(0)
    expect(page.get_by_role("cell", name="contact_manufacturer").first).to_be_visible()
    expect(sourcing.button("Approve")).to_have_count(0)

    run = kg.run(run_id)
    assert run.result(30)["supplier"] == CHOICE
    assert run.status == "completed"
    [decision] = run.decisions().to_dict("records")
    assert (decision["choice"], decision["comment"], decision["counted"]) == (CHOICE, "good rating", True)

    saved = sourcing.save()
    assert "widgets" not in saved["metadata"]
    outputs = {cell["id"]: cell["outputs"] for cell in saved["cells"] if cell["cell_type"] == "code"}
    assert not any(WIDGET_VIEW in output.get("data", {}) for shown in outputs.values() for output in shown)
    card, gone = outputs["start"]
    assert sorted(card["data"]) == ["text/html", "text/plain"]
    assert {kind: "".join(lines) for kind, lines in gone["data"].items()} == GONE
    assert f"Approved: {CHOICE}" in "".join(card["data"]["text/html"])
    assert "good rating" in "".join(card["data"]["text/plain"])


def test_a_saved_card_is_live_again_after_a_reload(sourcing: NotebookPage) -> None:
    """The page of a saved notebook is reloaded at the gate: the card is there again, and its button works."""
    page, run_id = sourcing.page, sourcing.run_id()
    sourcing.save()
    page.reload()
    page.get_by_label("Option").select_option(CHOICE)
    sourcing.button("Approve").click()
    expect(page.get_by_text(f"Approved: {CHOICE} by").filter(visible=True)).to_be_visible()
    assert kg.run(run_id).result(30)["supplier"] == CHOICE


def test_another_notebook_decides_and_goes_on(sourcing: NotebookPage, open_notebook: Opener, lab: Lab) -> None:
    """The kernel is gone at the gate: kg.run(id) in another notebook has the card, and its kernel does the rest."""
    run_id = sourcing.run_id()
    lab.end_kernels()
    other = open_notebook(f"import kaigents_nb as kg\nkg.run({run_id!r})")
    other.menu("Run", "Run All Cells")
    other.page.get_by_label("Option").select_option(CHOICE)
    other.button("Approve").click()
    expect(other.page.get_by_text(f"Approved: {CHOICE} by").filter(visible=True)).to_be_visible()
    expect(other.page.get_by_role("cell", name="contact_manufacturer")).to_be_visible()
    assert kg.run(run_id).result(30)["supplier"] == CHOICE
