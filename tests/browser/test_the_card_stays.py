"""The card outlives its kernel, its page and its run: what is seen is true, and what is saved is static."""

from __future__ import annotations

import json
import re
from typing import Any

from playwright.sync_api import expect

import kaigents_nb as kg
from kaigents_nb.display.kernel import WIDGET_VIEW
from tests.browser.conftest import Lab, NotebookPage, Opener

AGENT = """
import kaigents_nb as kg

@kg.agent
async def buyer(product):
    decision = await kg.approve("Pay $61.50 to $68.90?", details={"to": "Ann"}, options=["Helian", "Mekong"])
    return f"{product} from {decision.choice}"

run = buyer.start("solar panel")
run
"""


def opened(open_notebook: Opener) -> tuple[NotebookPage, str]:
    """Run the cell; return the page, whose card asks, and the run's id."""
    notebook = open_notebook(AGENT)
    notebook.menu("Run", "Run All Cells")
    expect(notebook.button("Helian")).to_be_visible()
    return notebook, notebook.page.evaluate(RUN_ID)


RUN_ID = "document.body.innerText.match(/buyer-[0-9a-f]{8}/)[0]"
BROKEN = "Error displaying widget"
ICONS = """[...document.querySelectorAll('.jupyter-widgets-disconnected')].filter(
    it => it.offsetParent !== null && getComputedStyle(it, '::before').content !== 'none').length"""


def expect_kept(notebook: NotebookPage, run_id: str) -> None:
    """The static form alone is seen: agent, id, question, and what makes it live; no button, no error, no icon."""
    page = notebook.page
    expect(page.get_by_text(f"kg.run('{run_id}')").first).to_be_visible()
    expect(page.get_by_text("its kernel is gone")).to_be_visible()
    expect(page.get_by_text("Pay $61.50 to $68.90?").first).to_be_visible()
    expect(notebook.button("Helian")).to_be_hidden()
    expect(page.get_by_text(BROKEN)).to_be_hidden()
    assert page.evaluate(ICONS) == 0


def expect_live(notebook: NotebookPage) -> None:
    """The card alone is seen, with its buttons."""
    expect(notebook.button("Helian")).to_be_visible()
    expect(notebook.page.get_by_text("its kernel is gone")).to_be_hidden()


def outputs_of(saved: Any) -> list[dict[str, Any]]:
    return [output["data"] for cell in saved["cells"] for output in cell.get("outputs", [])]


def test_a_restarted_kernel_leaves_a_static_form(open_notebook: Opener) -> None:
    """At once when the kernel restarts, and after a reload of what was saved; the code that it names works."""
    notebook, run_id = opened(open_notebook)
    expect_live(notebook)
    notebook.page.get_by_role("menuitem", name="Kernel", exact=True).click()
    notebook.page.get_by_role("menuitem", name=re.compile("^Restart Kernel…")).click()
    notebook.page.get_by_role("dialog").get_by_role("button", name="Confirm Kernel Restart").click()
    expect_kept(notebook, run_id)
    notebook.save()
    notebook.page.reload()
    expect_kept(notebook, run_id)


def test_a_dead_kernel_leaves_a_static_form(open_notebook: Opener, lab: Lab) -> None:
    """When the kernel is shut down while the page is open, its buttons do not pretend to work."""
    notebook, run_id = opened(open_notebook)
    lab.end_kernels()
    expect_kept(notebook, run_id)


def test_a_finished_card_is_static(open_notebook: Opener) -> None:
    """The record is what the file has: no widget, whoever decided."""
    notebook, _ = opened(open_notebook)
    notebook.button("Mekong").click()
    expect(notebook.page.get_by_text("Approved: Mekong by").filter(visible=True)).to_be_visible()
    expect(notebook.page.get_by_text("solar panel from Mekong")).to_be_visible()
    shown = outputs_of(notebook.save())
    assert not any(WIDGET_VIEW in data for data in shown)
    assert "Approved: Mekong" in json.dumps(shown)


def test_a_card_that_ended_after_a_reload(open_notebook: Opener) -> None:
    """The page was reloaded before the end: the live card shows it, and without the kernel the file is true."""
    notebook, run_id = opened(open_notebook)
    notebook.save()
    notebook.page.reload()
    expect_live(notebook)
    notebook.button("Mekong").click()
    expect(notebook.page.get_by_text("solar panel from Mekong")).to_be_visible()
    assert kg.run(run_id).result(30)
    shown = outputs_of(notebook.save())
    assert not any(WIDGET_VIEW in data for data in shown)
    assert "Approved: Mekong" in json.dumps(shown)


def test_a_card_that_ended_while_its_page_was_closed(open_notebook: Opener) -> None:
    """Nobody saw the end: what was saved before is true by itself, and the page, opened again, has the record."""
    notebook, run_id = opened(open_notebook)
    before = outputs_of(notebook.save())
    assert all(text in json.dumps(before) for text in ("buyer", run_id, "Pay $61.50", f"kg.run('{run_id}')"))
    address = notebook.page.url
    notebook.page.goto("about:blank")
    kg.run(run_id).approve("1", choice="Mekong")
    assert kg.run(run_id).result(30)
    notebook.page.goto(address)
    expect(notebook.page.get_by_text("solar panel from Mekong")).to_be_visible()
    expect(notebook.button("Helian")).to_be_hidden()
    shown = outputs_of(notebook.save())
    assert not any(WIDGET_VIEW in data for data in shown)
    assert "Approved: Mekong" in json.dumps(shown)


def test_a_question_that_is_taken_back_lets_other_cells_run(open_notebook: Opener) -> None:
    """result() asks in its cell; when its time is over the box is closed, and JupyterLab executes cells again."""
    asks = AGENT.removesuffix("\nrun\n") + "\nrun.wait_for_gate()\nrun.result(timeout=4)"
    notebook = open_notebook(asks)
    page = notebook.page
    notebook.menu("Run", "Run All Cells")
    box = page.locator("input.jp-Stdin-input")
    expect(box).to_be_enabled()
    expect(page.get_by_text("RunTimeout").first).to_be_visible()
    expect(box).to_be_disabled()
    notebook.menu("Run", "Run All Cells")
    expect(page.get_by_text("[*]:")).to_be_visible()
    expect(box).to_be_enabled()
    box.fill("Mekong")
    box.press("Enter")
    expect(page.get_by_text("solar panel from Mekong")).to_be_visible()
