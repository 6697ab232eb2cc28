"""Replay a recorded history through the SDK's own replayer, with somebody watching: the agent's lines, or its calls.

No step runs, nothing is printed, and the server is only asked for the history.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC
from typing import Any

from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, WorkflowInstance, WorkflowInstanceDetails, WorkflowRunner

from kaigents_nb.replay.replayed import ReplayedWorkflow, Watcher, watching
from kaigents_nb.runtime.connection import Connection
from kaigents_nb.runtime.interpreter import AgentWorkflow
from kaigents_nb.runtime.output import Output, route_output
from kaigents_nb.runtime.sandbox import sandbox

_SDK_LOGGERS = ("temporalio.worker._workflow", "temporalio.worker._workflow_instance", "temporalio.workflow")


def replay(
    connection: Connection,
    history: WorkflowHistory,
    watcher: Watcher,
    workflow: type[AgentWorkflow] = ReplayedWorkflow,
) -> Exception | None:
    """Replay in this thread, which must not be the library's loop; return why it ended early, if it did.

    The agent is kept from reaching for the world also where it could do so when the run began.
    """
    replayer = Replayer(
        workflows=[workflow],
        workflow_runner=_WatchedRunner(sandbox(watched=True), watcher),
        namespace=connection.namespace,
        data_converter=connection.client.data_converter,
        # No deadlock detector: a long trace is not a deadlock. Activations then run in this very thread.
        debug_mode=True,
    )

    with _alone():
        try:
            return asyncio.run(replayer.replay_workflow(history, raise_on_replay_failure=False)).replay_failure
        finally:
            watcher.finish()


def headline(failure: Exception) -> str:
    """Return the sentence in a replay failure that says what differs."""
    text = str(failure)
    found = re.search(r"Nondeterminism\w*\(\"(.*?)\"", text) or re.search(r"message: \"(.*?)\"", text)
    return " ".join((found.group(1) if found else text).split())[:500]


@contextmanager
def _alone() -> Iterator[None]:
    """Keep this thread's replay out of logs, as an error of ours says what went wrong, and the debugger as it is."""
    me = threading.get_ident()

    def elsewhere(record: logging.LogRecord) -> bool:
        return record.thread != me

    with ExitStack() as undo:
        undo.callback(setattr, sys, "breakpointhook", sys.breakpointhook)
        for name in _SDK_LOGGERS:
            logging.getLogger(name).addFilter(elsewhere)
            undo.callback(logging.getLogger(name).removeFilter, elsewhere)
        yield


class _WatchedRunner(WorkflowRunner):
    """The worker's own runner, with every activation watched."""

    def __init__(self, inner: WorkflowRunner, watcher: Watcher) -> None:
        self._inner = inner
        self._watcher = watcher

    def prepare_workflow(self, defn: Any) -> None:
        self._inner.prepare_workflow(defn)

    def create_instance(self, det: WorkflowInstanceDetails) -> Any:
        return _WatchedInstance(self._inner.create_instance(det), self._watcher)

    def set_worker_level_failure_exception_types(self, types: Sequence[type[BaseException]]) -> None:
        self._inner.set_worker_level_failure_exception_types(types)


class _WatchedInstance:
    """One workflow; what is not about its activations is said by the inner one."""

    def __init__(self, inner: WorkflowInstance, watcher: Watcher) -> None:
        self._inner = inner
        self._watcher = watcher
        self._printed = Output()

    def activate(self, act: Any) -> Any:
        if any(job.HasField("remove_from_cache") for job in act.jobs):
            # The end of the replay: the SDK cancels what still waits, which the run never did.
            self._watcher.finish()
            return self._inner.activate(act)
        route_output()
        self._watcher.at(act.history_length, act.timestamp.ToDatetime(UTC))
        token = watching.set(self._watcher)
        try:
            with self._printed:
                completion = self._inner.activate(act)
        finally:
            watching.reset(token)
        self._watcher.asks(completion.successful.commands)
        return completion

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
