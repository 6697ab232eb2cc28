"""Agents that ask a model, against a scripted one over HTTP."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import pytest
from pydantic import BaseModel

import kaigents_nb as kg
from tests.support import eventually

pytestmark = pytest.mark.usefixtures("server")

APIS = ("responses", "chat")


class Supplier(BaseModel):
    name: str
    usd: float


@dataclass
class Part:
    number: int
    urgent: bool = False


@kg.step
def search(product: str, most: int = 10) -> list[Supplier]:
    """Search suppliers of a product.

    Parameters
    ----------
    product
        What to buy.
    most
        No more than so many.
    """
    return [Supplier(name=f"{product} {number}", usd=number) for number in range(1, most + 1)]


@kg.step
def order(part: Part) -> str:
    return f"{type(part).__name__} {part.number}"


@kg.agent
async def tariffs(country: str) -> float:
    return 0.25 if country == "CN" else 0.1


@kg.agent
async def answers(model, prompt, options):
    reply = await kg.chat(prompt, model=model, **options)
    return reply.text, reply.stopped


@kg.agent
async def sources(model):
    return await kg.chat("Find a supplier of panels.", model=model, tools=[search, order, tariffs])


@kg.agent
async def best(model):
    reply = await kg.chat("Which is best?", model=model, output=Supplier)
    return reply.parsed, len(reply.messages)


@kg.agent
async def label(model):
    reply = await kg.chat("Good or bad?", model=model, output=Literal["good", "bad"])
    return reply.parsed


@kg.agent
async def twice(model):
    first = await kg.chat("one", model=model)
    return await kg.chat("two", after=first)


@kg.agent
async def careful(model):
    return await kg.chat("Buy", model=model, tools=[order], approve=[order])


@pytest.fixture(params=APIS)
def api(request):
    return request.param


def test_an_answer_comes_back(fake_models, api):
    """Each request is a row, the options of the API go out whole, and what it took is known."""
    fake = fake_models([{"say": "Hello there", "usage": {"input": 1000, "output": 100}}])
    model = fake.model(api=api, price={"input": 1, "output": 10})
    run = answers.start(model, "Hi", {"temperature": 0, "seed": 7, "anything": {"new": True}})
    assert run.result(20) == ("Hello there", "finished")
    [asked] = fake.asked
    assert asked["api"] == api
    assert asked["body"].items() >= {"temperature": 0, "seed": 7, "anything": {"new": True}}.items()
    assert run.steps()["step"].tolist() == ["kg.chat"]
    [call] = run.calls().to_dict("records")
    assert (call["model"], call["tokens_in"], call["finish"], call["repeated"]) == (
        "scripted/" + fake.name,
        1000,
        "stop",
        0,
    )
    assert (call["cost_usd"], call["price_basis"]) == (0.002, "given")


def test_a_model_calls_tools(fake_models, api):
    """Steps and agents, several at once, with the types that they want; and every one has its row."""
    rules = [
        {
            "after": "search",
            "call": [{"order": {"part": {"number": "7", "urgent": True}}}, {"tariffs": {"country": "CN"}}],
        },
        {"after": "tariffs", "say": "panel 1"},
        {"call": {"search": {"product": "panel", "most": 2}}},
    ]
    fake = fake_models(rules)
    run = sources.start(fake.model(api=api))
    reply = run.result(30)
    first, _, last = fake.asked
    assert reply.text == "panel 1"
    assert [(call.tool, call.arguments, call.told) for call in reply.calls] == [
        ("search", {"product": "panel", "most": 2}, '[{"name":"panel 1","usd":1.0},{"name":"panel 2","usd":2.0}]'),
        ("order", {"part": Part(7, True)}, "Part 7"),
        ("tariffs", {"country": "CN"}, "0.25"),
    ]
    assert sorted(run.steps()["step"]) == sorted(["kg.chat", "search", "kg.chat", "order", "tariffs", "kg.chat"])
    assert math.isnan(reply.cost_usd)
    tool = first["body"]["tools"][0]
    described = tool if api == "responses" else tool["function"]
    assert described["description"] == "Search suppliers of a product."
    most = described["parameters"]["properties"]["most"]
    assert (most["description"], most["default"]) == ("No more than so many.", 10)
    assert described["parameters"]["required"] == ["product"]
    assert "0.25" in str(last["body"])


def test_what_the_model_gets_wrong_is_told_to_it(fake_models, api):
    """Bad arguments, unknown tools, JSON that is none."""
    rules = [
        {"times": 1, "call": [{"search": {"products": "x"}}, {"buy": {}}, {"search": '{"product": '}]},
        {"times": 1, "call": [{"order": {"part": {"number": "seven"}}}]},
        {"say": "I give up."},
    ]
    fake = fake_models(rules)
    run = sources.start(fake.model(api=api))
    reply = run.result(30)
    told = [call.told for call in reply.calls]
    assert "product: is missing" in told[0]
    assert "no tool 'buy'. There are: order, search, tariffs" in told[1]
    assert "no JSON" in told[2]
    assert "part.number" in told[3]
    assert not any(call.ran for call in reply.calls)
    assert set(run.steps()["step"]) == {"kg.chat"}


def test_an_answer_of_a_type(fake_models, api):
    """The schema goes out, what does not fit is told to the model, and the value comes back."""
    rules = [{"times": 1, "say": '{"name": "A"}'}, {"json": {"name": "A", "usd": 61.5}}]
    fake = fake_models(rules)
    run = best.start(fake.model(api=api))
    assert run.result(30) == (Supplier(name="A", usd=61.5), 4)
    first, second = fake.asked
    form = first["body"]["text"]["format"] if api == "responses" else first["body"]["response_format"]["json_schema"]
    assert form["strict"] is True
    assert form["schema"]["required"] == ["name", "usd"]
    assert "usd: is missing" in second["last"]
    fake = fake_models([{"json": {"value": "bad"}}])
    assert label.start(fake.model(api=api)).result(30) == "bad"


def test_an_answer_that_is_never_right_parks(fake_models):
    """After three tries; and a person has it asked again."""
    rules = [{"times": 3, "say": "no JSON"}, {"json": {"name": "A", "usd": 1}}]
    fake = fake_models(rules)
    run = best.start(fake.model())
    eventually(lambda: run.status == "parked")
    [step] = [row for row in run.steps().itertuples() if row.status == "parked"]
    assert "asked 3 times" in step.error
    assert len(fake.asked) == 3
    run.retry_now()
    assert run.result(20)[0] == Supplier(name="A", usd=1)
    assert len(fake.asked) == 4


def test_a_conversation_goes_on(fake_models, api):
    """All of it goes out again, and each message is kept once."""
    fake = fake_models("def answer(request):\n    return {'say': request.last.upper()}")
    run = twice.start(fake.model(api=api))
    reply = run.result(20)
    assert reply.text == "TWO"
    assert len(reply.messages) == 4
    body = fake.asked[1]["body"]
    said = [message["content"] for message in body["input" if api == "responses" else "messages"]]
    assert [part if isinstance(part, str) else part[0]["text"] for part in said] == ["one", "ONE", "two"]
    assert run.messages()["text"].tolist() == ["one", "ONE", "two", "TWO"]
    calls = run.calls()["call"].tolist()
    assert run.messages(call=calls[1])["text"].tolist() == ["one", "ONE", "two"]


def test_a_person_allows_a_call(fake_models):
    """With the exact arguments; a change reaches the tool and is told to the model."""
    rules = [{"after": "order", "say": "done"}, {"call": {"order": {"part": {"number": 5_000_000}}}}]
    fake = fake_models(rules)
    model = fake.model()
    run = careful.start(model)
    run.wait_for_gate(20)
    run.approve(values={"part": {"number": 5}})
    reply = run.result(20)
    assert reply.calls[0].arguments == {"part": Part(5)}
    assert "A person changed the arguments" in reply.calls[0].told
    run = careful.start(model)
    run.wait_for_gate(20)
    run.reject(comment="too many")
    reply = run.result(20)
    assert reply.calls[0].told == "A person rejected this call: too many"
    assert not reply.calls[0].ran
    assert "order" not in run.steps()["step"].tolist()


@pytest.mark.parametrize(
    ("fault", "wait_s"),
    [
        ({"status": 429, "headers": {"retry-after-ms": "300"}}, 0.3),
        ({"status": 503}, 1),
        ({"status": 400, "headers": {"x-should-retry": "true"}}, 1),
        ({"drop": True}, 1),
    ],
)
def test_what_passes_is_waited_for(fake_models, fault, wait_s):
    """As long as the server says."""
    fake = fake_models([{"times": 1, "fault": fault}, {"say": "at last"}])
    run = answers.start(fake.model(), "Hi", {})
    assert run.result(20)[0] == "at last"
    first, second = fake.asked
    assert wait_s - 0.05 < second["at"] - first["at"] < wait_s + 5
    assert run.steps()["attempts"].tolist() == [2]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"status": 401}, "put the right one where 'env:OPENAI_API_KEY' says"),
        ({"status": 404}, "Check the model's name"),
        ({"status": 400, "code": "context_length_exceeded"}, "longer than this model reads"),
        ({"status": 429, "headers": {"x-should-retry": "false"}}, "429"),
    ],
)
def test_what_stays_parks(fake_models, fault, said):
    """It says what to change, and goes on when it was."""
    fake = fake_models([{"times": 1, "fault": fault}, {"say": "at last"}])
    run = answers.start(fake.model(), "Hi", {})
    eventually(lambda: run.status == "parked")
    assert said in run.steps()["error"][0]
    run.retry_now()
    assert run.result(20)[0] == "at last"


def test_cut_off_is_asked_again(fake_models, api):
    """And garbage too."""
    rules = [
        {"times": 1, "say": "It ends in the mid", "finish": "length"},
        {"times": 1, "fault": {"garbage": True}},
        {"say": "whole"},
    ]
    fake = fake_models(rules)
    run = answers.start(fake.model(api=api), "Hi", {})
    assert run.result(20) == ("whole", "finished")
    assert len(fake.asked) == 3


@kg.agent
async def streams(model):
    return (await kg.chat("Search.", model=model, tools=[search], stream=True)).text


@kg.agent
async def thinks(model):
    reply = await kg.chat("Think.", model=model, tools=[search], when="background")
    return reply.text


def test_in_the_background(fake_models):
    """The provider works on it, with nothing running here; the answer is a request like others."""
    rules = [{"after": "search", "say": "panel 1"}, {"delay_s": 1, "call": {"search": {"product": "panel"}}}]
    fake = fake_models(rules)
    run = thinks.start(fake.model(api="responses"))
    assert run.result(40) == "panel 1"
    assert [asked["body"]["store"] for asked in fake.asked] == [True, True]
    assert run.calls()["finish"].tolist() == ["tool_calls", "stop"]
    assert run.calls()["requests"].sum() == run.view().spent.requests == len(fake.asked)
    said = run.messages()
    assert said["type"].tolist() == ["message", "function_call", "function_call_output", "message"]
    assert run.messages(call=said["call"].iloc[-1])["type"].tolist() == said["type"].tolist()[:3]
    run = thinks.start(fake.model(api="chat"))
    eventually(lambda: run.status == "parked")
    assert "no background mode" in run.steps()["error"][0]
    run.terminate()


def test_a_stream_that_breaks_off_is_asked_again(fake_models, api):
    """Whole, or not at all; calls of tools come in parts too."""
    rules = [
        {"times": 1, "say": "It breaks off in the mid", "breaks_after": 2},
        {"after": "search", "say": "panel 1", "usage": {"input": 10, "output": 3}},
        {"call": [{"search": {"product": "panel"}}]},
    ]
    fake = fake_models(rules)
    run = streams.start(fake.model(api=api))
    assert run.result(30) == "panel 1"
    assert all(asked["body"]["stream"] for asked in fake.asked)
    assert len(fake.asked) == 3
    calls = run.calls()
    assert calls["attempts"].tolist() == [2, 1]
    assert calls["tokens_in"].tolist()[1] == 10
