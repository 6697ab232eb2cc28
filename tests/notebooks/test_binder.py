"""The files of ``binder/`` build an environment in which the notebooks run: their commands, in a venv of its own.

With ``-m nightly`` the venv is empty before. Else it sees what is installed for the tests, so that pip holds the
requirements against that, and installs what is not there: always the package itself.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import ROOT, is_nightly

pytestmark = pytest.mark.nightly

BASE_URL = "/user/ada/"
TOKEN = "secret-of-this-test"


@dataclass(frozen=True)
class Image:
    """What repo2docker would have built: a copy of the repository, and the environment beside it."""

    repository: Path
    environment: dict[str, str]

    def run(self, *command: str, timeout_s: float = 600) -> str:
        """Run a command in the image and return what it printed; it must succeed."""
        done = subprocess.run(
            command,
            cwd=self.repository,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}"
        return done.stdout


def with_what_is_installed(there: Path) -> dict[str, str]:
    """Let a venv have what is installed for the tests, and Jupyter's commands; return what they find its data by."""
    site = Path(sysconfig.get_path("purelib", vars={"base": str(there)}))
    (site / "installed_for_tests.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    for command in importlib.metadata.entry_points(group="console_scripts"):
        if command.name.startswith("jupyter"):
            script = there / "bin" / command.name
            lines = ("import sys", f"from {command.module} import {command.attr}", f"sys.exit({command.attr}())")
            script.write_text("\n".join([f"#!{there}/bin/python", *lines, ""]))
            script.chmod(0o755)
    data = Path(sysconfig.get_path("data"))
    return {
        "JUPYTER_PATH": str(data / "share/jupyter"),
        "JUPYTER_CONFIG_PATH": str(data / "etc/jupyter"),
        "JUPYTERLAB_DIR": str(data / "share/jupyter/lab"),
    }


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """Build the image: requirements.txt, then postBuild, as repo2docker does."""
    place = tmp_path_factory.mktemp("binder")
    repository = place / "repository"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (repository / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, repository / name)
    venv.create(place / "venv", with_pip=is_nightly(), symlinks=True)
    leave_out = ("KAIGENTS_", "JUPYTER", "JPY_", "PYTHON", "VIRTUAL_ENV", "TEMPORAL_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(leave_out)}
    environment |= {
        "PATH": os.pathsep.join([str(place / "venv/bin"), os.environ["PATH"]]),
        "KAIGENTS_DATA_DIR": str(place / "data"),
        "JUPYTER_CONFIG_DIR": str(place / "config"),
        "JUPYTER_DATA_DIR": str(place / "share"),
        "JUPYTER_RUNTIME_DIR": str(place / "runtime"),
        "IPYTHONDIR": str(place / "ipython"),
        "JUPYTERHUB_SERVICE_PREFIX": BASE_URL,
        "PIP_NO_COMPILE": "1",  # most of what it installs is never imported here
    }
    if not is_nightly():
        environment |= with_what_is_installed(place / "venv")
    built = Image(repository, environment)
    built.run("python", "-m", "pip", "install", "-q", "-r", "binder/requirements.txt")
    built.run("binder/postBuild")
    try:
        yield built
    finally:
        built.run("kaigents-nb", "server", "stop")


def test_start_hands_over_to_its_command(image: Image) -> None:
    """The start script ends in the command it was given, with the server up and the UI's prefix set."""
    code = "import os; print('prefix', os.environ['KAIGENTS_UI_PUBLIC_PATH'])"
    printed = image.run("binder/start", "python", "-c", code, timeout_s=60)
    assert printed.splitlines()[-1] == f"prefix {BASE_URL}temporal"
    image.run("kaigents-nb", "server", "status")


def test_start_passes_the_exit_code_on(image: Image) -> None:
    """Jupyter's end is the container's end."""
    done = subprocess.run(
        ["binder/start", "python", "-c", "raise SystemExit(7)"],
        cwd=image.repository,
        env=image.environment,
        timeout=60,
        capture_output=True,
    )
    assert done.returncode == 7


def test_package_comes_from_the_repository(image: Image) -> None:
    """The package is installed, with the demo's data, not just importable from the folder."""
    code = "import kaigents_nb.demo.tables as t; print(t.__file__, len(t.read_suppliers()))"
    printed = image.run("python", "-P", "-c", code)
    assert str(image.repository.parent / "venv") in printed
    assert printed.split()[-1] != "0"


def test_notebook_runs_in_the_image(image: Image) -> None:
    """The quickstart runs from top to bottom with what the image has."""
    image.run("jupyter", "execute", "--inplace", "notebooks/01_quickstart.ipynb", timeout_s=120)
    notebook = json.loads((image.repository / "notebooks/01_quickstart.ipynb").read_text())
    (result,) = [cell for cell in notebook["cells"] if cell["id"] == "result"]
    assert "Helian Photovoltaics" in json.dumps(result["outputs"])


def test_temporal_ui_behind_jupyter(image: Image) -> None:
    """The server's web UI and its API answer under Jupyter's own address, and the launcher has its tile."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = (image.repository.parent / "jupyter.log").open("w")
    command = ["binder/start", "jupyter", "lab", "--no-browser", "--ip=127.0.0.1", "--ServerApp.port_retries=0"]
    command += [f"--port={port}", f"--ServerApp.base_url={BASE_URL}", f"--IdentityProvider.token={TOKEN}"]
    command += ["--allow-root"] if os.getuid() == 0 else []
    with subprocess.Popen(
        command, cwd=image.repository, env=image.environment, stdout=log, stderr=subprocess.STDOUT
    ) as jupyter:
        try:
            address = f"http://127.0.0.1:{port}{BASE_URL}"
            assert "<html" in get(f"{address}temporal/", wait_s=60)
            assert "default" in get(f"{address}temporal/api/v1/namespaces")
            tiles = json.loads(get(f"{address}server-proxy/servers-info"))["server_processes"]
            assert [tile["launcher_entry"]["title"] for tile in tiles] == ["Temporal UI"]
        finally:
            jupyter.terminate()
            log.close()


def get(address: str, *, wait_s: float = 0) -> str:
    """Return a page; wait until it is there if it may not be yet."""
    request = urllib.request.Request(address, headers={"Authorization": f"token {TOKEN}"})
    deadline = time.monotonic() + wait_s
    while True:
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return str(response.read().decode())
        except urllib.error.HTTPError as error:
            error.close()
            if time.monotonic() > deadline:
                raise
        except (urllib.error.URLError, TimeoutError):
            if time.monotonic() > deadline:
                raise
        time.sleep(0.2)


@pytest.mark.parametrize("script", ["postBuild", "start"])
def test_scripts_can_be_executed(script: str) -> None:
    """The scripts are executable bash, with nothing that bash can't read."""
    path = ROOT / "binder" / script
    assert os.access(path, os.X_OK)
    assert path.read_text().startswith("#!/bin/bash\n")
    subprocess.run(["bash", "-n", path], check=True)


def test_python_of_the_image_is_supported() -> None:
    """runtime.txt names a Python that the package declares."""
    version = (ROOT / "binder/runtime.txt").read_text().strip().removeprefix("python-")
    assert f"Programming Language :: Python :: {version}" in (ROOT / "pyproject.toml").read_text()
    assert sys.version_info >= (3, 11)
