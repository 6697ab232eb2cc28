"""A long-lived worker: it forgets code that no run here uses any more, and nothing that one still needs."""

from __future__ import annotations

import gc
import linecache
import sys
import time
import uuid

import pytest
from temporalio import workflow

import kaigents_nb as kg
from kaigents_nb.runtime import code
from kaigents_nb.runtime.payloads import raw
from kaigents_nb.runtime.storage import FileStore
from tests.integration import mended
from tests.support import eventually

pytestmark = pytest.mark.usefixtures("server")

EDITION = 0
"""Frozen as a value: another number is other code."""


@kg.resource
def connection():
    return f"{EDITION} {uuid.uuid4()}"


@kg.step
def ask():
    return str(connection())


@kg.agent
async def passes():
    return await ask()


@kg.agent
async def stays():
    first = await ask()
    await kg.approve("Go on?")
    return first, await ask()


@kg.step
def buggy(x):
    return x.nope


@kg.agent
async def stays_mended():
    first = await buggy("a")
    await kg.approve("Go on?")
    return first, await buggy("b"), await ask()


@kg.step
def filled(number):
    return bytes([number]) * 200_000


@kg.step
def first_byte(data):
    return data[0]


@kg.agent
async def over_files():
    first = await filled(1)
    try:
        await kg.approve("Go on?")
        second = await filled(2)
        third = await filled(3)
    except Exception as error:
        return str(error)
    return [await first_byte(data) for data in (first, second, third, second)]


@pytest.fixture
def forgetful(monkeypatch):
    """Without the time for code that has just arrived, which lets it be seen that code goes."""
    monkeypatch.setattr(code, "_ARRIVED_S", 0.5)


def others_pass(monkeypatch, number):
    """Let as many runs of different code through the worker, ten at a time."""
    for first in range(1, number + 1, 10):
        runs = {}
        for edition in range(first, first + 10):
            monkeypatch.setattr(sys.modules[__name__], "EDITION", edition)
            runs[edition] = passes.start()
        for edition, run in runs.items():
            assert run.result(60).startswith(f"{edition} ")
    monkeypatch.setattr(sys.modules[__name__], "EDITION", 0)


def sizes():
    gc.collect()
    held = code._held
    return {
        "recent": len(held._recent),
        "used": len(held._used),
        "modules": len([name for name in list(sys.modules) if name.startswith("kaigents_run")]),
        "sources": len([name for name in list(linecache.cache) if name.startswith("<kaigents ")]),
    }


def test_very_many_others_pass_while_one_waits(monkeypatch, forgetful):
    """The worker holds the last few of them; the one at its gate goes on with its code and its resource."""
    waiting = stays.start()
    waiting.wait_for_gate(30)
    others_pass(monkeypatch, 120)
    eventually(lambda: max(sizes().values()) < 100, message=f"{sizes()} went down")
    waiting.approve()
    first, second = waiting.result(30)
    assert first == second


def test_a_mended_step_outlasts_others(monkeypatch, forgetful):
    """What a step was mended with is part of the run."""
    waiting = stays_mended.start()
    eventually(lambda: waiting.status == "parked")
    monkeypatch.setitem(vars(sys.modules["__main__"]), "buggy", mended.buggy)
    assert waiting.mend() == ["buggy"]
    waiting.wait_for_gate(30)
    others_pass(monkeypatch, 80)
    waiting.approve()
    assert waiting.result(30)[:2] == ("A", "B")


def ended_over_files():
    run = over_files.start()
    run.wait_for_gate(30)
    run.approve()
    assert run.result(30) == [1, 2, 3, 2]
    return run


def test_a_fork_reads_a_file_when_its_agent_asks(monkeypatch):
    """Each file is read once and late; a fork at a gate has read what came before the gate."""
    run = ended_over_files()
    read = []
    read_file = FileStore.read

    def noting(store, digest):
        data = read_file(store, digest)
        if workflow.in_workflow():
            read.append(data)
        return data

    monkeypatch.setattr(FileStore, "read", noting)
    fork = run.fork(at=("first_byte", 1))
    fork.wait_for_gate(30)
    assert all(step.reused for step in fork.view().steps)
    assert len(fork.steps()) == 3
    assert read == [content(1)]
    fork.approve()
    assert fork.result(30) == [1, 2, 3, 2]
    assert read == [content(1), content(2), content(3)]


def content(number):
    return raw(bytes([number]) * 200_000, "value").payload.data


@pytest.fixture(params=["missing", "altered"])
def harm(request, data_dir, tmp_path):
    """Harm a file; what it yields is what is said, the file, and what brings it back."""
    [path] = [p for p in (data_dir / "blobs").rglob("*") if p.is_file() and p.read_bytes() == content(2)]

    def do():
        path.rename(tmp_path / "kept")
        if request.param == "altered":
            path.write_bytes(b"other")
        return f"A saved value {'is missing' if request.param == 'missing' else 'was altered'}: {path}"

    yield do, lambda: (tmp_path / "kept").rename(path)
    if (tmp_path / "kept").exists():
        (tmp_path / "kept").rename(path)


@pytest.fixture
def ended():
    return ended_over_files()


def test_a_file_that_cannot_be_read_stops_a_fork_until_it_is_back(failed_tasks_soon_again, ended, harm):
    """The card says which file and what to do; the agent is not told, and goes on with the file."""
    do, undo = harm
    fork = ended.fork(at=("first_byte", 1))
    fork.wait_for_gate(30)
    said = do()
    fork.approve()
    view = eventually(lambda: (v := fork.view()).status == "stuck" and v, message="the card says so")
    assert said in view.problem
    undo()
    assert fork.result(60) == [1, 2, 3, 2]


def test_nothing_is_forked_behind_a_file_that_cannot_be_read(ended, harm):
    """The way of the branches is known from a replay, which needs the file: the error names it, and what to do."""
    do, undo = harm
    said = do()
    with pytest.raises(kg.errors.ConversionError, match=r"before filled .call 3.*nothing is forked yet") as refused:
        ended.fork(at=("first_byte", 1))
    assert said in str(refused.value)
    before = ended.fork(at=("filled", 2))  # what was recorded before that needs no such file
    before.wait_for_gate(30)
    before.terminate()
    undo()
    assert ended.fork(at=("first_byte", 1), decisions="keep").result(60) == [1, 2, 3, 2]


def test_a_fork_may_read_for_longer_than_two_seconds(monkeypatch):
    """Many big files, read in one go, are no deadlock."""
    run = ended_over_files()
    read_file = FileStore.read

    def slow(store, digest):
        time.sleep(1)
        return read_file(store, digest)

    monkeypatch.setattr(FileStore, "read", slow)
    fork = run.fork(at=("first_byte", 1), decisions="keep")
    fork.result(60)
    assert "workflow_task_failed" not in set(fork.events()["type"])
