"""Annotations of the analyst's functions, read without trusting them."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import Any


def hints(function: Callable[..., Any], unwrap: Callable[[object], object] = lambda item: item) -> dict[str, Any]:
    """Return the annotations by name (``"return"`` included), ``{}`` where they can't be evaluated."""
    if not getattr(function, "__annotations__", None):
        return {}
    try:
        found = typing.get_type_hints(function, include_extras=True)
    except Exception:  # noqa: BLE001 - an annotation may be any expression; without it values decode by their own kind
        return {}
    return {name: unwrap(hint) for name, hint in found.items()}


def positional_names(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names that positional arguments go to."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return tuple(p.name for p in inspect.signature(function).parameters.values() if p.kind in kinds)
