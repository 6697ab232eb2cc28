"""Time and chance that replay: in an agent they come from the run, anywhere else from Python."""

from __future__ import annotations

import asyncio
import datetime as dt
import random as _random
import uuid as _uuid
from collections.abc import Coroutine
from typing import Any

from kaigents_nb.authoring.awaited import durable
from kaigents_nb.authoring.context import agent_context
from kaigents_nb.authoring.durations import Duration, seconds


def sleep(
    duration: Duration = 0, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds_: float = 0
) -> Coroutine[Any, Any, None]:
    """Wait; in an agent the wait survives restarts and costs nothing.

    Parameters
    ----------
    duration
        Seconds, ``timedelta`` or text such as ``"2 days"``; added to the named parts.

    Examples
    --------
    ``await kg.sleep(days=2)``, ``await kg.sleep("90 s")``
    """
    delay_s = seconds(duration) + 86400 * days + 3600 * hours + 60 * minutes + seconds_
    interpreter = agent_context.get()
    if interpreter is None:
        return asyncio.sleep(delay_s)
    return durable(interpreter, "kg.sleep(…)", interpreter.sleep(delay_s))


def now() -> dt.datetime:
    """Return the time, UTC; in an agent the run's own, the same on every replay."""
    interpreter = agent_context.get()
    return interpreter.now() if interpreter else dt.datetime.now(dt.UTC)


def random() -> _random.Random:
    """Return a random generator (``kg.random().choice(...)``); in an agent the run's own, which replays."""
    interpreter = agent_context.get()
    return interpreter.random() if interpreter else _random.Random()  # noqa: S311


def uuid4() -> _uuid.UUID:
    """Return a new id; in an agent the same on every replay."""
    interpreter = agent_context.get()
    return interpreter.uuid4() if interpreter else _uuid.uuid4()
