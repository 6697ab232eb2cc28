"""``Retry-After`` and its kin: how long the other side asks us to wait."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Any

_LONGEST_S = 366 * 86_400.0
"""Longer is no wait but a mistake."""


def header(error: BaseException, name: str) -> str:
    """Return a header of the answer that an error of openai, httpx, requests and their kin holds; or ``""``."""
    headers: Any = getattr(getattr(error, "response", None), "headers", None)
    return str(headers.get(name) or "") if headers is not None and hasattr(headers, "get") else ""


def retry_after_s(error: BaseException) -> float | None:
    """Return how long the other side asked us to wait, in seconds or until a date; None where it did not."""
    for name, factor in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = header(error, name)
        if not text:
            continue
        try:
            delay_s = float(text) * factor
        except ValueError:
            try:
                when = parsedate_to_datetime(text)
            except ValueError:
                continue
            delay_s = (when - when.now(when.tzinfo)).total_seconds()
        return min(max(delay_s, 0.0), _LONGEST_S)
    return None
