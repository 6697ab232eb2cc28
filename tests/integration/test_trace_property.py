"""Property: a run's trace is what its agent, instrumented and run directly, did."""

from __future__ import annotations

import importlib
import itertools
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import kaigents_nb as kg
from tests.integration.generated_agents import Reference, programs

pytestmark = pytest.mark.usefixtures("server")
_numbers = itertools.count()


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Where generated agents are imported from."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def by_branch(rows: Any) -> dict[int, list[tuple[str, int, dict[str, str]]]]:
    """Branches are told apart; in which order steps in flight end is the server's business."""
    found: dict[int, list[tuple[str, int, dict[str, str]]]] = {}
    for branch, *rest in rows:
        found.setdefault(branch, []).append(tuple(rest))
    return found


@settings(
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),
)
@given(source=programs(), n=st.integers(0, 3))
def test_trace_is_what_the_agent_did(folder, source, n):
    """Lines, functions, branches and values of a trace are those of the same agent, instrumented and run directly."""
    reference = Reference(source)
    result = reference.run(n)
    name = f"generated_{next(_numbers)}"
    (folder / f"{name}.py").write_text(source)
    importlib.invalidate_caches()
    module = importlib.import_module(name)
    try:
        run = module.generated.start(n)
        try:
            given_back = run.result(30)
        except kg.RunFailed as error:
            given_back = error.__cause__
        assert repr(given_back) == repr(result)
        lines = run.trace()
        traced = by_branch(
            (
                row.branch,
                row.function,
                row.line,
                {variable: f"{type(value).__name__} {value!r}" for variable, value in row.changed.items()},
            )
            for row in lines.itertuples()
        )
        assert traced == by_branch(reference.rows), source
    finally:
        del sys.modules[name]
