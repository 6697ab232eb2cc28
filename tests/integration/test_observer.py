"""What looking at runs costs: each event is read once, nothing is asked while nothing happens, none is missed."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.failure.v1 import Failure
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    PollWorkflowTaskQueueRequest,
    ResetWorkflowExecutionRequest,
    RespondWorkflowTaskFailedRequest,
)

import kaigents_nb as kg
from kaigents_nb.history.observers import Observers
from kaigents_nb.runtime.connecting import current
from kaigents_nb.runtime.queue import task_queue
from kaigents_nb.server import embedded
from tests.support import eventually, is_nightly

pytestmark = pytest.mark.usefixtures("server")

_SIGNALS = 9_990 if is_nightly() else 1_500
"""With `-m nightly` it reads ten thousand events; the server takes no more than so many signals of one run."""
_TASK_COMPLETED = "workflow_task_completed_event_attributes"
_PAGE = 256
"""So many batches of events the server gives at a time."""


@kg.step
def double(x):
    return 2 * x


@kg.agent
async def asking(x):
    doubled = await double(x)
    decision = await kg.approve("Go on?", details={"doubled": doubled})
    return doubled, decision.by


@kg.agent
async def asking_often(n):
    for number in range(n):
        await double(number)
        await kg.approve(f"Number {number}?")
    return n


@kg.agent
async def asking_later():
    await kg.sleep(4)
    return (await kg.approve("At last?")).by


@kg.agent
async def calls_one_that_asks_later():
    return await asking_later()


@kg.agent
async def calls_deep():
    return await calls_one_that_asks_later()


@kg.agent
async def busy():
    steps = 0
    until = kg.now() + timedelta(seconds=4)
    while kg.now() < until:
        await double(steps)
        steps += 1
    await kg.approve("Busy enough?")
    return steps


@kg.agent
async def sleeping():
    await kg.sleep(3600)


class Requests:
    """The requests of this process's client to the server, as they were made."""

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()
        self.pages: Counter[str] = Counter()
        """Answers with events, by workflow id."""
        self.events: Counter[tuple[str, int]] = Counter()
        """How often each event came, by workflow id and event id."""
        self.tokens: Callable[[bytes], bytes] = bytes

    def read_twice(self) -> list[tuple[str, int]]:
        return [event for event, times in self.events.items() if times > 1]


@contextmanager
def requests_counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Requests]:
    """Count what is asked of the server; the answers are the server's own."""
    requests, service = Requests(), current().client.workflow_service
    describe, read = service.describe_workflow_execution, service.get_workflow_execution_history

    async def counted_describe(request: Any, **options: Any) -> Any:
        requests.counted["describe"] += 1
        return await describe(request, **options)

    async def counted_read(request: Any, **options: Any) -> Any:
        if request.history_event_filter_type == 2:
            return await read(request, **options)  # result() waits for the last event
        requests.counted["read"] += 1
        request.next_page_token = requests.tokens(request.next_page_token)
        answer = await read(request, **options)
        requests.pages[request.execution.workflow_id] += bool(answer.history.events)
        requests.events.update((request.execution.workflow_id, e.event_id) for e in answer.history.events if e.task_id)
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(service, "describe_workflow_execution", counted_describe)
        patch.setattr(service, "get_workflow_execution_history", counted_read)
        yield requests


def in_thread(function: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """Call a function in a thread; the list gets what it returned or raised."""
    outcome: list[Any] = []

    def work() -> None:
        try:
            outcome.append(function())
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    return thread, outcome


def grow(run: kg.Run, count: int) -> None:
    """Make a history longer: one event, and one batch of them, for each signal that nobody takes up."""
    connection = current()

    async def send() -> None:
        handle = connection.client.get_workflow_handle(run.id)
        for first in range(0, count, 50):
            await asyncio.gather(*(handle.signal("noise") for _ in range(min(50, count - first))))

    connection.run(send)


def without_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on this process executes nothing; its next connection is a new one."""
    kg.disconnect()
    monkeypatch.setenv("KAIGENTS_WORKER", "off")


@pytest.mark.nightly
def test_a_long_history_is_read_once(monkeypatch):
    """A hundred looks of every kind, by old and new handles, read each page once."""
    run_id = asking.start(21).id
    kg.run(run_id).wait_for_gate(20)
    without_worker(monkeypatch)
    with requests_counted(monkeypatch) as requests:
        run, views = kg.run(run_id), []
        grow(run, _SIGNALS)
        stops = [kg.run(run_id).watch(views.append) for _ in range(10)]
        looks: list[Callable[[], object]] = [
            lambda: run.status,
            lambda: kg.run(run_id).status,
            lambda: kg.run(run_id).view().open_gates[0].details,
            lambda: run.steps()["result"].tolist(),
            lambda: kg.run(run_id).steps()["result"].tolist(),
            lambda: run.wait_for_gate(10).question,
            lambda: kg.run(run_id).wait_for_gate(10).question,
            lambda: len(run.decisions()),
            lambda: len(kg.run(run_id).code()) > 100,
        ]
        seen = [[look() for look in looks] for _ in range(10)]
        eventually(lambda: len(views) >= 10)
        for stop in stops:
            stop()
    assert all(row[2:] == [{"doubled": 42}, [42], [42], "Go on?", "Go on?", 0, True] for row in seen)
    assert _SIGNALS < len(requests.events) == len(run.events())
    assert requests.read_twice() == []
    assert requests.pages[run_id] <= len(requests.events) / _PAGE + 1
    run.terminate()


def test_a_growing_history_is_read_once(monkeypatch):
    """While a run goes on, each new event is read once for all who look, wait and listen."""
    rounds, views = 8, []
    with requests_counted(monkeypatch) as requests:
        run = asking_often.start(rounds)
        stops = [kg.run(run.id).watch(views.append) for _ in range(3)]
        result, outcome = in_thread(lambda: run.result(60))
        for number in range(rounds):
            waits = [in_thread(lambda: kg.run(run.id).wait_for_gate(30).question) for _ in range(3)]
            for thread, questions in waits:
                thread.join()
                assert questions == [f"Number {number}?"]
            assert kg.run(run.id).status == "waiting"
            run.approve(by="ann")
        result.join()
        assert outcome == [rounds]
        eventually(lambda: sum(view.closed for view in views) == 3)
        assert run.status == kg.run(run.id).status == "completed"
        assert run.decisions()["by"].tolist() == ["ann"] * rounds
        for stop in stops:
            stop()
    assert len(requests.events) == len(run.events())
    assert requests.read_twice() == []


@pytest.mark.parametrize(("agent", "depth"), [(asking_later, 0), (calls_deep, 2)], ids=["own", "called"])
def test_waiting_asks_nothing(monkeypatch, capsys, agent, depth):
    """While a run or the agents it called only sleep or wait, nothing is asked beside the held-back page of each."""
    run = agent.start()
    eventually(lambda: len(run.view().sleeps if depth == 0 else run.steps()) == 1)
    with requests_counted(monkeypatch) as requests:
        views = []
        stop = run.watch(views.append)
        result, outcome = in_thread(lambda: run.result(60))
        waits = [in_thread(lambda: kg.run(run.id).wait_for_gate(30)) for _ in range(5)]
        for thread, gates in waits:
            thread.join()
            assert [gate.question for gate in gates] == ["At last?"]
        eventually(lambda: views[-1].open_gates)
        eventually(lambda: "waits for a decision: At last?" in capsys.readouterr().out)
        # Everybody looks once, at each run: five who wait and their handles, the listener, and the prompter.
        assert requests.counted["describe"] <= 20 * (depth + 1)
        assert requests.counted["read"] <= 8 * (depth + 1)
        assert requests.read_twice() == []
    assert (gates[0].run_id == run.id) is (depth == 0)
    run.approve(by="ann")
    result.join()
    assert outcome == ["ann"]
    eventually(lambda: views[-1].closed)
    stop()


def test_many_steps_a_second_are_read_together(monkeypatch, capsys):
    """Who waits for the result or listens has no answer of the server for each step, and still learns of the gate."""
    told: list[str] = []

    def is_told() -> bool:
        told.append(capsys.readouterr().out)
        return "waits for a decision: Busy enough?" in "".join(told)

    with requests_counted(monkeypatch) as requests:
        began = time.monotonic()
        run, views = busy.start(), []
        stop = run.watch(views.append)
        result, _ = in_thread(lambda: run.result(60))
        eventually(lambda: is_told() and views and views[-1].open_gates)
        lasted = time.monotonic() - began
        run.approve()
        result.join()
        stop()
    assert requests.pages[run.id] <= 8 * lasted
    assert requests.read_twice() == []


def test_a_status_is_never_old():
    """What the server knows is seen at once, also while others follow the run."""
    run = asking.start(1)
    stop = run.watch(lambda view: None)
    run.wait_for_gate(20)
    run.approve(by="ann")
    assert not kg.run(run.id).view().open_gates
    assert run.result(20) == (2, "ann")
    assert run.status == "completed"
    stop()
    ended = sleeping.start()
    other = kg.run(ended.id)
    assert {ended.status, other.status} <= {"starting", "running"}
    ended.terminate("enough")
    assert (ended.status, other.status, kg.run(ended.id).status) == ("terminated",) * 3


def test_a_token_that_the_server_refuses(monkeypatch):
    """A page token that is no longer good costs reading anew, and what was known does not count twice."""
    run = asking_often.start(2)
    run.wait_for_gate(20)
    run.approve(by="ann")
    eventually(lambda: [gate.question for gate in run.view().open_gates] == ["Number 1?"])
    with requests_counted(monkeypatch) as requests:
        requests.tokens = lambda token: token and b"from another time"
        run.approve(by="bob")
        eventually(lambda: kg.run(run.id).status == "completed")
        assert requests.pages[run.id]
    assert run.decisions()["by"].tolist() == ["ann", "bob"]
    assert [step.name for step in run.view().steps] == ["double", "double"]


def test_tasks_under_way_are_not_taken_for_events(monkeypatch):
    """The server shows an agent's task that is tried again as events whose ids others get later: none is missed."""
    without_worker(monkeypatch)
    run = sleeping.start()
    connection = current()
    service = connection.client.workflow_service

    async def fail() -> None:
        poll = PollWorkflowTaskQueueRequest(
            namespace=connection.namespace, task_queue=TaskQueue(name=task_queue()), identity="nobody"
        )
        task = await service.poll_workflow_task_queue(poll)
        assert task.workflow_execution.workflow_id == run.id
        await service.respond_workflow_task_failed(
            RespondWorkflowTaskFailedRequest(
                namespace=connection.namespace, task_token=task.task_token, failure=Failure(message="no code")
            )
        )

    connection.run(fail)
    connection.run(fail)
    assert run.status == "stuck"
    run.terminate("enough")
    assert run.status == "terminated"
    assert run.view().ended is not None


def test_a_run_that_was_reset_is_seen_anew():
    """Reset, as in Temporal's web UI, gives a run another history: old and new handles show that one."""
    run = asking.start(1)
    stop = run.watch(lambda view: None)
    run.wait_for_gate(20)
    before = kg.run(run.id).view()
    connection = current()

    async def reset() -> None:
        handle = connection.client.get_workflow_handle(run.id)
        first = next(e.event_id for e in (await handle.fetch_history()).events if e.HasField(_TASK_COMPLETED))
        await connection.client.workflow_service.reset_workflow_execution(
            ResetWorkflowExecutionRequest(
                namespace=connection.namespace,
                workflow_execution=WorkflowExecution(workflow_id=run.id),
                workflow_task_finish_event_id=first,
                request_id=run.id,
            )
        )

    connection.run(reset)
    assert run.wait_for_gate(20).opened > before.open_gates[0].opened
    assert run.status == kg.run(run.id).status == "waiting"
    run.approve(by="ann")
    assert run.result(20) == (2, "ann")
    assert len(run.decisions()) == 1
    stop()


def kill_server(data_dir: Path) -> None:
    info = embedded.find_server(data_dir)
    assert info is not None
    os.kill(info.pid, signal.SIGKILL)
    eventually(lambda: embedded.find_server(data_dir) is None)


def test_a_listener_hears_that_the_server_went_away(data_dir: Path):
    """Who listens to a run that only waits hears of it, has the server back without asking, and hears the rest."""
    run = asking.start(1)
    views = []
    stop = run.watch(views.append)
    eventually(lambda: views and views[-1].open_gates)
    kill_server(data_dir)
    eventually(lambda: [view for view in views if "is away since" in view.problem])
    eventually(lambda: views[-1].status == "waiting", timeout_s=40)
    run.approve(by="ann")
    assert run.result(20) == (2, "ann")
    eventually(lambda: views[-1].closed)
    stop()


def test_waiting_goes_on_when_the_server_is_back(data_dir: Path):
    """Who waits for a gate has the server back without asking, and gets the gate."""
    run = asking_later.start()
    eventually(lambda: run.view().sleeps)
    wait, outcome = in_thread(lambda: run.wait_for_gate(60).question)
    kill_server(data_dir)
    wait.join()
    assert outcome == ["At last?"]
    run.terminate()


def test_a_listener_that_breaks_or_is_slow_holds_up_nobody(caplog):
    """Each listener of a run has its own pace."""
    run = asking.start(1)
    views, go_on = [], threading.Event()
    stops = [run.watch(lambda view: go_on.wait(60)), run.watch(lambda view: 1 / 0), kg.run(run.id).watch(views.append)]
    run.wait_for_gate(20)
    run.approve(by="ann")
    eventually(lambda: views and views[-1].closed)
    go_on.set()
    for stop in stops:
        stop()
    assert "ZeroDivisionError" in caplog.text


def test_what_nobody_uses_is_let_go():
    """Histories are kept while they are used, and of the last few runs; with the last listener the request ends."""
    connection = current()
    runs = [sleeping.start() for _ in range(12)]

    def known() -> set[str]:
        gc.collect()
        return set(connection.instance(Observers)._used) & {run.id for run in runs}

    stops = [run.watch(lambda view: None) for run in runs]
    eventually(lambda: len(known()) == 12)
    for stop in stops:
        stop()
    eventually(lambda: not [task for task in asyncio.all_tasks(connection._loop.loop) if "Observer" in repr(task)])
    eventually(lambda: len(known()) < 12)
    for run in runs:
        run.terminate()


SCRIPT = """
import threading
import time
import kaigents_nb as kg

@kg.agent
async def waits():
    await kg.approve("wait for ever?")

if __name__ == "__main__":
    runs = [waits.start() for _ in range(3)]
    seen = []
    for run in runs:
        run.watch(seen.append)
        run.wait_for_gate(30)
    waiting = [threading.Thread(target=lambda run=run: run.result(), daemon=True) for run in runs]
    threading.excepthook = lambda args: None
    for thread in waiting:
        thread.start()
    kg.disconnect()
    kg.connect()
    for run in runs:
        kg.run(run.id).terminate()
    print("said goodbye")
"""


def test_closing_ends_all_without_noise(tmp_path: Path):
    """A connection that is closed while runs are followed says nothing, and the process ends well."""
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.strip(), done.stderr.strip()) == (0, "said goodbye", "")
