"""``requests_per_min`` and ``tokens_per_min`` of a model, over all that is asked of it with this data directory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from kaigents_nb.authoring.context import step_context
from kaigents_nb.authoring.rate import Window
from kaigents_nb.models.cassette import plays
from kaigents_nb.models.model import Model
from kaigents_nb.server import datadir

_WINDOW_S = 60.0
_CHARS_PER_TOKEN = 4


@asynccontextmanager
async def paced(model: Model, body: Mapping[str, Any]) -> AsyncIterator[Callable[[int], None]]:
    """Wait until the model's limits allow one more request; give a function that takes the tokens it took."""
    step = step_context.get()
    taken: list[tuple[Window, str]] = []
    for what, limit in (("requests", model.requests_per_min), ("tokens", model.tokens_per_min)):
        if limit is None or plays():
            continue
        window = _window(model, what)

        def tell(wait_s: float | None, told: str = f"for {limit:g} {what} a minute") -> None:
            if step is not None:
                step.report(0, None, f"waits {'' if wait_s is None else f'{wait_s:.0f} s '}{told}")

        entry = await window.wait(1 if what == "requests" else estimated_tokens(body), limit, tell)
        if what == "tokens":
            taken.append((window, entry))

    spent = [0]
    yield partial(spent.__setitem__, 0)
    for window, entry in taken if spent[0] else ():
        await asyncio.to_thread(window.correct, entry, spent[0])


def estimated_tokens(body: Mapping[str, Any]) -> int:
    """Return about how many tokens a request has, before a provider has counted them."""
    return len(json.dumps(body, default=str)) // _CHARS_PER_TOKEN


def _window(model: Model, what: str) -> Window:
    step, name = step_context.get(), f"model {model.address} {model.name} {what}"
    path = step.rate_file(name) if step is not None else datadir.rate_file(datadir.data_dir(), name)
    return _windows.setdefault(path, Window(path, _WINDOW_S))


_windows: dict[Path, Window] = {}
