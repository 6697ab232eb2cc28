"""What a run has spent on models: requests, tokens and USD, with what is not known about them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kaigents_nb.models.answer import Usage


@dataclass(frozen=True)
class Spent:
    """Of one call, or of several."""

    requests: int = 0
    """Those whose answer is on record."""
    tokens_in: int = 0
    tokens_out: int = 0
    usd: float = 0.0
    """Of the requests whose price is known."""
    unpriced: int = 0
    """Requests whose price is not known."""
    repeated: int = 0
    """Requests that may have been paid without an answer on record."""

    def __add__(self, other: Spent) -> Spent:
        return Spent(**{name: value + vars(other)[name] for name, value in vars(self).items()})

    @property
    def tokens(self) -> int:
        """Tokens in and out."""
        return self.tokens_in + self.tokens_out

    @property
    def cost_usd(self) -> float:
        """The USD of all requests; NaN where the price of one is not known."""
        return math.nan if self.unpriced else self.usd

    def to_wire(self) -> dict[str, Any]:
        """Return the JSON form, without zeros."""
        return {name: value for name, value in vars(self).items() if value}

    @classmethod
    def from_wire(cls, data: Mapping[str, Any]) -> Spent:
        """Read the JSON form; raises TypeError or ValueError where it is none."""
        usd = float(data.get("usd", 0.0))
        counts = {name: int(data.get(name, 0)) for name in cls.__dataclass_fields__ if name != "usd"}
        return cls(usd=usd, **counts)


def spent_on(result: object) -> Spent:
    """Return what the result of a step of the library's own has cost; nothing where it asked no model."""
    parts = result if isinstance(result, list) else [result]
    found = (getattr(part, "spent", None) for part in parts)
    return sum((spent for spent in found if isinstance(spent, Spent)), Spent())


def spent(requests: int, usage: Usage, cost_usd: float | None) -> Spent:
    """Return what requests have cost; None is a price that is not known."""
    return Spent(requests, usage.input, usage.output, cost_usd or 0.0, requests if cost_usd is None else 0)
