"""The processes of a soak: started, started again when they die, killed, stopped, and ended with it, by their pid."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from kaigents_nb.server import embedded
from kaigents_nb.server.process import living

_RESTART_AFTER_S = 0.5
_LEFT_DEAD_S = 45.0
"""After so long nobody will start the server again by themselves."""


def end_with_whoever_started_this() -> None:
    """Let this process end when its standard input does, whatever it is doing."""

    def wait() -> None:
        sys.stdin.buffer.read()
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


class Supervised:
    """A process that is started again when it dies, as a supervisor or a person would."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._command = [sys.executable, "-m", *command]
        self._environment = environment
        self._log = log
        self.fell: list[int] = []
        """How it ended when nobody had killed it."""
        self._died: float | None = None
        self._continue_at: float | None = None
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            # Its standard input ends with this process, and it with that.
            environment = {**os.environ, **self._environment}
            return subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment)

    @property
    def said(self) -> str:
        """The end of what it has written."""
        return self._log.read_text(errors="replace")[-2_000:] if self._log.exists() else ""

    def kill(self) -> bool:
        """Kill -9; false if it is dead already."""
        if self._process.poll() is not None:
            return False
        self._process.kill()
        self._process.wait()
        return True

    def stop(self, for_s: float) -> bool:
        """SIGSTOP, until `tend` lets it go on."""
        if self._process.poll() is not None:
            return False
        self._process.send_signal(signal.SIGSTOP)
        self._continue_at = max(self._continue_at or 0.0, time.monotonic() + for_s)
        return True

    def tend(self) -> None:
        """Let it go on when its stop is over; start it again when it has been dead for a moment."""
        now = time.monotonic()
        if self._continue_at is not None and now >= self._continue_at:
            self._continue_at = None
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGCONT)
        if self._process.poll() is None:
            self._died = None
        elif self._died is None:
            self._died = now
            if self._process.returncode != -signal.SIGKILL:
                self.fell.append(self._process.returncode)
        elif now - self._died > _RESTART_AFTER_S:
            self._died, self._continue_at = None, None
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process = self._start()

    def heal(self) -> None:
        """No stop lasts any longer."""
        if self._continue_at is not None:
            self._continue_at = 0.0
        self.tend()


class Server:
    """The embedded server: nobody's child. Who needs it starts it again; how long that takes is measured."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._killed: float | None = None
        self._stopped: tuple[int, float] | None = None
        self.away_s: list[float] = []
        """For each kill, how long it was until a server answered again."""
        self.left_dead = 0
        """So many times nobody started it again."""

    def kill(self) -> bool:
        """Kill -9; false if it is dead already."""
        process = living(self._data_dir)
        if process is None:
            return False
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        self._killed = self._killed or time.monotonic()
        return True

    def stop(self, for_s: float) -> bool:
        """SIGSTOP, until `tend` lets it go on."""
        process = living(self._data_dir)
        if process is None or self._stopped is not None:
            return False
        os.kill(process.pid, signal.SIGSTOP)
        self._stopped = process.pid, time.monotonic() + for_s
        return True

    def tend(self) -> None:
        """Let it go on when its stop is over; see whether it is back."""
        now = time.monotonic()
        if self._stopped is not None and now >= self._stopped[1]:
            with suppress(ProcessLookupError):
                os.kill(self._stopped[0], signal.SIGCONT)
            self._stopped = None
        if self._killed is None:
            return
        if embedded.find_server(self._data_dir) is not None:
            self.away_s.append(now - self._killed)
            self._killed = None
        elif now - self._killed > _LEFT_DEAD_S and living(self._data_dir) is None:
            self.left_dead += 1
            embedded.ensure(self._data_dir)

    def heal(self) -> None:
        """No stop lasts any longer."""
        if self._stopped is not None:
            self._stopped = self._stopped[0], 0.0
        self.tend()
