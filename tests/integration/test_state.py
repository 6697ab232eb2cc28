"""Code that travels takes its state along, or says at the start what it can't: none of it is forgotten silently."""

from __future__ import annotations

import contextvars
import io
import locale
import logging
import os
import random
import re
import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import redirect_stderr
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest

from kaigents_nb.errors import CannotFreeze
from tests.integration.stateful_programs import CARRIED, REFUSED, TOLD
from tests.unit.snapshot_cells import Notebook, notebook
from tests.workers import elsewhere as in_another_process

pytestmark = pytest.mark.usefixtures("server")

STARTED = """@kg.step
def the_step(): return run()
@kg.agent
async def program(): return await the_step()"""


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[None]:
    """A worker in a process of its own, for all programs; this process executes nothing."""
    with in_another_process("state.ipynb") as started:  # of the notebooks and of this process: one queue
        started.start()
        yield


@pytest.fixture
def nb() -> Iterator[Notebook]:
    """A notebook, after which this process is set as before."""
    level, timeout, category = logging.getLogger().level, socket.getdefaulttimeout(), locale.setlocale(locale.LC_ALL)
    handlers, chance, directory = list(logging.getLogger().handlers), random.getstate(), os.getcwd()
    numbers, environment = np.random.get_state(), dict(os.environ)
    with warnings.catch_warnings(), matplotlib.rc_context(), notebook() as fresh:
        yield fresh
    os.environ.clear()
    os.environ.update(environment)
    np.random.set_state(numbers)
    os.chdir(directory)
    random.setstate(chance)
    locale.setlocale(locale.LC_ALL, category)
    logging.getLogger().setLevel(level)
    logging.getLogger().handlers[:] = handlers
    logging.getLogger("mine").setLevel(logging.NOTSET)
    socket.setdefaulttimeout(timeout)
    pd.reset_option("display.precision")
    vars(sys.modules["json.encoder"]).pop("FLOAT_REPR", None)


def started(nb: Notebook, cells: tuple[str, ...]) -> tuple[Any, str, Any]:
    """Execute cells and start their program; return the run, what the start said, and what the notebook computes."""

    def work() -> tuple[Any, str, Any]:
        said = io.StringIO()
        nb.cells(*cells, STARTED)
        with redirect_stderr(said):
            run = nb["program"].start()
        return run, said.getvalue(), nb["run"]()

    return contextvars.copy_context().run(work)  # how decimal and numpy are set ends with it


@pytest.mark.parametrize("cells", CARRIED.values(), ids=CARRIED)
def test_state_is_carried_exactly(elsewhere: None, nb: Notebook, cells: tuple[str, ...]) -> None:
    """A worker that has seen no cell gives what the notebook gives, and nothing has to be said."""
    run, said, here = started(nb, cells)
    assert run.result(60) == here
    assert said == ""


@pytest.mark.parametrize(("cells", "pattern"), TOLD.values(), ids=TOLD)
def test_what_is_not_carried_is_told(elsewhere: None, nb: Notebook, cells: tuple[str, ...], pattern: str) -> None:
    """The start names what stays behind and the way out, where people are and on the card; the run is made."""
    run, said, _ = started(nb, cells)
    assert re.search(pattern, said), said
    assert any(re.search(pattern, f"program: {notice}") for notice in run.view().notices)
    run.result(60)


@pytest.mark.parametrize(("cells", "pattern"), REFUSED.values(), ids=REFUSED)
def test_what_can_not_be_kept_right_is_refused(nb: Notebook, cells: tuple[str, ...], pattern: str) -> None:
    """No run is started that would compute something else; the refusal names the change."""
    with pytest.raises(CannotFreeze, match=pattern):
        started(nb, cells)
