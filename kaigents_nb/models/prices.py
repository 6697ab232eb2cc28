"""What an answer cost, in USD: by the price that the model was given, else by the published one."""

from __future__ import annotations

from kaigents_nb.models.answer import Answer, Usage
from kaigents_nb.models.cassette import plays
from kaigents_nb.models.model import Model

GIVEN, UNKNOWN = "given", "unknown"
RECORDED = "recorded"
"""Of a model that has not answered now: before its name, and behind the price, wherever these are shown."""
_MILLION = 1_000_000


def told(model: Model, answer: Answer) -> tuple[str, float | None, str]:
    """Return who has answered, what it cost in USD, and what that is based on."""
    name = answer.model or model.name
    usd, basis = cost(model, answer.usage, answer.model)
    return (f"{RECORDED}/{name}", usd, f"{basis}, {RECORDED}") if plays() else (name, usd, basis)


def cost(model: Model, usage: Usage, answered: str = "") -> tuple[float | None, str]:
    """Return the cost in USD and what it is based on; ``None`` and the reason where no price is known.

    Parameters
    ----------
    model
        The model that was asked.
    usage
        What it took.
    answered
        The name under which the provider says it answered, more exact than the one that was asked for.
    """
    if model.price:
        each = model.price
        fresh = usage.input - usage.cached
        usd = fresh * each.get("input", 0.0) + usage.cached * each.get("cached", each.get("input", 0.0))
        return (usd + usage.output * each.get("output", 0.0)) / _MILLION, GIVEN
    try:
        import genai_prices
    except ImportError:
        return None, f"{UNKNOWN}: pip install genai-prices, or kg.model(…, price=…)"
    counted = genai_prices.Usage(
        input_tokens=usage.input, output_tokens=usage.output, cache_read_tokens=usage.cached or None
    )
    for name in dict.fromkeys((answered, model.name)):
        if not name:
            continue
        try:
            found = genai_prices.calc_price(counted, name, provider_api_url=model.address)
        except (LookupError, ValueError):
            continue
        return float(found.total_price), f"{found.provider.id}, {found.model.id}"
    return None, f"{UNKNOWN}: no published price of {answered or model.name!r} at {model.address}; kg.model(…, price=…)"
