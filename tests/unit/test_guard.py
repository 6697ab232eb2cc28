"""The audit hook refuses a watched run, and nobody and nothing else."""

from __future__ import annotations

import logging
import subprocess
import sys
import textwrap
import threading
import traceback
import zoneinfo
from pathlib import Path
from typing import Any

import pytest

from kaigents_nb.errors import ForbiddenInAgent
from kaigents_nb.runtime import guard
from kaigents_nb.runtime.guard import Activation, activated
from kaigents_nb.snapshot.cells import OWN_FILES


def as_an_agent(body: str, *, watched: bool = True, **names: Any) -> Any:
    """Execute a function body as a run's code does."""
    guard.install()
    source = f"def run():\n{textwrap.indent(body, '    ')}\n"
    exec(compile(source, f"{OWN_FILES}test>", "exec"), names)
    with activated(Activation()):
        if watched:
            guard.watch()
        return names["run"]()


INSTALLS_ONCE = """
import sys
added = []
sys.addaudithook(lambda event, args: added.append(event) if event == "sys.addaudithook" else None)
import kaigents_nb as kg
kg.step, kg.agent, kg.approve
assert added == [], "at import"
from kaigents_nb.runtime.sandbox import sandbox
assert added == [], "at import of the runtime"
sandbox(), sandbox()
assert len(added) == 1, added
"""


def test_it_is_installed_when_first_needed_and_once() -> None:
    """Importing the library, or its runtime, installs nothing; two workers install one."""
    done = subprocess.run([sys.executable, "-c", INSTALLS_ONCE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_file_is_refused_whoever_opens_it(tmp_path: Path) -> None:
    """By the agent, and by a library that it calls; the file's name is said."""
    path = tmp_path / "a.txt"
    path.write_text("x")
    for body in ("return io.open(path).read()", "return path.read_bytes()", "return path.write_text('y')"):
        with pytest.raises(ForbiddenInAgent, match=r"open '.*a\.txt' can't be used in an agent.*@kg\.step"):
            as_an_agent(body, path=path, io=__import__("io"))
    assert path.read_text() == "x"


def test_what_is_not_an_agents_is_left_alone(tmp_path: Path) -> None:
    """An activation that is not watched, another thread meanwhile, and code that no agent has called."""
    path = tmp_path / "a.txt"
    path.write_text("x")
    assert as_an_agent("return path.read_text()", watched=False, path=path) == "x"

    def beside() -> str:
        found: list[str] = []
        thread = threading.Thread(target=lambda: found.append(path.read_text()))
        thread.start()
        thread.join()
        return found[0]

    with activated(Activation()):
        guard.watch()
        assert beside() == "x" and path.read_text() == "x"
    assert path.read_text() == "x"


def test_machinery_that_works_for_an_agent_goes_on(tmp_path: Path) -> None:
    """Imports, tracebacks with their source, log files, time zones, warnings, and what garbage collection does."""
    (tmp_path / "imported_by_an_agent.py").write_text("import json\nVALUE = 3\n")
    log = tmp_path / "log.txt"
    handler = logging.FileHandler(log, delay=True)
    logger = logging.getLogger("an agent")
    logger.addHandler(handler)

    class Closes:
        def __del__(self) -> None:
            log.with_suffix(".deleted").touch()

    body = """\
sys.path.insert(0, folder)
import imported_by_an_agent
sys.path.remove(folder)
made = [Closes()]
del made
logger.warning("said")
zone = zoneinfo.ZoneInfo.no_cache("Asia/Ho_Chi_Minh")
try:
    1 / 0
except ZeroDivisionError:
    shown = traceback.format_exc()
try:
    textwrap.indent(None, "")
except AttributeError:
    shown += traceback.format_exc()
return imported_by_an_agent.VALUE, str(zone), shown
"""
    import linecache

    linecache.checkcache()
    linecache.cache.pop(textwrap.__file__, None)
    names = {"sys": sys, "logger": logger, "zoneinfo": zoneinfo, "traceback": traceback, "textwrap": textwrap}
    try:
        value, zone, shown = as_an_agent(body, folder=str(tmp_path), Closes=Closes, **names)
    finally:
        logger.removeHandler(handler)
        handler.close()
        sys.modules.pop("imported_by_an_agent", None)
    assert (value, zone) == (3, "Asia/Ho_Chi_Minh")
    assert "splitlines" in shown and log.read_text() == "said\n" and log.with_suffix(".deleted").exists()
