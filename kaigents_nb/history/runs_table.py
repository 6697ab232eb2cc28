"""``kg.runs()``: the runs on the server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
from temporalio.api.enums.v1 import WorkflowExecutionStatus
from temporalio.client import WorkflowExecution
from temporalio.service import RPCError, RPCStatusCode

from kaigents_nb.authoring.agent import Agent
from kaigents_nb.authoring.durations import Duration, seconds
from kaigents_nb.gates.visible import visible
from kaigents_nb.history import memo
from kaigents_nb.history.frames import frame
from kaigents_nb.runtime.connecting import current
from kaigents_nb.server.attribute import STATE_ATTRIBUTE

RUN_COLUMNS = {
    "run_id": "str",
    "agent": "str",
    "status": "str",
    "started": "datetime64[us, UTC]",
    "ended": "datetime64[us, UTC]",
    "duration_s": "float64",
    "events": "int64",
    "waits_for": "str",
    "home": "str",
    "parent": "str",
    "forked_from": "str",
    "requests": "int64",
    "tokens": "int64",
    "cost_usd": "float64",
}
_CLOSED = {
    "completed": "Completed",
    "failed": "Failed",
    "cancelled": "Canceled",
    "terminated": "Terminated",
    "timed out": "TimedOut",
}
_OPEN = ("running", "waiting", "parked")
_WINDOWS = (timedelta(hours=1), timedelta(days=1), timedelta(days=30))


def runs(
    agent: str | Agent[..., Any, Any] | None = None,
    *,
    status: str | None = None,
    since: datetime | str | Duration | None = None,
    query: str | None = None,
    limit: int = 100,
) -> pd.DataFrame:
    """Return the runs on the server, one row per run: (n_runs, 14), newest first.

    Columns: ``run_id, agent, status`` (str), ``started, ended`` (datetime64, UTC), ``duration_s`` (float), ``events``
    (int, length of the history), ``waits_for`` (the question or the parked step's error), ``home`` (notebook or
    script), ``parent`` (the run that called this agent), ``forked_from`` (str), ``requests, tokens`` (int, answers of
    models on record, and their tokens in and out), ``cost_usd`` (float, USD; NaN where the price of one is not known:
    ``kg.run(id).calls()`` says why, and has the others). That is of the run itself, as of the last answer: what agents
    that it called have spent is in their rows, what a fork took over in the row of the first run.
    Empty case: the same columns, zero rows. Source: the server's index, which follows the runs within about a second;
    ``retrying`` and ``stuck`` need a look at the run itself (``kg.run(id).status``) and show as ``running`` here.

    Parameters
    ----------
    agent
        Only runs of this agent (or its name).
    status
        ``running, waiting, parked, completed, failed, cancelled, terminated`` or ``timed out``.
    since
        Only runs started after this: a time (naive means local), or how long ago: ``"2 days"``, ``timedelta``.
    query
        More conditions in Temporal's list filter syntax, for example ``"StartTime > '2026-01-01T00:00:00Z'"``.
    limit
        At most so many rows.

    Raises
    ------
    ValueError
        For an unknown status or a time that can't be read.
    """
    connection = current()
    if status is not None and status not in (*_CLOSED, *_OPEN):
        raise ValueError(f"No status {status!r}. Known: {', '.join((*_OPEN, *_CLOSED))}.")
    conditions = []
    if agent is not None:
        name = (agent if isinstance(agent, str) else agent.name).replace("'", "''")
        conditions.append(f"WorkflowType = '{name}'")
    if status in _CLOSED:
        conditions.append(f"ExecutionStatus = '{_CLOSED[status]}'")
    elif status is not None:
        conditions.append("ExecutionStatus = 'Running'")
        if connection.attribute and status != "running":
            conditions.append(f"{STATE_ATTRIBUTE} = '{status}'")
    if since is not None:
        conditions.append(f"StartTime >= '{_moment(since).isoformat()}'")
    if query:
        conditions.append(f"({query})")

    async def started_since(begin: datetime | None) -> list[dict[str, Any]]:
        since_then = [f"StartTime >= '{begin.isoformat()}'"] if begin else []
        found = connection.client.list_workflows(" AND ".join([*conditions, *since_then]), page_size=1000)
        rows = [_row(execution) async for execution in found]
        return [row for row in rows if status is None or row["status"] == status]

    async def collect() -> list[dict[str, Any]]:
        # The server lists by the end, so the newest are looked for in windows that grow until there are enough.
        rows: list[dict[str, Any]] = []
        now = datetime.now(UTC)
        for window in () if since is not None else _WINDOWS:
            rows = await started_since(now - window)
            if len(rows) >= limit:
                break
        else:
            rows = await started_since(None)
        return sorted(rows, key=lambda row: row["started"], reverse=True)[:limit]

    try:
        rows = connection.run(collect)
    except RPCError as error:
        if error.status != RPCStatusCode.INVALID_ARGUMENT:
            raise
        raise ValueError(
            f"The server can't read query={query!r}: {error.message}. Write conditions such as \"ExecutionTime > "
            "'2026-01-01T00:00:00Z'\"; names and values as in Temporal's list filters."
        ) from None
    return frame(rows, RUN_COLUMNS)


def _row(execution: WorkflowExecution) -> dict[str, Any]:
    fields = execution.raw_info.memo.fields
    origin, spent = memo.origin(fields), memo.spent(fields)
    name = WorkflowExecutionStatus.Name(execution.raw_info.status).removeprefix("WORKFLOW_EXECUTION_STATUS_")
    status = {"RUNNING": "running", "CANCELED": "cancelled", "TIMED_OUT": "timed out"}.get(name, name.lower())
    waits_for = memo.problem(fields)
    if status == "running" and (asked := memo.questions(fields, execution.id, execution.workflow_type)):
        status, waits_for = "waiting", visible(asked[0].question)
    elif status == "running" and (parked := memo.parked(fields)):
        status, waits_for = "parked", parked[0]
    ended, started = execution.close_time, execution.start_time
    return {
        "run_id": execution.id,
        "agent": execution.workflow_type,
        "status": status,
        "started": started,
        "ended": ended,
        "duration_s": (ended - started).total_seconds() if ended else None,
        "events": execution.history_length,
        "waits_for": waits_for,
        "home": str(origin.get("home", "")),
        "parent": execution.parent_id or "",
        "forked_from": str(origin.get("forked_from", "")),
        "requests": spent.requests,
        "tokens": spent.tokens,
        "cost_usd": spent.cost_usd,
    }


def _moment(since: datetime | str | Duration) -> datetime:
    if isinstance(since, datetime):
        return since.astimezone(UTC)
    try:
        return datetime.now(UTC) - timedelta(seconds=seconds(since))
    except ValueError:
        if not isinstance(since, str):
            raise
    try:
        return datetime.fromisoformat(since).astimezone(UTC)
    except ValueError:
        raise ValueError(
            f"Can't read since={since!r}. Write a time ('2026-05-01 12:00') or how long ago ('2 days')."
        ) from None
