"""What an agent's body does is the same at every look back, or it is said: construct by construct."""

from __future__ import annotations

import http.server
import importlib.util
import json
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import kaigents_nb as kg
from kaigents_nb.control.run import Run
from kaigents_nb.errors import CannotFreeze, RunFailed
from tests.integration.constructs import AGENT, AT_START, COMPARED, CONSTRUCTS, HEAD, REFUSED, SAME, SILENT
from tests.support import ROOT

pytestmark = pytest.mark.usefixtures("server")

LOOKS_BACK = """
import json, sys, warnings
import kaigents_nb as kg
said = {}
for name, run_id in json.load(sys.stdin).items():
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        kg.run(run_id).trace()
    said[name] = " ".join(str(one.message) for one in told)
print(json.dumps(said))
"""


class Requests(http.server.BaseHTTPRequestHandler):
    """A page that counts how often it is asked for."""

    seen: list[str] = []

    def do_GET(self) -> None:
        """Answer."""
        self.seen.append(self.path)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"a,b\n1,2\n")

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def page() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Requests) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{served.server_port}/"
        served.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def agents(tmp_path_factory: pytest.TempPathFactory, page: str) -> ModuleType:
    """A module with an agent for each construct."""
    folder = tmp_path_factory.mktemp("constructs")
    for name in ("a.txt", "clock.txt"):
        (folder / name).write_text("before\n")
    head = HEAD.replace("HERE = os.path.dirname(os.path.abspath(__file__))", f"HERE = {str(folder)!r}")
    text = head + f"\nURL = {page!r}\nPORT = {page.rstrip('/').rpartition(':')[2]}\n"
    for name, (_, body) in CONSTRUCTS.items():
        text += AGENT.format(name=f"does_{name}", body=textwrap.indent(textwrap.dedent(body), "    ").replace("\n        ", "\n    ") if False else "    " + body)
    path = folder / "constructs_module.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location("constructs_module", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["constructs_module"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def outcomes(server: object, agents: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    """What became of each construct, and in which words."""
    found: dict[str, tuple[str, str]] = {}
    runs: dict[str, Run] = {}
    os.environ["CONSTRUCT"] = "before"
    for name in CONSTRUCTS:
        try:
            runs[name] = getattr(agents, f"does_{name}").start()
        except CannotFreeze as error:
            found[name] = AT_START, str(error)
    for name, run in list(runs.items()):
        try:
            run.result(30)
        except RunFailed as error:
            found[name] = REFUSED, str(error)
            del runs[name]
    (Path(agents.__file__ or "").parent / "clock.txt").write_text("after\n")
    environment = os.environ | {"PYTHONHASHSEED": "3", "CONSTRUCT": "after", "PYTHONPATH": str(ROOT), "KAIGENTS_WORKER": "off"}
    looked = subprocess.run(
        [sys.executable, "-c", LOOKS_BACK, "another argument"],
        input=json.dumps({name: run.id for name, run in runs.items()}),
        capture_output=True,
        text=True,
        cwd=tmp_path_factory.mktemp("elsewhere"),
        env=environment,
        check=False,
    )
    assert looked.returncode == 0, looked.stderr
    for name, said in json.loads(looked.stdout.splitlines()[-1]).items():
        same = SILENT if CONSTRUCTS[name][0] == SILENT else SAME
        found[name] = (COMPARED if said else same), said
    return found


@pytest.mark.parametrize("name", CONSTRUCTS)
def test_a_construct_is_the_same_at_a_look_back_or_it_is_said(name: str, outcomes: dict[str, tuple[str, str]]) -> None:
    """It is named at start, refused when it happens, the same each time, or told with call, line and values."""
    expected, _ = CONSTRUCTS[name]
    became, said = outcomes[name]
    assert (became, said if became != expected else "") == (expected, "")
    if became in (AT_START, REFUSED):
        assert "constructs_module" in said and ", line " in said
        assert "ForbiddenInAgent" in said or became == AT_START
        assert "@kg.step" in said or "Use " in said or "Keep " in said or "Give it " in said or "Set " in said
    if became == COMPARED:
        assert f"call 1, keep() (does_{name}(), " in said and "argument 1 was" in said


def test_the_world_was_not_asked(outcomes: dict[str, tuple[str, str]]) -> None:
    """No agent has reached the page, when it was executed or looked back at."""
    assert Requests.seen == []
