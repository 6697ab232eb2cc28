"""A server that goes away or asks for patience, and a model that means harm."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from temporalio.api.enums.v1 import EventType

import kaigents_nb as kg
from kaigents_nb.models.retry_after import retry_after_s
from tests.fake_model import served
from tests.support import eventually

pytestmark = pytest.mark.usefixtures("server")

ROUNDS = 4
MARCH = f"""
def answer(request):
    done = sum(item.get("type") == "function_call_output" for item in request.items)
    return {{"say": f"{{done}} rounds"}} if done == {ROUNDS} else {{"call": {{"advance": {{"number": done}}}}}}
"""


@kg.step
def advance(number: int) -> str:
    return f"advanced from {number}"


@kg.step
def remove(path: str, force: bool = False) -> str:
    raise AssertionError("nobody may call this")


@kg.agent
async def marches(model):
    return (await kg.chat("March.", model=model, tools=[advance], approve=[advance])).text


@kg.agent
async def asks(model):
    return (await kg.chat("Hi", model=model)).text


@kg.agent
async def is_attacked(model):
    reply = await kg.chat("Tidy up.", model=model, tools=[advance, remove], approve=[remove])
    return reply.text, [(call.tool, call.told, call.ran) for call in reply.calls]


def test_an_outage_in_mid_loop_is_waited_out(tmp_path):
    """The connection is refused for several attempts; the waits grow up to a minute, and nothing is asked twice."""
    with served(tmp_path) as models:
        fake = models(MARCH)
        run = marches.start(fake.model())
        for _ in range(2):
            run.wait_for_gate(20)
            run.approve()
        run.wait_for_gate(20)
        before = [asked["body"]["messages"] for asked in fake.asked]
    run.approve()
    eventually(lambda: run.steps()["attempts"].max() >= 3, 30)
    view = run.view()
    assert view.status == "retrying"
    assert "No answer of" in view.steps[-1].error
    with served(tmp_path, int(re.search(r":(\d+)/", fake.url)[1])):
        for _ in range(ROUNDS - 3):
            run.wait_for_gate(40)
            run.approve()
        assert run.result(40) == f"{ROUNDS} rounds"
        after = [asked["body"]["messages"] for asked in fake.asked]
    assert [len(messages) for messages in before + after] == [1 + 2 * done for done in range(ROUNDS + 1)]
    calls = run.calls()
    assert (len(calls), calls["repeated"].sum()) == (ROUNDS + 1, 0)
    policies = [
        event.activity_task_scheduled_event_attributes.retry_policy
        for event in history(run)
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    ]
    assert {(policy.maximum_interval.seconds, policy.maximum_attempts) for policy in policies} == {(60, 0)}


def history(run):
    handle = run._connection.client.get_workflow_handle(run.id)
    return run._connection.run(handle.fetch_history).events


@pytest.mark.parametrize("said_s", [3, 200])
def test_it_is_asked_again_when_the_server_says(fake_models, said_s):
    """Three seconds or three minutes and more, longer than the longest wait of ours: at that time, not before."""
    fake = fake_models([{"times": 1, "fault": {"status": 429, "headers": {"retry-after": said_s}}}, {"say": "Hello"}])
    run = asks.start(fake.model())
    eventually(lambda: run.view().steps and run.view().steps[0].next_retry, 20)
    [step] = run.view().steps
    assert (step.status, len(fake.asked)) == ("retrying", 1)
    wait_s = (step.next_retry - datetime.fromtimestamp(fake.asked[0]["at"], UTC)).total_seconds()
    assert said_s <= wait_s < said_s + 2
    if said_s < 60:
        assert run.result(30) == "Hello"
        first, second = fake.asked
        assert second["at"] - first["at"] >= said_s
    else:
        run.retry_now()
        assert run.result(20) == "Hello"
    assert len(fake.asked) == 2


def test_a_date_is_understood():
    """As HTTP has it beside seconds; also for rows, which are asked by one step."""
    refused = kg.KaigentsError("busy")

    def asked(**headers: str) -> float | None:
        refused.response = type("Response", (), {"headers": headers})
        return retry_after_s(refused)

    assert asked() is None
    assert asked(**{"retry-after": "soon"}) is None
    assert asked(**{"retry-after": "2.5"}) == 2.5
    assert asked(**{"retry-after-ms": "2500", "retry-after": "9"}) == 2.5
    assert asked(**{"retry-after": "Tue, 01 Jan 2019 00:00:00 GMT"}) == 0
    assert asked(**{"retry-after": "Fri, 31 Dec 9998 23:59:59 GMT"}) == 366 * 86_400


HOSTILE = [
    {"advance": {"number": 1, "self": 2, "__class__": "os"}},
    {"advance": "[" * 20_000},
    {"advance": '{"number": ' + "9" * 5_000 + "}"},
    {"advance": '{"number": 1e400}'},
    {"advance": '{"number": 1, "number": "; rm -rf /"}'},
    {"advance": "null"},
    {"advance": '{"number": "\\ud800"}'},
    {"kg.chat": {"request": {}}},
    {"__import__": {"name": "os"}},
    {"remove": {"path": "/", "force": True, "approved": True}},
]


@pytest.mark.parametrize("api", ["responses", "chat"])
def test_hostile_arguments_call_nothing(fake_models, api):
    """What does not fit the signature reaches no step; the model is told, and the run goes on."""
    fake = fake_models([{"times": 1, "call": HOSTILE}, {"say": "I give up."}])
    run = is_attacked.start(fake.model(api=api))
    text, calls = run.result(30)
    assert text == "I give up."
    assert [tool for tool, _, ran in calls if ran] == []
    assert len(calls) == len(HOSTILE)
    assert all(len(told) < 3_000 for _, told, _ in calls)
    assert run.steps()["step"].tolist() == ["kg.chat", "kg.chat"]
