"""A model on the card: its answer while it comes, then the conversation, folded."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.conftest import Opener
from tests.fake_model import FakeModels

AGENT = """
import kaigents_nb as kg

@kg.step
def search(product: str) -> str:
    return f"{product} of <b>Helian</b>"

@kg.agent
async def buyer(model):
    reply = await kg.chat("Find a supplier.", model=model, tools=[search])
    await kg.approve("Order?")
    return reply.text

run = buyer.start(kg.model(%r, base_url=%r, api="responses"))
run
"""


def test_an_answer_comes_and_is_folded(open_notebook: Opener, fake_models: FakeModels) -> None:
    """It is read while it comes; then a click opens what was said, with the call of the tool."""
    rules = [
        {"after": "search", "say": "It is Helian, <i>surely</i>. " * 12, "pace_s": 0.6},
        {"call": {"search": {"product": "panel"}}},
    ]
    fake = fake_models(rules)
    notebook = open_notebook(AGENT % (fake.name, fake.url))
    notebook.menu("Run", "Run All Cells")
    page = notebook.page
    expect(page.get_by_text("kg.chat, so far")).to_be_visible()
    expect(page.get_by_text(re.compile("It is Helian, <i>surely</i>")).locator("visible=true")).to_have_count(1)
    expect(notebook.button("Approve")).to_be_visible()
    expect(page.get_by_text("kg.chat, so far").locator("visible=true")).to_have_count(0)
    expect(page.get_by_text("models: 2 requests").locator("visible=true")).to_have_count(1)
    said = page.get_by_text("panel of <b>Helian</b>").locator("visible=true")
    expect(said).to_have_count(0)
    page.get_by_text("Said in kg.chat, call 3").locator("visible=true").click()
    expect(said).to_have_count(1)
    expect(said).to_contain_text("It is Helian, <i>surely</i>.")
