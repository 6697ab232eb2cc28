"""What one request of a model gave, whichever API it went through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kaigents_nb.models import items as conversation
from kaigents_nb.models.items import Item

STOP, TOOLS, LENGTH, FILTERED, REFUSAL, MALFORMED = (
    "stop", "tool_calls", "length", "content_filter", "refusal", "malformed",
)  # fmt: skip


@dataclass(frozen=True)
class Usage:
    """Tokens of one request or of several; ``cached`` is part of ``input``, ``reasoning`` of ``output``."""

    input: int = 0
    output: int = 0
    cached: int = 0
    reasoning: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input + other.input,
            self.output + other.output,
            self.cached + other.cached,
            self.reasoning + other.reasoning,
        )

    @classmethod
    def of(cls, data: Mapping[str, Any], sent: str, answered: str) -> Usage:
        """Read the ``usage`` of an answer, in which the API calls tokens in and out by these words."""
        used = data.get("usage") or {}
        return cls(
            count(used.get(f"{sent}_tokens")),
            count(used.get(f"{answered}_tokens")),
            count((used.get(f"{sent}_tokens_details") or {}).get("cached_tokens")),
            count((used.get(f"{answered}_tokens_details") or {}).get("reasoning_tokens")),
        )

    @property
    def total(self) -> int:
        """Tokens in and out."""
        return self.input + self.output


@dataclass(frozen=True)
class Answer:
    """One answer: its items as they came, why it ended, and what it took."""

    items: list[Item]
    finish: str
    usage: Usage = field(default_factory=Usage)
    model: str = ""
    """The model as the provider names the one that answered."""
    tier: str = ""
    note: str = ""
    """What is wrong with it, in words; empty when nothing is."""


def ended_with(items: Sequence[Item]) -> tuple[str, str]:
    """Return why an answer that came whole has ended, and what is wrong with it."""
    if conversation.calls(items):
        return TOOLS, ""
    if conversation.refused(items):
        return REFUSAL, ""
    if not conversation.text(items):
        return MALFORMED, "it is empty: neither text nor a call"
    return STOP, ""


def count(value: object) -> int:
    """Return a number of tokens as a provider gave it; 0 for none."""
    return value if isinstance(value, int) and value > 0 else 0
