"""Tools of another program, over the Model Context Protocol."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

import kaigents_nb as kg

pytestmark = pytest.mark.usefixtures("server")

SERVER = shlex.join([sys.executable, str(Path(__file__).with_name("mcp_server.py"))])


@kg.agent
async def uses(model, server):
    reply = await kg.chat("Do it.", model=model, tools=[server])
    return [(call.tool, call.arguments, call.told) for call in reply.calls]


def test_tools_of_another_program(fake_models):
    """Listed and called by steps; bad arguments come back from the server itself."""
    rules = [
        {"times": 1, "call": [{"add": {"first": 2, "second": 3}}, {"add": {"first": "two"}}, {"subtract": {}}]},
        {"say": "done"},
    ]
    fake = fake_models(rules)
    run = uses.start(fake.model(), kg.mcp(SERVER))
    right, wrong, unknown = run.result(40)
    assert right == ("add", {"first": 2, "second": 3}, "5")
    assert "second" in wrong[2]
    assert "There is no tool 'subtract'. There are: add, paint." in unknown[2]
    assert run.steps()["step"].tolist() == ["kg.mcp.tools", "kg.chat", "kg.mcp.call", "kg.mcp.call", "kg.chat"]
    assert [tool["function"]["name"] for tool in fake.asked[0]["body"]["tools"]] == ["add", "paint"]


@pytest.mark.parametrize("accepts", [True, False])
def test_what_a_tool_asks_opens_a_gate(fake_models, accepts):
    """The answer goes to the tool with its state; nothing waits in between."""
    fake = fake_models([{"after": "paint", "say": "done"}, {"call": {"paint": {"what": "door"}}}])
    run = uses.start(fake.model(), kg.mcp(SERVER, allow=["paint"]))
    gate = run.wait_for_gate(40)
    assert gate.question == "Which color for the door?"
    if accepts:
        run.approve(values={"color": "red"})
    else:
        run.reject()
    assert run.result(40) == [("paint", {"what": "door"}, "door: red" if accepts else "door: left as it was")]


def test_a_tool_that_is_not_there():
    """Parks, and says which there are."""
    run = uses.start(kg.model("m", base_url="http://127.0.0.1:9"), kg.mcp(SERVER, allow=["fly"]))
    assert "It has: ['add', 'paint']" in _parked(run)
    run.terminate()


def _parked(run):
    from tests.support import eventually

    eventually(lambda: run.status == "parked", 30)
    return run.steps()["error"][0]
