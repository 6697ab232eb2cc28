"""A worker that lacks a module which the code had where it was started: its work is left to one that has it.

Nothing fails and nothing is parked for that. An attempt of a step is handed back to the server, to be made soon again
by whoever asks first; the task of an agent likewise. Where no worker has the module the run waits, and goes on when it
was installed or an able worker has come.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import socket
import sys
from collections.abc import Iterable
from datetime import timedelta

from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from kaigents_nb.snapshot.module import Snapshot

ELSEWHERE = "elsewhere"
"""What such a failure does, beside ``park``, ``raise`` and ``retry``."""
LACKS_MODULE = "LacksModule"
"""Its type, as the server stores it."""
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.05, 2.0
_DOUBLINGS = 6


class LacksModule(Exception):
    """Raised in a workflow, it fails the task and not the run: the server gives the task to another worker."""

    def __init__(self, top: str, snapshot: Snapshot) -> None:
        super().__init__(sentence(top, snapshot))


def sentence(top: str, snapshot: Snapshot) -> str:
    """Return what is lacking here and what to do, for the card."""
    package = snapshot.installed.get(top, top)
    return (
        f"The run waits for a worker that has: {top} (pip install {package}). The worker {os.getpid()} on "
        f"{socket.gethostname()} lacks it; the run goes on when it is installed there, or when another worker has it."
    )


def lacked(error: BaseException | None, snapshot: Snapshot) -> str | None:
    """Return the module for which an error says that only this process lacks it; None for any other error."""
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return None
    return first_lacked([error.name.partition(".")[0]], snapshot)


def first_lacked(tops: Iterable[str], snapshot: Snapshot) -> str | None:
    """Return the first of some modules that the code had where it was frozen, and that can't be found here."""
    return next((top for top in tops if snapshot.had(top) and not is_here(top)), None)


def is_here(top: str) -> bool:
    """Tell whether a module can be imported in this process, also one that was installed a moment ago."""
    if sys.modules.get(top) is not None:
        return True
    importlib.invalidate_caches()
    try:
        return importlib.util.find_spec(top) is not None
    except (ImportError, ValueError):
        return False


def wait_s(times: int) -> float:
    """Return how long to wait after so many workers have declined: another is asked at once, none not all the time."""
    return min(_FIRST_WAIT_S * float(2 ** min(times, _DOUBLINGS)), _LONGEST_WAIT_S)


def declined(top: str, snapshot: Snapshot, attempt: int, *, limited: bool) -> ApplicationError:
    """Return the failure of an attempt that this worker can't make.

    Where the attempts of a step are ``limited``, such a one must not be among them: the run then starts the call anew.
    """
    text = sentence(top, snapshot)
    return ApplicationError(
        text,
        {"do": ELSEWHERE, "traceback": text, "made": attempt - 1},
        type=LACKS_MODULE,
        non_retryable=limited,
        next_retry_delay=None if limited else timedelta(seconds=wait_s(attempt)),
        category=ApplicationErrorCategory.BENIGN,
    )


def keep_quiet() -> None:
    """Let the SDK not log, into somebody's cell, tasks that were left to another worker: the card says it."""
    for name in ("temporalio.worker._workflow_instance", "temporalio.worker._workflow"):
        logger = logging.getLogger(name)
        if _not_ours not in logger.filters:
            logger.addFilter(_not_ours)


def _not_ours(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], LacksModule))
