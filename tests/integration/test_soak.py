"""The soak notices broken promises: with each of them broken on purpose it finds each."""

from __future__ import annotations

import subprocess
import sys

from tests.soak.sabotage import NEVER_DECIDED, NOWHERE
from tests.support import ROOT


def test_a_sabotaged_soak_reports_each_kind_and_fails(tmp_path, monkeypatch):
    """Lying deciders, a run that is not there, one that nobody decides, a step done again after it was recorded."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    command = [sys.executable, "-m", "tests.soak", "--minutes", "0.02", "--patience", "4", "--sabotage"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 1, done.stderr
    for found in (
        f"lost: not there: {NOWHERE}",
        "begun_again: ",
        "done_again: ",
        "falsely_won: ",
        f"stuck: {NEVER_DECIDED}",
        "history has ",
        "poller of ",
    ):
        assert found in done.stdout, done.stdout
    assert "kept: " in done.stdout
