"""The calls of a run, and what a failure says to an analyst."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure

from kaigents_nb.history.view import AttemptView, StepView
from kaigents_nb.runtime.lacking import LACKS_MODULE
from kaigents_nb.runtime.payloads import plain
from kaigents_nb.runtime.repeats import fell_silent
from kaigents_nb.runtime.seeds import Seed


def utc(stamp: Timestamp) -> datetime | None:
    """Return a server time, or None where it is not set."""
    return stamp.ToDatetime(tzinfo=UTC) if stamp.seconds or stamp.nanos else None


def failure_details(failure: Failure) -> dict[str, Any]:
    """Return what a step's failure recorded about the analyst's exception."""
    payloads = failure.application_failure_info.details.payloads
    found = plain(payloads[0]) if payloads and payloads[0].metadata.get("encoding") == b"json/plain" else None
    return found if isinstance(found, dict) else {}


def own_failure(failure: Failure) -> Failure:
    """Return the analyst's exception under what the server put round it."""
    while failure.HasField("cause") and not failure.HasField("application_failure_info"):
        failure = failure.cause
    return failure


def failure_text(failure: Failure) -> str:
    """Return a failure as an analyst reads it: their traceback where there is one, else the message."""
    failure = own_failure(failure)
    known = failure_details(failure)
    if failure.HasField("timeout_failure_info"):
        return "The worker died or was cut off, or the attempt took longer than its timeout."
    return str(known.get("traceback") or failure.message)


def lacks_module(failure: Failure) -> bool:
    """Whether a worker left something to others, for it lacks a module."""
    return own_failure(failure).application_failure_info.type == LACKS_MODULE


@dataclass
class Call:
    """One call of a step or agent; ``payloads`` are its arguments and result, not decoded."""

    view: StepView
    keywords: tuple[str, ...] = ()
    positional: int = 0
    arguments: tuple[Payload, ...] = ()
    result: Payload | None = None
    failure: Failure | None = None
    activity_id: str = ""
    earlier_attempts: int = 0
    """Attempts before the call was mended or retried by hand."""
    activity_scheduled: datetime | None = None
    """When the server got it last: for the first time, mended, or retried by hand."""
    scheduled_event: int = 0
    activity_event: int = 0
    """At which event the server got it last."""
    closed_event: int = 0
    code: str = ""
    detached: bool = False
    """Whether it started a run of its own; a call of an agent waits for its result."""
    seed: Seed | None = None

    @property
    def is_left_to_others(self) -> bool:
        """Whether no worker has taken it since one declined."""
        return self.view.status == "retrying" and self.failure is not None and lacks_module(self.failure)


def earlier_attempts(call: Call, attempt: int, ended: datetime | None, failure: Failure) -> tuple[AttemptView, ...]:
    """Return the attempts before one that the server counts as number ``attempt``: one entry, or none."""
    if attempt < 2:
        return ()
    first, last = call.earlier_attempts + 1, call.earlier_attempts + attempt - 1
    text, lost = failure_text(failure), fell_silent(failure)
    return (AttemptView(first, last, "failed", call.activity_scheduled, ended, text, lost=lost),)
