"""A worker that lacks an installed module fails and parks nothing: it leaves the work to one that has it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import eventually
from tests.unit.snapshot_cells import Notebook, notebook
from tests.workers import Workers, elsewhere, kill

pytestmark = pytest.mark.usefixtures("server", "failed_tasks_soon_again")

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


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    """Workers of the notebook, with modules of their own; this process executes nothing."""
    with elsewhere("lacking.ipynb") as started:
        yield started


@pytest.fixture(scope="module")
def place(workers: Workers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Modules that only this process has, and a worker without them."""
    found = Place(tmp_path_factory.mktemp("lacking"))
    with pytest.MonkeyPatch.context() as patch:
        lacking = workers.start(path=found.there)
        patch.syspath_prepend(found.here)
        importlib.invalidate_caches()
        yield found
        assert lacking.poll() is None, "it was never restarted"
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.fixture
def nb(place: Place) -> Iterator[Notebook]:
    """A notebook of this process."""
    with notebook() as fresh:
        yield fresh


def test_runs_wait_for_an_able_worker_and_then_all_end(nb: Notebook, place: Place, workers: Workers) -> None:
    """The card names the module; whoever is asked first afterwards, and no attempt that could not be made counts."""
    nb.cells("import rare", IN_STEPS.format("rare"))
    waiting = [nb["in_steps"].start(), nb["in_agent"].start()]
    told = "The run waits for a worker that has: rare (pip install rare)."
    for run in waiting:
        eventually(lambda run=run: told in run.view().problem, timeout_s=40)
        assert run.status == "stuck"
    able = workers.start(path=place.here)
    try:
        assert [run.result(60) for run in waiting] == [(0, 7, 7, 7), (7, 0)]
        more = [nb[name].start() for name in ("in_steps", "in_agent") for _ in range(3)]
        assert [run.result(60) for run in more] == [(0, 7, 7, 7)] * 3 + [(7, 0)] * 3
        for run in (*waiting, *more):
            assert set(run.steps()["status"]) == {"completed"}
            assert run.view().problem == ""
    finally:
        kill(able)


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
