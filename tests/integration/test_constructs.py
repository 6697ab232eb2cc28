"""What an agent's body does is the same at every look back, or it is said: construct by construct."""

from __future__ import annotations

import http.server
import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kaigents_nb.authoring.agent import Agent
from kaigents_nb.control.run import Run
from kaigents_nb.errors import CannotFreeze, RunFailed
from kaigents_nb.runtime import protocol
from tests.integration.constructs import AGENT, AT_START, COMPARED, CONSTRUCTS, HEAD, IN_README, REFUSED, SAME, SILENT
from tests.support import ROOT
from tests.unit.snapshot_cells import notebook

pytestmark = pytest.mark.usefixtures("server")

LOOKS_BACK = """
import json, logging, sys, warnings
import kaigents_nb as kg
logging.getLogger("constructs").addHandler(logging.NullHandler())
said = {}
for name, run_id in json.load(sys.stdin).items():
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        kg.run(run_id).trace()
    said[name] = " ".join(str(one.message) for one in told)
print(json.dumps(said))
"""


Outcomes = dict[str, tuple[str, str]]
"""By construct: what became of it, and in which words."""
SEEN: list[str] = []
"""What the page was asked for."""


class Page(http.server.BaseHTTPRequestHandler):
    """A page that notes who asks."""

    def do_GET(self) -> None:
        """Answer."""
        SEEN.append(self.path)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"a,b\n1,2\n")

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def page() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{served.server_port}/"
        served.shutdown()
        thread.join()


def write_files(folder: Path, said: str) -> None:
    (folder / "clock.txt").write_text(said)
    pd.DataFrame({"said": [said]}).to_parquet(folder / "clock.parquet")


@dataclass(frozen=True)
class Agents:
    """An agent for each construct, in a module of its own: of a big one, freezing takes longer."""

    folder: Path
    page: str

    def __getitem__(self, name: str) -> Agent[..., Any, Any]:
        """Return the agent that does a construct."""
        module = f"does_{name}"
        if module not in sys.modules:
            port = self.page.rstrip("/").rpartition(":")[2]
            here = f"HERE, URL, PORT = {str(self.folder)!r}, {self.page!r}, {port}\n"
            path = self.folder / f"{module}.py"
            path.write_text(HEAD + here + AGENT.format(name=module, body=f"    {CONSTRUCTS[name][1]}"))
            spec = importlib.util.spec_from_file_location(module, path)
            assert spec is not None and spec.loader is not None
            loaded = sys.modules[module] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(loaded)
        found: Agent[..., Any, Any] = getattr(sys.modules[module], module)
        return found


@pytest.fixture(scope="module")
def agents(tmp_path_factory: pytest.TempPathFactory, page: str) -> Iterator[Agents]:
    folder = tmp_path_factory.mktemp("constructs")
    write_files(folder, "before")
    for name in ("a.txt", "a.csv", "a.gz", "a.db"):
        (folder / name).write_text("before\n")
    np.save(folder / "a.npy", [1])
    yield Agents(folder, page)
    for name in CONSTRUCTS:
        sys.modules.pop(f"does_{name}", None)


@pytest.fixture(scope="module")
def outcomes(server: object, agents: Agents, tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """What became of each construct, and in which words."""
    found: Outcomes = {}
    runs: dict[str, Run] = {}
    os.environ["CONSTRUCT"] = "before"
    for name in CONSTRUCTS:
        try:
            runs[name] = agents[name].start()
        except CannotFreeze as error:
            found[name] = AT_START, str(error)
    for name, run in runs.items():
        try:
            run.result(30)
        except RunFailed as error:
            found[name] = REFUSED, str(error)
    write_files(agents.folder, "after")
    changed = {"PYTHONHASHSEED": "3", "CONSTRUCT": "after", "PYTHONPATH": str(ROOT), "KAIGENTS_WORKER": "off"}
    looked = subprocess.run(
        [sys.executable, "-c", LOOKS_BACK, "another argument"],
        input=json.dumps({name: run.id for name, run in runs.items()}),
        capture_output=True,
        text=True,
        cwd=tmp_path_factory.mktemp("elsewhere"),
        env=os.environ | changed,
        check=False,
    )
    assert looked.returncode == 0, looked.stderr
    for name, said in json.loads(looked.stdout.splitlines()[-1]).items():
        if said or name not in found:
            found[name] = COMPARED if said else SAME, said
    return found


@pytest.mark.parametrize("name", CONSTRUCTS)
def test_a_construct_is_the_same_at_a_look_back_or_it_is_said(name: str, outcomes: Outcomes) -> None:
    """It is named at start, refused when it happens, the same each time, or told with call, line and values."""
    expected, _ = CONSTRUCTS[name]
    became, said = outcomes[name]
    wanted = SAME if expected == SILENT else expected
    assert (became, said if became != wanted else "") == (wanted, "")
    if became in (AT_START, REFUSED):
        assert f"does_{name}.py, line " in said
        assert "ForbiddenInAgent" in said or became == AT_START
        assert "@kg.step" in said or "Use " in said or "Keep " in said or "Give it " in said or "Set " in said
    if became == COMPARED:
        assert f"call 1, keep() (does_{name}(), " in said and "argument 1 was" in said


def test_the_world_was_not_asked(outcomes: Outcomes) -> None:
    """No agent has reached the page, when it was executed or looked back at."""
    assert SEEN == []


def test_what_nobody_notices_is_in_the_readme() -> None:
    """It is little, and known."""
    assert [name for name, (expected, _) in CONSTRUCTS.items() if expected == SILENT] == list(IN_README)
    readme = " ".join((ROOT / "README.md").read_text().split())
    limit = readme[readme.index("Nobody notices") :]
    assert all(words in limit for words in IN_README.values())


def test_state_of_the_own_code_is_a_runs_own(agents: Agents, outcomes: Outcomes) -> None:
    """A second run of the same worker begins with its globals as the cells have them."""
    for name in ("own_global", "own_list", "own_class_attribute", "decimal_context_kept"):
        agent = agents[name]
        assert agent.start().result(30) == agent.start().result(30), name


def test_state_of_a_file_beside_the_notebook_is_a_runs_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one run has counted in it, the next one does not find."""
    (tmp_path / "counts_beside.py").write_text("SEEN = []\n\ndef count():\n    SEEN.append(1)\n    return len(SEEN)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with notebook() as nb:
        nb.cell("import counts_beside\n\n@kg.agent\nasync def counts():\n    return counts_beside.count()")
        assert [nb["counts"].start().result(30) for _ in range(2)] == [1, 1]


def test_state_of_a_module_is_told_where_a_call_depends_on_it(agents: Agents, outcomes: Outcomes) -> None:
    """What a run has left behind in an installed module, the look back at the next one finds."""
    run = agents["module_by_its_function"].start()
    run.result(30)
    with pytest.warns(UserWarning, match=r"call 1, keep\(\) \(does_module_by_its_function\(\), .* and is \d+ now"):
        run.trace()


def test_a_run_that_began_before_goes_on_by_its_old_rules(agents: Agents, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its agent may reach for the world, as it could when it began; looking back at it does not, and says so."""
    monkeypatch.setattr(protocol, "INTERPRETER_VERSION", 1)
    run = agents["io_open"].start()
    assert run.result(30) == "before\n"
    with pytest.warns(UserWarning, match=r"its error was nothing, and is ForbiddenInAgent: open '.*a\.txt' can't"):
        assert "io.open" in run.trace().source.iloc[-1]
