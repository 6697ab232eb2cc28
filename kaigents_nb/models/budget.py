"""``budget_usd`` and ``budget_tokens``: what a conversation may take, asked before each request."""

from __future__ import annotations

from collections.abc import Sequence

from kaigents_nb.models import completions, responses
from kaigents_nb.models.answer import Usage
from kaigents_nb.models.call import Request, maybe, price
from kaigents_nb.models.items import Item
from kaigents_nb.models.limits import estimated_tokens

_ANSWER = 1_000
"""Tokens that an answer may have where the request names no limit."""
_LIMITS = (responses.LONGEST_ANSWER, completions.LONGEST_ANSWER, "max_tokens")


class Budget:
    """What is left. A request is allowed only if the most that it may take fits."""

    def __init__(self, usd: float | None, tokens: int | None) -> None:
        for what, most in (("budget_usd", usd), ("budget_tokens", tokens)):
            if most is not None and not most > 0:
                raise ValueError(f"{what} is more than 0, or None for no limit, not {most!r}.")
        self._usd = usd
        self._tokens = tokens
        self._each: tuple[float, float] | None = None  # USD of a token in and out, as recorded

    def took(self, usage: Usage, usd: float | None) -> None:
        """Take off what a request has taken."""
        if self._tokens is not None:
            self._tokens -= usage.total
        if self._usd is not None:
            self._usd -= usd or 0.0

    async def allows(self, request: Request, items: Sequence[Item]) -> bool:
        """Whether the most that this request may take is left."""
        if self._usd is None and self._tokens is None:
            return True
        most = Usage(estimated_tokens({"items": items, "tools": request.tools}), self._answer(request))
        if self._tokens is not None and most.total > self._tokens:
            return False
        if self._usd is None:
            return True
        if self._each is None:
            tier = request.options.get("service_tier")
            self._each = await maybe(price(request.model, tier) if isinstance(tier, str) else price(request.model))
        usd_in, usd_out = self._each
        return most.input * usd_in + most.output * usd_out <= self._usd

    def _answer(self, request: Request) -> int:
        named = [request.options[name] for name in _LIMITS if isinstance(request.options.get(name), int)]
        return min(named, default=_ANSWER)
