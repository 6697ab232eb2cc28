"""The demo's own worker: a process that may be killed, and that never stays behind."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from typing import Self

from kaigents_nb.errors import KaigentsError

_GRACE_S = 10.0


class OwnWorker:
    """A ``kaigents-nb worker`` of ours; as a context manager it ends with the block, or with this process."""

    def __init__(self, queue: str) -> None:
        self._queue = queue
        self.start()

    def start(self) -> None:
        """Start the process, or another one in place of one that is gone."""
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed when this object goes
        # A session of its own, so that Ctrl-C is for us; the pipe tells it when we are gone, however we went.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "kaigents_nb", "worker", "--queue", self._queue, "--until-eof"],
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Of the process that works now."""
        return self._process.pid

    def check(self) -> None:
        """Raise when the worker has ended by itself, with what it said last."""
        code = self._process.poll()
        if code is not None:
            self._log.seek(0)
            said = self._log.read().decode(errors="replace").strip()[-2000:]
            raise KaigentsError(
                f"The worker process {self.pid} ended with code {code}; nothing is lost, the run waits for another. "
                f"It said: {said or 'nothing'}"
            )

    def kill(self) -> int:
        """Kill the process without a warning; returns its pid."""
        self._process.kill()
        self._process.wait()
        return self.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        # First let it hand back what it does.
        if self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_GRACE_S)
        if self._process.poll() is None:
            self.kill()
        if self._process.stdin is not None:
            self._process.stdin.close()
