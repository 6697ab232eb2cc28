"""Attempts that reach this process late: it was frozen or cut off when the server gave them to it."""

# No `from __future__ import annotations`: as in steps.py, whose activity this is part of.

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from temporalio import activity
from temporalio.client import AsyncActivityCancelledError, Client
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.service import RPCError, RPCStatusCode

from kaigents_nb.runtime.held import HAND_OVER
from kaigents_nb.runtime.protocol import HEARTBEAT_TIMEOUT
from kaigents_nb.runtime.supervisor import TRANSIENT, is_coming_up

_IN_TIME_S = HEARTBEAT_TIMEOUT.total_seconds() / 2
_ASK_AGAIN_S = 0.5


class AttemptOver(ApplicationError):
    """Nobody hears it, but for a later attempt that this process has been given as well."""

    def __init__(self) -> None:
        super().__init__(
            "The attempt came too late to this worker.",
            type=type(self).__name__,
            next_retry_delay=HAND_OVER,
            category=ApplicationErrorCategory.BENIGN,
        )


async def check_wanted(client: Client, beat: Mapping[str, Any]) -> None:
    """Refuse to begin what the server has given up, and perhaps to another worker; ``beat`` is the heartbeat to send.

    Only attempts that are late by the server's clock cost the question. It is asked until it is answered: without the
    server a result could not be recorded either.

    Raises
    ------
    AttemptOver
        Where it has been given up.
    """
    info = activity.info()
    if time.time() - info.started_time.timestamp() < _IN_TIME_S:
        return
    handle = client.get_async_activity_handle(task_token=info.task_token)
    while True:
        try:
            await handle.heartbeat(dict(beat))
        except AsyncActivityCancelledError:
            pass  # still wanted; the worker's own heartbeats bring the cancellation
        except RPCError as error:
            if error.status in TRANSIENT or is_coming_up(error):
                await asyncio.sleep(_ASK_AGAIN_S)
                continue
            if error.status == RPCStatusCode.NOT_FOUND:
                raise AttemptOver from None
        return
