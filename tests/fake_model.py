"""The scripted model as a process of its own, for tests."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class FakeModel:
    """A running one; ``url`` is what ``base_url`` takes."""

    url: str

    @property
    def asked(self) -> list[dict[str, Any]]:
        """What it was asked so far."""
        with urllib.request.urlopen(self.url.removesuffix("/v1") + "/_requests", timeout=10) as answer:
            return json.load(answer)


@contextmanager
def scripted(folder: Path, rules: list[dict[str, Any]] | str, port: int = 0) -> Iterator[FakeModel]:
    """Serve rules, or the source of a Python script, until the end of the block."""
    script = folder / ("script.py" if isinstance(rules, str) else "script.yaml")
    script.write_text(rules if isinstance(rules, str) else json.dumps(rules))  # JSON is YAML
    command = [sys.executable, "-u", "-m", "kaigents_nb", "fake-model", str(script), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            yield FakeModel(line.split(" at ")[1].split()[0])
        finally:
            process.terminate()
