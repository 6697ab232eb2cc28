"""Runs in flight: today's interpreter goes on with every history that any version of it has recorded."""

from __future__ import annotations

import asyncio
import random
import shutil
import sys
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.workflow import NondeterminismError

from kaigents_nb.authoring.gate import Decision
from kaigents_nb.authoring.tasks import AgentTask, AgentTasks, Branch
from kaigents_nb.runtime.agent_calls import AgentCalls, Called
from kaigents_nb.runtime.budget import InFlightBudget
from kaigents_nb.runtime.gate_desk import GateDesk
from kaigents_nb.runtime.interpreter import AgentWorkflow
from kaigents_nb.runtime.protocol import SLEEP_SUMMARY, Launch
from kaigents_nb.runtime.recorded import Recorded
from kaigents_nb.runtime.step_calls import StepCalls
from tests.golden.asked import AskedOtherwise
from tests.golden.histories import BLOBS, FOLDER, read, recorded, replay

# Recorded with Python 3.11, whose asyncio.wait_for() makes a task of the call; later ones begin it earlier. A run
# that uses it goes on with the Python that it began with.
OF_PYTHON_311 = {"interpreter-4/gives_up"} if sys.version_info >= (3, 12) else set[str]()
HISTORIES = [path for path in recorded() if f"{path.parent.name}/{path.name.split('.')[0]}" not in OF_PYTHON_311]


@pytest.fixture(autouse=True)
def blobs(tmp_path: Path) -> None:
    """Where the histories' big values lie: what is written there is not kept."""
    shutil.copytree(BLOBS, tmp_path, dirs_exist_ok=True)


@pytest.mark.parametrize("path", HISTORIES, ids=[f"{path.parent.name}-{path.name.split('.')[0]}" for path in HISTORIES])
async def test_a_recorded_run_replays(path: Path, tmp_path: Path) -> None:
    """The interpreter asks for the same things in the same order, and the run ends as it did."""
    history = read(path)
    await replay(history, tmp_path)


async def test_another_order_of_steps_is_noticed(tmp_path: Path) -> None:
    """A history whose steps come in another order than the code asks for them does not replay."""
    history = read(FOLDER / "0.1.0/sequence.json")
    first, second = (
        event.activity_task_scheduled_event_attributes
        for event in history.events
        if event.HasField("activity_task_scheduled_event_attributes")
    )
    first.activity_type.name, second.activity_type.name = second.activity_type.name, first.activity_type.name
    with pytest.raises(NondeterminismError, match="as_table"):
        await replay(history, tmp_path)


@pytest.mark.parametrize(
    ("name", "attributes", "change"),
    [
        ("sequence", "activity_task_scheduled", lambda step: step.input.payloads[-1].MergeFrom(Payload(data=b"1"))),
        ("sequence", "activity_task_scheduled", lambda step: step.retry_policy.ClearField("maximum_interval")),
        ("calls_agents", "start_child_workflow_execution_initiated", lambda agent: agent.input.payloads.pop()),
        ("starts_runs", "start_child_workflow_execution_initiated", lambda agent: agent.memo.fields.clear()),
        ("decided_by_update", "workflow_properties_modified", lambda memo: memo.upserted_memo.fields.clear()),
        (
            "decided_by_update",
            "upsert_workflow_search_attributes",
            lambda said: said.search_attributes.indexed_fields["KaigentsState"].MergeFrom(Payload(data=b'"parked"')),
        ),
        (
            "decided_by_update",
            "workflow_execution_update_completed",
            lambda update: update.outcome.success.payloads[0].MergeFrom(Payload(data=b'{"by": "zoe"}')),
        ),
        ("sleeps", "timer_started", lambda timer: timer.start_to_fire_timeout.FromSeconds(7)),
        ("sequence", "workflow_execution_completed", lambda end: end.result.payloads[0].MergeFrom(Payload(data=b"1"))),
        ("fails_by_itself", "workflow_execution_failed", lambda end: end.failure.MergeFrom(Failure(message="other"))),
    ],
)
async def test_another_request_is_noticed(
    name: str, attributes: str, change: Callable[[Any], object], tmp_path: Path
) -> None:
    """What a run asks for is compared with what was recorded, and not only when."""
    history = read(FOLDER / f"interpreter-4/{name}.json")
    event = next(
        event for event in history.events if event.WhichOneof("attributes") == f"{attributes}_event_attributes"
    )
    change(getattr(event, f"{attributes}_event_attributes"))
    with pytest.raises(AskedOtherwise):
        await replay(history, tmp_path)


async def test_another_name_of_a_timer_is_noticed(tmp_path: Path) -> None:
    """A wait is known on the card by its name, which is not among its attributes."""
    history = read(FOLDER / "interpreter-4/sleeps.json")
    event = next(event for event in history.events if event.user_metadata.HasField("summary"))
    event.user_metadata.summary.data = b'"a nap"'
    with pytest.raises(AskedOtherwise, match="a nap"):
        await replay(history, tmp_path)


def numbers_calls_from_100(self: AgentWorkflow) -> str:
    self._calls += 1
    return str(100 + self._calls)


def publishes_nothing(self: AgentWorkflow) -> None:
    pass


@pytest.mark.parametrize(
    ("name", "method", "changed"),
    [
        ("sequence", "_next_call", numbers_calls_from_100),
        ("decided_by_update", "_publish", publishes_nothing),
        ("decided_by_signal", "_publish", publishes_nothing),
    ],
)
async def test_another_interpreter_is_noticed(
    name: str, method: str, changed: Callable[..., object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interpreter that asks the server for something else can't go on with runs in flight."""
    monkeypatch.setattr(AgentWorkflow, method, changed)
    with pytest.raises(NondeterminismError):
        await replay(read(FOLDER / "0.1.0" / f"{name}.json"), tmp_path)


async def a_turn_later(self: StepCalls, *args: object) -> object:
    await asyncio.sleep(0)
    return await PERFORM(self, *args)


async def opened_a_turn_later(self: GateDesk, *args: object) -> object:
    await asyncio.sleep(0)
    return await OPEN(self, *args)


def closes_when_the_agent_has_gone_on(self: GateDesk, number: str) -> None:
    asyncio.get_running_loop().call_soon(CLOSE, self, number)


def draws_once_more(self: AgentWorkflow) -> str:
    self._random.random()
    return NEXT_CALL(self)


async def draws_when_the_called_agent_is_over(self: AgentCalls, *args: object) -> object:
    chance = vars(self).setdefault("real chance", self._chance)
    self._chance = random.Random(0)
    try:
        return await CALL_AGENT(self, *args)
    finally:
        chance.getrandbits(64)


async def hears_of_a_step_a_turn_later(self: StepCalls, *args: object) -> object:
    result = await PERFORM(self, *args)
    await asyncio.sleep(0)
    return result


async def hears_of_an_agent_a_turn_later(self: AgentCalls, *args: object) -> object:
    result = await CALL_AGENT(self, *args)
    await asyncio.sleep(0)
    return result


async def hears_of_a_decision_a_turn_later(self: GateDesk, *args: object) -> object:
    result = await OPEN(self, *args)
    await asyncio.sleep(0)
    return result


def sleeps_a_turn_longer(self: AgentWorkflow, delay_s: float) -> object:
    async def sleeps() -> None:
        await workflow.sleep(delay_s, summary=SLEEP_SUMMARY)
        await asyncio.sleep(0)

    return sleeps


async def lets_no_task_end(self: AgentWorkflow) -> None:
    pass


def is_in_sets_otherwise(self: AgentTask) -> int:
    return -self._number


class LastInFirstOut(deque[Any]):
    def __getitem__(self, index: Any) -> Any:
        return super().__getitem__(-1 - index)

    def popleft(self) -> Any:
        return self.pop()


def lets_the_last_one_go_first(self: InFlightBudget) -> None:
    BUDGET(self)
    self._waiting = LastInFirstOut()


def sleeps_as_asyncio_does(self: AgentWorkflow, delay_s: float) -> object:
    return partial(asyncio.sleep, delay_s)


def knows_no_branches(self: AgentTasks) -> Branch:
    return self._root


async def hands_out_at_once(self: Recorded, is_open: object) -> None:
    await workflow.wait_condition(lambda: True)
    self._over = True
    for place in list(self._waiting):
        self._wake(place)


async def waits_for_no_gate(self: Recorded, is_open: object) -> bool:
    return False


def starts_timers_again(self: AgentWorkflow, start: Callable[..., object], callback: object, context: object) -> object:
    return start(callback, context=context)


async def calls_instead_of_starting(self: AgentCalls, called: Called, caller: Launch, run_id: str | None) -> str:
    await CALL_AGENT(self, called, caller)
    return run_id or ""


async def called_a_turn_later(self: AgentWorkflow, *args: object) -> object:
    await asyncio.sleep(0)
    return await CHILD(self, *args)


def sleeps_again_in_a_fork(self: AgentWorkflow, delay_s: float) -> object:
    return partial(workflow.sleep, delay_s, summary=SLEEP_SUMMARY)


def skips_a_wait_too_many(self: AgentWorkflow, delay_s: float) -> object:
    waits = vars(self).setdefault("waits", count(1))
    return partial(asyncio.sleep, 0) if next(waits) <= self._launch.slept + 1 else partial(workflow.sleep, delay_s)


PERFORM, OPEN, CLOSE = StepCalls.perform, GateDesk.open, GateDesk._close
NEXT_CALL, CHILD, CALL_AGENT = AgentWorkflow._next_call, AgentWorkflow._child, AgentCalls.perform
BUDGET = InFlightBudget.__init__


@pytest.mark.parametrize(
    ("name", "kind", "method", "changed"),
    [
        *(
            (f"interpreter-{version}/{name}", kind, method, changed)
            for version in (1, 3, 4)
            for name, kind, method, changed in [
                ("decides_at_once", StepCalls, "perform", a_turn_later),
                ("decides_at_once", GateDesk, "open", opened_a_turn_later),
                ("decides_at_once", GateDesk, "_close", closes_when_the_agent_has_gone_on),
                ("decides_at_once", AgentWorkflow, "_child", called_a_turn_later),
                ("decides_at_once", AgentCalls, "perform", draws_when_the_called_agent_is_over),
                ("decides_at_once", AgentWorkflow, "_next_call", draws_once_more),
                ("decides_at_once", AgentWorkflow, "sleep", sleeps_as_asyncio_does),
                ("forked_after_waits", AgentWorkflow, "sleep", sleeps_again_in_a_fork),
            ]
        ),
        ("interpreter-1/forked_after_waits", AgentWorkflow, "sleep", skips_a_wait_too_many),
        ("interpreter-3/takes_turns", InFlightBudget, "__init__", lets_the_last_one_go_first),
        ("interpreter-3/races", StepCalls, "perform", a_turn_later),
        ("interpreter-3/forked_after_races", AgentTasks, "branch", property(knows_no_branches)),
        ("interpreter-3/forked_after_races", Recorded, "hand_out", hands_out_at_once),
        ("interpreter-3/forked_after_races", Recorded, "_asked_again", waits_for_no_gate),
        ("interpreter-3/forked_after_races", AgentWorkflow, "timer", starts_timers_again),
        ("interpreter-4/goes_on_after_gates", GateDesk, "open", hears_of_a_decision_a_turn_later),
        ("interpreter-3/starts_runs", AgentCalls, "start", calls_instead_of_starting),
    ],
)
async def test_another_order_of_what_happens_at_once_is_noticed(
    name: str,
    kind: type,
    method: str,
    changed: Callable[..., object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An interpreter that does the same one turn later, or draws chance otherwise, can't go on with such a run."""
    monkeypatch.setattr(kind, method, changed)
    [path] = FOLDER.glob(f"{name}.json*")
    with pytest.raises((NondeterminismError, AskedOtherwise)):
        await replay(read(path), tmp_path)


async def test_another_outcome_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interpreter that asks for the same but tells the agent something else is caught by the run's end."""
    monkeypatch.setattr(Decision, "__init__", mistakes_everybody_for_zoe(Decision.__init__))
    with pytest.raises(AskedOtherwise, match="zoe"):
        await replay(read(FOLDER / "0.1.0/decided_by_update.json"), tmp_path)


def mistakes_everybody_for_zoe(init: Callable[..., None]) -> Callable[..., None]:
    def changed(self: Decision, *args: object, **kwargs: object) -> None:
        init(self, *args, **(kwargs | {"by": "zoe"}))

    return changed
