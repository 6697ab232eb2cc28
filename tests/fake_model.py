"""The scripted model as one process for all tests of a run; each test scripts a model of its own name."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kaigents_nb as kg

# Each name has a file of rules, or of Python, beside this script, and keeps count of what it has answered.
_SCRIPT = """
from pathlib import Path
from kaigents_nb.fake_model.script import load
scripts = {}
def answer(request):
    name = request.body["model"]
    if name not in scripts:
        [path] = Path(__file__).parent.glob(name + ".*")
        scripts[name] = load(path)
    return scripts[name](request)
"""


@dataclass(frozen=True)
class FakeModel:
    """One scripted model."""

    url: str
    name: str

    def model(self, **options: Any) -> kg.Model:
        """Return what ``chat`` takes."""
        return kg.model(self.name, base_url=self.url, **options)

    @property
    def asked(self) -> list[dict[str, Any]]:
        """What it was asked so far."""
        with urllib.request.urlopen(self.url.removesuffix("/v1") + "/_requests", timeout=10) as answer:
            return [request for request in json.load(answer) if request["body"]["model"] == self.name]


@dataclass(frozen=True)
class FakeModels:
    """The process; called with rules, or the source of a Python script, it gives a model of its own."""

    url: str
    folder: Path

    def __call__(self, rules: list[dict[str, Any]] | str) -> FakeModel:
        name = f"m-{uuid.uuid4().hex[:8]}"
        text, suffix = (rules, "py") if isinstance(rules, str) else (json.dumps(rules), "yaml")  # JSON is YAML
        (self.folder / f"{name}.{suffix}").write_text(text)
        return FakeModel(self.url, name)


@contextmanager
def served(folder: Path, port: int = 0) -> Iterator[FakeModels]:
    """Serve until the end of the block."""
    script = folder / "script.py"
    script.write_text(_SCRIPT)
    command = [sys.executable, "-u", "-m", "kaigents_nb", "fake-model", str(script), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield FakeModels(process.stdout.readline().split(" at ")[1].split()[0], folder)
        finally:
            process.terminate()
