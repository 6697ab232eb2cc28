"""A real JupyterLab and a real browser, as an analyst has them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright

import kaigents_nb as kg
from kaigents_nb.server.embedded import ServerInfo
from tests.support import ROOT, eventually

START_S = 120
"""JupyterLab's first start on a slow machine."""
PATIENCE_S = 90
"""So long may anything else take that a page waits for; each is there in about a second on a fast machine."""

expect.set_options(timeout=PATIENCE_S * 1000)

TOKEN = "token-of-this-test"
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True},
}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep a picture of the page when a test fails, in the test's folder; the report says where."""
    report = yield
    arguments = getattr(item, "funcargs", {})
    if report.failed and report.when != "teardown" and "page" in arguments:
        picture = arguments["tmp_path"] / "page.png"
        arguments["page"].screenshot(path=picture)
        report.sections.append(("the page as it was", str(picture)))
    return report


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab and its folder."""

    address: str
    folder: Path

    def url(self, notebook: Path) -> str:
        """Return the address of a notebook, in a workspace of its own."""
        path = notebook.relative_to(self.folder)
        return f"{self.address}/lab/workspaces/{notebook.stem}-{path.parent}/tree/{path}?token={TOKEN}"

    def api(self, path: str, method: str = "GET") -> Any:
        """Ask Jupyter's own REST API."""
        headers = {"Authorization": f"token {TOKEN}"}
        request = urllib.request.Request(f"{self.address}/api/{path}", method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=30) as response:
            body = response.read()
        return json.loads(body) if body else None

    def end_kernels(self) -> None:
        """Shut all kernels down, as JupyterLab's "Shut Down All" does."""
        for session in self.api("sessions"):
            self.api(f"sessions/{session['id']}", "DELETE")

    def answers(self) -> bool:
        """Whether it is up."""
        try:
            self.api("status")
        except urllib.error.HTTPError as error:
            error.close()
            return False
        except OSError:
            return False
        return True


@pytest.fixture(scope="session")
def lab(server: ServerInfo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Start JupyterLab with nothing of the user's own; end it and its kernels with the tests."""
    place = tmp_path_factory.mktemp("lab")
    folder = place / "notebooks"
    folder.mkdir()
    for name, settings in _SETTINGS.items():
        file = place / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(settings))
    left_out = ("JUPYTER", "JPY_", "KAIGENTS_WORKER")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    environment |= {
        "JUPYTER_CONFIG_DIR": str(place / "config"),
        "JUPYTER_DATA_DIR": str(place / "share"),
        "JUPYTER_RUNTIME_DIR": str(place / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(place / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(place / "workspaces"),
        "IPYTHONDIR": str(place / "ipython"),
    }
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}"]
    command += ["--ServerApp.port_retries=0", f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={folder}"]
    command += ["--LabApp.extension_manager=readonly"]
    command += ["--allow-root"] if hasattr(os, "getuid") and os.getuid() == 0 else []
    started = Lab(f"http://127.0.0.1:{port}", folder)
    log = place / "jupyter.log"
    with (
        log.open("w") as output,
        subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT) as jupyter,
    ):
        try:
            eventually(lambda: started.answers() or jupyter.poll() is not None, START_S, f"JupyterLab answers; {log}")
            assert jupyter.poll() is None, log.read_text()[-4000:]
            yield started
        finally:
            _end(jupyter)


def _end(jupyter: subprocess.Popen[bytes]) -> None:
    """End JupyterLab, which ends its kernels; what is left after its time is killed."""
    children = psutil.Process(jupyter.pid).children(recursive=True) if jupyter.poll() is None else []
    jupyter.terminate()
    _, left = psutil.wait_procs([*children, *([psutil.Process(jupyter.pid)] if jupyter.poll() is None else [])], 30)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start the system's Chromium; Playwright's own download is not needed.

    Not for the whole session: Playwright keeps an event loop running in this thread, where others need to start one.
    """
    executable = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if executable is None:
        pytest.fail("The browser tests need Chromium, and none is on PATH. On Debian: apt-get install chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=executable, args=_FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """One person's browser, which has read JupyterLab's megabytes of script when it opens the next window."""
    opened = browser.new_context(viewport={"width": 1280, "height": 1000})
    opened.set_default_timeout(PATIENCE_S * 1000)
    yield opened
    opened.close()


@pytest.fixture
def page(context: BrowserContext, tmp_path: Path) -> Iterator[Page]:
    """Open a window; ``tmp_path`` gets its picture when the test fails."""
    opened = context.new_page()
    opened.on("dialog", lambda dialog: dialog.accept())  # "leave without saving?"
    yield opened
    opened.close()


@dataclass(frozen=True)
class NotebookPage:
    """A notebook in the browser. What is on the page is found by role and name, as a person finds it."""

    page: Page
    file: Path

    def menu(self, menu: str, entry: str) -> None:
        """Choose an entry of JupyterLab's menu bar."""
        self.page.get_by_role("menuitem", name=menu, exact=True).click()
        self.page.get_by_role("menuitem", name=re.compile(rf"^{entry}(?! As)")).click()

    def button(self, name: str) -> Locator:
        """Return the button with this name."""
        return self.page.get_by_role("button", name=name, exact=True)

    def run_id(self) -> str:
        """Return the id that the card shows."""
        return self.page.get_by_text(re.compile(r"^\w+-[0-9a-f]{8}$")).first.text_content() or ""

    def save(self) -> Any:
        """Save the notebook and return what is in the file."""
        before = self.file.stat().st_mtime_ns
        self.menu("File", "Save Notebook")

        def saved() -> Any:
            if self.file.stat().st_mtime_ns == before:
                return None
            try:
                return json.loads(self.file.read_text())
            except json.JSONDecodeError:
                return None  # half written

        return eventually(saved, PATIENCE_S, "the notebook is saved")


Opener = Callable[[str], NotebookPage]


@pytest.fixture
def open_notebook(
    lab: Lab, page: Page, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Opener]:
    """Return a function that opens a copy of a notebook, or a new one of a single cell; its kernel ends with the test.

    The test itself looks at the runs from a process that executes nothing.
    """
    monkeypatch.setenv("KAIGENTS_WORKER", "off")
    folder = lab.folder / request.node.name
    folder.mkdir()

    def open_(code_or_name: str) -> NotebookPage:
        committed = ROOT / "notebooks" / f"{code_or_name}.ipynb"
        if code_or_name in {file.stem for file in committed.parent.glob("*.ipynb")}:
            file = Path(shutil.copy(committed, folder))
        else:
            file = folder / "other.ipynb"
            cell: dict[str, Any] = {"id": "only", "cell_type": "code", "source": code_or_name}
            cell |= {"metadata": {}, "outputs": [], "execution_count": None}
            kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
            notebook = {"nbformat": 4, "nbformat_minor": 5, "cells": [cell], "metadata": {"kernelspec": kernel}}
            file.write_text(json.dumps(notebook))
        page.goto(lab.url(file))
        opened = NotebookPage(page, file)
        expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible()
        return opened

    yield open_
    kg.disconnect()
    page.goto("about:blank")  # so that nobody starts a kernel again
    lab.end_kernels()
