"""The wire form of one value, independent of Temporal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

RUN_MODULE_PREFIX = "kaigents_nb.snapshot.code_of.run_"
"""Module name under which the code of a run is loaded; types defined there are the notebook's own."""

TypeResolver = Callable[[str, str], type]
"""``(module, qualname) -> class``; module is ``"__main__"`` for a class from a cell. Raises LookupError."""


@dataclass(frozen=True)
class Encoded:
    """One value as bytes: ``encoding`` names the format, ``meta`` describes it (shape, type) undecoded."""

    encoding: str
    data: bytes
    meta: Mapping[str, str] = field(default_factory=dict)
    own: bool = field(default=False, compare=False)
    """Whether this library made it, so that it says itself what it is; other programs send plain JSON too."""
