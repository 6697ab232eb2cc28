"""Recorded histories: where they lie, and how they are replayed by the interpreter of today."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, WorkflowInstance, WorkflowInstanceDetails, WorkflowRunner

from kaigents_nb.runtime.codec import data_converter
from kaigents_nb.runtime.connection import Connection
from kaigents_nb.runtime.interpreter import AgentWorkflow
from kaigents_nb.runtime.sandbox import sandbox
from kaigents_nb.runtime.storage import FileStore
from kaigents_nb.values.preload import preload
from tests.golden.asked import Asked

FOLDER = Path(__file__).parent / "histories"
BLOBS = FOLDER / "blobs"
"""Values of histories that lie in files."""
SIGNING_KEY = "signs the golden histories only"
_READABLE_CHARS = 500_000


def recorded() -> list[Path]:
    """Return the files of all recorded histories: one folder for each version of the interpreter that wrote some."""
    return sorted(FOLDER.glob("*/*.json*"))


def read(path: Path) -> WorkflowHistory:
    """Return a recorded history."""
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    started = json.loads(text)["events"][0]["workflowExecutionStartedEventAttributes"]
    return WorkflowHistory.from_json(started["workflowId"], text)


def write(path: Path, text: str) -> None:
    """Save a recorded history; a big one compressed."""
    if len(text) < _READABLE_CHARS:
        path.write_text(text)
    else:
        path.with_suffix(".json.gz").write_bytes(gzip.compress(text.encode(), mtime=0))


async def replay(history: WorkflowHistory, blobs: Path, key: bytes = SIGNING_KEY.encode()) -> None:
    """Replay a history as a worker does that goes on with the run, ended or open.

    ``key`` has signed its code, and its big values lie in ``blobs``. Raises what the SDK's replayer raises where the
    interpreter would now do something else than was recorded, and `AskedOtherwise` where it would do the same with
    something else, or end otherwise.
    """
    preload()
    heard = _Heard(sandbox())
    replayer = Replayer(
        workflows=[AgentWorkflow],
        workflow_runner=heard,
        debug_mode=True,  # no deadlock detector: a busy machine is not a deadlock
        data_converter=data_converter(key, FileStore(blobs)),
    )
    await replayer.replay_workflow(history)
    heard.asked.compare(history.events)


async def replay_run(connection: Connection, workflow_id: str, run_id: str) -> None:
    """Replay what a server has of a run."""
    history = await connection.client.get_workflow_handle(workflow_id, run_id=run_id).fetch_history()
    await replay(history, connection.data_dir / "blobs", connection.key)


class _Heard(WorkflowRunner):
    """The worker's own runner, and what its one run asks for."""

    def __init__(self, inner: WorkflowRunner) -> None:
        self._inner = inner
        self.asked = Asked()

    def prepare_workflow(self, defn: Any) -> None:
        self._inner.prepare_workflow(defn)

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        instance = self._inner.create_instance(det)
        activate = instance.activate

        def listened(act: Any) -> Any:
            done = activate(act)
            self.asked.take(act.history_length, done.successful.commands)
            return done

        instance.activate = listened  # type: ignore[method-assign]
        return instance

    def set_worker_level_failure_exception_types(self, types: Sequence[type[BaseException]]) -> None:
        self._inner.set_worker_level_failure_exception_types(types)
