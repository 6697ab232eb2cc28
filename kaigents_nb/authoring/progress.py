"""What a running step tells: how far it is, and which call it belongs to."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from kaigents_nb.authoring.context import step_context

T = TypeVar("T")


def progress(done: float, total: float | None = None, note: str = "") -> None:
    """Show how far a step is: a bar on the card. Outside a step it does nothing.

    Examples
    --------
    >>> progress(3, 10, "supplier 3")
    """
    attempt = step_context.get()
    if attempt is not None:
        attempt.report(done, total, note)


def track(items: Iterable[T], total: int | None = None, note: str = "") -> Iterator[T]:
    """Loop with a progress bar; a later attempt skips what an earlier one finished.

    The items must come in the same order at every attempt. An item counts as finished when the loop asks for the
    next one.

    Examples
    --------
    >>> list(track([1, 2, 3]))
    [1, 2, 3]
    """
    attempt = step_context.get()
    if total is None and isinstance(items, Sized):
        total = len(items)
    finished = attempt.tracked if attempt is not None else 0
    for number, item in enumerate(items):
        if number < finished:
            continue
        yield item
        if attempt is not None:
            attempt.report(number + 1, total, note, tracked=number + 1)


def idempotency_key() -> str:
    """Return a key for this call of the step: the same over retries, restarts and workers.

    Give it to a service that drops repeated requests. Outside a step it is a new random key each time.
    """
    attempt = step_context.get()
    return attempt.idempotency_key if attempt is not None else str(uuid.uuid4())
