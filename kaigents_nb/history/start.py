"""Start a run: freeze the code, sign it, hand both to the server."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from kaigents_nb.authoring.agent import Agent
from kaigents_nb.history.run import Run
from kaigents_nb.runtime.code import Code, hold
from kaigents_nb.runtime.connection import Connection, current
from kaigents_nb.runtime.payloads import call_arguments
from kaigents_nb.runtime.protocol import MEMO_ORIGIN, Launch, to_wire
from kaigents_nb.runtime.queue import home, task_queue
from kaigents_nb.snapshot.freeze import freeze
from kaigents_nb.snapshot.lint import lint


def start(agent: Agent[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], *, id: str | None) -> Run:
    """Start a run of an agent and return its handle; see :meth:`Agent.start`."""
    snapshot = freeze(agent)
    lint(snapshot)
    payloads, keywords = call_arguments(args, kwargs, f"agent {agent.name}")
    connection = current()
    code = hold(snapshot, snapshot.pack(connection.key))
    launch = Launch(
        agent=snapshot.root,
        code=snapshot.digest,
        positional=len(args),
        keywords=keywords,
        attribute=connection.attribute,
    )
    return submit(connection, agent.name, launch, code, payloads, id=id, origin={"home": home()})


def submit(
    connection: Connection,
    agent: str,
    launch: Launch,
    code: Code,
    payloads: list[Any],
    *,
    id: str | None,
    origin: Mapping[str, Any],
) -> Run:
    """Hand a prepared run to the server, with a worker of this notebook to execute it."""
    queue = task_queue()
    workflow_id = id or f"{agent}-{uuid.uuid4().hex[:8]}"

    async def begin() -> None:
        await connection.client.start_workflow(
            agent,
            args=[to_wire(launch), code.payload(), *payloads],
            id=workflow_id,
            task_queue=queue,
            memo={MEMO_ORIGIN: dict(origin)},
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        )

    try:
        connection.run(begin)
    except WorkflowAlreadyStartedError:
        raise ValueError(
            f"A run {workflow_id!r} has already ended on this server. kg.run({workflow_id!r}) shows it; give this one "
            "another id, or none."
        ) from None
    connection.serve(queue)
    return Run(connection, workflow_id)
