"""A notebook in this process: cells executed by a real IPython shell, frozen and loaded again."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from kaigents_nb.snapshot.freeze import freeze
from kaigents_nb.snapshot.load import LoadedCode, load
from kaigents_nb.snapshot.module import Snapshot

KEY = b"k" * 32


class Notebook:
    """Cells of one kernel."""

    def __init__(self, shell: InteractiveShell) -> None:
        self.shell = shell
        self.cell("import kaigents_nb as kg")

    def cell(self, source: str, *, fails: bool = False, store_history: bool = True) -> None:
        """Execute a cell."""
        result = self.shell.run_cell(source, store_history=store_history)
        if fails:
            assert not result.success
        else:
            result.raise_error()

    def cells(self, *sources: str) -> None:
        for source in sources:
            self.cell(source)

    def __getitem__(self, name: str) -> Any:
        return self.shell.user_ns[name]

    def freeze(self, name: str = "run", **options: Any) -> Snapshot:
        """Freeze the step of a name; a plain function is made one in the cell below the others."""
        from kaigents_nb.authoring.agent import Agent
        from kaigents_nb.authoring.step import Step

        root = self[name]
        if not isinstance(root, (Agent, Step)):
            self.cell(f"_root_ = kg.step({name})")
            root = self["_root_"]
        snapshot = freeze(root, **options)
        return Snapshot.unpack(snapshot.pack(KEY), KEY)

    def load(self, name: str = "run") -> LoadedCode:
        """Freeze, pack, unpack and load in a namespace of its own."""
        snapshot = self.freeze(name)
        return load(snapshot, [snapshot.root], for_agent=False)

    def both(self, *args: Any, name: str = "run") -> Any:
        """Call the live function and the loaded one; return their result, which must be the same."""
        loaded = self.load(name)
        here = self[name](*args)
        there = loaded.get(loaded.snapshot.root)(*args)
        assert there == here, loaded.snapshot.source
        return here


@contextmanager
def notebook() -> Iterator[Notebook]:
    """A fresh kernel; the process is as before afterwards."""
    main, hook, display = sys.modules["__main__"], sys.displayhook, vars(builtins).get("display")
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=config)
    # As in ipykernel: a top-level await works.
    shell.autoawait = True
    try:
        yield Notebook(shell)
    finally:
        shell.displayhook.do_full_cache = False  # or the reset collects this process's garbage: 0.3 s a notebook
        shell.reset(new_session=False)
        shell.history_manager.end_session()
        InteractiveShell.clear_instance()
        sys.modules["__main__"], sys.displayhook = main, hook
        if display is None:
            vars(builtins).pop("display", None)
