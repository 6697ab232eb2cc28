"""What ``kg.chat`` gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from kaigents_nb.models.answer import Usage
from kaigents_nb.models.items import Item
from kaigents_nb.models.model import Model

FINISHED, ROUNDS, BUDGET, REFUSED = "finished", "max_rounds", "budget", "refusal"


@dataclass(frozen=True)
class ToolCall:
    """One call of a tool: what the model wanted, and what it was told."""

    tool: str
    arguments: dict[str, Any]
    told: str
    ran: bool = True
    """Whether the tool was called at all."""


@dataclass(frozen=True)
class Reply:
    """An answer, with the conversation that led to it.

    ``text`` is what the model says at last, ``parsed`` the value that ``output=`` asked for (else None), ``messages``
    the whole conversation as items of the Responses API, ``calls`` what tools it called, ``usage`` the tokens and
    ``cost_usd`` the USD of all requests (NaN when a price is not known), ``stopped`` why it ended: ``"finished"``,
    ``"max_rounds"``, ``"budget"`` or ``"refusal"``. ``after=reply`` goes on with the conversation.
    """

    text: str
    parsed: Any = None
    messages: list[Item] = field(default_factory=list, repr=False)
    calls: list[ToolCall] = field(default_factory=list, repr=False)
    usage: Usage = field(default_factory=Usage)
    cost_usd: float = 0.0
    stopped: str = FINISHED
    model: Model | None = field(default=None, repr=False)
    head: str = field(default="", repr=False)
    """Name of the conversation in the store; empty where nothing was saved."""
    kept: int = field(default=0, repr=False)
    """So many of the messages are there; the next request brings the others along."""

    def __str__(self) -> str:
        return self.text
