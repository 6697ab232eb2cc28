"""The server dies or is stopped while somebody serves or waits: who revives it, and what goes on by itself."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from temporalio.service import RetryConfig

import kaigents_nb as kg
from kaigents_nb.errors import ServerNotReady
from kaigents_nb.runtime import connection
from kaigents_nb.runtime.protocol import HEARTBEAT_TIMEOUT
from kaigents_nb.server import embedded
from kaigents_nb.server import process as server_process
from kaigents_nb.server import starting as server_start
from tests.support import eventually
from tests.workers import serves


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


@kg.step
def ends_meanwhile(ledger, flag):
    with open(ledger, "a") as file:
        file.write("ends meanwhile\n")
    while not os.path.exists(flag):
        time.sleep(0.05)
    return "ended"


@kg.step
async def goes_on(ledger, flag):
    with open(ledger, "a") as file:
        file.write("goes on\n")
    while not os.path.exists(flag):
        await asyncio.sleep(0.05)
    return "went on"


@kg.agent
async def does_two(ledger, first, second):
    return await asyncio.gather(ends_meanwhile(ledger, first), goes_on(ledger, second))


SOON_S = 5
"""It takes less than one on an idle machine."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data directory of this file's own, whose server may be killed."""
    place = tmp_path_factory.mktemp("revived")
    yield place
    embedded.stop(place)


@pytest.fixture
def place(shared: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """That data directory, its server running and this process connected to it."""
    monkeypatch.setenv("KAIGENTS_DATA_DIR", str(shared))
    kg.disconnect()
    kg.connect()
    yield shared
    kg.disconnect()


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Path]:
    """A data directory of the test's own, to which nobody is connected."""
    place = tmp_path / "data"
    yield place
    server_process.end(place, grace_s=0)  # ended at once: nothing in it is wanted


def kill_server(place: Path) -> int:
    """Kill the server; return its pid."""
    pid = server_process.living(place).pid
    os.kill(pid, signal.SIGKILL)
    return pid


def revived(place: Path, killed: int) -> float:
    """Wait until another server answers; return how long that took."""
    began = time.monotonic()
    eventually(lambda: (info := embedded.find_server(place)) and info.pid != killed)
    return time.monotonic() - began


def test_a_worker_alone_revives_the_server(place, workers):
    """Killed while nothing but a worker process is left, the server is back at once."""
    assert serves(workers.start("of-a-worker-alone"))
    assert revived(place, kill_server(place)) < SOON_S


def test_a_server_that_dies_while_it_is_connected_to_is_brought_back(place, monkeypatch):
    """Killed between the moment it was found and the connection, it is there again when kg.connect() returns."""
    kg.disconnect()
    real, killed = embedded.ensure, []

    def found_and_killed(data_dir):
        info = real(data_dir)
        if not killed:
            killed.append(kill_server(place))
            eventually(lambda: not server_process.is_alive(place))
        return info

    monkeypatch.setattr(embedded, "ensure", found_and_killed)
    kg.connect()
    assert server_process.living(place).pid != killed[0]
    assert kg.runs(limit=1).shape[1]


def test_waits_go_on_by_themselves(place, tmp_path):
    """result(), await run, wait_for_gate() and a card outlive three kills of the server, and nobody raises."""
    run = asks.start(str(tmp_path / "ledger"))
    run.wait_for_gate(30)
    views, results = [], []

    async def awaits() -> None:
        results.append(await run)

    stop = run.watch(views.append)
    waiting = [
        threading.Thread(target=lambda: results.append(run.result())),
        threading.Thread(target=lambda: asyncio.run(awaits())),
    ]
    for thread in waiting:
        thread.start()
    for _ in range(3):
        eventually(lambda: views and views[-1].status == "waiting", 10)
        views.clear()
        assert revived(place, kill_server(place)) < SOON_S
        eventually(lambda: [view for view in views if view.problem.startswith("The server at")], 5)
    began = time.monotonic()
    assert run.approve(by="ann").by == "ann"
    for thread in waiting:
        thread.join(20)
    assert results == ["ann", "ann"]
    assert time.monotonic() - began < 5
    eventually(lambda: views[-1].status == "completed", 5)
    stop()
    assert (tmp_path / "ledger").read_text().split() == ["before", "after"]


def test_a_server_that_was_stopped_stays_down(place, tmp_path, capsys):
    """Who serves and waits leaves it down, says so with what to do, and goes on when somebody starts it."""
    run = asks.start(str(tmp_path / "ledger"))
    run.wait_for_gate(30)
    views, results = [], []
    stop = run.watch(views.append)

    async def awaits() -> None:
        results.append(await run)

    waiting = [
        threading.Thread(target=lambda: results.append(run.result())),
        threading.Thread(target=lambda: asyncio.run(awaits())),
    ]
    for thread in waiting:
        thread.start()
    assert embedded.stop(place)
    view = eventually(lambda: "stopped on purpose" in views[-1].problem and views[-1], 5)
    assert view.status == "stuck"
    assert "kaigents-nb server start" in view.problem
    said: list[str] = []
    eventually(lambda: said.append(capsys.readouterr().out) or "".join(said).count("stopped on purpose") == 2, 10)
    with pytest.raises(ServerNotReady, match="stopped on purpose"):
        run.pending()
    assert embedded.find_server(place) is None
    assert not server_process.is_alive(place)
    embedded.ensure(place)
    eventually(lambda: views[-1].status == "waiting", 10)
    run.approve(by="ann")
    for thread in waiting:
        thread.join(20)
    stop()
    assert results == ["ann", "ann"]


def test_a_server_that_is_not_ours_is_waited_for(place, tmp_path, monkeypatch):
    """One reached by its address is started by nobody; waits tell that it is away, and go on when it is back."""
    monkeypatch.setattr(connection, "_RETRIES", RetryConfig(max_elapsed_time_millis=500))
    address = embedded.ensure(place).address
    kg.disconnect()
    assert not kg.connect(address).embedded
    run = asks.start(str(tmp_path / "ledger"))
    run.wait_for_gate(30)
    views, results = [], []
    stop = run.watch(views.append)
    thread = threading.Thread(target=lambda: results.append(run.result()))
    thread.start()
    eventually(lambda: views)
    kill_server(place)
    eventually(lambda: views[-1].problem.startswith(f"The server at {address} is away since"), 20)
    assert not server_process.is_alive(place)
    assert embedded.ensure(place).address == address
    eventually(lambda: views[-1].status == "waiting")
    run.approve(by="ann")
    thread.join(20)
    stop()
    assert results == ["ann"]


def test_no_step_is_done_twice_because_the_server_was_away(place, tmp_path, monkeypatch):
    """A step that ended meanwhile is reported, and one under way is joined, when the server has given up on both."""
    monkeypatch.setattr(connection, "_RETRIES", RetryConfig(max_elapsed_time_millis=500))
    kg.disconnect()
    ledger, first, second = (tmp_path / name for name in ("ledger", "first", "second"))
    run = does_two.start(str(ledger), str(first), str(second))
    eventually(lambda: ledger.exists() and len(ledger.read_text().splitlines()) == 2, 30)
    server_process.ask_to_stop(place)
    kill_server(place)
    first.touch()
    away_since = time.monotonic()
    eventually(lambda: time.monotonic() - away_since > HEARTBEAT_TIMEOUT.total_seconds())
    embedded.ensure(place)
    eventually(lambda: run.view().steps[0].status == "completed", 40)
    second.touch()
    assert run.result(30) == ["ended", "went on"]
    assert sorted(ledger.read_text().splitlines()) == ["ends meanwhile", "goes on"]
    # The other one has a second attempt unless its heartbeat comes before the server that is back looks at its clock.
    assert run.steps()["attempts"].tolist()[0] == 2


def test_a_stop_after_a_crash_counts(alone):
    """Asked for when the server has just died, a stop keeps everybody from reviving it."""
    os.kill(embedded.ensure(alone).pid, signal.SIGKILL)
    eventually(lambda: not server_process.is_alive(alone))
    assert embedded.stop(alone) is False
    with pytest.raises(ServerNotReady, match="stopped on purpose"):
        embedded.revive(alone)
    assert embedded.ensure(alone) == embedded.revive(alone)


def test_what_died_is_revived_as_it_was(alone, monkeypatch):
    """Who revives it need not have the environment of who started it; nobody makes an empty database."""
    monkeypatch.setenv("KAIGENTS_DURABILITY", "process")
    os.kill(embedded.ensure(alone).pid, signal.SIGKILL)
    monkeypatch.delenv("KAIGENTS_DURABILITY")
    eventually(lambda: not server_process.is_alive(alone))
    info = embedded.revive(alone)
    assert info.durability == "process"
    os.kill(info.pid, signal.SIGKILL)
    eventually(lambda: not server_process.is_alive(alone))
    (alone / "temporal.db").unlink()
    with pytest.raises(ServerNotReady, match=r"temporal\.db is gone"):
        embedded.revive(alone)
    assert not (alone / "temporal.db").exists()


@pytest.mark.parametrize("first_start", [True, False])
def test_a_launcher_left_by_a_killed_starter_is_joined(alone, monkeypatch, first_start):
    """A server that takes the lock after we have looked, launched by a starter that is gone, is no error."""
    if not first_start:
        embedded.ensure(alone)
        server_process.end(alone, grace_s=0)
    find = embedded.find_binary
    launched = []

    def find_late(downloads: Path) -> embedded.Binary:
        binary = find(downloads)
        if not launched:
            ports = server_start.choose(alone)
            (alone / "first-start").mkdir(exist_ok=True)
            database = Path("first-start/temporal.db" if first_start else "temporal.db")
            durability = None if first_start else "power"
            facts = server_start._facts(ports, "power") if durability else None
            server_process.launch(alone, binary.path, server_start._arguments(database, ports, durability), facts)
            launched.append(eventually(lambda: server_process.living(alone)).pid)
        return binary

    monkeypatch.setattr(embedded, "find_binary", find_late)
    info = embedded.ensure(alone)
    assert embedded.find_server(alone) == info
    if first_start:
        assert info.pid != launched[0]  # that one made a database that nobody waits for any more
