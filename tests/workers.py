"""Worker processes beside a test, whose own process starts and watches runs but executes none."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

import kaigents_nb as kg
from kaigents_nb.runtime.queue import task_queue

Worker = subprocess.Popen[str]


class Workers:
    """The workers that were started, first to last."""

    def __init__(self) -> None:
        self.started: list[Worker] = []

    def start(
        self,
        *queues: str,
        program: Sequence[str] = ("-m", "kaigents_nb"),
        cwd: Path | None = None,
        path: Path | None = None,
    ) -> Worker:
        """Start one for these queues, or this notebook's; ``path`` is one more folder that it imports from."""
        environment = {key: value for key, value in os.environ.items() if key != "KAIGENTS_WORKER"}
        if path is not None:
            environment["PYTHONPATH"] = f"{environment['PYTHONPATH']}{os.pathsep}{path}"
        served = [word for queue in queues or [task_queue()] for word in ("--queue", queue)]
        command = [sys.executable, *program, "worker", *served]
        self.started.append(subprocess.Popen(command, cwd=cwd, env=environment, stdout=subprocess.PIPE, text=True))
        return self.started[-1]

    def leave(self) -> None:
        """Let all end as when told to: who is killed leaves polls open, which are given the next test's steps."""
        for worker in self.started:
            worker.terminate()
        for worker in self.started:
            worker.wait(30)


def serves(worker: Worker) -> bool:
    """Wait for its first word; tell whether that is that it serves."""
    assert worker.stdout is not None
    return "Serving" in worker.stdout.readline()


def kill(worker: Worker) -> None:
    """End one with kill -9, whatever it does or has ended as."""
    worker.kill()
    worker.wait()
    assert worker.stdout is not None
    worker.stdout.close()


@contextmanager
def elsewhere(notebook: str = "") -> Iterator[Workers]:
    """Let runs be executed in other processes only, as those of a notebook of this name; no worker outlives it."""
    kg.disconnect()
    workers = Workers()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KAIGENTS_WORKER", "off")
        if notebook:
            patch.setenv("JPY_SESSION_NAME", notebook)
        try:
            yield workers
        finally:
            for worker in workers.started:
                kill(worker)
            kg.disconnect()
