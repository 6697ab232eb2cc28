"""The embedded server when something is wrong: crashes, damaged files, other processes, hostile leftovers."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from temporalio.client import Client

from kaigents_nb.cli.arguments import complete_run
from kaigents_nb.errors import DatabaseError, ServerNotReady
from kaigents_nb.server import embedded as server
from kaigents_nb.server import process as server_process
from kaigents_nb.server import starting as server_start
from kaigents_nb.server.embedded import ServerInfo
from tests.support import ROOT, eventually


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A data directory of the test's own, whose server is stopped whatever happens."""
    place = tmp_path / "data"
    yield place
    server_process.end(place, grace_s=0)  # ended at once: nothing in it is wanted


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with us and must not be harmed."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        yield process
        assert process.poll() is None
        process.kill()


async def accepted_run(info: ServerInfo) -> str:
    """Start a workflow that no worker takes."""
    client = await Client.connect(info.address)
    handle = await client.start_workflow("Waiting", id=f"run-{uuid4()}", task_queue="nobody")
    return handle.id


async def has_run(info: ServerInfo, workflow_id: str) -> bool:
    """Whether the server knows a workflow as running."""
    client = await Client.connect(info.address)
    status = (await client.get_workflow_handle(workflow_id).describe()).status
    return status is not None and status.name == "RUNNING"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A data directory with a run in its database and no server on it, made once; and the run's id."""
    folder = tmp_path_factory.mktemp("saved") / "data"
    try:
        run = asyncio.run(accepted_run(server.ensure(folder)))
        server.stop(folder)
    finally:
        server_process.end(folder, grace_s=0)
    with sqlite3.connect(folder / "temporal.db") as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()  # a log can mend a damaged file
    database.close()
    return folder, run


@pytest.fixture
def stopped_run(saved: tuple[Path, str], place: Path) -> str:
    """Give the test's data directory a database with a run in it; return the run's id."""
    folder, run = saved
    shutil.copytree(folder, place)
    return run


def content(place: Path) -> dict[str, bytes]:
    """The bytes of the database and its write-ahead log."""
    return {path.name: path.read_bytes() for path in place.glob("temporal.db*") if not path.name.endswith("-shm")}


def in_python(code: str, *wrapper: str) -> str:
    """Run code in a process of its own and return what it prints."""
    command = [*wrapper, sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("seed", range(6))
async def test_crash_at_any_moment_of_the_first_start(place: Path, seed: int) -> None:
    """Killing starter, server or both at random moments of the first starts never leaves a broken database."""
    moments = random.Random(seed)
    code = (
        "import sys; from pathlib import Path; from kaigents_nb.server import embedded as server; "
        f"print('ready', flush=True); server.ensure(Path({str(place)!r})); print('up', flush=True)"
    )
    for _ in range(4):
        starter = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT)
        assert starter.stdout is not None and starter.stdout.readline() == b"ready\n"
        try:
            starter.wait(timeout=moments.uniform(0, 0.6))
        except subprocess.TimeoutExpired:
            starter.kill()
        if moments.random() < 0.5 and (process := server_process.living(place)):
            os.kill(process.pid, signal.SIGKILL)
        starter.communicate()
    info = server.ensure(place)
    assert await has_run(info, await accepted_run(info))
    assert not (place / "first-start").exists()
    assert list(place.glob("*.empty-*")) == []


async def test_server_left_by_a_killed_starter_is_joined(place: Path, stopped_run: str) -> None:
    """A server whose starter was killed before it could see it come up is found and used, not fought."""
    code = f"""
        import os
        from pathlib import Path
        from kaigents_nb.server import embedded as server
        from kaigents_nb.server import starting as server_start
        server_start._POLL_S = None  # the starter breaks down with its first look at the server
        try:
            server.ensure(Path({str(place)!r}))
        except TypeError:
            os._exit(0)
    """
    in_python(code)
    pid = eventually(lambda: server_process.living(place)).pid
    info = server.ensure(place)
    assert info.pid == pid
    assert await has_run(info, stopped_run)


async def test_server_killed_while_starting_is_started_again(place: Path, stopped_run: str) -> None:
    """A server that dies twice on its way up, long after the first start, costs its starter no error, and no run."""
    code = f"from pathlib import Path; from kaigents_nb.server import embedded; embedded.ensure(Path({str(place)!r}))"
    starter = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    killed: set[int] = set()
    for _ in range(2):
        process = eventually(lambda: (living := server_process.living(place)) and living.pid not in killed and living)
        os.kill(process.pid, signal.SIGKILL)
        killed.add(process.pid)
    assert starter.wait(timeout=60) == 0
    info = server.find_server(place)
    assert info is not None and info.pid not in killed
    assert await has_run(info, stopped_run)


@pytest.mark.usefixtures("stopped_run")
async def test_damaged_header_is_told_and_left_alone(place: Path) -> None:
    """A file that is no database any more is diagnosed with its path and ways out, and stays byte for byte."""
    with (place / "temporal.db").open("r+b") as file:
        file.write(b"this is not a database")
    before = content(place)
    with pytest.raises(DatabaseError, match=r"(?s)temporal\.db is damaged.*not changed.*backup.*KAIGENTS_DATA_DIR"):
        server.ensure(place)
    assert content(place) == before
    assert server.find_server(place) is None
    check = next(check for check in server.doctor(place) if check.name == "database")
    assert check.ok is False and "damaged" in check.detail
    assert content(place) == before


async def test_damaged_pages_after_a_crash_are_told_and_left_alone(place: Path) -> None:
    """After a crash every page is checked, so that damage deep in the file is not built upon."""
    info = server.ensure(place)
    await accepted_run(info)
    server.stop(place)
    info = server.ensure(place)  # merges the log, so that the pages are in the file
    os.kill(info.pid, signal.SIGKILL)
    eventually(lambda: not server_process.is_alive(place))
    with (place / "temporal.db").open("r+b") as file:
        pages = file.seek(0, os.SEEK_END) // 4096
        for page in range(2, pages, 3):
            file.seek(page * 4096)
            file.write(b"\xa5" * 512)
    before = content(place)
    with pytest.raises(DatabaseError, match="is damaged"):
        server.ensure(place)
    assert content(place) == before


async def test_truncated_database_is_told_and_left_alone(place: Path) -> None:
    """An empty file beside a write-ahead log with content is an accident, not a first start."""
    os.kill(server.ensure(place).pid, signal.SIGKILL)
    eventually(lambda: not server_process.is_alive(place))
    (place / "temporal.db").write_bytes(b"")
    before = content(place)
    assert before["temporal.db-wal"]
    with pytest.raises(DatabaseError, match="overwritten"):
        server.ensure(place)
    assert content(place) == before


@pytest.mark.parametrize(
    "statements",
    [
        [],
        ["CREATE TABLE namespaces (id)"],
        ["CREATE TABLE namespaces (id)", "CREATE TABLE executions (id)", "CREATE TABLE history_node (id)"],
        ["CREATE TABLE namespace_metadata (version)", "INSERT INTO namespace_metadata VALUES (1)"],
    ],
)
async def test_leftover_of_an_interrupted_stock_start_is_moved_aside(place: Path, statements: list[str]) -> None:
    """A file without a single run or namespace is kept under another name, and the start goes on."""
    place.mkdir()
    with sqlite3.connect(place / "temporal.db", isolation_level=None) as database:
        for statement in statements:
            database.execute(statement)
    database.close()
    (place / "temporal.db").touch()
    before = (place / "temporal.db").read_bytes()
    info = server.ensure(place)
    assert await has_run(info, await accepted_run(info))
    (aside,) = place.glob("temporal.db.empty-*")
    assert aside.read_bytes() == before


async def test_database_of_something_else_is_refused(place: Path) -> None:
    """A database with rows that is not a Temporal server's is neither used nor moved."""
    place.mkdir()
    with sqlite3.connect(place / "temporal.db") as database:
        database.execute("CREATE TABLE customers (name)")
        database.execute("INSERT INTO customers VALUES ('Ana')")
    database.close()
    before = content(place)
    with pytest.raises(DatabaseError, match=r"not the database of a Temporal server.*customers"):
        server.ensure(place)
    assert content(place) == before


async def test_database_held_by_a_server_started_by_hand(place: Path, stopped_run: str) -> None:
    """A second server on one file is never started: the error names the process that has it."""
    binary = server.find_binary().path
    command = [binary, "server", "start-dev", "--db-filename", "temporal.db", "--headless", "--ip", "127.0.0.1"]
    with subprocess.Popen(
        [*command, "--port", "16999"], cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as by_hand:
        try:
            eventually(lambda: by_hand.pid in server_process.holders(place / "temporal.db"))
            with pytest.raises(DatabaseError, match=rf"in use by another process: {by_hand.pid} \(.*start-dev"):
                server.ensure(place)
            assert by_hand.poll() is None
        finally:
            by_hand.terminate()
    assert await has_run(server.ensure(place), stopped_run)


async def test_database_locked_by_another_program(place: Path, stopped_run: str) -> None:
    """A program that holds the database open is named, and the start works as soon as it is gone."""
    code = (
        "import sqlite3, sys; d = sqlite3.connect(sys.argv[1], isolation_level=None); "
        "d.execute('BEGIN EXCLUSIVE'); print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, place / "temporal.db"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as program:
        assert program.stdout is not None and program.stdout.readline() == b"locked\n"
        with pytest.raises(DatabaseError, match=rf"in use by another process: {program.pid} "):
            server.ensure(place)
        program.communicate()
    assert await has_run(server.ensure(place), stopped_run)


async def test_directory_in_place_of_the_database(place: Path) -> None:
    """Something that is not a file where the database should be is told and left there."""
    (place / "temporal.db").mkdir(parents=True)
    with pytest.raises(DatabaseError, match="is not a file"):
        server.ensure(place)
    assert (place / "temporal.db").is_dir()


def test_file_in_place_of_the_data_directory(tmp_path: Path) -> None:
    """A data directory that can't be made is told with the variable that chooses another."""
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DatabaseError, match=r"file.*can't be used.*KAIGENTS_DATA_DIR"):
        server.ensure(tmp_path / "file")


@pytest.mark.parametrize(
    ("mount", "said"),
    [
        ("mount --bind . . && mount -o remount,bind,ro .", "can't be written"),
        ("mount -t tmpfs -o size=4m none .", "full"),
    ],
)
@pytest.mark.usefixtures("stopped_run")
async def test_read_only_and_full_disks(place: Path, mount: str, said: str) -> None:
    """A read-only or full file system, also for root, is told before anything is started."""
    before = content(place)
    code = f"""
        from pathlib import Path
        from kaigents_nb.server import embedded as server
        from kaigents_nb.errors import DatabaseError
        try:
            server.ensure(Path({str(place)!r}))
        except DatabaseError as error:
            print(error)
    """
    # The mount is seen by this one process only, and gone with it.
    script = f'cd {place} && {mount} && cd {ROOT} && exec "$@"'
    said_there = in_python(code, "unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh")
    assert said in said_there and str(place) in said_there
    assert content(place) == before


async def test_server_that_dies_at_once_shows_its_log(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the server does not come up, its own last words are in the error."""
    fake = tmp_path / "temporal"
    fake.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo temporal version 0.1 && exit\necho no such flag: --ip >&2\nexit 1\n'
    )
    fake.chmod(0o755)
    monkeypatch.setenv("KAIGENTS_TEMPORAL_BINARY", str(fake))
    with pytest.raises(ServerNotReady, match=r"(?s)0\.1.*died while starting.*no such flag: --ip"):
        server.ensure(place)
    monkeypatch.delenv("KAIGENTS_TEMPORAL_BINARY")
    info = server.ensure(place)
    assert await has_run(info, await accepted_run(info))


async def test_hung_server_is_told_and_can_be_stopped(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that lives but does not answer is not started twice; stop ends it all the same."""
    run = await accepted_run(server.ensure(place))
    process = server_process.living(place)
    assert process is not None
    os.kill(process.pid, signal.SIGSTOP)
    eventually(lambda: server.find_server(place) is None)  # every one of its threads has to be stopped
    monkeypatch.setattr(server_start, "START_TIMEOUT_S", 0.5)
    with pytest.raises(ServerNotReady, match=rf"process {process.pid}\) runs, but has not answered"):
        server.ensure(place)
    check = next(check for check in server.doctor(place) if check.name == "server")
    assert check.ok is False and str(process.pid) in check.detail
    status = server.status(place)
    assert status["running"] and not status["answers"]
    monkeypatch.setattr(server, "STOP_GRACE_S", 0.2)
    assert server.stop(place) is True
    monkeypatch.undo()
    assert await has_run(server.ensure(place), run)


@pytest.mark.parametrize("garbage", [b"", b"not a number", b"\xff\xfe", b"-1", b"0", b"99999999999999999999"])
async def test_garbage_in_the_state_files(place: Path, garbage: bytes) -> None:
    """What a crash or an editor left in the state files neither hides a living server nor hinders a start."""
    info = server.ensure(place)
    (place / "ports.json").write_bytes(garbage)
    found = server.find_server(place)
    assert found is not None and (found.pid, found.address) == (info.pid, info.address)
    (place / "server.lock").write_bytes(garbage)
    process = server_process.living(place)
    assert process is not None and process.pid == info.pid
    assert server.stop(place) is True
    (place / "server.lock").write_bytes(garbage)
    (place / "server.leaving").write_bytes(garbage)
    again = server.ensure(place)
    assert server.find_server(place) == again


@pytest.mark.parametrize("said", [b"", b'{"pid": ', b'{"pid": 1, "facts": {"address": "127.0.0.1:1"}}'])
async def test_server_that_does_not_say_where_it_is_is_started_anew(
    place: Path, said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server of an earlier version, whose lock file is empty, is told and restarted at its address with its runs."""
    monkeypatch.setenv("KAIGENTS_DATA_DIR", str(place))
    before = server.ensure(place)
    run = await accepted_run(before)
    eventually(lambda: complete_run("run-") == [run])  # the index of runs follows a moment later
    (place / "server.lock").write_bytes(said)
    assert server.find_server(place) is None
    status = server.status(place)
    assert status["running"] and not status["answers"]
    check = next(check for check in server.doctor(place) if check.name == "server")
    assert (check.ok, check.blocks) == (False, False)
    assert f"process {before.pid} runs from another version" in check.detail
    assert "`kaigents-nb server stop` ends it" in check.advice
    assert complete_run("run-") == []
    after = server.ensure(place)
    assert after.pid != before.pid
    assert after.address == before.address
    assert await has_run(after, run)
    eventually(lambda: complete_run("run-") == [run])
    (place / "server.lock").write_bytes(said)
    assert server.stop(place) is True
    assert not server_process.is_alive(place)


@pytest.mark.usefixtures("stopped_run")
async def test_lock_file_is_made_private(place: Path) -> None:
    """A lock file that others may write can't lead kernels astray: a start takes the permission away."""
    (place / "server.lock").chmod(0o666)
    assert server.ensure(place) == server.find_server(place)
    assert (place / "server.lock").stat().st_mode & 0o777 == 0o600
    assert json.loads((place / "server.lock").read_bytes())["pid"] == server_process.living(place).pid


async def test_pid_of_another_process_is_neither_trusted_nor_killed(
    place: Path, bystander: subprocess.Popen[bytes]
) -> None:
    """A lock file that names somebody else's process, as after a reboot, harms nobody."""
    run = await accepted_run(server.ensure(place))
    said = {**json.loads((place / "server.lock").read_bytes()), "pid": bystander.pid}
    server.stop(place)
    (place / "server.lock").write_text(json.dumps(said))
    assert server.find_server(place) is None
    assert server.stop(place) is False
    info = server.ensure(place)
    assert await has_run(info, run)
    (place / "server.lock").write_text(json.dumps(said))
    assert server.find_server(place) is None
    assert server.stop(place) is True
    assert server.find_server(place) is None


async def test_server_of_another_directory_is_not_taken(place: Path, tmp_path: Path) -> None:
    """State files copied from another data directory, server running there, give a server of one's own."""
    other = tmp_path / "other"
    try:
        theirs = server.ensure(other)
        place.mkdir()
        for name in ("server.lock", "ports.json"):
            (place / name).write_bytes((other / name).read_bytes())
        assert server.find_server(place) is None
        ours = server.ensure(place)
        assert ours.pid != theirs.pid and ours.address != theirs.address
        assert server.find_server(other) == theirs
    finally:
        server.stop(other)


@pytest.mark.usefixtures("stopped_run")
async def test_lock_held_by_a_stranger_is_told(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that no server of this machine holds is told, and its holder is left alone."""
    code = "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code, place / "server.lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as stranger:
        assert stranger.stdout is not None and stranger.stdout.readline() == b"held\n"
        monkeypatch.setattr(server_start, "START_TIMEOUT_S", 0.3)
        with pytest.raises(ServerNotReady, match="another machine or user"):
            server.ensure(place)
        with pytest.raises(ServerNotReady, match="not a server of this machine"):
            server.stop(place)
        assert stranger.poll() is None
        stranger.communicate(b"\n")
