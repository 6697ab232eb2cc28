"""The embedded server in use: one per data directory, detached, private, remembered, backed up."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
from temporalio.client import Client

from kaigents_nb.errors import DatabaseError
from kaigents_nb.server import embedded as server
from kaigents_nb.server import process as server_process
from kaigents_nb.server.embedded import ServerInfo
from kaigents_nb.server.http import HOST_HEADER
from tests.support import ROOT, eventually, eventually_async

START = (
    "from pathlib import Path; import sys; from kaigents_nb.server import embedded as server; sys.stdin.readline(); "
)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A data directory of the test's own, whose server is stopped whatever happens."""
    place = tmp_path / "data"
    yield place
    server_process.end(place, grace_s=0)  # ended at once: nothing in it is wanted


def starter(place: Path, then: str = "") -> subprocess.Popen[str]:
    """A process in a session of its own that starts a server when it is given a line, and prints the pid."""
    code = f"{START}print(server.ensure(Path({str(place)!r})).pid, flush=True); {then}"
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    )


async def start_runs(info: ServerInfo, count: int = 1) -> list[str]:
    """Start workflows that no worker takes."""
    client = await Client.connect(info.address)
    ids = [f"run-{uuid4()}" for _ in range(count)]
    for workflow_id in ids:
        await client.start_workflow("Waiting", id=workflow_id, task_queue=f"queue-{workflow_id}")
    return ids


async def statuses(info: ServerInfo, ids: list[str]) -> set[str]:
    """What the server says about workflows."""
    client = await Client.connect(info.address)
    described = [await client.get_workflow_handle(workflow_id).describe() for workflow_id in ids]
    return {one.status.name for one in described if one.status is not None}


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and is not collected yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_ten_starters_get_one_server(place: Path) -> None:
    """Ten processes that start a server at once all get the same, and it is the only one."""
    processes = [starter(place) for _ in range(10)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = {process.communicate(timeout=60)[0].strip() for process in processes}
    info = server.find_server(place)
    assert info is not None
    assert answers == {str(info.pid)}
    running = subprocess.run(
        ["pgrep", "-f", f"^kaigents-nb-server {place} "], capture_output=True, text=True, check=True
    )
    assert running.stdout.split() == [str(info.pid)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
async def test_server_outlives_its_starter(place: Path, number: signal.Signals) -> None:
    """Interrupting or killing the starter's whole process group leaves the server as it is."""
    process = starter(place, "import threading; threading.Event().wait()")
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    pid = int(process.stdout.readline())
    os.killpg(process.pid, number)
    process.communicate(timeout=10)
    info = server.find_server(place)
    assert info is not None and info.pid == pid
    assert os.getsid(pid) not in (os.getsid(0), pid, process.pid)
    assert await statuses(info, await start_runs(info)) == {"RUNNING"}


async def test_the_very_first_start_accepts_a_run(place: Path) -> None:
    """The first start makes the database too; what it returns is found again."""
    info = server.ensure(place)
    await start_runs(info)
    assert server.find_server(place) == info


async def test_killed_server_comes_back_with_its_runs(place: Path) -> None:
    """After kill -9 the next start has the same address, and every run that was accepted."""
    before = server.ensure(place)
    ids = await start_runs(before, 20)
    os.kill(before.pid, signal.SIGKILL)
    eventually(lambda: server.find_server(place) is None)
    after = server.ensure(place)
    assert (after.address, after.ui_url) == (before.address, before.ui_url)
    assert after.pid != before.pid
    assert await statuses(after, ids) == {"RUNNING"}


async def test_stop_and_start_again(place: Path) -> None:
    """Stop ends the server and says so, a second stop has nothing to do, and a start finds all runs again."""
    assert server.stop(place) is False
    info = server.ensure(place)
    ids = await start_runs(info, 3)
    assert server.stop(place) is True
    assert not is_alive(info.pid)
    assert server.find_server(place) is None
    assert server.stop(place) is False
    again = server.ensure(place)
    assert again.address == info.address
    assert await statuses(again, ids) == {"RUNNING"}


async def test_start_during_a_stop_gives_a_new_server(place: Path) -> None:
    """A server that is being stopped is given to nobody: a start waits for its end and starts another."""
    old = server.ensure(place)
    stopping = asyncio.create_task(asyncio.to_thread(server.stop, place))
    await eventually_async(lambda: (place / "server.leaving").exists() or stopping.done())
    assert server.find_server(place) is None
    new = await asyncio.to_thread(server.ensure, place)
    assert await stopping is True
    assert new.pid != old.pid
    assert await statuses(new, await start_runs(new)) == {"RUNNING"}


async def test_everything_is_private(place: Path) -> None:
    """The data directory has mode 0700, and no file in it, SQLite's own included, is open to anyone else."""
    await start_runs(server.ensure(place))
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    names = {path.name: stat.S_IMODE(path.stat().st_mode) for path in place.rglob("*")}
    assert {"temporal.db", "temporal.db-wal", "temporal.db-shm", "server.log", "server.lock"} <= set(names)
    assert {name: mode for name, mode in names.items() if mode & 0o077} == {}


async def test_only_loopback_listens(place: Path) -> None:
    """Every port that the server opens is on 127.0.0.1."""
    info = server.ensure(place)
    sockets = psutil.Process(info.pid).net_connections("inet")
    listening = [socket.laddr.ip for socket in sockets if socket.status == psutil.CONN_LISTEN]
    assert len(listening) >= 3
    assert set(listening) == {"127.0.0.1"}


async def test_the_server_carries_no_secrets_of_its_starter(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """API keys in the notebook's environment don't live on in the server's."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    monkeypatch.setenv("TEMPORAL_ADDRESS", "elsewhere:7233")
    info = server.ensure(place)
    environment = Path(f"/proc/{info.pid}/environ").read_bytes()
    assert b"canary" not in environment
    assert b"elsewhere" not in environment


async def test_finished_runs_are_kept(place: Path) -> None:
    """The server keeps the history of finished runs for years, where a stock one deletes it after a day."""
    info = server.ensure(place)
    ports = json.loads((place / "ports.json").read_bytes())
    request = urllib.request.Request(
        f"http://127.0.0.1:{ports['http']}/api/v1/namespaces/default", headers={"Host": HOST_HEADER}
    )
    with urllib.request.urlopen(request) as answer:
        config = json.load(answer)["config"]
    assert config["workflowExecutionRetentionTtl"] == f"{3650 * 24 * 3600}s"
    assert list(config["customSearchAttributeAliases"].values()) == ["KaigentsState"]
    assert info.version.count(".") == 2


async def test_web_ui_is_on(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The web UI answers at the URL that is told, also below a proxy's path."""
    monkeypatch.setenv("KAIGENTS_UI_PUBLIC_PATH", "/user/ana/temporal")
    info = server.ensure(place)
    assert info.ui_url.endswith("/user/ana/temporal")
    with urllib.request.urlopen(info.ui_url) as answer:
        assert b"<html" in answer.read()


async def test_durability_is_chosen_at_start(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Durability against power loss is the default; the other is told by whoever finds the server."""
    assert server.ensure(place).durability == "power"
    server.stop(place)
    monkeypatch.setenv("KAIGENTS_DURABILITY", "process")
    assert server.ensure(place).durability == "process"
    monkeypatch.delenv("KAIGENTS_DURABILITY")
    assert server.ensure(place).durability == "process"


@pytest.mark.parametrize("name", ["with space", "hash#mark", "percent%20", "question?mark", "Prüfung 試験"])
async def test_any_directory_name_works(tmp_path: Path, name: str) -> None:
    """A data directory may have a name that is special to SQLite, to URLs or to shells."""
    place = tmp_path / name
    try:
        ids = await start_runs(server.ensure(place))
        assert server.stop(place)
        assert (place / "temporal.db").is_file()
        assert await statuses(server.ensure(place), ids) == {"RUNNING"}
        assert sorted(path.name for path in tmp_path.iterdir()) == [name]
    finally:
        server_process.end(place, grace_s=0)


async def test_backup_while_runs_are_started_can_be_used(place: Path, tmp_path: Path) -> None:
    """A backup made under load is whole, private, and a data directory with every run accepted before it."""
    info = server.ensure(place)
    ids = await start_runs(info, 30)
    (place / "blobs" / "ab").mkdir(parents=True)
    (place / "blobs" / "ab" / "abcd").write_bytes(b"a big value")
    (place / "signing.key").write_bytes(b"a key")
    load = asyncio.create_task(start_runs(info, 60))
    saved = await asyncio.to_thread(server.backup, place, tmp_path / "backups")
    assert not load.done()
    await load

    assert saved.parent == tmp_path / "backups"
    assert saved.name.startswith("kaigents-backup-2")
    assert [path for path in saved.rglob("*") if path.stat().st_mode & 0o077] == []
    assert stat.S_IMODE(saved.stat().st_mode) == 0o700
    assert (saved / "blobs" / "ab" / "abcd").read_bytes() == b"a big value"
    assert (saved / "signing.key").read_bytes() == b"a key"
    assert list((tmp_path / "backups").iterdir()) == [saved]
    try:
        assert await statuses(server.ensure(saved), ids) == {"RUNNING"}
    finally:
        server_process.end(saved, grace_s=0)
    assert server.find_server(place) == info


async def test_backup_without_a_server_or_a_database(place: Path, tmp_path: Path) -> None:
    """A backup needs a database, not a running server, and says when it can't be written."""
    with pytest.raises(DatabaseError, match="nothing to back up"):
        server.backup(place, tmp_path)
    ids = await start_runs(server.ensure(place))
    server.stop(place)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DatabaseError, match="could not be written"):
        server.backup(place, tmp_path / "file")
    saved = server.backup(place, tmp_path / "backups")
    try:
        assert await statuses(server.ensure(saved), ids) == {"RUNNING"}
    finally:
        server_process.end(saved, grace_s=0)


async def test_long_log_is_rotated_at_start(place: Path) -> None:
    """A log over 10 MB is kept as the one before, and a new one is begun, readable by its owner only."""
    place.mkdir(mode=0o700)
    with (place / "server.log").open("wb") as log:
        log.truncate(11 * 1024 * 1024)
    server.ensure(place)
    assert (place / "server.log.1").stat().st_size == 11 * 1024 * 1024
    assert (place / "server.log").stat().st_size < 1024 * 1024
    assert server.status(place)["log"] == place / "server.log"


async def test_status_and_doctor_start_nothing(place: Path) -> None:
    """What is asked about a place that was never used is answered without making it."""
    status = server.status(place)
    assert (status["running"], status["info"], status["database_bytes"]) == (False, None, None)
    assert status["binary"].version
    checks = {check.name: check for check in server.doctor(place)}
    assert checks["server"].ok is None and "not running" in checks["server"].detail
    assert all(check.ok is not False for check in checks.values())
    assert not place.exists()


async def test_status_and_doctor_of_a_running_server(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A healthy server gives true checks only, and says when a setting waits for a restart."""
    info = server.ensure(place)
    status = server.status(place)
    assert status["running"] and status["answers"] and status["info"] == info
    assert 0 <= status["uptime_s"] < 60 and status["database_bytes"] > 100_000
    monkeypatch.setenv("KAIGENTS_DURABILITY", "process")
    checks = {check.name: check for check in server.doctor(place)}
    assert {name for name, check in checks.items() if check.ok is not True} == set()
    assert str(info.pid) in checks["server"].detail
    assert "KAIGENTS_DURABILITY=process" in checks["server"].advice


async def test_port_taken_since_the_last_start(place: Path) -> None:
    """When something else has taken a remembered port, the server comes up on others."""
    before = server.ensure(place)
    server.stop(place)
    port = int(before.address.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)):
        after = server.ensure(place)
    assert after.address != before.address
    assert await statuses(after, await start_runs(after)) == {"RUNNING"}


async def test_web_pages_can_not_reach_into_runs(place: Path) -> None:
    """The HTTP API refuses whatever a browser can send, so that no web page can approve or read anything."""
    (run,) = await start_runs(server.ensure(place))
    ports = json.loads((place / "ports.json").read_bytes())
    signal_url = f"/api/v1/namespaces/default/workflows/{run}/signal/approve"
    for host in (f"127.0.0.1:{ports['http']}", f"localhost:{ports['http']}", "evil.example", ""):
        for method, path in (("POST", signal_url), ("GET", "/api/v1/namespaces/default/workflows")):
            connection = http.client.HTTPConnection("127.0.0.1", ports["http"])
            connection.request(method, path, b'{"input": []}', {"Host": host, "Content-Type": "text/plain"})
            response = connection.getresponse()
            assert (response.status, run in response.read().decode()) == (403, False), (host, method)
            connection.close()
