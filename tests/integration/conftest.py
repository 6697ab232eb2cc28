"""What integration tests may ask for: workers that remember nothing, or that are processes of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

import pytest
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

import kaigents_nb as kg
from kaigents_nb.control import submit
from kaigents_nb.runtime import queue_worker
from kaigents_nb.runtime.recheck import Report
from kaigents_nb.runtime.sandbox import sandbox
from kaigents_nb.server.embedded import ServerInfo
from tests.golden.histories import replay_run
from tests.workers import Workers, elsewhere

Executed = Counter[tuple[str, str]]
"""How often each run, by its workflow and run id, was begun by this process's worker."""


@pytest.fixture(scope="module")
def forgetful_worker(server: ServerInfo) -> Iterator[Executed]:
    """Let this process's worker replay a run from its start whenever something happens to it; yield what it executes.

    An agent must then compute the same, and the interpreter ask the server for the same, each time.
    """
    executed: Executed = Counter()

    def noting(report: Report) -> SandboxedWorkflowRunner:
        runner = sandbox(report)
        create = runner.create_instance

        def create_and_note(details: WorkflowInstanceDetails) -> WorkflowInstance:
            if details.info.run_id != "sandbox-validate-run_id":  # the SDK tries the workflow's class out first
                executed[details.info.workflow_id, details.info.run_id] += 1
            return create(details)

        runner.create_instance = create_and_note
        return runner

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(queue_worker, "MAX_CACHED_RUNS", 0)
        patch.setattr(queue_worker, "sandbox", noting)
        kg.disconnect()  # a worker that is there already remembers
        yield executed
        kg.disconnect()


@pytest.fixture
def replayed(forgetful_worker: Executed) -> Iterator[None]:
    """Replay, at the test's end, each run that was executed in it: it must ask for the same, and end the same."""
    forgetful_worker.clear()
    yield
    connection = kg.connect()

    async def replay_all() -> None:
        for run in list(forgetful_worker):
            await replay_run(connection, *run)

    connection.run(replay_all)


@pytest.fixture
def failed_tasks_soon_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the server wait for two seconds only, not for twenty, before it gives a task out again that has failed."""
    monkeypatch.setattr(submit, "TASK_TIMEOUT", timedelta(seconds=2))


@pytest.fixture
def workers() -> Iterator[Workers]:
    """Worker processes, started by the test and ended with it; this process executes nothing."""
    with elsewhere() as started:
        yield started
