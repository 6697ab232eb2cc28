"""The command line as people use it: a real server, and real processes and terminals where they matter.

Each command runs as a process of its own at least once; what else it prints is asked in this process.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import kaigents_nb as kg
from kaigents_nb import __main__ as program
from kaigents_nb.cli.arguments import complete_run
from kaigents_nb.demo.sourcing import check_inputs, sourcing_agent
from kaigents_nb.runtime import connecting
from kaigents_nb.runtime.queue import task_queue
from kaigents_nb.server.embedded import ServerInfo
from tests.support import eventually, is_nightly

PROGRAM = (sys.executable, "-m", "kaigents_nb")


@pytest.fixture
def place(server: ServerInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with a task queue of its own; this process starts runs and executes none."""
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "analysis.ipynb"))
    monkeypatch.setenv("KAIGENTS_WORKER", "off")
    monkeypatch.chdir(tmp_path)
    assert kg.connect().address == server.address
    yield tmp_path
    kg.disconnect()


def kaigents(*arguments: str, code: int = 0) -> str:
    """Run a command in this process, without a terminal; return what it printed, stderr after stdout."""
    printed, said = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        Path(os.devnull).open() as nothing,
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(said),
    ):
        patch.setattr(sys, "stdin", nothing)
        patch.setattr(sys, "argv", ["kaigents-nb", *arguments])
        patch.setattr(connecting, "disconnect", lambda: None)  # this process goes on, with its connection
        ended = program._run()
    assert ended == code, f"{arguments}: {ended}\n{printed.getvalue()}\n{said.getvalue()}"
    return printed.getvalue() + said.getvalue()


def in_a_process(*arguments: str, code: int = 0, timeout_s: float = 60) -> str:
    """Run a command in a process of its own, without a terminal; return what it printed, stderr after stdout."""
    done = subprocess.run(
        [*PROGRAM, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s
    )
    assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@contextlib.contextmanager
def working(*options: str) -> Iterator[subprocess.Popen[str]]:
    """A `kaigents-nb worker` for the block; it leaves when told to, with code 0."""
    process = subprocess.Popen([*PROGRAM, "worker", *options], stdout=subprocess.PIPE, text=True)
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.communicate()


def serve() -> None:
    """Execute the test's runs in this process: where a worker's own process adds nothing."""
    kg.connect().serve(task_queue(), explicit=True)


def start() -> kg.Run:
    """Start a run that waits for a decision as soon as a worker takes it."""
    return sourcing_agent.start(**check_inputs("solar panel", outbox="outbox"))


def started_by(output: str) -> tuple[str, int]:
    """The run and the worker process that a demo told of."""
    found = re.search(r"Run (\S+), executed by worker process (\d+)", output)
    assert found is not None, output
    return found[1], int(found[2])


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_decide_from_a_terminal(place: Path) -> None:
    """A run is found in the inbox, decided once, and the second who decides is told who was first."""
    run = start()
    serve()
    run.wait_for_gate(30)
    waiting = eventually(lambda: [gate for gate in json.loads(kaigents("inbox", "--json")) if gate["run_id"] == run.id])
    assert "Surya Cells" in waiting[0]["options"]
    assert run.id in in_a_process("inbox")
    assert "Say which" in kaigents("approve", run.id, code=1)
    assert "No option 'Nobody'" in kaigents("approve", run.id, "--choice", "Nobody", code=1)
    unseen = kaigents("approve", run.id, "--choice", "Surya Cells", code=1)
    assert "Nothing was decided" in unseen and "Penang Sunpower Assembly" in unseen
    token = waiting[0]["token"]
    assert f"approve {run.id} --gate {token}" in unseen
    assert f"kaigents-nb approve {run.id} --gate {token}" in in_a_process("show", run.id)

    shown = ("--gate", token, "--choice", "Surya Cells")
    told = in_a_process("approve", run.id, *shown, "--by", "Ada", "--comment", "close by")
    assert told == "Approved: Surya Cells, by Ada.\n"
    assert "Already decided: Ada chose 'Surya Cells'" in in_a_process("reject", run.id, "--by", "Bob", code=1)
    assert "Already decided: Ada chose 'Surya Cells'" in kaigents("reject", run.id, "--gate", token, code=1)
    assert run.result(30)["supplier"] == "Surya Cells"
    assert len(list((place / "outbox").iterdir())) == 1
    assert "has ended already: it is completed" in kaigents("cancel", run.id, code=1)


def test_decision_without_a_worker_and_adoption(place: Path) -> None:
    """A decision is kept while nobody works; `worker --all` finds the orphaned run and goes on with it."""
    run = start()
    with working("--queue", task_queue()):
        run.wait_for_gate(30)
    told = kaigents("reject", run.id, "--gate", "1", "--comment", "too expensive")
    assert "Rejected" in told and f"kaigents-nb worker --queue {task_queue()}" in told
    with working("--all") as worker:
        assert run.result(30) == {"status": "rejected", "product": "solar panel", "comment": "too expensive"}
        assert worker.stdout is not None
        lines = [worker.stdout.readline() for _ in range(2)]
    assert lines[0].startswith("Adopting") or lines[1].startswith("Adopting")
    assert any(task_queue() in line for line in lines)


def test_worker_leaves_while_a_step_runs(place: Path) -> None:
    """A worker told to leave in the middle of a step exits with 0, and another one makes the step again."""
    run = sourcing_agent.start(**check_inputs("solar panel"), pace_s=0.3)
    with working():
        eventually(lambda: any(s.name == "analyze_tariffs" and s.status == "running" for s in run.view().steps), 30)
    with working():
        run.wait_for_gate(40)
    run.terminate()


def test_runs_and_history_for_machines(place: Path) -> None:
    """Runs, steps and events are printed as JSON and CSV, and as text without any drawing."""
    run = start()
    serve()
    run.wait_for_gate(30)
    run.approve(choice="Ankara Panel")
    run.result(30)
    (row,) = eventually(
        lambda: [
            row
            for row in json.loads(kaigents("runs", "--json", "--agent", "sourcing_agent", "--status", "completed"))
            if row["run_id"] == run.id
        ]
    )
    assert row["home"] == str(place / "analysis.ipynb") and row["ended"].endswith("+00:00")
    assert run.id in kaigents("runs", "--since", "1 hour", "--limit", "3")
    assert "No status 'lost'. Known:" in kaigents("runs", "--status", "lost", code=1)

    history = json.loads(kaigents("history", run.id, "--json"))
    assert [step["step"] for step in history["steps"]] == [
        "search_suppliers", "analyze_tariffs", "contact_manufacturer",
    ]  # fmt: skip
    assert history["steps"][0]["result"][0]["supplier"] == "Helian Photovoltaics"
    assert history["events"][0]["type"] == "workflow_execution_started"
    steps = list(csv.DictReader(io.StringIO(in_a_process("history", run.id, "--csv"))))
    assert [step["status"] for step in steps] == ["completed"] * 3
    events = list(csv.DictReader(io.StringIO(kaigents("history", run.id, "--csv", "--events"))))
    assert len(events) == len(history["events"])
    text = kaigents("history", run.id)
    assert "█ step" in text.partition("status")[0]
    assert "analyze_tariffs" in text and "workflow_execution_completed" in text and "│" not in text

    assert "sourcing_agent" in in_a_process("code", run.id)
    assert "Ankara Panel" in kaigents("show", run.id)
    assert run.id in complete_run("sourcing")


def test_cancel(place: Path) -> None:
    """A run is asked to stop, and stops."""
    run = start()
    serve()
    run.wait_for_gate(30)
    assert run.id in in_a_process("cancel", run.id)
    eventually(lambda: run.status == "cancelled", 30)


def test_unknown_run(place: Path) -> None:
    """A run that is not there is told in one message, and with its traceback only when that is wanted."""
    assert "No run 'nowhere-1'" in in_a_process("show", "nowhere-1", code=1)
    done = subprocess.run([*PROGRAM, "--debug", "show", "nowhere-1"], capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" in done.stderr


def test_demo_approved(place: Path) -> None:
    """The demo runs to its end without a terminal, writes one letter and leaves no worker."""
    began = time.monotonic()
    output = in_a_process("demo", "--decide", "approve")
    assert time.monotonic() - began < 20
    run_id, worker = started_by(output)
    assert "supplier: Mekong Solar Works" in output and "contact_manufacturer" in output
    assert "cheapest = 'Helian Photovoltaics'" in output  # a variable of the agent, at the gate
    assert len(list((place / "outbox").iterdir())) == 1
    assert not is_alive(worker)
    assert kg.run(run_id).status == "completed"


def test_demo_with_other_files(place: Path) -> None:
    """The demo takes any product and any CSV of the form; a choice of one's own; and a rejection."""
    (place / "mine.csv").write_text(
        "supplier,product,country,hs_heading,unit_price_usd,freight_usd,moq,lead_time_days,quality_rating,contact,source\n"
        "Left,tea,IN,0901,1.5,0.1,10,5,4,left@example.com,sample\n"
        "Right,tea,BR,0901,1.4,0.1,10,5,4,right@example.com,sample\n"
    )
    mine = ("--suppliers", "mine.csv", "--product", "tea")
    output = in_a_process("demo", *mine, "--choice", "Right", "--outbox", "letters")
    assert "supplier: Right" in output
    assert len(list((place / "letters").iterdir())) == 1
    assert "Known: Right, Left." in " ".join(
        kaigents("demo", *mine, "--choice", "Up", code=2).replace("│", " ").split()
    )

    output = in_a_process("demo", "--decide", "reject")
    assert "status: rejected" in output
    assert not (place / "outbox").exists()


def test_demo_with_a_bad_file(place: Path) -> None:
    """A bad file is told with its line and column before anything starts; so is an unknown product."""
    (place / "bad.csv").write_text("supplier,product\nA,tea\n")
    output = in_a_process("demo", "--suppliers", "bad.csv", code=1)
    assert "bad.csv can't be used" in output and "column country is missing" in output
    assert "no such file" in kaigents("demo", "--duties", "absent.csv", code=1)
    assert "Known: LED lamp" in kaigents("demo", "--product", "unobtainium", code=1)
    assert kg.pending().query("agent == 'sourcing_agent'")["run_id"].tolist() == []


def test_demo_crash(place: Path) -> None:
    """The worker is killed in a step, another makes only that one again, and the ledger proves it."""
    began = time.monotonic()
    output = in_a_process("demo", "--crash", "--decide", "approve")
    assert time.monotonic() - began < 25  # 20 on an idle machine
    assert "No finished step ran twice. 1 attempt was killed" in output
    run_id, killed = started_by(output)
    steps = kg.run(run_id).steps().set_index("step")
    assert steps["attempts"].to_dict() == {"search_suppliers": 1, "analyze_tariffs": 2, "contact_manufacturer": 1}
    assert f"Killed worker process {killed} with SIGKILL in the middle of analyze_tariffs" in output
    survivor = re.search(r"Worker process (\d+) goes on", output)
    assert survivor is not None and not is_alive(int(survivor[1]))


def test_demo_without_a_terminal(place: Path) -> None:
    """Without a terminal and a decision the run is left waiting, and the way on is told."""
    output = in_a_process("demo", code=2)
    run_id, worker = started_by(output)
    assert "--decide approve" in output and f"kaigents-nb approve {run_id} --choice 'Mekong Solar Works'" in output
    assert not is_alive(worker)
    run = kg.run(run_id)
    assert run.status == "waiting"
    hint = re.search(r"kaigents-nb (approve \S+) --choice '(.+)' (--gate \S+)", output)
    assert hint is not None
    kaigents(*hint[1].split(), "--choice", hint[2], *hint[3].split())
    with working():  # of this directory, as the hint says
        assert run.result(30)["status"] == "contacted"


class Terminal:
    """A program in a terminal of its own, and somebody who reads and types."""

    def __init__(self, *arguments: str) -> None:
        self._end, far_end = pty.openpty()
        environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "200", "LINES": "50"}
        self.process = subprocess.Popen(
            [*PROGRAM, *arguments],
            stdin=far_end,
            stdout=far_end,
            stderr=far_end,
            env=environment,
            start_new_session=True,
        )
        os.close(far_end)
        os.set_blocking(self._end, False)
        self.shown = ""

    def look(self) -> str:
        """Everything that was shown until now, without colours."""
        with contextlib.suppress(OSError):  # nothing new, or the program has gone
            while data := os.read(self._end, 65_536):
                self.shown += data.decode(errors="replace")
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.shown)

    def wait_for(self, text: str) -> str:
        """Read until a text is there."""
        return eventually(lambda: self.look() if text in self.look() else "", 40, f"{text!r} shown")

    def type(self, line: str) -> None:
        """Type a line and press Enter."""
        os.write(self._end, f"{line}\n".encode())

    def code(self) -> int:
        """Read to the end; return the exit code."""
        eventually(lambda: self.look() and self.process.poll() is not None, 40, "ended")
        self.look()
        return self.process.returncode

    def close(self) -> None:
        """Leave nothing behind."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._end)


@pytest.fixture
def terminal(place: Path) -> Iterator[Any]:
    """Return a function that opens a terminal with a command in it."""
    opened: list[Terminal] = []

    def open_terminal(*arguments: str) -> Terminal:
        opened.append(Terminal(*arguments))
        return opened[-1]

    yield open_terminal
    for one in opened:
        one.close()


def test_demo_asks_in_a_terminal(terminal: Any) -> None:
    """The demo shows the quotes, asks again after a wrong answer, and goes on with the answer and the comment."""
    demo = terminal("demo")
    demo.wait_for("Your choice")
    demo.type("9")
    demo.wait_for("'9' is none of: Mekong Solar Works")
    demo.type("2")
    demo.wait_for("Comment")
    demo.type("better rating")
    assert demo.code() == 0
    shown = demo.look()
    assert "Approved: Penang Sunpower Assembly" in shown and "supplier: Penang Sunpower Assembly" in shown
    run_id, worker = started_by(shown)
    assert kg.run(run_id).decisions()["comment"].tolist() == ["better rating"]
    assert not is_alive(worker)


def test_demo_decided_elsewhere_while_it_asks(terminal: Any) -> None:
    """Whoever answers second in the terminal is told, and sees the run go on as the first decided."""
    demo = terminal("demo")
    run_id, _ = started_by(demo.wait_for("Your choice"))
    kg.run(run_id).reject("1", by="Ada", comment="no budget")
    demo.type("meko")
    demo.wait_for("Comment")
    demo.type("")
    assert demo.code() == 0
    assert "Already decided: Ada rejected" in demo.look() and "comment: no budget" in demo.look()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_demo_interrupted_leaves_the_run_waiting(terminal: Any, how: signal.Signals) -> None:
    """However the demo ends while it asks, the run waits, and no worker stays behind."""
    demo = terminal("demo")
    run_id, worker = started_by(demo.wait_for("Your choice"))
    assert is_alive(worker)
    demo.process.send_signal(how)
    assert demo.code() == (-9 if how is signal.SIGKILL else 130)
    if how is not signal.SIGKILL:
        assert f"kaigents-nb approve {run_id}" in demo.look()
    eventually(lambda: not is_alive(worker), 20)
    run = kg.run(run_id)
    assert run.status == "waiting"
    run.terminate()


def test_table_in_a_terminal(terminal: Any) -> None:
    """On a terminal the inbox is drawn, with the run's id in one piece."""
    run = start()
    serve()
    run.wait_for_gate(30)
    eventually(lambda: run.id in kg.pending()["run_id"].tolist())
    inbox = terminal("inbox")
    assert inbox.code() == 0
    assert f"│ {run.id} │" in inbox.look()
    run.terminate()


@pytest.mark.nightly
def test_exit_code_is_zero_every_time(place: Path) -> None:
    """A command that used the SDK, or even worked, ends with code 0: six times of six, and twenty in a night."""
    commands = [("runs", "--limit", "1"), ("worker", "--until-eof")] * (10 if is_nightly() else 3)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda command: in_a_process(*command), commands))


def test_reader_that_leaves_early(place: Path) -> None:
    """When the other end of a pipe has gone, a command ends without a traceback."""
    done = subprocess.run(
        ["bash", "-c", f"{PROGRAM[0]} -m kaigents_nb runs --json | head -c 1"], capture_output=True, text=True
    )
    assert done.stdout in ("[", "N") and done.stderr == ""


def test_doctor(place: Path, server: ServerInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor names the server and packages, starts nothing, and fails when something blocks runs."""
    output = in_a_process("doctor")
    assert server.address in output and "temporalio 1." in output
    checks = json.loads(kaigents("doctor", "--json"))
    assert {check["name"] for check in checks} >= {"python", "packages", "server binary", "database", "server"}

    monkeypatch.setenv("KAIGENTS_DATA_DIR", str(place / "unused"))
    assert "not running" in in_a_process("doctor")
    assert not (place / "unused").exists()
    (place / "unused").write_text("")
    assert "Runs can't be started: data directory" in in_a_process("doctor", code=1)


def test_doctor_of_a_cluster(place: Path, server: ServerInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the environment names a server, the doctor asks that one, and says what named it."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", server.address)
    assert f"server: <connected to the server at {server.address}" in in_a_process("doctor")
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    output = in_a_process("doctor", code=1)
    assert "No Temporal server answers at 127.0.0.1:1" in output and "TEMPORAL_ADDRESS" in output


def test_server_commands(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server of a data directory is started, shown, read, saved and stopped from the command line."""
    monkeypatch.setenv("KAIGENTS_DATA_DIR", str(place / "data"))
    assert "Not running" in kaigents("server", "status", code=1)
    assert "no server was started there yet" in kaigents("server", "log", code=1)
    try:
        assert "web UI" in in_a_process("server", "start")
        assert "durability  power" in in_a_process("server", "status")
        status = json.loads(kaigents("server", "status", "--json"))
        assert status["answers"] is True and is_alive(status["info"]["pid"])
        assert len(kaigents("server", "log", "-n", "3").splitlines()) <= 3
        saved = Path(in_a_process("server", "backup", str(place / "backups")).splitlines()[0])
        assert (saved / "temporal.db").is_file()
    finally:
        assert "Stopped" in in_a_process("server", "stop")
    assert "No server runs" in kaigents("server", "stop")


def test_server_log_follows(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`log --follow` goes on with what is written, also in a new log after a restart, until Ctrl-C."""
    monkeypatch.setenv("KAIGENTS_DATA_DIR", str(place))
    log = place / "server.log"
    log.write_text("one\ntwo\n")
    process = subprocess.Popen(
        [*PROGRAM, "server", "log", "--follow", "--lines", "1"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "two\n"
        with log.open("a") as file:
            file.write("three\n")
        assert process.stdout.readline() == "three\n"
        log.rename(place / "server.log.1")
        log.write_text("four\n")
        assert process.stdout.readline() == "four\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.communicate()


@kg.agent
async def pays_twice():
    first = await kg.approve("Pay 5?", details={"to": "Ann"})
    second = await kg.approve("Pay 5,000,000?\rPay 6?", details={"to": "Evil\u2800"})
    return first.by, second.by


def test_a_terminal_decides_on_what_it_showed(terminal: Any) -> None:
    """The gate is shown and asked about; another one that came meanwhile is not decided but shown."""
    run = pays_twice.start()
    serve()
    run.wait_for_gate(30)
    person = terminal("approve", run.id, "--by", "Ada")
    asked = person.wait_for("Approve? [y/N]")
    assert "Pay 5?" in asked and "to: Ann" in asked
    person.type("n")
    assert person.code() == 1 and "Nothing was decided." in person.look()
    person = terminal("approve", run.id, "--by", "Ada")
    person.wait_for("Approve? [y/N]")
    run.approve(by="Bob")
    assert run.wait_for_gate(30).question.startswith("Pay 5,000,000?")
    person.type("y")
    assert person.code() == 1
    shown = person.look()
    assert "Already decided: Bob approved" in shown
    assert r"Pay 5,000,000?\rPay 6?" in shown and r"Evil\u2800" in shown
    eventually(lambda: run.id in kg.pending()["run_id"].tolist())
    assert r"Pay 5,000,000?\rPay 6?" in kaigents("inbox")
    person = terminal("approve", run.id, "--by", "Ada")
    person.wait_for("Approve? [y/N]")
    person.type("y")
    assert person.code() == 0
    assert run.result(30) == ("Bob", "Ada")
