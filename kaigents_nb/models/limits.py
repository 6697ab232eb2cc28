"""``requests_per_min`` and ``tokens_per_min`` of a model, over all that this process asks of it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from kaigents_nb.authoring.context import step_context
from kaigents_nb.authoring.rate import Window
from kaigents_nb.models.model import Model

_WINDOW_S = 60.0
_CHARS_PER_TOKEN = 4


@asynccontextmanager
async def paced(model: Model, body: Mapping[str, Any]) -> AsyncIterator[Callable[[int], None]]:
    """Wait until the model's limits allow one more request; give a function that takes the tokens it took."""
    limits = [
        (what, _window(model, what), limit, amount)
        for what, limit, amount in (
            ("requests", model.requests_per_min, 1),
            ("tokens", model.tokens_per_min, estimated_tokens(body) if model.tokens_per_min else 0),
        )
        if limit is not None
    ]
    entries = []
    for what, window, limit, amount in limits:
        entry, delay_s = window.reserve(amount, limit)
        entries.append((what, entry))
        if delay_s > 0:
            step = step_context.get()
            if step is not None:
                step.report(0, None, f"waits {delay_s:.0f} s for {limit:g} {what} a minute")
            await asyncio.sleep(delay_s)

    def used(tokens: int) -> None:
        for what, entry in entries:
            if what == "tokens" and tokens:
                entry[1] = tokens

    yield used


def estimated_tokens(body: Mapping[str, Any]) -> int:
    """Return about how many tokens a request has, before a provider has counted them."""
    return len(json.dumps(body, default=str)) // _CHARS_PER_TOKEN


_windows: dict[tuple[str, str, str], Window] = {}
_making = threading.Lock()


def _window(model: Model, what: str) -> Window:
    with _making:
        return _windows.setdefault((model.address, model.name, what), Window(_WINDOW_S))
