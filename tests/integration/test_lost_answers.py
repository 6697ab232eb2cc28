"""The server does what it was asked, and dies before it can say so: asked again, it is the same request."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

import kaigents_nb as kg

pytestmark = pytest.mark.usefixtures("server")


@kg.agent
async def asks():
    decision = await kg.approve("Go on?")
    return decision.by


@kg.agent
async def brief():
    return "through"


def lose_first_answer(
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    name: str,
    then: Any = None,
    status: RPCStatusCode = RPCStatusCode.UNAVAILABLE,
) -> list[str]:
    """Let the first call of a method of the SDK do its work, and tell the caller that the server went away."""
    real, lost = getattr(owner, name), []

    async def call(*args: Any, **kwargs: Any) -> Any:
        answer = await real(*args, **kwargs)
        if lost:
            return answer
        lost.append(name)
        if then is not None:
            await then(answer)
        raise RPCError("transport error", status, b"")

    monkeypatch.setattr(owner, name, call)
    return lost


# The SDK has another word for a connection that breaks over a question than for one that is not there.
@pytest.mark.parametrize("status", [RPCStatusCode.UNAVAILABLE, RPCStatusCode.UNKNOWN])
def test_a_decision_whose_answer_got_lost_has_won(monkeypatch, status):
    """Who decided is not told that somebody was first: that was they themselves."""
    run = asks.start()
    run.wait_for_gate(30)
    lost = lose_first_answer(monkeypatch, WorkflowHandle, "execute_update", status=status)
    assert run.approve(by="ann").by == "ann"
    assert lost == ["execute_update"]
    assert run.result(30) == "ann"
    assert run.decisions()["counted"].tolist() == [True]


def test_a_start_whose_answer_got_lost_is_the_run_that_it_started(monkeypatch):
    """Also when the run is through before it is asked again."""
    brief.start().result(30)  # this process serves the queue

    async def ended(handle: WorkflowHandle[Any, Any]) -> None:
        await handle.result()

    lost = lose_first_answer(monkeypatch, Client, "start_workflow", ended)
    run = brief.start()
    assert lost == ["start_workflow"]
    assert run.result(30) == "through"


def test_a_server_that_comes_up_is_not_one_that_knows_no_run(monkeypatch):
    """For a moment after its start it does not know its namespace, and so no run: it is asked again."""
    run = brief.start()
    run.result(30)
    real, refused = WorkflowHandle.describe, []

    async def describe(*args: Any, **kwargs: Any) -> Any:
        if len(refused) < 3:
            refused.append(1)
            raise RPCError("Namespace default is not found.", RPCStatusCode.NOT_FOUND, b"")
        return await real(*args, **kwargs)

    monkeypatch.setattr(WorkflowHandle, "describe", describe)
    assert kg.run(run.id).status == "completed"
    assert len(refused) == 3
