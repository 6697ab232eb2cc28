"""The example of the README runs as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from kaigents_nb.server.embedded import ServerInfo
from tests.support import ROOT

END = """
run.wait_for_gate(30)
run.approve(choice="Mekong")
print(run.result(30), len(run.steps()))
"""


def test_ten_lines(server: ServerInfo, tmp_path: Path) -> None:
    """The ten lines make a run that waits, is decided, and returns what the README promises."""
    match = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert match is not None
    script = tmp_path / "cells.py"
    script.write_text(match[1] + END)
    environment = {
        name: value for name, value in os.environ.items() if name not in ("KAIGENTS_WORKER", "JPY_SESSION_NAME")
    }
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "ordered solar panel from Mekong 2\n"
