"""Live objects: built once by each worker, on first use, and never saved."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Resource(Generic[T]):
    """A client, connection or model that each worker builds for itself. Call it to get the object.

    Attributes of the object can also be used directly: ``client.models`` is ``client().models``. A worker keeps the
    object as long as it has a run of the same code, and some time longer.
    """

    def __init__(self, factory: Callable[[], T]) -> None:
        self._factory = factory
        self._lock = threading.Lock()
        self._built: list[T] = []
        functools.update_wrapper(self, factory, updated=())

    def __call__(self) -> T:
        """Return the object, building it the first time."""
        if not self._built:
            with self._lock:
                if not self._built:
                    self._built.append(self._factory())
        return self._built[0]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            # Introspection (copy, inspect, display) must not connect anywhere.
            raise AttributeError(name)
        return getattr(self(), name)

    def __repr__(self) -> str:
        return f"<resource {getattr(self._factory, '__name__', self._factory)}>"


def resource(factory: Callable[[], T], /) -> Resource[T]:
    """Mark a function (or class) that makes a live object: a client, a connection, a loaded model.

    Examples
    --------
    >>> @resource
    ... def lookup() -> dict:
    ...     return {"CN": 0.25}
    >>> lookup()["CN"]
    0.25
    """
    if not callable(factory):
        raise TypeError(f"@resource goes on a function that makes the object, not on the object: {factory!r}.")
    return Resource(factory)
