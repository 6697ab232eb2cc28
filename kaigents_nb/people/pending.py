"""Open gates and taken decisions over all runs; needs no worker."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from kaigents_nb.errors import KaigentsError, RunNotFound
from kaigents_nb.gates.question import Question
from kaigents_nb.gates.shown import shown
from kaigents_nb.history import memo
from kaigents_nb.history.frames import DECISION_COLUMNS, decision_rows, frame, gates_frame
from kaigents_nb.history.observers import observed
from kaigents_nb.history.runs_table import runs
from kaigents_nb.runtime.connecting import current
from kaigents_nb.runtime.connection import Connection
from kaigents_nb.server.attribute import STATE_ATTRIBUTE


def pending() -> pd.DataFrame:
    """Return the open gates over all runs, one row per gate: (n_gates, 7), longest waiting first.

    Columns: ``run_id, agent, gate, question`` (str), ``options`` (list of str), ``opened`` (datetime64, UTC),
    ``token`` (str: this question, with its options and details, and no other). What could not be seen in a question
    or an option stands there as its escape. ``kg.run(run_id).approve(token)`` decides on exactly this row. Empty
    case: the same columns, zero rows. Source: the server's index, which follows the runs within about a second; runs
    need no worker for it.

    Examples
    --------
    ``kg.pending()[["run_id", "question"]]``
    """
    questions = open_questions()
    for run_id in {question.run_id for question in questions}:
        shown.see(run_id, [question for question in questions if question.run_id == run_id])
    return gates_frame(questions)


def open_questions() -> list[Question]:
    """Return the open gates over all runs, longest waiting first."""
    connection = current()
    return connection.run(lambda: _waiting(connection))


async def _waiting(connection: Connection) -> list[Question]:
    query = "ExecutionStatus = 'Running'"
    if connection.attribute:
        query += f" AND {STATE_ATTRIBUTE} = 'waiting'"
    gates: list[Question] = []
    async for execution in connection.client.list_workflows(query):
        fields = execution.raw_info.memo.fields
        gates += memo.questions(fields, execution.id, execution.workflow_type, execution.task_queue)
    return sorted(gates, key=lambda gate: gate.opened or datetime.max.replace(tzinfo=UTC))


def decisions(limit: int = 100) -> pd.DataFrame:
    """Return the decisions over the newest runs: who decided what and when; columns as in ``run.decisions()``.

    Parameters
    ----------
    limit
        At most so many runs are looked at, newest first; their histories are fetched now.
    """
    connection = current()
    known = runs(limit=limit)["run_id"]

    async def collect() -> list[dict[str, Any]]:
        rows = []
        for run_id in known:
            try:
                fold = (await observed(connection, run_id)).fold
                rows += decision_rows(fold)
                for text in fold.unreadable:
                    warnings.warn(f"Run {run_id!r} is not shown whole: {text}", stacklevel=2)
            except RunNotFound:
                continue  # deleted by retention between the two questions
            except (KaigentsError, ValueError, TypeError, LookupError) as error:
                warnings.warn(f"Left out: run {run_id!r}, whose history can't be read: {error}", stacklevel=2)
        return rows

    table = frame(connection.run(collect), DECISION_COLUMNS)
    return table.sort_values("time", ascending=False, ignore_index=True)
