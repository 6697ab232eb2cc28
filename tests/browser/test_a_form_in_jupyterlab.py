"""A form in JupyterLab: filled in, refused with the field named, corrected and sent."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.conftest import Opener

AGENT = """
import datetime as dt
import enum
import kaigents_nb as kg
from pydantic import BaseModel, Field, field_validator

class Speed(enum.Enum):
    SLOW = "slow"
    FAST = "fast"

class Address(BaseModel):
    city: str = Field(title="City <b>", description="Where it goes to, $61.50 to $68.90")
    until: dt.date = Field(title="Until")

class Order(BaseModel):
    address: Address
    count: int = Field(title="Count", ge=1, le=9)
    speed: Speed = Field(title="Speed")

    @field_validator("count")
    @classmethod
    def even(cls, count: int) -> int:
        if count % 2:
            raise ValueError("must be even")
        return count

@kg.agent
async def ordering():
    several = await kg.choose("Which colours?", ["red", "blue", "green $5 or $6"], several=True)
    order = await kg.ask("What shall be sent?", Order)
    return f"{order.count} {'+'.join(several)} to {order.address.city} by {order.address.until}, {order.speed.name}"

run = ordering.start()
run
"""


def test_a_form_is_filled_in_refused_corrected_and_sent(open_notebook: Opener) -> None:
    """Checkboxes, then fields of a nested model: each fault stands beside its field until it is mended."""
    notebook = open_notebook(AGENT)
    page = notebook.page
    notebook.menu("Run", "Run All Cells")
    notebook.button("Send").click()
    expect(page.get_by_text("must be at least 1, not 0").first).to_be_visible()
    expect(page.get_by_text("green $5 or $6").filter(visible=True).last).to_be_visible()
    assert page.locator("mjx-container, .MathJax").count() == 0
    page.get_by_label("red").check()
    page.get_by_label("green $5 or $6").check(timeout=15_000)
    notebook.button("Send").click()
    expect(page.get_by_text("What shall be sent?").filter(visible=True).first).to_be_visible()
    page.get_by_label("City <b>").fill("Rome")
    page.get_by_label("Until").fill("2026-02-30")
    page.get_by_label("Count").fill("12")
    notebook.button("Send").click()
    expect(page.get_by_text("must be a date, such as 2026-03-31").filter(visible=True).first).to_be_visible()
    expect(page.get_by_text("must be at most 9, not 12").filter(visible=True).first).to_be_visible()
    page.get_by_label("Until").fill("2026-02-28")
    page.get_by_label("Count").fill("3")
    page.get_by_label("Speed").select_option("fast")
    notebook.button("Send").click()
    expect(page.get_by_text("must be even").filter(visible=True).first).to_be_visible()
    page.get_by_label("Count").fill("4")
    notebook.button("Send").click()
    expect(
        page.get_by_text("4 red+green $5 or $6 to Rome by 2026-02-28, FAST").filter(visible=True).first
    ).to_be_visible()
