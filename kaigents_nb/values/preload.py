"""Import what reading a value may need, before it is needed where imports are not welcome."""

from __future__ import annotations

import pydantic

from kaigents_nb.values.kinds import lazy


def preload() -> None:
    """Import numpy, pandas, Arrow and pydantic with the modules of this room that use them: about a second.

    A worker calls it before it takes work. In a workflow's sandbox the import would pass the deadlock detector's
    two seconds, and pydantic's names, which it loads at first use, would load guarded libraries.
    """
    for module in ("numpy_kinds", "pandas_kinds", "tabular", "table_copying", "hints"):
        lazy(module)
    for name in pydantic.__all__:
        getattr(pydantic, name, None)
