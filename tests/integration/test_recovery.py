"""Nothing is lost: workers, servers and processes die, runs go on, finished steps never run again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import kaigents_nb as kg
from kaigents_nb.runtime.queue import task_queue
from kaigents_nb.server import embedded
from tests.support import eventually, is_nightly
from tests.workers import kill

pytestmark = pytest.mark.usefixtures("server")


@kg.step
def note(ledger, text):
    with open(ledger, "a") as file:
        file.write(text + "\n")
    return text


@kg.step
def hang_once(ledger, flag):
    """Write down that it began, and hang the first time."""
    with open(ledger, "a") as file:
        file.write("hang\n")
    if not os.path.exists(flag):
        open(flag, "w").close()
        time.sleep(600)
    return "went on"


@kg.agent
async def dies_in_a_step(ledger, flag):
    first = await note(ledger, "first")
    second = await hang_once(ledger, flag)
    return first, second, await note(ledger, "third")


@kg.agent
async def dies_at_a_gate(ledger):
    await note(ledger, "before")
    decision = await kg.approve("Go on?")
    await note(ledger, "after")
    return decision.by


@kg.step
def count(ledger, flag):
    """Loop with progress; killed in the middle the first time."""
    done = []
    for number in kg.track(range(6)):
        if number == 3 and not os.path.exists(flag):
            open(flag, "w").close()
            time.sleep(600)
        with open(ledger, "a") as file:
            file.write(f"{number}\n")
        done.append(number)
        time.sleep(0.4)
    return done


@kg.agent
async def counts(ledger, flag):
    return await count(ledger, flag)


@kg.step
def holds_the_lock(ledger):
    """Keep the interpreter lock for longer than the heartbeat time-out."""
    import ctypes

    with open(ledger, "a") as file:
        file.write("began\n")
    ctypes.PyDLL(None).sleep(8)
    return kg.idempotency_key()


@kg.agent
async def hogs(ledger):
    return await holds_the_lock(ledger)


@kg.step(retry=kg.Retry(first_wait=0.7, backoff=1))
def fails_until(ledger, flag):
    with open(ledger, "a") as file:
        file.write("began\n")
    if not os.path.exists(flag):
        raise ConnectionError("Not yet.")
    return "went on"


@kg.agent
async def tries(ledger, flag):
    return await fails_until(ledger, flag)


def test_a_worker_killed_in_a_step(workers, tmp_path):
    """A new worker, which has run no cell, goes on with the step; finished steps don't run again."""
    ledger, flag = tmp_path / "ledger", tmp_path / "flag"
    run = dies_in_a_step.start(str(ledger), str(flag))
    first = workers.start()
    eventually(flag.exists, timeout_s=30)
    kill(first)
    workers.start()
    assert run.result(60) == ("first", "went on", "third")
    assert ledger.read_text().split() == ["first", "hang", "hang", "third"]
    steps = run.steps()
    assert steps["attempts"].tolist() == [1, 2, 1]
    assert steps["worker"].nunique() == 2


def test_a_worker_killed_at_a_gate(workers, tmp_path):
    """A decision reaches the next worker; nothing before the gate runs again."""
    ledger = tmp_path / "ledger"
    run = dies_at_a_gate.start(str(ledger))
    first = workers.start()
    run.wait_for_gate(30)
    kill(first)
    run.approve(by="ann")  # kept by the server: nobody is there
    assert run.pending()["question"].tolist() == ["Go on?"]
    workers.start()
    assert run.result(30) == "ann"
    assert ledger.read_text().split() == ["before", "after"]


def test_a_tracked_loop_skips_what_was_finished(workers, tmp_path):
    """kg.track resumes behind the last item that an earlier attempt reported."""
    ledger, flag = tmp_path / "ledger", tmp_path / "flag"
    run = counts.start(str(ledger), str(flag))
    first = workers.start()
    eventually(flag.exists, timeout_s=30)
    eventually(lambda: (p := run.view().steps[0].progress) is not None and p.done == 3, timeout_s=15)
    kill(first)
    workers.start()
    assert run.result(60) == [3, 4, 5]
    assert ledger.read_text().split() == [str(n) for n in range(6)]


WORKER_OF_ONE_POLL = """
import functools, sys
from kaigents_nb.__main__ import main
from kaigents_nb.runtime import queue_worker

queue_worker.Worker = functools.partial(queue_worker.Worker, max_concurrent_activity_task_polls=1)
sys.exit(main())
"""
"""It is given one attempt while it is frozen; with the five polls of any worker it may be given five, one by one."""


def test_what_a_frozen_worker_is_given_does_not_begin_when_another_has_done_it(workers, tmp_path, monkeypatch):
    """A worker that was frozen asks, before it begins, whether what it was given meanwhile is still to be done."""
    ledger, flag = tmp_path / "ledger", tmp_path / "flag"
    queue = task_queue()
    monkeypatch.setenv("JPY_SESSION_NAME", "of-the-frozen-one.ipynb")
    frozen = workers.start(queue, task_queue(), program=["-c", WORKER_OF_ONE_POLL])
    monkeypatch.delenv("JPY_SESSION_NAME")
    run = tries.start(str(ledger), str(flag))
    eventually(lambda: run.view().status == "retrying", timeout_s=30)
    frozen.send_signal(signal.SIGSTOP)
    before = ledger.read_text().count("began")
    flag.touch()
    # The next attempt is given to the frozen worker, for it still asks for work as far as the server knows.
    eventually(lambda: run.view().steps[0].status == "running")
    workers.start()
    eventually(lambda: run.view().steps[0].status == "completed", timeout_s=60)
    frozen.send_signal(signal.SIGCONT)
    monkeypatch.setenv("JPY_SESSION_NAME", "of-the-frozen-one.ipynb")
    assert tries.start(str(tmp_path / "another"), str(flag)).result(60) == "went on"  # it is at work again
    assert run.result(60) == "went on"
    assert ledger.read_text().count("began") == before + 1


def test_no_worker_shows_as_a_problem(workers):
    """A run that nobody executes says so, with the command that helps."""
    run = dies_at_a_gate.start("unused")
    view = eventually(lambda: (v := run.view()).problem and v)
    assert view.status == "stuck"
    assert f"kaigents-nb worker --queue {task_queue()}" in view.problem
    run.terminate()


def test_a_step_that_holds_the_interpreter_lock_runs_once(tmp_path):
    """When the server gives up on a step for want of heartbeats, the next attempt joins the first."""
    ledger = tmp_path / "ledger"
    run = hogs.start(str(ledger))
    assert run.result(60).startswith(run.id)
    assert ledger.read_text().split() == ["began"]


def test_the_server_is_killed(tmp_path, data_dir):
    """After kill -9 of the server, it is started again on the same file and every run goes on."""
    ledger = tmp_path / "ledger"
    runs = [dies_at_a_gate.start(str(ledger)) for _ in range(5)]
    for run in runs:
        run.wait_for_gate(20)
    info = embedded.find_server(data_dir)
    os.kill(info.pid, signal.SIGKILL)
    eventually(lambda: embedded.find_server(data_dir) is None)
    for number, run in enumerate(runs):
        run.approve(by=f"person {number}")
    assert [run.result(30) for run in runs] == [f"person {n}" for n in range(5)]
    assert embedded.find_server(data_dir).address == info.address
    assert ledger.read_text().split().count("before") == 5


SCRIPT = """
import sys
import kaigents_nb as kg

@kg.step
def double(x):
    return 2 * x

@kg.agent
async def short(x, ask):
    y = await double(x)
    if ask:
        await kg.approve("wait for ever?")
    return y

if __name__ == "__main__":
    run = short.start(4, sys.argv[1] == "ask")
    if sys.argv[1] == "ask":
        run.wait_for_gate(30)
    else:
        assert run.result(30) == 8
    print("said goodbye")
"""


@pytest.mark.nightly
def test_processes_end_with_code_0(tmp_path):
    """Scripts with live workers, half of them with an open run, exit with code 0: six, and twenty in a night."""
    scripts = 20 if is_nightly() else 6
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))

    def execute(number):
        mode = "ask" if number % 2 else "finish"
        done = subprocess.run([sys.executable, str(script), mode], capture_output=True, text=True, timeout=120)
        return done.returncode, done.stdout.strip(), done.stderr.strip()

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(execute, range(scripts)))
    assert outcomes == [(0, "said goodbye", "")] * scripts
    for run_id in kg.runs("short", status="waiting")["run_id"]:
        kg.run(run_id).terminate()


def test_of_two_who_decide_while_the_worker_is_frozen_one_is_told_that_it_counts(
    failed_tasks_soon_again, tmp_path, workers
):
    """What nobody knows yet is not told as taken: both wait, and what each is told is what the history has."""
    ledger = tmp_path / "ledger"
    process = workers.start()
    run = dies_at_a_gate.start(str(ledger))
    question = run.wait_for_gate(30)
    process.send_signal(signal.SIGSTOP)
    told = {}

    def decide_as(name):
        try:
            told[name] = kg.run(run.id).approve(by=name).by
        except kg.AlreadyDecided as error:
            told[name] = error.decision["by"]

    try:
        threads = [threading.Thread(target=decide_as, args=[name]) for name in ("ann", "bob", "cem")]
        for thread in threads:
            thread.start()
        # They have posted what the frozen worker can't answer; another one takes over.
        eventually(lambda: len(run.events()) > 8 or told, 30)
        second = workers.start()
        assert second.poll() is None
        for thread in threads:
            thread.join(60)
    finally:
        process.send_signal(signal.SIGCONT)
    winner = run.result(30)
    assert told == dict.fromkeys(("ann", "bob", "cem"), winner)
    table = run.decisions()
    assert table[table["counted"]]["by"].tolist() == [winner]
    assert question.gate == "1"
    assert ledger.read_text().split() == ["before", "after"]
