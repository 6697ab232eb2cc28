"""Hand a prepared run to the server."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from kaigents_nb.control.prepare import Prepared
from kaigents_nb.runtime.connection import Connection
from kaigents_nb.runtime.protocol import MEMO_ORIGIN, MEMO_TOLD, TASK_TIMEOUT, to_wire
from kaigents_nb.runtime.queue import task_queue


def submit(connection: Connection, prepared: Prepared, *, id: str | None, origin: Mapping[str, Any]) -> str:
    """Hand a prepared run to the server, with a worker of this notebook to execute it; returns its id."""
    queue = task_queue()
    workflow_id = id or f"{prepared.agent}-{uuid.uuid4().hex[:8]}"
    told = list(prepared.code.snapshot.told)

    async def begin() -> None:
        await connection.client.start_workflow(
            prepared.agent,
            args=[to_wire(prepared.launch), prepared.code.payload(), *prepared.payloads],
            id=workflow_id,
            task_queue=queue,
            task_timeout=TASK_TIMEOUT,
            memo={MEMO_ORIGIN: {**origin, **({MEMO_TOLD: told} if told else {})}},
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        )

    try:
        connection.run(begin)
    except WorkflowAlreadyStartedError:
        # With an id of our own it is this run: the server died before it could say so, and the run is through by now.
        if id is not None:
            raise ValueError(
                f"A run {workflow_id!r} has already ended on this server. kg.run({workflow_id!r}) shows it; give this "
                "one another id, or none."
            ) from None
    connection.serve(queue)
    return workflow_id
