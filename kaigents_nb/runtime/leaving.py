"""How a process leaves: the SDK's core is made once, drained before the interpreter ends, and forgotten in a fork."""

from __future__ import annotations

import atexit
import gc
import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta

from temporalio.runtime import LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter

WORKER_HEARTBEAT = timedelta(seconds=1)
"""How often the server is told that this process's workers live: it keeps that in memory, which costs little."""
_EXIT_PAUSE_S = 0.1

_core: Runtime | None = None
_registered = False
_inherited: list[object] = []
"""In a forked process: what belongs to its parent."""


def sdk_core() -> Runtime:
    """Return the SDK's core, without its warnings in the notebook: what they are about shows on the card."""
    global _core
    if _core is None:
        log = LoggingConfig(filter=TelemetryFilter(core_level="ERROR", other_level="ERROR"))
        _core = Runtime(telemetry=TelemetryConfig(logging=log), worker_heartbeat_interval=WORKER_HEARTBEAT)
    return _core


def at_exit(drain: Callable[[], None], forget: Callable[[], object]) -> None:
    """Drain before the interpreter takes its threads apart; the SDK's own can crash it otherwise.

    In a process forked from this one ``forget`` is called instead; what it returns is the parent's, and is kept.
    """
    global _registered
    if _registered:
        return
    _registered = True

    def leave() -> None:
        global _core
        if _core is None:
            return  # forked, and never connected by itself
        drain()
        # Let go of the SDK's core while the interpreter is whole: its threads must not meet a half-finalized one.
        _core = None
        gc.collect()
        time.sleep(_EXIT_PAUSE_S)

    def in_fork() -> None:
        global _core
        # Kept, not dropped: letting go of the SDK's core would wait for threads that are not here.
        _inherited.extend((forget(), _core))
        _core = None

    # Executors are closed before ordinary atexit callbacks run, and the SDK's worker needs its own to drain.
    register: Callable[[Callable[[], None]], object] = getattr(threading, "_register_atexit", atexit.register)
    register(leave)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=in_fork)
