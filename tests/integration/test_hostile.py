"""What nobody should write, and somebody will: steps and agents that misbehave harm only themselves."""

from __future__ import annotations

import asyncio
import sys
import uuid
import warnings

import pandas as pd
import pytest
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue

import kaigents_nb as kg
from kaigents_nb.errors import ServerNotReady
from kaigents_nb.runtime.connecting import current
from kaigents_nb.runtime.protocol import CODE_ENCODING
from tests.support import eventually

pytestmark = pytest.mark.usefixtures("server")


@kg.step
def fine(x=1):
    return x


@kg.agent
async def calls_fine(x):
    return await fine(x)


def is_alive():
    """Whether this process still executes runs."""
    return calls_fine.start(7).result(20) == 7


@kg.step
def exits():
    sys.exit(3)


@kg.step
def interrupts():
    raise KeyboardInterrupt


@kg.step
async def exits_async():
    sys.exit(3)


@kg.agent
async def exit_step():
    return await exits()


@kg.agent
async def interrupt_step():
    return await interrupts()


@kg.agent
async def exit_async_step():
    return await exits_async()


@pytest.mark.parametrize("agent", [exit_step, interrupt_step, exit_async_step])
def test_a_step_that_exits_parks(agent):
    """sys.exit() in a step does not end the worker; the step parks and says so."""
    run = agent.start()
    eventually(lambda: run.status == "parked")
    assert is_alive()
    run.terminate()


@kg.step(retry=kg.Retry(max_attempts=2, first_wait=0.05))
async def cancels_itself():
    raise asyncio.CancelledError("by itself")


@kg.step(retry=kg.Retry(max_attempts=2, first_wait=0.05))
def cancels_itself_sync():
    raise asyncio.CancelledError("by itself")


@kg.agent
async def cancelled_steps():
    seen = []
    for step in (cancels_itself, cancels_itself_sync):
        try:
            await step()
        except Exception as error:
            seen.append(str(error))
    return seen


def test_a_step_that_raises_cancelled_used_its_attempt():
    """CancelledError of a step's own is an error like others, not the end of the worker."""
    run = cancelled_steps.start()
    assert all("CancelledError" in text for text in run.result(20))
    assert run.steps()["attempts"].tolist() == [2, 2]


@kg.agent
async def raises_exit():
    await fine()
    raise SystemExit(3)


def test_an_agent_that_exits_fails():
    """SystemExit in an agent fails its run and leaves the worker alive."""
    with pytest.raises(kg.RunFailed, match="raise SystemExit"):
        raises_exit.start().result(20)
    assert is_alive()


class NeedsTwo(ValueError):
    def __new__(cls, a, b):
        return super().__new__(cls, a, b)

    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")


@kg.step(retry=kg.Retry(max_attempts=1))
def raises(what):
    if what == "file":
        open("/no/such/file")  # noqa: SIM115
    if what == "group":
        raise ExceptionGroup("several", [ValueError("one"), KeyError("two")])
    if what == "two":
        raise NeedsTwo("x", "y")
    if what == "text":
        b"\xff".decode()
    if what == "number":
        raise ValueError(10**5000)
    if what == "many":
        raise ValueError(*range(200_000))
    raise ValueError("ä" * 3_000_000)


@kg.agent
async def catches(what):
    try:
        await raises(what)
    except (ValueError, OSError) as error:
        return [kind.__name__ for kind in type(error).__mro__], str(error)[:100], getattr(error, "errno", None)


@kg.agent
async def passes_on(what):
    async with asyncio.TaskGroup() as group:
        group.create_task(raises(what))


@pytest.mark.parametrize(
    ("what", "kind", "text"),
    [
        ("file", "FileNotFoundError", "No such file or directory: '/no/such/file'"),
        ("two", "ValueError", "x and y"),
        ("text", "UnicodeError", "invalid start byte"),
        ("number", "ValueError", "bits"),
        ("many", "ValueError", "(0, 1, 2"),
        ("long", "ValueError", "ää"),
    ],
)
def test_awkward_errors_arrive_as_what_they_are_or_derive_from(what, kind, text):
    """Also where its class can't be built again, an error is caught as what it was derived from."""
    kinds, message, number = catches.start(what).result(20)
    assert kind in kinds
    assert text in message
    assert number == (2 if what == "file" else None)


def test_a_group_of_errors_fails_the_run():
    """A TaskGroup's error, and a group from a step, fail the run with the message of each."""
    with pytest.raises(kg.RunFailed, match="ExceptionGroup") as caught:
        passes_on.start("group").result(20)
    assert "several" in str(caught.value)


@kg.step
def pool(n):
    import multiprocessing
    import operator

    with multiprocessing.get_context("fork").Pool(2) as workers:
        result = workers.map(operator.neg, range(n))
        workers.close()
        workers.join()
    return result


@kg.agent
async def with_pool(n):
    return await pool(n)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_forked_processes_leave_the_connection_to_their_parent():
    """Processes of a pool in a step end at once: they don't try to drain a worker that is not theirs."""
    assert with_pool.start(3).result(15) == [0, -1, -2]
    assert is_alive()


@kg.agent
async def asks():
    decision = await kg.approve("Go?")
    return decision.approved, len(decision.comment)


def test_a_long_comment_can_be_read():
    """A decision as long as it may be shows in view, table and trace; a longer one is refused before it is sent."""
    run = asks.start()
    run.wait_for_gate(20)
    with pytest.raises(ValueError, match=r"64 KiB is the most\. Nothing was sent"):
        run.approve(comment="x" * 100_000, values={"t": "y" * 300_000})
    assert run.status == "waiting"
    run.approve(comment="x" * 30_000, values={"t": "y" * 30_000})
    assert run.result(20) == (True, 30_000)
    assert run.view().status == "completed"
    assert run.decisions()["counted"].tolist() == [True]
    assert len(run.trace())


NESTED = RawValue(Payload(data=b"[" * 20_000 + b"]" * 20_000, metadata={"encoding": b"json/plain"}))


@pytest.mark.parametrize(
    ("signal", "args"),
    [
        ("decide_later", [{"gate": "1", "approved": True}]),
        ("decide_later", [{"x": 1}]),
        ("decide_later", ["x"]),
        ("decide_later", [None]),
        ("decide_later", []),
        ("decide_later", [{}, 1, 2]),
        ("decide_later", [{"gate": "1", "id": "x", "approved": True, "choice": "no such option"}]),
        ("mend", []),
        ("mend", [["x"], ["1"], "nope"]),
        ("mend", [5, {}, "x"]),
        ("mend", [["asks"], ["1"], RawValue(Payload(data=b"garbage", metadata={"encoding": CODE_ENCODING.encode()}))]),
        ("decide_later", [NESTED]),
        ("mend", [NESTED, ["1"], "x"]),
        ("nobody_knows_it", [NESTED]),
        ("retry_now", []),
        ("retry_now", [{"x": 1}]),
    ],
)
def test_malformed_signals_do_not_count(signal, args):
    """What any client of the server may send neither stops the run nor decides."""
    run = asks.start()
    run.wait_for_gate(20)

    async def send():
        await run._connection.client.get_workflow_handle(run.id).signal(signal, args=args)

    run._connection.run(send)
    run.approve()
    assert run.result(20)[0]
    assert run.decisions()["counted"].tolist() == [True]


def test_half_a_character_takes_no_table_down():
    """JSON may have one in a decision that another program sends: it is shown as unreadable."""
    run = asks.start()
    asked = run.wait_for_gate(20)
    sent = {**asked.answer(True).to_wire(), "id": "x", "comment": "no \ud800"}

    async def send():
        await run._connection.client.get_workflow_handle(run.id).signal("decide_later", sent)

    run._connection.run(send)
    assert run.result(20) == (True, 4)
    assert run.decisions()["comment"].tolist() == ["no ?"]
    assert "no ?" in kg.decisions()["comment"].tolist()
    assert run.view().status == "completed"
    assert len(run.trace())


@kg.step
def length(x):
    return len(x)


@kg.agent
async def heavy(calls, size):
    return sum(await asyncio.gather(*(length("x" * size) for _ in range(calls))))


@pytest.mark.parametrize(("calls", "size"), [(150, 60_000), (1_100, 1)])
def test_many_calls_at_once_stay_within_the_servers_limits(calls, size):
    """More than fits a message, or may be under way, waits its turn instead of ending the run."""
    assert heavy.start(calls, size).result(60) == calls * size


@kg.agent
async def many_gates(n):
    return len(await asyncio.gather(*(kg.approve(f"Supplier {i}, {'x' * 400}?") for i in range(n))))


def test_very_many_gates_come_up_one_after_the_other():
    """The memo lists the oldest open gates; when one is decided the next one comes up."""
    run = many_gates.start(100)
    run.wait_for_gate(20)
    first = run.pending()["gate"].tolist()
    assert 0 < len(first) < 100
    run.approve("1")
    eventually(lambda: run.pending()["gate"].tolist()[0] == "2")
    assert not any(gate.withdrawn for gate in run.view().gates)
    run.terminate()


@kg.agent
async def unsavable_details():
    try:
        await kg.approve("first", details=iter([1]))
    except kg.KaigentsError:
        return (await kg.approve("second")).approved


def test_a_gate_whose_details_cannot_be_saved_does_not_open():
    """Only the second gate waits for a decision."""
    run = unsavable_details.start()
    run.wait_for_gate(20)
    assert run.pending()["question"].tolist() == ["second"]
    run.approve()
    assert run.result(20)


@kg.step
def asks_in_a_step():
    return asyncio.run(kg.approve("in a step"))


@kg.agent
async def asks_below():
    return await asks_in_a_step()


def test_a_gate_in_a_step_parks():
    """A step can't wait for a person; it parks with the way out instead of being retried for ever."""
    run = asks_below.start()
    eventually(lambda: run.status == "parked")
    assert "in the agent" in run.view().steps[0].error
    run.terminate()


def test_a_run_of_a_closed_connection_says_so():
    """After disconnect() an old handle names the way to a new one."""
    run = calls_fine.start(1)
    run.result(20)
    kg.disconnect()
    with pytest.raises(ServerNotReady, match=r"kg\.run"):
        run.result(20)
    assert kg.run(run.id).result(20) == 1


def test_a_bad_query_is_a_value_error():
    """The server's refusal of a filter is told as a wrong argument."""
    with pytest.raises(ValueError, match="query="):
        kg.runs(query="nonsense =")


def test_ending_an_ended_run_changes_nothing():
    """cancel() and terminate() of a run that has ended are no errors."""
    run = calls_fine.start(1)
    run.result(20)
    run.cancel()
    run.terminate("too late")
    assert run.status == "completed"


def test_a_foreign_memo_takes_no_overview_down():
    """Another program that uses our memo's names gets a row that says so; gates and runs of ours are listed."""
    connection = current()
    name = f"foreign-{uuid.uuid4().hex[:8]}"

    async def start(number: int, state: object) -> None:
        await connection.client.start_workflow(
            "foreign", id=f"{name}-{number}", task_queue="nobody", memo={"kaigents": state, "kaigents_origin": state}
        )

    def foreign_runs() -> pd.DataFrame:
        table = kg.runs()
        return table[table["run_id"].str.startswith(name)]

    foreign = [5, "text", {"gates": 7}, {"gates": [{"gate": 1}]}, {"parked": ["x"]}, [[1, 2], [3, 4]]]
    mine = asks.start()
    try:
        for number, state in enumerate(foreign):
            connection.run(lambda number=number, state=state: start(number, state))
        mine.wait_for_gate(20)
        eventually(lambda: len(foreign_runs()) == len(foreign))
        assert sum("can't be read" in text for text in foreign_runs()["waits_for"]) >= 4
        eventually(lambda: mine.id in kg.pending()["run_id"].tolist())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert kg.decisions() is not None
        kg.inbox().close()
    finally:
        for number in range(len(foreign)):
            kg.Run(connection, f"{name}-{number}").terminate()
        mine.terminate()
