"""Whose worker executes a run: that of its notebook, in its Python environment."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from pathlib import Path


def home() -> str:
    """Return what this process is working on: the notebook's path, else the script's, else the folder.

    The command line works on the folder it is called in, however it was installed.
    """
    notebook = os.environ.get("JPY_SESSION_NAME")
    if notebook:
        return notebook
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    if script and "ipykernel" not in script and not _is_command_line(Path(script)):
        return str(Path(script).resolve())
    return str(Path.cwd())


def in_kernel() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


def _is_command_line(script: Path) -> bool:
    """Whether a script is ours: ``bin/kaigents-nb``, or this package executed with ``-m``."""
    return script.stem == "kaigents-nb" or script.resolve().parent == Path(__file__).parent.parent


def task_queue() -> str:
    """Return the task queue of this notebook and environment: the same after a kernel restart.

    Steps then never execute in somebody else's kernel, and a restarted kernel picks up its own runs.
    """
    place = home()
    digest = hashlib.sha256(f"{place}\n{sys.prefix}".encode()).hexdigest()[:8]
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(place).stem) or "python"
    return f"kaigents-{name}-{digest}"
