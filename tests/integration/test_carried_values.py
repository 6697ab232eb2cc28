"""Values and pickles between a notebook and a worker that has nothing but the code which runs carry."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager

from kaigents_nb.server.embedded import ServerInfo
from tests.support import ROOT
from tests.workers import Worker, elsewhere

Cell = Callable[[str], str]

CODE = """
    import numpy as np
    import kaigents_nb as kg
    from sklearn.base import BaseEstimator, TransformerMixin
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    SCALE = 2.0

    def scaled(X):
        return X * SCALE

    class Shift(BaseEstimator, TransformerMixin):
        def __init__(self, by=1.0):
            self.by = by

        def fit(self, X, y=None):
            return self

        def transform(self, X):
            return X + self.by

    def score(model, X, y):
        return -abs(model.predict(X) - y).mean()
"""
AGENTS = """
    @kg.step
    def makes():
        return kept()

    @kg.step
    def looks(values):
        return differences(values)

    @kg.agent
    async def there_and_back(given):
        made = await makes()
        return made, await looks(made), await looks(given)

    @kg.step
    def trains(path, jobs):
        import joblib  # as late as can be

        X = np.arange(20.0).reshape(-1, 1)
        doubled = joblib.Parallel(n_jobs=jobs)(joblib.delayed(scaled)(x) for x in range(4))
        shifts = joblib.Parallel(n_jobs=jobs)(joblib.delayed(Shift)(x) for x in range(2))
        search = GridSearchCV(
            make_pipeline(FunctionTransformer(scaled), Shift(), Ridge()),
            {"shift__by": [0.0, 1.0]}, n_jobs=jobs, scoring=score, cv=2,
        )
        search.fit(X, X[:, 0])
        joblib.dump(search, path)
        return doubled, [type(shift) is Shift for shift in shifts], float(search.predict(X)[3])

    @kg.step
    def reads(path):
        import joblib

        search = joblib.load(path)
        return type(search.best_estimator_["shift"]) is Shift, float(search.predict(np.array([[3.0]]))[0])

    @kg.agent
    async def fits(path, jobs):
        return await trains(path, jobs), await reads(path)
"""


@pytest.fixture(scope="module")
def cell(server: ServerInfo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cell]:
    """Execute a cell in a notebook that executes no run itself, and return what it printed."""
    manager = KernelManager()
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    manager._kernel_spec = KernelSpec(argv=argv, language="python", display_name="carried")
    place = tmp_path_factory.mktemp("carried")
    names = {"JPY_SESSION_NAME": str(place / "carried.ipynb"), "KAIGENTS_WORKER": "off"}
    manager.start_kernel(env=os.environ | names, cwd=str(place))
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)

    def execute(code: str) -> str:
        printed: list[str] = []

        def show(message: dict) -> None:
            content = message["content"]
            if message["msg_type"] == "stream" and content["name"] == "stdout":
                printed.append(content["text"])
            if message["msg_type"] == "error":
                printed.append("\n".join(content["traceback"]))

        client.execute_interactive(textwrap.dedent(code), output_hook=show, timeout=120, allow_stdin=False)
        return "".join(printed).strip()

    try:
        for code in (CODE, (ROOT / "tests/unit/kept_values.py").read_text(), AGENTS):
            assert execute(code) == ""
        yield execute
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.context.destroy()


@pytest.fixture(scope="module")
def worker(cell: Cell) -> Iterator[Worker]:
    """The process that executes the notebook's runs."""
    with elsewhere() as started:
        yield started.start(cell("from kaigents_nb.runtime.queue import task_queue; print(task_queue())"))


def test_values_come_back_from_a_worker_that_has_only_the_code(cell: Cell, worker: Worker) -> None:
    """What steps return and agents are given is the same there, and in the notebook again."""
    shown = cell("run = there_and_back.start(kept())\nmade, *differ = run.result(60)\nprint(differ, differences(made))")
    assert shown == "[[], []] []"


EXPECTED = "(([0.0, 2.0, 4.0, 6.0], [True, True], 3.0), (True, 3.0))"
LOADED = "True True True 3.0"
LOAD = """
    import joblib
    search = joblib.load(path)
    model = search.best_estimator_
    print(type(model["shift"]) is Shift, model["functiontransformer"].func is scaled, search.scoring is score,
          round(float(search.predict(np.array([[3.0]]))[0]), 1))
"""


def test_models_of_cells_are_trained_by_processes_and_load_in_the_notebook(
    cell: Cell, worker: Worker, tmp_path: Path
) -> None:
    """joblib's processes take functions and classes of cells; what a step dumped is made of the notebook's own."""
    start = "\n(a, b, c), (d, e) = fits.start(path, jobs).result(100)\nprint(((a, b, round(c, 1)), (d, round(e, 1))))"
    assert cell(f"path, jobs = {str(tmp_path / 'there.joblib')!r}, 2{start}") == EXPECTED
    assert cell(LOAD) == LOADED
    # The same where the notebook executes its runs itself.
    assert cell("import os; del os.environ['KAIGENTS_WORKER']; kg.disconnect()") == ""
    worker.kill()
    assert cell(f"path, jobs = {str(tmp_path / 'here.joblib')!r}, 1{start}") == EXPECTED
    assert cell(LOAD) == LOADED
    assert cell(f"path = {str(tmp_path / 'there.joblib')!r}\n{textwrap.dedent(LOAD)}") == LOADED
