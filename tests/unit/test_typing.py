"""The package tells type checkers what it promises people."""

from __future__ import annotations

import subprocess
import sys

from tests.support import ROOT


def test_the_public_names_are_typed() -> None:
    """mypy, strict, agrees with every line of typing/api.py, and reports each error it expects."""
    command = [sys.executable, "-m", "mypy", "--strict", "--warn-unused-ignores", "tests/typing/api.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_package_says_that_it_is_typed() -> None:
    """Without py.typed a type checker would not look."""
    assert (ROOT / "kaigents_nb/py.typed").is_file()
