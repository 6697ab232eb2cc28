"""What an answer cost, in USD: by the price that the model was given, else by the published one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from kaigents_nb.models.answer import Answer, Usage
from kaigents_nb.models.cassette import plays
from kaigents_nb.models.model import Model

GIVEN, UNKNOWN = "given", "unknown"
RECORDED = "recorded"
"""Of a model that has not answered now: before its name, and behind the price, wherever these are shown."""
_MILLION = 1_000_000
_HALF = "half in a batch"
_STANDARD = ("", "auto", "default", "standard", "on_demand")
"""Names of the service tier that has no price of its own."""
_BATCH = {"processing": "batch"}


def told(model: Model, answer: Answer, *, batch: bool = False) -> tuple[str, float | None, str]:
    """Return who has answered, what it cost in USD, and what that is based on."""
    name = answer.model or model.name
    usd, basis = cost(model, answer.usage, answer.model, tier=answer.tier, batch=batch)
    return (f"{RECORDED}/{name}", usd, f"{basis}, {RECORDED}") if plays() else (name, usd, basis)


def cost(
    model: Model, usage: Usage, answered: str = "", *, tier: str = "", batch: bool = False
) -> tuple[float | None, str]:
    """Return the cost in USD and what it is based on; ``None`` and the reason where no price is known.

    Parameters
    ----------
    model
        The model that was asked. Its own price, where it has one, is what is paid, whatever the tier.
    usage
        What it took; cached tokens are part of those in, reasoning of those out, and priced apart where the provider
        does so.
    answered
        The name under which the provider says it answered, more exact than the one that was asked for.
    tier
        The service tier that answered: flex, priority …
    batch
        Whether it was asked in a batch.
    """
    if not usage.total:
        return None, f"{UNKNOWN}: the answer does not say how many tokens it took"
    if model.price:
        each = model.price
        fresh = usage.input - usage.cached
        usd = fresh * each.get("input", 0.0) + usage.cached * each.get("cached", each.get("input", 0.0))
        usd = (usd + usage.output * each.get("output", 0.0)) / _MILLION
        return (usd / 2, f"{GIVEN}, {_HALF}") if batch else (usd, GIVEN)
    try:
        import genai_prices
    except ImportError:
        return None, f"{UNKNOWN}: pip install genai-prices, or kg.model(…, price=…)"
    wanted = _BATCH if batch else {"service_tier": tier} if tier not in _STANDARD else {}
    counted = genai_prices.Usage(
        input_tokens=usage.input,
        output_tokens=usage.output,
        cache_read_tokens=usage.cached or None,
        output_reasoning_tokens=usage.reasoning or None,
    )
    for name in dict.fromkeys((answered, model.name)):
        if not name:
            continue
        try:
            found = genai_prices.calc_price(counted, name, provider_api_url=model.address, price_context=wanted or None)
        except (LookupError, ValueError):
            continue
        basis = f"{found.provider.id}, {found.model.id}"
        if not _has(found.model, wanted):
            how = "in a batch" if batch else f"at the service tier {tier!r}"
            return None, f"{UNKNOWN}: no published price of {basis} {how}; kg.model(…, price=…)"
        return float(found.total_price), ", ".join((basis, *wanted.values()))
    return None, f"{UNKNOWN}: no published price of {answered or model.name!r} at {model.address}; kg.model(…, price=…)"


def _has(priced: Any, wanted: dict[str, str]) -> bool:
    """Whether a model has a price for what is wanted: without one the package gives the standard price."""
    now = datetime.now(UTC)
    return not wanted or any(
        variant.when == wanted and (variant.constraint is None or variant.constraint.active(now))
        for variant in priced.price_variants or ()
    )
