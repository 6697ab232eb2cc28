"""A worker that lacks an installed module fails and parks nothing: it leaves the work to one that has it."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import kaigents_nb as kg
from kaigents_nb.runtime.queue import task_queue
from tests.support import eventually
from tests.unit.snapshot_cells import Notebook, notebook

pytestmark = pytest.mark.usefixtures("server")

MODULE = "VALUE = 7\ndef answer(): return VALUE\n"
MODULES = ("rare", "rare_late", "soon", "soon_late")
IN_STEPS = """@kg.step
def early(): return {0}.answer()
@kg.step(retry=kg.Retry(max_attempts=1))
def once(): return {0}.answer()
@kg.step
def late():
    import {0}_late
    return {0}_late.answer()
@kg.step
def free(): return 0
@kg.agent
async def in_steps(): return await free(), await early(), await once(), await late()
@kg.agent
async def in_agent(): return {0}.answer(), await free()"""


class Place:
    """Where modules are installed for this process, and where for the worker that lacks them at first."""

    def __init__(self, root: Path) -> None:
        self.here, self.there = root / "here" / "site-packages", root / "there" / "site-packages"
        self.here.mkdir(parents=True)
        self.there.mkdir(parents=True)
        for name in MODULES:
            self.install(name, self.here)

    def install(self, name: str, where: Path) -> None:
        """Install a module in one of the two."""
        (where / f"{name}.py").write_text(MODULE)


def worker(place: Path) -> subprocess.Popen[bytes]:
    """Start a worker which has the modules of a place."""
    environment = {key: value for key, value in os.environ.items() if key != "KAIGENTS_WORKER"}
    environment["PYTHONPATH"] = f"{environment['PYTHONPATH']}{os.pathsep}{place}"
    command = [sys.executable, "-m", "kaigents_nb", "worker", "--queue", task_queue()]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Modules that only this process has, which executes nothing, and a worker without them."""
    kg.disconnect()
    found = Place(tmp_path_factory.mktemp("lacking"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KAIGENTS_WORKER", "off")
        patch.setenv("JPY_SESSION_NAME", "lacking.ipynb")
        lacking = worker(found.there)
        patch.syspath_prepend(found.here)
        importlib.invalidate_caches()
        yield found
        assert lacking.poll() is None, "it was never restarted"
        lacking.kill()
        lacking.wait()
    for name in MODULES:
        sys.modules.pop(name, None)
    kg.disconnect()


@pytest.fixture
def nb(place: Place) -> Iterator[Notebook]:
    """A notebook of this process."""
    with notebook() as fresh:
        yield fresh


def test_runs_wait_for_an_able_worker_and_then_all_end(nb: Notebook, place: Place) -> None:
    """The card names the module; whoever is asked first afterwards, and no attempt that could not be made counts."""
    nb.cells("import rare", IN_STEPS.format("rare"))
    waiting = [nb["in_steps"].start(), nb["in_agent"].start()]
    told = "The run waits for a worker that has: rare (pip install rare)."
    for run in waiting:
        eventually(lambda run=run: told in run.view().problem, timeout_s=40)
        assert run.status == "stuck"
    able = worker(place.here)
    try:
        assert [run.result(60) for run in waiting] == [(0, 7, 7, 7), (7, 0)]
        more = [nb[name].start() for name in ("in_steps", "in_agent") for _ in range(3)]
        assert [run.result(60) for run in more] == [(0, 7, 7, 7)] * 3 + [(7, 0)] * 3
        for run in (*waiting, *more):
            assert set(run.steps()["status"]) == {"completed"}
            assert run.view().problem == ""
    finally:
        able.kill()
        able.wait()


def test_runs_go_on_when_the_module_is_installed(nb: Notebook, place: Place) -> None:
    """Neither the run nor the worker is started again for it."""
    nb.cells("import soon", IN_STEPS.format("soon"))
    waiting = [nb["in_steps"].start(), nb["in_agent"].start()]
    for run in waiting:
        eventually(lambda run=run: "a worker that has: soon (pip install soon)" in run.view().problem, timeout_s=40)
    place.install("soon", place.there)
    place.install("soon_late", place.there)
    assert [run.result(60) for run in waiting] == [(0, 7, 7, 7), (7, 0)]


def test_a_module_that_was_never_there_is_a_bug(nb: Notebook) -> None:
    """A name that the notebook could not import either parks the step, as any bug does."""
    nb.cells("@kg.step\ndef wrong():\n    import rarre\n@kg.agent\nasync def program(): return await wrong()")
    run = nb["program"].start()
    eventually(lambda: run.status == "parked", timeout_s=40)
    run.terminate("seen")
