"""What an answer cost, beside what genai-prices publishes."""

from __future__ import annotations

import genai_prices
import pytest

from kaigents_nb.models.answer import Usage
from kaigents_nb.models.model import Model, model
from kaigents_nb.models.prices import cost

OPENAI = "https://api.openai.com/v1"
GPT5 = model("gpt-5", base_url=OPENAI)
USAGE = Usage(input=1_000, output=400, cached=600, reasoning=300)


def published(name: str, address: str, context: dict[str, str] | None = None, **more: int) -> float:
    """Ask the package itself."""
    counted = genai_prices.Usage(input_tokens=1_000, output_tokens=400, cache_read_tokens=600, **more)
    return float(genai_prices.calc_price(counted, name, provider_api_url=address, price_context=context).total_price)


def test_cached_tokens_have_their_price() -> None:
    """They are part of those in; 400 fresh ones, 600 cached, and 400 out with all reasoning."""
    usd, basis = cost(GPT5, USAGE)
    assert (usd, basis) == (published("gpt-5", OPENAI), "openai, gpt-5")
    assert usd == pytest.approx((400 * 1.25 + 600 * 0.125 + 400 * 10) / 1e6)
    own = model("mine", price={"input": 1, "cached": 0.5, "output": 2})
    assert cost(own, USAGE) == (pytest.approx((400 + 300 + 800) / 1e6), "given")


def test_reasoning_has_its_price_where_the_provider_has_one() -> None:
    """Else it costs what every token out does."""
    address = "https://api.perplexity.ai"
    deep = model("sonar-deep-research", base_url=address)
    usd, _ = cost(deep, USAGE)
    assert usd == published("sonar-deep-research", address, output_reasoning_tokens=300)
    without, _ = cost(deep, Usage(input=1_000, output=400, cached=600))
    assert without == published("sonar-deep-research", address) != usd


@pytest.mark.parametrize(("tier", "times"), [("flex", 0.5), ("priority", 2), ("default", 1), ("auto", 1), ("", 1)])
def test_a_service_tier_has_its_price(tier: str, times: float) -> None:
    """As the answer names the tier."""
    usd, basis = cost(GPT5, USAGE, "gpt-5-2025-08-07", tier=tier)
    assert (
        usd == published("gpt-5", OPENAI, {"service_tier": tier}) == pytest.approx(times * published("gpt-5", OPENAI))
    )
    assert basis == ("openai, gpt-5" if times == 1 else f"openai, gpt-5, {tier}")


def test_a_batch_has_its_price() -> None:
    """The published one; of a price that was given half."""
    assert cost(GPT5, USAGE, batch=True) == (
        published("gpt-5", OPENAI, {"processing": "batch"}),
        "openai, gpt-5, batch",
    )
    assert cost(model("mine", price={"output": 10_000}), USAGE, batch=True) == (2.0, "given, half in a batch")


@pytest.mark.parametrize(
    ("asked", "options", "why"),
    [
        (
            model("gpt-4.1", base_url=OPENAI),
            {"tier": "flex"},
            "no published price of openai, gpt-4.1 at the service tier",
        ),
        (model("codex-mini", base_url=OPENAI), {"batch": True}, "no published price of openai, codex-mini in a batch"),
        (model("nobody-knows", base_url=OPENAI), {}, "no published price of 'nobody-knows'"),
        (
            model("gpt-5", base_url="http://127.0.0.1:1/v1"),
            {},
            "no published price of 'gpt-5' at http://127.0.0.1:1/v1",
        ),
    ],
)
def test_what_is_not_published_is_not_known(asked: Model, options: dict[str, object], why: str) -> None:
    """Not guessed, not 0, and it says why."""
    usd, basis = cost(asked, USAGE, **options)  # type: ignore[arg-type]  # either option, as the case has it
    assert usd is None
    assert basis.startswith("unknown: ")
    assert why in basis


def test_without_tokens_there_is_no_price() -> None:
    """A server that does not count them: not for nothing."""
    assert cost(model("mine", price={"input": 1}), Usage())[0] is None
