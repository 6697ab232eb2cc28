"""Runners of others in agents: a worker that is killed in the middle of a turn, and what can't run there."""

from __future__ import annotations

import agents
import pytest
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

import kaigents_nb as kg
from tests.workers import kill

pytestmark = [
    pytest.mark.usefixtures("server"),
    # Of the runners, at their import.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@kg.step
def price_of(product: str) -> float:
    return 61.5


async def looked_up(product: str) -> float:
    found = await price_of(product)
    await kg.approve("Tell the price?")
    return found


@kg.agent
async def plain(model):
    client = kg.openai_client(model)
    first = await client.responses.create(model=model.name, input="one")
    await looked_up("panel")
    second = await client.responses.create(model=model.name, input="price")
    return first.output_text, second.output_text


@kg.agent
async def with_agents_sdk(model):
    agents.set_tracing_disabled(True)

    @agents.function_tool
    async def price(product: str) -> float:
        """Return the price of a product."""
        return await looked_up(product)

    asked = agents.OpenAIResponsesModel(model=model.name, openai_client=kg.openai_client(model))
    buyer = agents.Agent(name="Buyer", tools=[price], model=asked)
    return (await agents.Runner.run(buyer, "What does a panel cost?")).final_output


@kg.agent
async def with_pydantic_ai(model):
    provider = OpenAIProvider(openai_client=kg.openai_client(model))
    buyer = Agent(OpenAIChatModel(model.name, provider=provider))

    @buyer.tool_plain
    async def price(product: str) -> float:
        """Return the price of a product."""
        return await looked_up(product)

    return (await buyer.run("What does a panel cost?")).output


@kg.agent
async def on_a_thread(model):
    provider = OpenAIProvider(openai_client=kg.openai_client(model))
    buyer = Agent(OpenAIChatModel(model.name, provider=provider))

    @buyer.tool_plain
    def price(product: str) -> float:
        """Return the price of a product."""
        return 61.5

    return (await buyer.run("What does a panel cost?")).output


@kg.agent
async def in_a_file(model):
    agents.set_tracing_disabled(True)
    asked = agents.OpenAIResponsesModel(model=model.name, openai_client=kg.openai_client(model))
    buyer = agents.Agent(name="Buyer", model=asked)
    return (await agents.Runner.run(buyer, "Hello", session=agents.SQLiteSession("one"))).final_output


RULES = [{"after": "price", "say": "61.50 USD"}, {"when": "panel", "call": {"price": {"product": "panel"}}}]


def test_killed_in_mid_turn(workers, fake_models):
    """The tool waits, the worker dies: another process goes on with the turn, repeating neither request nor tool."""
    started = [
        (agent.start(fake.model()), fake)
        for agent, fake in (
            (plain, fake_models([{"when": "one", "say": "1"}, {"say": "61.50 USD"}])),
            (with_agents_sdk, fake_models(RULES)),
            (with_pydantic_ai, fake_models(RULES)),
        )
    ]
    process = workers.start()
    for run, fake in started:
        run.wait_for_gate(60)
        assert len(fake.asked) == 1
    kill(process)
    workers.start()
    for run, fake in started:
        run.approve()
        assert "61.50 USD" in run.result(60)
        assert len(fake.asked) == 2
        steps = run.steps()
        assert steps["step"].tolist() == ["kg.request", "price_of", "kg.request"]
        assert steps["attempts"].tolist() == [1, 1, 1]
        assert run.calls()["repeated"].sum() == 0


@pytest.mark.parametrize(("agent", "said"), [(on_a_thread, "_thread.start"), (in_a_file, "run_in_executor")])
def test_what_can_not_run_in_an_agent_is_said(agent, said, fake_models):
    """A tool on a thread, a conversation in a file: with the way out, and nothing hangs."""
    run = agent.start(fake_models([*RULES, {"say": "Hello"}]).model())
    with pytest.raises(kg.RunFailed, match=f"(?s){said}.*@kg.step"):
        run.result(30)
