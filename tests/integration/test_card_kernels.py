"""The card in real kernels: clicks arrive after the cell has returned, on every ipykernel and shell that is in use."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

from kaigents_nb.display.kept import GONE
from kaigents_nb.display.kernel import WIDGET_VIEW
from kaigents_nb.server.embedded import ServerInfo
from tests.fake_model import FakeModels
from tests.support import eventually

SHELLS = [("6.31", "main"), ("7.3", "main"), ("7.3", "subshell"), ("7.4", "main"), ("7.4", "subshell")]
LATEST = ("7.4", "subshell")  # what JupyterLab uses
AGENT = """
    import kaigents_nb as kg

    @kg.step
    def double(x: int) -> int:
        print("doubling", x)
        return 2 * x

    @kg.agent
    async def copier(x):
        y = await double(x)
        decision = await kg.approve("Keep it?", details={"y": y})
        return f"{y} {decision.approved} {decision.comment}"
"""


class Kernel:
    """A kernel as a front end sees it: widget models, displays by id, and what cells printed."""

    def __init__(self, manager: KernelManager, shell: str) -> None:
        self._manager = manager
        self._client: BlockingKernelClient = manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=60)
        self.models: dict[str, dict[str, Any]] = {}
        self.displays: dict[str, list[dict[str, Any]]] = {}
        self.printed: dict[str, str] = {}
        self._idle: set[str] = set()
        self._subshell = self._create_subshell() if shell == "subshell" else None

    def cell(self, code: str) -> str:
        """Execute a cell and return what it printed, its value and its error."""
        cell = self._client.execute(textwrap.dedent(code))
        self.until(lambda: cell in self._idle, f"the cell ends: {code}")
        return self.printed.get(cell, "")

    def until(self, fn: Callable[[], Any], message: str) -> Any:
        """Handle the kernel's messages until something is true."""

        def look() -> Any:
            while self._client.iopub_channel.msg_ready():
                self._handle(self._client.get_iopub_msg(timeout=5))
            return fn()

        return eventually(look, timeout_s=60, message=message)

    def model(self, **state: Any) -> str:
        """Return the id of the widget with this state, as soon as there is one."""

        def find() -> list[str]:
            return [id for id, model in self.models.items() if state.items() <= model.items()]

        [found] = self.until(find, f"a widget with {state}")
        return str(found)

    def until_said(self, text: str) -> None:
        """Wait until some widget shows a text."""
        self.until(lambda: any(text in str(model.get("value")) for model in self.models.values()), f"{text!r} is shown")

    def click(self, label: str) -> None:
        """Click a button as JupyterLab does."""
        model = self.model(_model_name="ButtonModel", description=label, disabled=False)
        self._send(model, {"method": "custom", "content": {"event": "click"}})

    def type(self, label: str, text: str) -> None:
        """Type into a text box, and look at it: a kernel may hear of two things at once in any order."""
        model = self.model(_model_name="TextModel", description=label)
        self._send(model, {"method": "update", "state": {"value": text}, "buffer_paths": []})
        self.until(lambda: self.models[model].get("value") == text, f"{label} is {text}")

    def last_display(self) -> dict[str, Any]:
        """Return what is shown by now at the place that was made last."""
        return list(self.displays.values())[-1][-1]

    def until_static(self) -> str:
        """Wait until the card has become static, and return its text."""

        def record() -> Any:
            kept = list(self.displays.values())[-2][-1]
            return self.last_display() == GONE and "kaigents-kept" not in kept["text/html"] and kept

        kept = self.until(record, "the record is in the card's place")
        assert sorted(kept) == ["text/html", "text/plain"]
        return str(kept["text/plain"])

    def ask(self, code: str) -> str:
        """Execute a cell that asks; return its id."""
        return str(self._client.execute(textwrap.dedent(code), allow_stdin=True))

    def answer(self, text: str | None) -> str:
        """Wait until a cell asks, and answer if there is an answer; return what it asked with."""
        prompt = self._client.get_stdin_msg(timeout=60)["content"]["prompt"]
        if text is not None:
            self._client.input(text)
        return str(prompt)

    def ended(self, cell: str) -> str:
        """Wait until a cell has ended; return what it printed, its value and its error."""
        self.until(lambda: cell in self._idle, "the cell ends")
        return self.printed.get(cell, "")

    def close(self) -> None:
        """Let go of the kernel's sockets."""
        self._client.stop_channels()

    def _create_subshell(self) -> str:
        request = self._client.session.msg("create_subshell_request", {})
        self._client.control_channel.send(request)
        while True:
            reply = self._client.get_control_msg(timeout=10)
            if reply["msg_type"] == "create_subshell_reply":
                return str(reply["content"]["subshell_id"])

    def _send(self, model: str, data: dict[str, Any]) -> None:
        message = self._client.session.msg("comm_msg", {"comm_id": model, "data": data})
        if self._subshell is not None:
            message["header"]["subshell_id"] = self._subshell
        self._client.shell_channel.send(message)

    def _handle(self, message: dict[str, Any]) -> None:
        kind, content = message["msg_type"], message["content"]
        cell = message["parent_header"].get("msg_id", "")
        if kind == "comm_open":
            self.models[content["comm_id"]] = dict(content["data"]["state"])
        elif kind == "comm_msg" and content["data"]["method"] in ("update", "echo_update"):
            self.models.setdefault(content["comm_id"], {}).update(content["data"]["state"])
        elif kind == "comm_close":
            self.models.pop(content["comm_id"], None)
        elif kind == "display_data":
            self.displays.setdefault(content["transient"]["display_id"], []).append(content["data"])
        elif kind == "update_display_data":
            # A front end that does not know the place drops the update.
            self.displays[content["transient"]["display_id"]].append(content["data"])
        elif kind == "execute_result":
            self.displays[f"result of {cell}"] = [content["data"]]
            self.printed[cell] = self.printed.get(cell, "") + content["data"]["text/plain"]
        elif kind == "stream":
            self.printed[cell] = self.printed.get(cell, "") + content["text"]
        elif kind == "error":
            self.printed[cell] = self.printed.get(cell, "") + "\n".join(content["traceback"])
        elif kind == "status" and content["execution_state"] == "idle":
            self._idle.add(cell)


@pytest.fixture(scope="session")
def ipykernel_at(request: pytest.FixtureRequest) -> Callable[[str], Path | None]:
    """Where an ipykernel version can be imported from; fetched once and kept in pytest's cache."""

    def find(version: str) -> Path | None:
        if importlib.metadata.version("ipykernel").startswith(f"{version}."):
            return None
        home = Path(request.config.cache.mkdir("ipykernel")) / version
        if not home.exists():
            fetched = home.with_name(f"{version}.{os.getpid()}")
            # Over this environment: only ipykernel itself differs. nest_asyncio is what 6.x needs beside it.
            packages = [f"ipykernel=={version}.*", "nest_asyncio"]
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(fetched)]
            subprocess.run([*pip, *packages], check=True)
            fetched.rename(home)
        return home

    return find


@pytest.fixture(scope="module")
def kernel_of(
    ipykernel_at: Callable[[str], Path | None], server: ServerInfo, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], KernelManager]]:
    """The kernel of an ipykernel version, in a directory of its own; each is started once."""
    managers: dict[str, KernelManager] = {}

    def find(version: str) -> KernelManager:
        if version not in managers:
            managers[version] = manager = KernelManager()
            argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
            manager._kernel_spec = KernelSpec(argv=argv, language="python", display_name=version)
            overlay = ipykernel_at(version)
            path = os.environ["PYTHONPATH"]
            env = {**os.environ, "PYTHONPATH": f"{overlay}{os.pathsep}{path}" if overlay else path}
            manager.start_kernel(env=env, cwd=str(tmp_path_factory.mktemp("kernel")))
        return managers[version]

    yield find
    for manager in managers.values():
        manager.shutdown_kernel(now=True)
        manager.context.destroy()


@pytest.fixture
def open_kernel(
    kernel_of: Callable[[str], KernelManager],
) -> Iterator[Callable[[str, str], tuple[KernelManager, Kernel]]]:
    """Open a page on the kernel of an ipykernel version; it sees what is shown from then on."""
    opened: list[Kernel] = []

    def open_page(version: str, shell: str) -> tuple[KernelManager, Kernel]:
        manager = kernel_of(version)
        opened.append(Kernel(manager, shell))
        assert opened[-1].cell("import ipykernel; print(ipykernel.__version__)").startswith(version)
        return manager, opened[-1]

    yield open_page
    for kernel in opened:
        kernel.close()


Opener = Callable[[str, str], tuple[KernelManager, Kernel]]


@pytest.mark.parametrize(("version", "shell"), SHELLS)
def test_a_click_decides_after_the_cell_has_returned(open_kernel: Opener, version: str, shell: str) -> None:
    """The gate's form appears by itself, the click is heard, and the saved output tells what happened."""
    _, kernel = open_kernel(version, shell)
    assert kernel.cell(AGENT + "\n    run = copier.start(21)\n    run") == ""
    assert WIDGET_VIEW in kernel.last_display()
    kernel.type("Comment", "fine")
    kernel.click("Approve")
    text = kernel.until_static()
    assert "copier · completed" in text
    assert "Approved by" in text and "“fine”" in text
    assert "doubling 21" in text
    assert kernel.cell("run.result()") == "'42 True fine'"


FORM = """
    import kaigents_nb as kg
    from pydantic import BaseModel, Field

    class Order(BaseModel):
        city: str = Field(title="City")
        count: int = Field(title="Count", ge=1, le=9)

    @kg.agent
    async def ordering():
        order = await kg.ask("What?", Order)
        return f"{order.count} to {order.city}"
"""


@pytest.mark.parametrize(("version", "shell"), SHELLS)
def test_a_form_is_refused_and_corrected_on_the_card(open_kernel: Opener, version: str, shell: str) -> None:
    """What does not fit is said beside its field, and the corrected form is sent."""
    _, kernel = open_kernel(version, shell)
    kernel.cell(FORM + "\n    run = ordering.start()\n    run")
    kernel.type("City", "Rome")
    kernel.type("Count", "12")
    kernel.click("Send")
    kernel.until_said("must be at most 9, not 12")
    kernel.type("Count", "4")
    kernel.click("Send")
    assert "Answered: {&quot;" not in kernel.until_static()
    assert kernel.cell("run.result()") == "'4 to Rome'"


def test_a_restarted_kernel_goes_on_with_the_card(open_kernel: Opener) -> None:
    """After kill -9 and a restart, kg.run(id) shows the run's card, and its button works; no cell is re-run."""
    manager, kernel = open_kernel(*LATEST)
    run_id = kernel.cell(AGENT + "\n    run = copier.start(4)\n    run.wait_for_gate(30)\n    print(run.id)").strip()
    kernel.close()
    manager.restart_kernel(now=True)
    again = Kernel(manager, "main")
    try:
        again.cell(f"import kaigents_nb as kg\nkg.run({run_id!r})")
        again.click("Reject")
        assert "Rejected by" in again.until_static()
        assert again.cell(f"kg.run({run_id!r}).result()") == "'8 False '"
    finally:
        again.close()


def test_two_cards_and_a_decision_in_code_stay_in_step(open_kernel: Opener) -> None:
    """Every place where the run is shown becomes the record of the decision taken elsewhere."""
    _, kernel = open_kernel(*LATEST)
    kernel.cell(AGENT + "\n    run = copier.start(1)\n    run")
    kernel.cell("kg.run(run.id)")
    kernel.model(_model_name="ButtonModel", description="Approve")
    kernel.cell("decided = run.approve(comment='in code')")
    kept, gone = list(kernel.displays.values())[::2], list(kernel.displays.values())[1::2]
    assert len(kept) == 2
    kernel.until(lambda: all("“in code”" in shown[-1]["text/plain"] for shown in kept), "both cards have it")
    kernel.until(lambda: all("completed" in shown[-1]["text/plain"] for shown in kept), "both cards are records")
    assert all(shown[-1] == GONE for shown in gone)
    assert not any(model.get("description") == "Approve" for model in kernel.models.values())


def test_the_inbox_decides(open_kernel: Opener) -> None:
    """kg.inbox() lists the gate with its details, and a click there lets the run go on."""
    _, kernel = open_kernel(*LATEST)
    kernel.cell(AGENT + "\n    run = copier.start(1000)\n    gate = run.wait_for_gate(30)")
    kernel.until(
        lambda: "True" in kernel.cell("print(run.id in set(kg.pending().run_id))"), "the gate is in the server's index"
    )
    # Gates of other tests' runs may be open too: only this run's form is clicked.
    kernel.cell(
        """
        inbox = kg.inbox()
        inbox.pending = inbox.pending[inbox.pending.run_id == run.id]
        inbox._show(inbox.pending)
        inbox
        """
    )
    kernel.until_said("2000")
    kernel.click("Approve")
    assert kernel.cell("run.result()") == "'2000 True '"


def test_a_parked_step_is_mended_from_the_card(open_kernel: Opener) -> None:
    """The card shows the bug; the corrected cell and one click let the same run go on."""
    _, kernel = open_kernel(*LATEST)
    kernel.cell(AGENT.replace("return 2 * x", "return 2 * x['rate']") + "\n    run = copier.start(3)\n    run")
    kernel.until_said("run.mend()")
    kernel.until_said("TypeError: &#39;int&#39; object is not subscriptable")
    kernel.cell("@kg.step\ndef double(x: int) -> int:\n    return 2 * x")
    kernel.click("Mend and go on")
    kernel.click("Approve")
    assert "completed" in kernel.until_static()
    assert kernel.cell("run.result()") == "'6 True '"


@pytest.mark.parametrize(("version", "shell"), [SHELLS[0], SHELLS[-1]])
def test_result_asks_until_it_need_not(open_kernel: Opener, version: str, shell: str) -> None:
    """At a gate result() shows it and asks: again after a wrong answer, no longer than the time given, and no longer
    when somebody decides elsewhere. An empty answer ends the cell, so that others run.
    """
    _, kernel = open_kernel(version, shell)
    kernel.cell(AGENT + "\n    run, other = copier.start(21), copier.start(2)\n    run.wait_for_gate(30)")
    cell = kernel.ask("import time; began = time.monotonic()\nrun.result(timeout=2.5)")
    assert "approve / reject" in kernel.answer(None)
    told = kernel.ended(cell)
    assert "Keep it?" in told and "y: 42" in told and "RunTimeout" in told
    assert float(kernel.cell("print(time.monotonic() - began)")) < 10

    cell = kernel.ask("run.result()")
    kernel.answer("aprove")
    kernel.answer("")
    told = kernel.ended(cell)
    assert "'aprove' is none of: approve, reject." in told and "so that others can run" in told

    elsewhere = "kg.run(run.id).approve('1', comment='elsewhere')"
    cell = kernel.ask(f"import threading\nthreading.Timer(2.5, lambda: {elsewhere}).start()\nrun.result()")
    kernel.answer(None)
    assert "'42 True elsewhere'" in kernel.ended(cell)

    cell = kernel.ask("other.result()")
    kernel.answer("approve")
    assert "'4 True '" in kernel.ended(cell)


@pytest.mark.parametrize(("version", "shell"), [SHELLS[0], SHELLS[-1]])
def test_an_interrupted_await_is_over(open_kernel: Opener, version: str, shell: str) -> None:
    """The interrupt ends the cell at once, not the next one, and what becomes of the run is told in no other cell."""
    manager, kernel = open_kernel(version, shell)
    kernel.cell(
        AGENT.replace("return f", "raise ValueError(decision.comment)\n        return f") + "\n    import asyncio, gc"
    )
    kernel.cell("run = copier.start(1)\nrun.wait_for_gate(30)")
    cell = kernel.ask("print('awaiting', flush=True)\nawait run")
    kernel.until(lambda: "awaiting" in kernel.printed.get(cell, ""), "the cell awaits")
    manager.interrupt_kernel()
    assert "CancelledError" in kernel.ended(cell) or "KeyboardInterrupt" in kernel.ended(cell)
    assert kernel.cell("run.approve(comment='x'); print('next')") == "next\n"
    kernel.until(lambda: kernel.cell("print(run.status)") == "failed\n", "the run fails")
    assert kernel.cell("gc.collect(); await asyncio.sleep(0.5)") == ""
    assert kernel.cell("print('later')") == "later\n"


def test_an_answer_is_seen_while_it_comes(open_kernel: Opener, fake_models: FakeModels) -> None:
    """Its end, open, in the card that runs; then what was said, folded, with what it cost: in the saved form too."""
    _, kernel = open_kernel(*LATEST)
    thought = {"summary": [{"type": "summary_text", "text": "It wants <b>prose</b>."}]}
    answer = "<i>so</i> " * 30 + "the end"
    fake = fake_models([{"say": answer, "pace_s": 0.5, "reasoning": thought, "usage": {"input": 10, "output": 5}}])
    kernel.cell(
        f"""
        import kaigents_nb as kg

        @kg.agent
        async def writes(model):
            return (await kg.chat("Write.", model=model)).text

        model = kg.model({fake.name!r}, base_url={fake.url!r}, api="responses", price={{"input": 1000, "output": 2000}})
        run = writes.start(model)
        run
        """
    )
    kernel.until_said("kg.chat, so far</summary>")
    kernel.until_said("&lt;i&gt;so&lt;/i&gt;")
    text = kernel.until_static()
    assert "models: 1 request, 15 tokens, 0.020 USD · run.calls()" in text
    page = str(list(kernel.displays.values())[-2][-1]["text/html"])
    assert "so far" not in page
    [said] = re.findall(
        r"<details style[^>]*><summary[^>]*>Said in kg.chat, call 1</summary>(.*?)</details>", page, re.S
    )
    assert (
        "user\n  Write.\nassistant, reasoning\n  It wants &lt;b&gt;prose&lt;/b&gt;.\nassistant\n  &lt;i&gt;so" in said
    )


@pytest.mark.usefixtures("server")
def test_an_executed_notebook_keeps_the_record(tmp_path: Path) -> None:
    """nbclient, and so papermill and nbconvert, save static HTML of the end where the card was shown."""
    cells = [
        AGENT + "\n    run = copier.start(5)\n    run",
        "run.wait_for_gate(30)\nrun.reject(comment='no')",
        "run.result()",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(textwrap.dedent(cell)) for cell in cells])
    client = NotebookClient(
        notebook, timeout=60, store_widget_state=False, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.km = client.create_kernel_manager()
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    client.km._kernel_spec = KernelSpec(argv=argv, language="python", display_name="this")
    client.execute()
    shown, gone = notebook.cells[0].outputs
    assert sorted(shown.data) == ["text/html", "text/plain"]
    assert gone.data == GONE
    assert "copier · completed" in shown.data["text/plain"]
    assert "Rejected by" in shown.data["text/html"]
    assert notebook.cells[2].outputs[0].data["text/plain"] == "'10 False no'"
