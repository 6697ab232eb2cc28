"""Code and runners written for the openai package, in an agent: each of their requests is a step."""

from __future__ import annotations

import agents
import pytest
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

import kaigents_nb as kg

pytestmark = [
    pytest.mark.usefixtures("server", "replayed"),
    # Of the runners, at their import.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@kg.step
def price_of(product: str) -> float:
    return 61.5


@kg.agent
async def plain(model):
    client = kg.openai_client(model)
    first = await client.responses.create(model=model.name, input="one", temperature=0)
    parts = []
    async for chunk in await client.chat.completions.create(
        model=model.name, messages=[{"role": "user", "content": "two"}], stream=True
    ):
        parts += [choice.delta.content or "" for choice in chunk.choices]
    return first.output_text, "".join(parts)


@kg.agent
async def with_agents_sdk(model):
    agents.set_tracing_disabled(True)

    @agents.function_tool
    async def price(product: str) -> float:
        """Return the price of a product."""
        return await price_of(product)

    client = kg.openai_client(model)
    buyer = agents.Agent(
        name="Buyer",
        instructions="Buy.",
        tools=[price],
        model=agents.OpenAIResponsesModel(model=model.name, openai_client=client),
    )
    result = await agents.Runner.run(buyer, "What does a panel cost?")
    return result.final_output


@kg.agent
async def with_pydantic_ai(model):
    provider = OpenAIProvider(openai_client=kg.openai_client(model))
    buyer = Agent(OpenAIChatModel(model.name, provider=provider))

    @buyer.tool_plain
    async def price(product: str) -> float:
        """Return the price of a product."""
        return await price_of(product)

    return (await buyer.run("What does a panel cost?")).output


def test_plain_calls_are_steps(fake_models):
    """Whole answers and streams; what they took is known."""
    fake = fake_models("def answer(request):\n    return {'say': request.last.upper()}")
    run = plain.start(fake.model())
    assert run.result(30) == ("ONE", "TWO")
    assert run.steps()["step"].tolist() == ["kg.request", "kg.request"]
    calls = run.calls()
    assert calls["api"].tolist() == ["responses", "chat"]
    assert (calls["tokens_in"] > 0).all()
    assert len(fake.asked) == 2
    assert fake.asked[0]["body"]["temperature"] == 0


@pytest.mark.parametrize("runner", [with_agents_sdk, with_pydantic_ai])
def test_a_runner_s_requests_and_tools_are_steps(runner, fake_models):
    """A run that starts again from its first line asks for nothing twice."""
    fake = fake_models([{"after": "price", "say": "61.50 USD"}, {"call": {"price": {"product": "panel"}}}])
    run = runner.start(fake.model())
    assert run.result(60) == "61.50 USD"
    assert run.steps()["step"].tolist() == ["kg.request", "price_of", "kg.request"]
    assert len(fake.asked) == 2
