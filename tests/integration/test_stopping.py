"""Cancel and time-outs reach a step that is under way, and never are two attempts of a call under way at once."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time

import pytest

import kaigents_nb as kg
from kaigents_nb.runtime.protocol import RETRY_SIGNAL
from tests.support import eventually
from tests.workers import serves

pytestmark = pytest.mark.usefixtures("server")


@kg.step
def counts_on(path):
    try:
        while True:
            with open(path, "a") as file:
                file.write("x")
            time.sleep(0.01)
    except asyncio.CancelledError:
        with open(path, "a") as file:
            file.write(" tidied up")
        raise


@kg.agent
async def counts_for_ever(path):
    return await counts_on(path)


def step_threads(name):
    return [thread for thread in threading.enumerate() if thread.name == f"kaigents step {name}"]


def test_cancel_ends_the_step(tmp_path):
    """The run is cancelled at once; its step is interrupted in its thread, tidies up and ends."""
    path = tmp_path / "ticks"
    run = counts_for_ever.start(path)
    eventually(path.exists)
    run.cancel()
    with pytest.raises(kg.RunCancelled):
        run.result(20)
    eventually(lambda: path.read_text().endswith("tidied up"))
    eventually(lambda: not step_threads("counts_on"))


@kg.step(timeout=1, retry=kg.Retry(first_wait=0.05, max_wait=0.05))
def loops_once(path):
    with open(path, "a") as file:
        file.write("began ")
    try:
        while path.stat().st_size == len("began "):
            time.sleep(0.01)
    finally:
        with open(path, "a") as file:
            file.write("ended ")
    return "went on"


@kg.agent
async def takes_too_long_once(path):
    return await loops_once(path)


def test_a_timeout_ends_the_attempt_before_the_next_one_begins(tmp_path):
    """What the time-out has ended tidies up; only then it is tried again."""
    path = tmp_path / "log"
    assert takes_too_long_once.start(path).result(30) == "went on"
    assert path.read_text().split() == ["began", "ended", "began", "ended"]


@kg.step(timeout=1, retry=kg.Retry(first_wait=0.05, max_wait=0.05))
def is_in_c(path):
    import ctypes

    with open(path, "a") as file:
        file.write(f"{time.time()} ")
    if len(path.read_text().split()) == 1:
        ctypes.CDLL(None).sleep(5)  # holds no lock of Python, and no error of Python ends it
        while True:
            time.sleep(0.01)
    return [float(began) for began in path.read_text().split()]


@kg.agent
async def calls_c(path):
    return await is_in_c(path)


def test_a_step_that_can_not_be_interrupted_is_waited_for(tmp_path):
    """The card says which attempt is still in its call, and where; the next one begins when that has returned."""
    run = calls_c.start(tmp_path / "log")
    note = eventually(lambda: next((step.note for step in run.view().steps if step.note), ""))
    assert note.startswith("attempt 1 was told to stop at ")
    assert "is still in its call in is_in_c" in note
    assert len(run.trace())  # tracing lines beside it is no trouble
    first, second = run.result(60)
    assert second - first >= 5


@kg.step(timeout=1, retry=kg.Retry(first_wait=0.05, max_wait=0.05))
def sleeps_in_c_twice(path):
    import ctypes

    with open(path, "a") as file:
        file.write("began ")
    if path.read_text().count("began") < 3:
        try:
            ctypes.CDLL(None).sleep(3)
        finally:
            with open(path, "a") as file:
                file.write("ended ")
    return path.read_text().split()


@kg.agent
async def sleeps_in_c(path):
    return await sleeps_in_c_twice(path)


@pytest.mark.usefixtures("two_workers")
def test_no_worker_begins_what_another_has_not_ended(tmp_path):
    """Of two workers of a queue, the idle one waits too: an attempt past its time-out has not ended yet."""
    run = sleeps_in_c.start(tmp_path / "log")
    note = eventually(lambda: next((step.note for step in run.view().steps if step.note), ""))
    assert "attempt 1 was told to stop at " in note
    assert run.result(60) == ["began", "ended", "began", "ended", "began"]
    assert run.steps()["attempts"].tolist() == [3]


def test_cancel_does_not_wait_for_a_step_that_can_not_be_interrupted(tmp_path):
    """The run is cancelled at once; its card says that the step's call goes on."""
    run = calls_c.start(tmp_path / "log")
    eventually((tmp_path / "log").exists)
    run.cancel()
    with pytest.raises(kg.RunCancelled):
        run.result(4)
    eventually(lambda: any("is_in_c" in text and "is still in its call" in text for text in run.view().notices))


def test_leaving_does_not_wait_for_a_step_that_can_not_be_interrupted(tmp_path):
    """kg.disconnect() leaves the call to itself, and hands the step back when it is over."""
    run = calls_c.start(tmp_path / "log")
    eventually((tmp_path / "log").exists)
    began = time.monotonic()
    kg.disconnect()
    assert time.monotonic() - began < 4
    run = kg.run(run.id)
    eventually(lambda: any("is still in its call in is_in_c" in step.note for step in run.view().steps))
    first, second = run.result(60)
    assert second - first >= 5


@kg.step(retry=kg.Retry(first_wait=0.05, max_wait=0.05))
def enters_c(path):
    import ctypes

    with open(path, "a") as file:
        file.write("began ")
    try:
        if path.read_text().count("began") == 1:
            ctypes.CDLL(None).sleep(8)  # longer than a worker may be silent
    finally:
        with open(path, "a") as file:
            file.write("ended ")


@kg.agent
async def is_started_again(path):
    return await enters_c(path)


@pytest.fixture
def two_workers(workers):
    """Two worker processes of this queue; this process executes nothing."""
    started = [workers.start(), workers.start()]
    assert all(serves(worker) for worker in started)
    yield started
    workers.leave()


def test_a_call_that_is_started_again_waits_for_the_attempt_that_is_at_work(two_workers, tmp_path):
    """Neither worker begins it anew before the other's call has returned; the card says what is waited for."""
    runs = [is_started_again.start(tmp_path / f"log {number}") for number in range(4)]
    for number, run in enumerate(runs):
        eventually((tmp_path / f"log {number}").exists)
        # As run.retry_now() and mend() do for a card that says "retrying", while the next attempt begins.
        handle = run._connection.client.get_workflow_handle(run.id)
        run._connection.run(lambda handle=handle: handle.signal(RETRY_SIGNAL, ["1"]))
    for run in runs:
        eventually(lambda run=run: any("begins when it has ended" in step.note for step in run.view().steps))
    for number, run in enumerate(runs):
        run.result(60)
        assert (tmp_path / f"log {number}").read_text().split() == ["began", "ended", "began", "ended"]


def test_a_worker_that_leaves_holds_what_is_in_c(two_workers, tmp_path):
    """kg.disconnect() keeps a call that it can't end from other workers of its queue until it has ended."""
    for worker in two_workers:
        os.kill(worker.pid, signal.SIGSTOP)  # so that this process gets it
    path = tmp_path / "log"
    os.environ.pop("KAIGENTS_WORKER")
    run = is_started_again.start(path)
    eventually(path.exists, 30)
    kg.disconnect()
    os.environ["KAIGENTS_WORKER"] = "off"
    for worker in two_workers:
        os.kill(worker.pid, signal.SIGCONT)
    run = kg.run(run.id)
    eventually(lambda: any("is still in its call in enters_c" in step.note for step in run.view().steps))
    run.result(60)
    assert path.read_text().split() == ["began", "ended", "began", "ended"]


@kg.step
async def waits_async(path):
    path.write_text("began ")
    try:
        await asyncio.sleep(600)
    finally:
        await asyncio.sleep(0.2)
        path.write_text("tidied up")


@kg.agent
async def goes_on_without(path):
    call = asyncio.ensure_future(waits_async(path))
    await kg.approve("Enough?")
    call.cancel()
    try:
        await call
    except asyncio.CancelledError:
        return "cancelled"


def test_an_agent_may_cancel_one_step(tmp_path):
    """A call that the agent cancels is interrupted, also an async one, and the run goes on."""
    path = tmp_path / "log"
    run = goes_on_without.start(path)
    eventually(lambda: path.exists() and path.read_text())
    run.wait_for_gate(20)
    run.approve()
    assert run.result(20) == "cancelled"
    eventually(lambda: path.read_text() == "tidied up")
