"""What was not let in, or can't be read, stands in a payload as text that says why; whoever needs it raises that."""

from __future__ import annotations

import json
from collections.abc import Iterable

from temporalio import workflow
from temporalio.api.common.v1 import Payload

from kaigents_nb import errors
from kaigents_nb.errors import ConversionError, KaigentsError, SnapshotError, UntrustedCode

_REFUSED = "kaigents-refused"
"""Payload metadata: the error's class."""


def refused(error: Exception) -> Payload:
    """Return what stands for code that was not let in: text that names no code."""
    return _refused(error, type(error) if isinstance(error, SnapshotError) else UntrustedCode)


def lost(error: Exception) -> Payload:
    """Return what stands for a value that can't be read, whose file is missing for example."""
    return _refused(error, ConversionError)


def _refused(error: Exception, kind: type[KaigentsError]) -> Payload:
    return Payload(
        data=json.dumps(f"refused: {error}").encode(),
        metadata={"encoding": b"json/plain", _REFUSED: kind.__name__.encode()},
    )


def is_lost(payload: Payload) -> bool:
    """Whether a payload stands for a value that can't be read."""
    return payload.metadata.get(_REFUSED) == ConversionError.__name__.encode()


def check_found(payload: Payload) -> None:
    """Raise ConversionError where a payload stands for a value that can't be read."""
    if is_lost(payload):
        check_admitted(payload)


def check_admitted(payload: Payload) -> None:
    """Raise what a payload was refused with, where it stands for something else.

    Raises
    ------
    SnapshotError, UntrustedCode, ConversionError
        As unpacking or reading did.
    """
    kind = payload.metadata.get(_REFUSED)
    if kind is not None:
        raised = getattr(errors, kind.decode("ascii", "replace"), ConversionError)
        raise raised(str(json.loads(payload.data)).removeprefix("refused: "))


async def wait_until_readable(payloads: Iterable[Payload]) -> None:
    """Go on, in a workflow, when all can be read: until then the run stands still, and the agent is not told.

    The task fails, with the reason on the card, and is tried again until the file is back.
    """
    try:
        for payload in payloads:
            check_admitted(payload)
    except KaigentsError as error:
        await fail_the_task(error)


async def fail_the_task(error: Exception) -> None:
    """Fail the workflow's task, which is tried again by itself; an error raised in the agent would be its own."""

    def fail() -> bool:
        raise error

    await workflow.wait_condition(fail)
