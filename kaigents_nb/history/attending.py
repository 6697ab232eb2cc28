"""While somebody looks at a run or waits for it, it is not left without a worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

from temporalio.service import RPCError

from kaigents_nb.errors import KaigentsError
from kaigents_nb.history.observe import describe
from kaigents_nb.history.observers import Observers
from kaigents_nb.runtime.connection import Connection
from kaigents_nb.runtime.served import service_of

LOOK_S = 2.0
_CERTAIN_S = 4.0
"""So long nobody must have been heard: after a server came back, its workers need a moment to say that they live."""


@asynccontextmanager
async def attended(connection: Connection, run_id: str, *, adopt: bool = True) -> AsyncIterator[None]:
    """Adopt the run's queue within this block as soon as nobody else serves it, unless only reading is meant."""
    if not adopt:
        yield
        return
    attending = asyncio.create_task(_attend(connection, run_id))
    try:
        yield
    finally:
        attending.cancel()


async def _attend(connection: Connection, run_id: str) -> None:
    queue, silent_since, heard = "", time.monotonic(), None
    while connection.may_serve:
        await asyncio.sleep(LOOK_S)
        try:
            queue = queue or connection.instance(Observers).queue(run_id) or await _asked(connection, run_id)
            service = await service_of(connection, queue, known_s=LOOK_S / 2)
        except (RPCError, KaigentsError):  # whoever waits is told, or goes on waiting
            silent_since = time.monotonic()
        else:
            if service.workers or _later(service.heard, heard):
                silent_since = time.monotonic()
            elif time.monotonic() - silent_since >= _CERTAIN_S:
                await connection.adopt(queue)
            heard = service.heard


async def _asked(connection: Connection, run_id: str) -> str:
    return (await describe(connection, run_id)).workflow_execution_info.task_queue


def _later(heard: datetime | None, before: datetime | None) -> bool:
    """Whether somebody was heard meanwhile, whose clock may be slow."""
    return heard is not None and before is not None and heard > before
