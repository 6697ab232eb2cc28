"""A worker that lacks an installed module fails and parks nothing: it leaves the work to one that has it."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import kaigents_nb as kg
from kaigents_nb.runtime.queue import task_queue
from tests.support import eventually
from tests.unit.snapshot_cells import Notebook, notebook

pytestmark = pytest.mark.usefixtures("server")

MODULE = "VALUE = 7\ndef answer(): return VALUE\n"
CELLS = (
    "import rarely_installed",
    "@kg.step\ndef early(): return rarely_installed.answer()",
    "@kg.step(retry=kg.Retry(max_attempts=1))\ndef once(): return rarely_installed.answer()",
    "@kg.step\ndef late():\n    import rarely_installed_late\n    return rarely_installed_late.answer()",
    "@kg.step\ndef none_needed(): return 0",
)
IN_STEPS = "@kg.agent\nasync def program(): return await none_needed(), await early(), await once(), await late()"
IN_AGENT = "@kg.agent\nasync def program(): return rarely_installed.answer(), await none_needed()"

Start = Callable[[Path], subprocess.Popen[bytes]]


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A place for installed modules that has two which are installed nowhere else."""
    place = tmp_path / "able" / "site-packages"
    place.mkdir(parents=True)
    for name in ("rarely_installed", "rarely_installed_late"):
        (place / f"{name}.py").write_text(MODULE)
    return place


@pytest.fixture
def nb(installed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Notebook]:
    """A notebook whose process has the modules, and executes nothing."""
    kg.disconnect()
    monkeypatch.setenv("KAIGENTS_WORKER", "off")
    monkeypatch.setenv("JPY_SESSION_NAME", f"lacking-{os.path.basename(installed.parent.parent)}.ipynb")
    monkeypatch.syspath_prepend(installed)
    importlib.invalidate_caches()
    with notebook() as fresh:
        yield fresh
    for name in ("rarely_installed", "rarely_installed_late"):
        sys.modules.pop(name, None)
    kg.disconnect()


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a worker that has the modules of a place."""
    started: list[subprocess.Popen[bytes]] = []

    def worker(place: Path) -> subprocess.Popen[bytes]:
        environment = {key: value for key, value in os.environ.items() if key != "KAIGENTS_WORKER"}
        environment["PYTHONPATH"] = f"{environment['PYTHONPATH']}{os.pathsep}{place}"
        command = [sys.executable, "-m", "kaigents_nb", "worker", "--queue", task_queue()]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()  # it serves
        started.append(process)
        return process

    yield worker
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.mark.parametrize(("agent", "result"), [(IN_STEPS, (0, 7, 7, 7)), (IN_AGENT, (7, 0))], ids=["steps", "agent"])
def test_one_of_two_workers_lacks_a_module(
    nb: Notebook, start: Start, installed: Path, tmp_path: Path, agent: str, result: tuple[int, ...]
) -> None:
    """Whoever is asked first, each run ends soon, and no attempt that could not be made counts."""
    start(tmp_path)
    start(installed)
    nb.cells(*CELLS, agent)
    for run in [nb["program"].start() for _ in range(6)]:
        assert run.result(40) == result
        assert set(run.steps()["status"]) == {"completed"}


@pytest.mark.parametrize(("agent", "result"), [(IN_STEPS, (0, 7, 7, 7)), (IN_AGENT, (7, 0))], ids=["steps", "agent"])
def test_no_worker_has_the_module_until_it_is_installed(
    nb: Notebook, start: Start, tmp_path: Path, agent: str, result: tuple[int, ...]
) -> None:
    """The run waits and its card says for what; it is neither parked nor failed, and goes on without a restart."""
    place = tmp_path / "late" / "site-packages"
    place.mkdir(parents=True)
    worker = start(place)
    nb.cells(*CELLS, agent)
    run = nb["program"].start()
    waits = "waits for a worker that has: rarely_installed (pip install rarely_installed)"
    eventually(lambda: waits in run.view().problem, timeout_s=30)
    assert run.status == "stuck"
    for name in ("rarely_installed", "rarely_installed_late"):
        (place / f"{name}.py").write_text(MODULE)
    assert run.result(40) == result
    assert worker.poll() is None
    assert run.view().problem == ""


def test_a_module_that_was_never_there_is_a_bug(nb: Notebook, start: Start, installed: Path) -> None:
    """A name that the notebook could not import either parks the step, as any bug does."""
    start(installed)
    nb.cells("@kg.step\ndef wrong():\n    import rarely_instaled\n@kg.agent\nasync def program(): return await wrong()")
    run = nb["program"].start()
    eventually(lambda: run.status == "parked", timeout_s=30)
    run.terminate("seen")
