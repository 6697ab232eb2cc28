"""The code of this notebook as it is now, for a run that was started with other code."""

from __future__ import annotations

import sys
from typing import Any

from kaigents_nb.authoring.agent import Agent
from kaigents_nb.authoring.step import Step
from kaigents_nb.control.prepare import frozen, signed
from kaigents_nb.errors import RunError
from kaigents_nb.runtime.code import Code
from kaigents_nb.runtime.connection import Connection
from kaigents_nb.snapshot.wrapped import behind


def current_code(
    connection: Connection, kind: type[Agent[..., Any, Any]] | type[Step[..., Any]], name: str, run_id: str
) -> Code:
    """Return the agent or step of a name as this notebook defines it now, frozen and signed.

    Raises
    ------
    RunError
        When the notebook defines none of that name.
    CannotFreeze
        When it can't travel.
    """
    mine: dict[str, Any] = {}
    for path, value in vars(sys.modules["__main__"]).items():
        item = value if isinstance(value, kind) else (behind(path, value) or ("", None))[1]
        if isinstance(item, kind):
            mine[item.name] = item
    if name not in mine:
        word, known = kind.__name__.lower(), ", ".join(sorted(mine)) or "none"
        raise RunError(
            f"This notebook defines no {word} {name!r}. Defined here: {known}. Execute its cell first.", run_id=run_id
        )
    return signed(connection, frozen(mine[name]))
