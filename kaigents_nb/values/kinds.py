"""What a *kind* of value is: a writer that gives tagged JSON, and a reader that takes it back.

A value that JSON does not know becomes ``{"$kg": "decimal", "v": "1.50"}``. The modules ``*_kinds`` hold the
kinds; each has a ``writer_for(cls)``, the writer for a class, and ``READERS``, one per tag.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Protocol

from kaigents_nb.values.encoded import TypeResolver

TAG = "$kg"
"""The key that marks our own JSON; a dict that has it is written as a tagged dict."""


class Writing(Protocol):
    """One value being encoded."""

    def json(self, value: Any) -> Any:
        """Return JSON data for a value, tagged where JSON alone would lose something."""
        ...

    def text(self, value: Any) -> str:
        """Return that JSON as text."""
        ...

    def name(self, cls: type) -> str:
        """Return ``"module:qualname"`` for a class. Raises ConversionError where nobody could find it by that."""
        ...


class Reading(Protocol):
    """One payload being decoded."""

    @property
    def resolve(self) -> TypeResolver:
        """Finds classes."""
        ...

    def json(self, text: str | bytes) -> Any:
        """Return the value of tagged JSON text."""
        ...


Writer = Callable[[Any, Writing], dict[str, Any]]
Reader = Callable[[dict[str, Any], Reading], Any]


def tagged(kind: str, value: Any = None, **more: Any) -> dict[str, Any]:
    """Return tagged JSON; what is in ``value`` and ``more`` must be JSON already."""
    return {TAG: kind, "v": value, **more}


@functools.cache
def lazy(module: str) -> Any:
    """Return a module of this room that imports numpy, pandas or pydantic, importing it on first use."""
    # Not importlib: in a workflow's sandbox that would run the module once more, against guarded libraries.
    return __import__(f"kaigents_nb.values.{module}", fromlist=[module])
