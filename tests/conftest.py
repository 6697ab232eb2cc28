"""What all tests stand on: a data directory of their own and one real server in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import is_hypothesis_test, settings

from kaigents_nb.server import embedded
from kaigents_nb.server.embedded import ServerInfo
from tests.fake_model import FakeModels, served
from tests.support import ROOT

# So many examples of a property whose example is a run on the server or a whole notebook; of one that takes a
# millisecond, a multiple: `tests.support.times`. `-m nightly` runs what looks further then, and looks further.
settings.register_profile("quick", max_examples=25, deadline=None)
settings.register_profile("nightly", max_examples=80, deadline=None)
settings.load_profile("quick")


_LONGEST = (
    "test_the_card_stays",
    "test_cli",
    "test_fork_property",
    "test_server_faults",
    "test_notebooks_run",
    "test_recovery",
    "test_server",
    "test_sourcing_in_jupyterlab",
    "test_card_kernels",
    "test_revival",
    "test_memory",
    "test_hostile",
    "test_repeats",
    "test_executors",
    "test_chat_recovery",
    "test_chat_rows",
    "test_binder",
    "test_carried_values",
    "test_observer",
    "test_gates",
    "test_lacking",
    "test_constructs",
    "test_soak",
    "test_typing",
)
"""Files of more than some ten seconds, the longest first (`--durations=0`); several workers take the files in order."""


def pytest_configure(config: pytest.Config) -> None:
    """Take the nightly profile where the nightly tests are asked for: before the test modules read it."""
    if config.option.markexpr == "nightly":
        settings.load_profile("nightly")


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every property as nightly; begin with the longest files, so that no worker is left alone with one."""
    for item in items:
        if isinstance(item, pytest.Function) and is_hypothesis_test(item.obj):
            item.add_marker("nightly")
    place = {name: number for number, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))


@pytest.fixture(scope="session", autouse=True)
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data directory for this test run, also for its child processes; the user's own is never touched."""
    directory = tmp_path_factory.mktemp("kaigents")
    directory.chmod(0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KAIGENTS_DATA_DIR", str(directory))
        for name in ("KAIGENTS_PROFILE", "KAIGENTS_DURABILITY", "TEMPORAL_ADDRESS", "TEMPORAL_PROFILE"):
            patch.delenv(name, raising=False)
        path = os.environ.get("PYTHONPATH")
        patch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{path}" if path else str(ROOT))
        try:
            yield directory
        finally:
            embedded.stop(directory)  # whoever started it


@pytest.fixture(scope="session")
def server(data_dir: Path) -> ServerInfo:
    """The server of this test run, started once."""
    return embedded.ensure(data_dir)


@pytest.fixture(scope="session")
def fake_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeModels]:
    """Scripted models over HTTP, one process for this test run."""
    with served(tmp_path_factory.mktemp("models")) as models:
        yield models
