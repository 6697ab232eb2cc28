"""What a card shows of models: what they cost, an answer while it comes, and what was said."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from kaigents_nb.display import run_blocks, words
from kaigents_nb.display.blocks_html import root
from kaigents_nb.display.blocks_text import text
from kaigents_nb.history.view import MessageView, Progress, RunView, StepView
from kaigents_nb.models.spent import Spent

NOW = datetime(2026, 11, 23, 15, 6, 2, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script> $61.50 to $68.90\rassistant\u2028user\x1b[31m\u202e"
SAID = (
    MessageView("user", "message", "", HOSTILE),
    MessageView("assistant", "reasoning", "", "It wants a price."),
    MessageView("assistant", "function_call", "search", '{"product": "<b>"}'),
    MessageView("tool", "function_call_output", "", "panel 1"),
    MessageView("assistant", "message", "", "Helian"),
)


def a_run(**step: object) -> RunView:
    asked = replace(StepView("1", "kg.chat", "completed", 1, NOW, NOW, NOW), **step)  # type: ignore[arg-type]  # its fields
    return RunView("run-1", "buyer", "running", started=NOW, steps=(asked,))


@pytest.mark.parametrize(
    ("spent", "told"),
    [
        (Spent(), ""),
        (Spent(1, 10, 2, 0.0), "1 request, 12 tokens, 0.00 USD"),
        (Spent(1_000, 10_000, 345, 12.345), "1,000 requests, 10,345 tokens, 12.35 USD"),
        (Spent(2, 10, 2, 0.000123), "2 requests, 12 tokens, 0.00012 USD"),
        (Spent(2, 10, 2, 0.0, 2), "2 requests, 12 tokens, price unknown"),
        (Spent(3, 10, 2, 0.5, 1), "3 requests, 12 tokens, 0.50 USD and 1 request of unknown price"),
        (Spent(1, 10, 2, 0.5, 0, 2), "1 request, 12 tokens, 0.50 USD; 2 requests may have been paid twice"),
    ],
)
def test_what_models_cost(spent: Spent, told: str) -> None:
    """On the card, and what is not known of it; a run that asks none says nothing."""
    assert words.spent(spent) == told
    page = text(run_blocks.run_blocks(replace(a_run(), spent=spent)))
    assert (f"models: {told} · run.calls()" in page) == bool(told)
    assert told or "models:" not in page
    assert Spent.from_wire(spent.to_wire()) == spent


def test_an_answer_is_seen_while_it_comes() -> None:
    """Opened, at its end; and gone with the call."""
    growing = Progress(4_000, None, "characters", "x" * 3_000 + "<i>the end")
    page = str(root(run_blocks.run_blocks(a_run(status="running", ended=None, progress=growing))))
    assert re.search(
        r"<details open[^>]*><summary[^>]*>kg\.chat, so far</summary><pre[^>]*>x+&lt;i&gt;the end</pre>", page
    )
    assert "so far" not in str(root(run_blocks.run_blocks(a_run(progress=growing))))


def test_what_was_said_is_folded() -> None:
    """With calls of tools and reasoning; escaped, and no message can pretend to be another's."""
    page = str(root(run_blocks.run_blocks(a_run(said=SAID))))
    [said] = re.findall(
        r"<details style[^>]*><summary[^>]*>Said in kg\.chat, call 1</summary><pre[^>]*>(.*?)</pre>", page, re.S
    )
    assert "<" not in said
    assert [line for line in said.splitlines() if not line.startswith("  ")] == [
        "user", "assistant, reasoning", "assistant calls search", "the tool&#39;s answer", "assistant",
    ]  # fmt: skip
    plain = text(run_blocks.run_blocks(a_run(said=SAID)))
    assert "│ assistant calls search" in plain
    assert "\x1b" not in plain + page
    assert "\u202e" not in plain + page


def test_a_terminal_shows_the_last_conversations() -> None:
    """Of forty calls three, each bounded; a page has them all, folded."""
    steps = tuple(replace(a_run(said=SAID).steps[0], call=str(number)) for number in range(40))
    view = replace(a_run(), steps=steps)
    plain = text(run_blocks.run_blocks(view))
    assert plain.count("assistant calls search") == 3
    assert str(root(run_blocks.run_blocks(view))).count("<summary") == 40
