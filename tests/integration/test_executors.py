"""Who executes a run: found out by heartbeats, told, and replaced when it falls silent."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager

import kaigents_nb as kg
from kaigents_nb.runtime.connecting import current
from kaigents_nb.runtime.queue import task_queue
from kaigents_nb.runtime.queue_worker import identity
from tests.support import eventually
from tests.workers import Worker, Workers, serves

pytestmark = pytest.mark.usefixtures("server")


@kg.step
def note(ledger, text):
    with open(ledger, "a") as file:
        file.write(text + "\n")
    return text


@kg.agent
async def asks(ledger):
    await note(ledger, "before")
    decision = await kg.approve("Go on?")
    await note(ledger, "after")
    return decision.by


Open = Callable[..., list[Worker]]


@pytest.fixture
def notebooks(workers: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    """Open notebooks, each with a worker process of its own, and be in the last; this process executes nothing."""

    def opened(*names: str) -> list[Worker]:
        for name in names:
            monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / f"{name}.ipynb"))
            workers.start()
        assert all(serves(worker) for worker in workers.started)
        return workers.started

    return opened


def test_whoever_looks_adopts_a_run_whose_worker_fell_silent(notebooks, monkeypatch, tmp_path):
    """A card, result() and wait_for_gate() each take over an orphan, though its worker's pid is still there."""
    ledger = str(tmp_path / "ledger")
    shown_by, waited_by = notebooks("card", "result")
    waited = asks.start(ledger)
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "card.ipynb"))
    shown = asks.start(ledger)
    for run in (shown, waited):
        run.wait_for_gate(30)
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "nobody.ipynb"))
    asked = asks.start(ledger)
    queue = task_queue()
    for worker in (shown_by, waited_by):
        worker.kill()  # and not waited for: a zombie, whose pid answers

    monkeypatch.delenv("KAIGENTS_WORKER")
    views, results = [], []
    stop = shown.watch(views.append)
    waiting = threading.Thread(target=lambda: results.append(waited.result(60)))
    waiting.start()
    assert asked.wait_for_gate(30).question == "Go on?"
    eventually(lambda: len(set(current().queues)) == 3, 20)
    assert queue in current().queues
    for run in (shown, waited, asked):
        run.approve(by="ann")
        assert run.result(30) == "ann"
    waiting.join(30)
    assert results == ["ann"]
    eventually(lambda: views[-1].status == "completed")
    stop()
    told = list(dict.fromkeys(view.executor for view in views))
    assert told[0] == identity_of(shown_by)
    assert told[1].startswith("nobody since 20")
    assert told[2:] == [f"this process, {identity()}", ""]
    assert Path(ledger).read_text().split().count("before") == 3


def test_who_only_reads_adopts_nothing(notebooks, monkeypatch, tmp_path):
    """The inbox, and whoever asks for no adoption, leave an orphan alone; kg.run() takes it at once."""
    [worker] = notebooks("read")
    run = asks.start(str(tmp_path / "ledger"))
    run.wait_for_gate(30)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0
    monkeypatch.delenv("KAIGENTS_WORKER")
    views = []
    stop = run.watch(views.append, adopt=False)
    eventually(lambda: views and views[-1].executor.startswith("nobody since"), 20)
    inbox = kg.inbox()
    assert current().queues == ()
    inbox.close()
    stop()
    kg.run(run.id)
    assert current().queues == (task_queue(),)
    run.approve(by="ann")
    assert run.result(30) == "ann"


def identity_of(worker: Worker) -> str:
    """The name of a worker process in histories."""
    return f"{worker.pid}@{socket.gethostname()}"


AGENT = """
import kaigents_nb as kg

@kg.agent
async def asks_twice():
    first = await kg.approve("Go on?")
    second = await kg.approve("And now?")
    return first.by, second.by

run = asks_twice.start()
print(run.wait_for_gate(30).question, run.id)
"""


class Kernel:
    """A kernel that is opened for a notebook."""

    def __init__(self, notebook: Path) -> None:
        self.manager = KernelManager()
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        self.manager._kernel_spec = KernelSpec(argv=argv, language="python", display_name="this")
        environment = {key: value for key, value in os.environ.items() if key != "KAIGENTS_WORKER"}
        self.manager.start_kernel(env={**environment, "JPY_SESSION_NAME": str(notebook)}, cwd=str(notebook.parent))
        self._client = self.manager.blocking_client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=60)

    def cell(self, code: str) -> str:
        """Execute a cell and return what it printed."""
        said: list[str] = []
        reply = self._client.execute_interactive(
            code, timeout=60, output_hook=lambda message: said.append(message["content"].get("text", ""))
        )
        assert reply["content"]["status"] == "ok", reply["content"]
        return "".join(said)

    def kill(self) -> None:
        """End it with kill -9."""
        self._client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.manager.context.destroy()


def test_an_opened_notebook_goes_on_with_its_runs(notebooks, tmp_path):
    """A kernel serves its notebook's queue once it connects, beside a zombie too; a shown inbox is enough for it."""
    path = tmp_path / "mine.ipynb"
    kernels = [Kernel(path)]
    try:
        question, run_id = kernels[0].cell(AGENT).rsplit(maxsplit=1)
        assert question == "Go on?"
        kernels.append(Kernel(path))  # the old one is still there, and serves
        kernels[1].cell("import kaigents_nb as kg; connection = kg.connect()")
        eventually(lambda: "mine" in kernels[1].cell("print(connection.queues)"))
        kernels.pop(0).kill()
        run = kg.run(run_id)
        run.wait_for_gate(30)
        run.approve(by="ann")
        eventually(lambda: [gate.question for gate in run.view().open_gates] == ["And now?"])
        kernels.pop(0).kill()
        kernels.append(Kernel(path))
        kernels[0].cell("import kaigents_nb as kg; inbox = kg.inbox()")
        run.wait_for_gate(30)
        run.approve(by="bob")
        assert run.result(30) == ("ann", "bob")
    finally:
        for kernel in kernels:
            kernel.kill()
