"""What tests share: waiting for something to become true, never for time to pass; how many examples are enough."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from hypothesis import settings

T = TypeVar("T")

ROOT = Path(__file__).resolve().parent.parent
"""The checkout."""
_POLL_S = 0.02


def times(factor: int) -> settings:
    """Return settings of so many times the profile's examples, for a property whose examples are cheap."""
    return settings(max_examples=factor * settings.default.max_examples)


def is_nightly() -> bool:
    """Whether ``-m nightly`` was asked for: then a test that is marked so looks further."""
    return settings.default.max_examples >= 80


def eventually(fn: Callable[[], T], timeout_s: float = 15, message: str = "") -> T:
    """Return the first true result of ``fn``; fail with ``message`` and the last result after ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    while not (result := fn()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{message or fn} not true within {timeout_s} s; last: {result!r}")
        time.sleep(_POLL_S)
    return result


async def eventually_async(fn: Callable[[], T | Awaitable[T]], timeout_s: float = 15, message: str = "") -> T:
    """Return the first true result of ``fn``, awaited if it is awaitable; fails as `eventually` does."""
    deadline = time.monotonic() + timeout_s
    while True:
        result = fn()
        if inspect.isawaitable(result):
            result = await result
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"{message or fn} not true within {timeout_s} s; last: {result!r}")
        await asyncio.sleep(_POLL_S)
