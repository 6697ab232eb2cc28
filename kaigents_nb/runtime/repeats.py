"""What earlier attempts of a call ended with: the same thing three times in a row is a bug, and parks.

Where only the words of an error differ, more of them are needed.

An attempt knows it from the last heartbeat of the one before, which the server keeps. An error is noted there when it
is raised. A worker that dies with its attempt notes nothing: then the server is asked whether the attempt fell silent,
and what is counted is noted before the step begins once more.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import socket
import traceback
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import psutil
from temporalio.api.enums.v1 import TimeoutType
from temporalio.api.failure.v1 import Failure

from kaigents_nb.errors import ForbiddenInStep
from kaigents_nb.snapshot.local_modules import is_local_filename

IN_A_ROW = 3
ALIKE_IN_A_ROW = 10
"""So many errors that differ in their words only: what is different may come right, and at first nobody knows."""
_ADDRESS = re.compile(r"0x[0-9a-fA-F]+")
_OF_ANY_VALUE = (RecursionError, LookupError, FileNotFoundError, NotADirectoryError, IsADirectoryError)
"""The same on the same line whatever they name: a key made of the time, a file in a folder with a name of chance."""
_OF_A_VALUE = (ValueError, ArithmeticError)
"""Raised by a line of the analyst's own, they say that a value is wrong, whichever it is this time. Other classes, and
what libraries raise, may be a service's: a text that changes is then a sign of life."""
_ALIKE_S = 3.0
"""Deaths of a worker count as the same when they came about equally long after the step began: a kernel that somebody
restarts dies at any time, a step that takes too much memory or crashes does it at its own. So exact are heartbeats."""

_TOLD_S = 5.0
"""Until the server surely knows that a step has outlived that time: it is told every second."""


@dataclass(frozen=True)
class Record:
    """What an attempt leaves to the next one."""

    attempt: int = 0
    """Which attempt wrote it; 0: none did."""
    failed: bool = False
    """It ended with an error, which is noted here."""
    error: str = ""
    """What tells the last error from others, and where it was raised."""
    times: int = 0
    """So often in a row."""
    alike: str = ""
    """The same, but for its words; nothing where these count."""
    alike_times: int = 0
    deaths: tuple[float, ...] = ()
    """Of workers, in a row: so many seconds after the step began."""
    ran_s: float = -1
    """How long the attempt has been executing the step; less than 0: it has not begun."""
    process: str = ""
    """Which process executes it: see :func:`this_process`."""

    def to_wire(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {**vars(self), "deaths": list(self.deaths)}

    @classmethod
    def from_wire(cls, data: object) -> Record:
        """Read the JSON form; one that is not in order is none."""
        try:
            assert isinstance(data, Mapping)
            return cls(**{**data, "deaths": tuple(float(one) for one in data["deaths"])})
        except (AssertionError, TypeError, ValueError, LookupError):
            return cls()


def after_death(before: Record, attempt: int) -> Record:
    """Return the record of an attempt whose predecessor's worker died."""
    known = before if before.attempt == attempt - 1 else None
    if known is not None and (known.ran_s < 0 or _lives(known.process)):
        # It had not begun, or its worker was stopped for a while, as a closed laptop is: not its fault.
        return Record(attempt, deaths=before.deaths)
    ran_s = known.ran_s if known is not None else 0.0
    alike = not before.deaths or _shortest(before.deaths[-1]) <= ran_s <= _longest(before.deaths[-1])
    return Record(attempt, deaths=(*(before.deaths if alike else ()), ran_s))


def _shortest(ran_s: float) -> float:
    return min(ran_s - _ALIKE_S, ran_s / 2)


def _longest(ran_s: float) -> float:
    return max(ran_s + _ALIKE_S, ran_s * 2)


@cache
def _born(pid: int) -> float:
    return psutil.Process(pid).create_time()


def this_process() -> str:
    """Return what tells this process from all others, also from later ones of its number."""
    pid = os.getpid()
    return f"{pid}@{socket.gethostname()} {_born(pid)}"


def _lives(process: str) -> bool:
    """Whether that process is surely alive: on this machine, and the same."""
    name, _, born = process.rpartition(" ")
    pid, _, host = name.partition("@")
    if host != socket.gethostname() or not pid.isdecimal():
        return False
    try:
        alive = psutil.Process(int(pid))
        return str(alive.create_time()) == born and alive.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def after_error(before: Record, error: str, alike: str = "") -> Record:
    """Return the record of an attempt that has raised an error; ``before`` is what it began with."""
    times = before.times + 1 if before.error == error else 1
    alike_times = (before.alike_times + 1 if before.alike == alike else 1) if alike else 0
    return Record(failed=True, error=error, times=times, alike=alike, alike_times=alike_times)


def same_error(error: BaseException, filename: str) -> str:
    """Return what tells an error from others: its class, the analyst's line, and mostly its message."""
    message = "" if isinstance(error, _OF_ANY_VALUE) else _ADDRESS.sub("0x", _text(error))
    return _digest(error, filename, message)


def alike_error(error: BaseException, filename: str) -> str:
    """Return the same without the message, for an error that a line of the analyst's raises over a value; else ""."""
    frames = traceback.extract_tb(error.__traceback__)
    own = frames and (frames[-1].filename == filename or is_local_filename(frames[-1].filename, filename))
    return _digest(error, filename, "") if own and isinstance(error, _OF_A_VALUE) else ""


def _digest(error: BaseException, filename: str, message: str) -> str:
    own = [(f.name, f.lineno) for f in traceback.extract_tb(error.__traceback__) if f.filename == filename]
    # Where a recursion ends is chance; where it began is not.
    line = own[0 if isinstance(error, RecursionError) else -1] if own else None
    kind = f"{type(error).__module__}.{type(error).__qualname__}"
    return hashlib.sha256(f"{kind}\n{line}\n{message}".encode("utf-8", "replace")).hexdigest()[:16]


def stays(record: Record, error: BaseException) -> bool:
    """Whether an error came so often in a row that it is taken for a bug; one in other words each time says so."""
    if record.times >= IN_A_ROW:
        return True
    if record.alike_times < ALIKE_IN_A_ROW:
        return False
    error.add_note(
        f"{type(error).__name__} from the same line {record.alike_times} times in a row, in other words each time: "
        "taken for a bug. If it would pass, run.retry_now() tries again; retry=kg.Retry(max_attempts=…) never parks."
    )
    return True


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - an exception that can't say what it is
        return ""


def fell_silent(failure: Failure) -> bool:
    """Whether an attempt ended because its worker sent no heartbeats any more."""
    silent = TimeoutType.TIMEOUT_TYPE_HEARTBEAT
    return failure.HasField("timeout_failure_info") and failure.timeout_failure_info.timeout_type == silent


def takes_workers_down(step: str, deaths: tuple[float, ...]) -> ForbiddenInStep:
    """Return the error for a step that has taken its worker down too often."""
    when = ", ".join(f"{ran_s:.0f} s" for ran_s in deaths)
    return ForbiddenInStep(
        f"The worker died {len(deaths)} times in a row while it executed {step} ({when} after it began): it crashed in "
        "C code, ended by os._exit(), took more memory than there is, or was killed. Correct the step's cell, run it, "
        "then run.mend(). If somebody else killed the worker, run.retry_now()."
    )


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


@asynccontextmanager
async def one_at_a_time(record: Record) -> AsyncIterator[None]:
    """Have steps that are one death from being parked begin one after the other: so it is known whose fault it is.

    Each has its turn until it has ended, or has outlived the time at which its workers died.
    """
    if len(record.deaths) < IN_A_ROW - 1:
        yield
        return
    loop = asyncio.get_running_loop()
    turn = _turns.setdefault(loop, asyncio.Lock())
    await turn.acquire()
    outlived = loop.call_later(_longest(record.deaths[-1]) + _TOLD_S, turn.release)
    try:
        yield
    finally:
        if outlived.when() > loop.time():
            outlived.cancel()
            turn.release()
