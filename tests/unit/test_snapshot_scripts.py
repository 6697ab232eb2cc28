"""Scripts and prompts are frozen like notebooks; kernels with real cells too; and no kernel is needed to load."""

# ruff: noqa: E501 - a cell or program is one line of text here
from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from jupyter_client.manager import KernelManager

from kaigents_nb.snapshot.load import load
from kaigents_nb.snapshot.module import Snapshot

KEY = b"k" * 32
AGENT = """
import kaigents_nb as kg
from dataclasses import dataclass
import helper_beside

@dataclass
class Quote:
    n: int

LIMIT = Quote(3)

@kg.step
def search(x):
    return Quote(x + LIMIT.n + helper_beside.K)

@kg.agent
async def sourcing(x: int):
    return await search(x)
"""
FREEZE = """
from pathlib import Path
from kaigents_nb.snapshot.freeze import freeze
Path({path!r}).write_bytes(freeze(sourcing).pack(b'k' * 32))
"""


def loaded_elsewhere(path: Path, folder: Path) -> str:
    """Load packed code in a fresh process that has no cell, and call its step."""
    program = (
        "import sys; from pathlib import Path; from kaigents_nb.snapshot.module import Snapshot; "
        "from kaigents_nb.snapshot.load import load\n"
        f"snapshot = Snapshot.unpack(Path({str(path)!r}).read_bytes(), b'k' * 32)\n"
        "print(load(snapshot, ['search'], for_agent=False).get('search')(1).n, 'IPython' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "helper_beside.py").write_text("K = 100\n")
    return tmp_path


def test_a_script(folder: Path) -> None:
    """``python my_agent.py`` freezes what is in ``__main__``, and another process executes it."""
    packed = folder / "packed"
    (folder / "my_agent.py").write_text(
        f"{AGENT}\nif __name__ == '__main__':{textwrap.indent(FREEZE.format(path=str(packed)), '    ')}"
    )
    subprocess.run([sys.executable, "my_agent.py"], cwd=folder, check=True)
    snapshot = Snapshot.unpack(packed.read_bytes(), KEY)
    assert "# my_agent.py, line 12\n@kg.step" in snapshot.source
    assert snapshot.packages["helper_beside"] == "local"
    assert loaded_elsewhere(packed, folder) == "104 False"


def test_a_prompt(folder: Path) -> None:
    """After ``python -i script.py`` the script is there; what is typed is kept by Python 3.13 and later only."""
    packed = folder / "packed"
    (folder / "my_agent.py").write_text(AGENT)
    typed = f"LIMIT = Quote(5)\n{FREEZE.format(path=str(packed)).strip()}\n"
    subprocess.run(
        [sys.executable, "-i", "my_agent.py"], input=typed, cwd=folder, text=True, check=True, capture_output=True
    )
    assert loaded_elsewhere(packed, folder) == "106 False"
    typed = f"def extra(): return 1\n\nsearch.fn.__defaults__ = None\nLIMIT = Quote(extra())\n@kg.step\ndef search(x): return Quote(extra())\n\n{FREEZE.format(path=str(packed)).strip()}\n"
    done = subprocess.run(
        [sys.executable, "-i", "my_agent.py"], input=typed, cwd=folder, text=True, check=True, capture_output=True
    )
    if sys.version_info >= (3, 13):
        assert loaded_elsewhere(packed, folder) == "1 False"
    else:
        assert "does not keep what is typed at its prompt" in done.stderr


def test_a_kernel(folder: Path) -> None:
    """Cells of a real ipykernel, with its file names, freeze and load in a process that has no IPython."""
    packed = folder / "packed"
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=str(folder))
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        head, *rest = AGENT.strip().split("\n\n")
        for cell in (f"%%capture\n{head}", *rest, "\n\n# again\n" + rest[1], FREEZE.format(path=str(packed))):
            reply = client.execute_interactive(cell, timeout=60, store_history=True)
            assert reply["content"]["status"] == "ok", reply["content"]
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    snapshot = Snapshot.unpack(packed.read_bytes(), KEY)
    assert "# In [4], line 1\n@kg.step" in snapshot.source
    assert loaded_elsewhere(packed, folder) == "104 False"


def test_an_edited_script_is_noticed(folder: Path) -> None:
    """When the file no longer has the code that runs, freezing refuses instead of carrying the wrong text."""
    script = folder / "my_agent.py"
    script.write_text(
        f"{AGENT}\nfrom pathlib import Path\nPath(__file__).write_text('# a new line\\n' * 3 + Path(__file__).read_text())\n"
        "from kaigents_nb.snapshot.freeze import freeze\nfreeze(sourcing)"
    )
    done = subprocess.run([sys.executable, "my_agent.py"], cwd=folder, capture_output=True, text=True)
    assert "CannotFreeze" in done.stderr
    assert "was changed since it was started" in done.stderr


def test_loading_needs_no_cells() -> None:
    """A snapshot made by hand loads: nothing but its own content is consulted."""
    from kaigents_nb.snapshot.module import Definition, Part

    snapshot = Snapshot("f", "f", "f", "3.11", (Definition(("f",), (Part("def f(): return 1"),)),))
    assert load(snapshot, ["f"], for_agent=False).get("f")() == 1
