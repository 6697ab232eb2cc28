"""``requests_per_min`` and ``tokens_per_min`` of a model, over all that this process asks of it."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from kaigents_nb.authoring.context import step_context
from kaigents_nb.models.model import Model

_WINDOW_S = 60.0
_CHARS_PER_TOKEN = 4


@asynccontextmanager
async def paced(model: Model, body: Mapping[str, Any]) -> AsyncIterator[Callable[[int], None]]:
    """Wait until the model's limits allow one more request; give a function that takes the tokens it took."""
    limits = [
        (_window(model, what), limit, amount)
        for what, limit, amount in (
            ("requests", model.requests_per_min, 1),
            ("tokens", model.tokens_per_min, estimated_tokens(body) if model.tokens_per_min else 0),
        )
        if limit is not None
    ]
    entries = []
    for window, limit, amount in limits:
        entry, delay_s = window.reserve(amount, limit)
        entries.append((window, entry))
        if delay_s > 0:
            step = step_context.get()
            if step is not None:
                step.report(0, None, f"waits {delay_s:.0f} s for {limit:g} {window.what} a minute")
            await asyncio.sleep(delay_s)

    def used(tokens: int) -> None:
        for window, entry in entries:
            if window.what == "tokens" and tokens:
                entry[1] = tokens

    yield used


def estimated_tokens(body: Mapping[str, Any]) -> int:
    """Return about how many tokens a request has, before a provider has counted them."""
    return len(json.dumps(body, default=str)) // _CHARS_PER_TOKEN


class _Window:
    """What was used in the minute up to any moment, and what is reserved for moments to come."""

    def __init__(self, what: str) -> None:
        self.what = what
        self._lock = threading.Lock()
        self._used: deque[list[float]] = deque()  # [when, amount], in order of time

    def reserve(self, amount: float, limit: float) -> tuple[list[float], float]:
        """Take the earliest moment at which the amount fits, after all that was reserved before."""
        with self._lock:
            now = time.monotonic()
            while self._used and self._used[0][0] <= now - _WINDOW_S:
                self._used.popleft()
            when = max(now, self._used[-1][0]) if self._used else now
            # One that is bigger than the limit goes alone: it would never fit.
            for start, _ in list(self._used):
                inside = sum(used for at, used in self._used if at > when - _WINDOW_S)
                if inside == 0 or inside + amount <= limit:
                    break
                when = max(when, start + _WINDOW_S)
            entry = [when, amount]
            self._used.append(entry)
            return entry, when - now


_windows: dict[tuple[str, str, str], _Window] = {}
_making = threading.Lock()


def _window(model: Model, what: str) -> _Window:
    with _making:
        return _windows.setdefault((model.address, model.name, what), _Window(what))
