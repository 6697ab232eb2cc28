"""The examples of the README run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from kaigents_nb.server.embedded import ServerInfo
from tests.fake_model import FakeModels
from tests.support import ROOT

END = """
run.wait_for_gate(30)
run.approve(choice="Mekong")
print(run.result(30), len(run.steps()))
"""


INTEROP = """
print(summarizes.start("a long text").result(60))
run = buys.start("panel")
print(run.result(60), run.steps()["step"].tolist())
"""
GPT = """
def answer(request):
    if request.after:
        return {"say": "61.50 USD, by Helian" if "Helian" in request.last else "?"}
    return {"call": {"quotes": {"product": "panel"}}} if request.tools else {"say": f"Short: {request.last}"}
"""


def blocks(text: str) -> list[str]:
    """Return what a part of the README has of Python."""
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def executed(script: Path, source: str, **more: str) -> str:
    """Execute cells in a process of their own and return what they printed."""
    script.write_text(source)
    environment = {
        name: value for name, value in os.environ.items() if name not in ("KAIGENTS_WORKER", "JPY_SESSION_NAME")
    }
    done = subprocess.run(
        [sys.executable, script], env={**environment, **more}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_ten_lines(server: ServerInfo, tmp_path: Path) -> None:
    """The ten lines make a run that waits, is decided, and returns what the README promises."""
    first = blocks((ROOT / "README.md").read_text())[0]
    assert executed(tmp_path / "cells.py", first + END) == "ordered solar panel from Mekong 2\n"


def test_interop(server: ServerInfo, tmp_path: Path, fake_models: FakeModels) -> None:
    """Other runners, in a step and in an agent, each as it is written there."""
    text = (ROOT / "README.md").read_text()
    cells = [blocks(text)[0].partition("run = ")[0], *blocks(text.partition("## Interop")[2].partition("\n## ")[0])]
    assert len(cells) == 3
    (fake_models.folder / "gpt-5.py").write_text(GPT)
    said = executed(
        tmp_path / "cells.py", "\n".join([*cells, INTEROP]), OPENAI_BASE_URL=fake_models.url, OPENAI_API_KEY="none"
    )
    assert said == "Short: Summarize: a long text\n61.50 USD, by Helian ['kg.request', 'find_quotes', 'kg.request']\n"
