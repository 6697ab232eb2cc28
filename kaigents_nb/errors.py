"""Everything kaigents_nb raises.

::

    KaigentsError
    ├── ServerError            the server can't be found, started or reached
    │   ├── ServerNotFound         no server binary on this machine
    │   ├── ServerNotReady         started or addressed, but does not answer
    │   └── DatabaseError          the embedded server's file is corrupt, locked or unwritable
    ├── SnapshotError          the code of a run
    │   ├── CannotFreeze           a name in a cell can't travel with the run
    │   └── UntrustedCode          unsigned, altered or signed with another key
    ├── ConversionError        a value can't be saved or read back
    ├── RunError               one run; carries ``run_id``
    │   ├── RunNotFound
    │   ├── RunFailed              also what ``run.result()`` raises, with the analyst's traceback
    │   ├── RunCancelled           cancelled or terminated
    │   └── RunTimeout             ``result(timeout=…)`` ran out; the run itself goes on
    ├── GateError              a decision
    │   ├── NoOpenGate             nothing waits, or not under that name
    │   ├── AlreadyDecided         somebody else was first; carries ``decision``
    │   ├── InvalidAnswer          the value does not fit what is asked for; carries ``faults`` by field
    │   ├── Rejected               raised in the agent: the person gave no value; carries ``decision``
    │   └── NotYetKnown            it was sent, and may count: the run does not say yet
    ├── ReplayError            looking back
    │   ├── NoSuchMoment           the known ones are listed
    │   ├── HistoryGone            deleted by the server's retention
    │   └── ReplayDiverged         the recorded code no longer gives the recorded history
    ├── ModelError             a model can't be asked, or answers something else
    │   ├── ModelUnreachable       no answer; asked again for ever
    │   ├── ModelRefused           an HTTP error, with ``status_code``
    │   ├── ModelKeyMissing        the key's reference leads nowhere on this worker
    │   ├── NotRecorded            a cassette that is played back has no answer to this request
    │   └── AnswerNotAccepted      what it answered is cut off, filtered, garbled or not what was asked for
    ├── ForbiddenInAgent       a call that can't be replayed, such as ``datetime.now()``
    ├── ForbiddenInStep        a step did what would harm its worker, such as ``sys.exit()``
    ├── StepFailed             a step's error whose own class can't be rebuilt in the agent
    └── Fatal                  raise it in a step: never retried, raised in the agent

Wrong arguments stay ``TypeError`` and ``ValueError``. Every message has the fact, the value, the known
alternatives and the next action.
"""

from __future__ import annotations

from typing import Any


class KaigentsError(Exception):
    """Root of all errors of this library."""


class ServerError(KaigentsError):
    """The Temporal server can't be found, started or reached."""


class ServerNotFound(ServerError):
    """No Temporal server binary is installed, and none could be fetched."""


class ServerNotReady(ServerError):
    """The server was started, or an address was given, but it does not answer."""


class DatabaseError(ServerError):
    """The embedded server's database file is corrupt, locked or can't be written."""


class SnapshotError(KaigentsError):
    """The code that a run carries."""


class CannotFreeze(SnapshotError):
    """A name that an agent needs can't travel with the run."""


class UntrustedCode(SnapshotError):
    """Code that is unsigned, altered, or signed with a key this worker does not have."""


class ConversionError(KaigentsError):
    """A value can't be saved in the history, or can't be read back."""


class RunError(KaigentsError):
    """Something about one run."""

    def __init__(self, message: str, *, run_id: str = "") -> None:
        super().__init__(message)
        self.run_id = run_id


class RunNotFound(RunError):
    """No run with that id on this server."""


class RunFailed(RunError):
    """The agent raised; the message holds the analyst's own traceback."""


class RunCancelled(RunError):
    """The run was cancelled or terminated."""


class RunTimeout(RunError):
    """The time given to ``result()`` is over; the run itself goes on."""


class GateError(KaigentsError):
    """A decision could not be taken."""


class NoOpenGate(GateError):
    """Nothing waits for a decision, or not under that name."""


class AlreadyDecided(GateError):
    """Somebody else decided first; ``decision`` has who, what and when."""

    def __init__(self, message: str, *, decision: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.decision = decision or {}


class InvalidAnswer(GateError, ValueError):
    """A value does not fit what a gate asks for, and the gate stays open; ``faults`` has what is wrong, by field."""

    def __init__(self, message: str, *, faults: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.faults = faults or {}


class Rejected(GateError):
    """Raised in an agent: a person has rejected a question instead of giving a value; ``decision`` has who and why."""

    def __init__(self, message: str, *, decision: Any = None) -> None:
        super().__init__(message)
        self.decision = decision


class NotYetKnown(GateError):
    """A decision was sent, and nobody knows yet whether it counts: the run's history will have it."""


class ReplayError(KaigentsError):
    """Looking back at a run failed."""


class NoSuchMoment(ReplayError):
    """No such moment in the history; the message lists the known ones."""


class HistoryGone(ReplayError):
    """The server's retention has deleted the history."""


class ReplayDiverged(ReplayError):
    """Replaying the recorded code did not give the recorded history."""


class ModelError(KaigentsError):
    """A model can't be asked, or does not answer what is asked for."""


class ModelUnreachable(ModelError):
    """No answer came: no connection, cut off, or too late. It is asked again for ever."""

    sent: bool = True
    """Whether the request may have got there, and so may have been answered and paid."""


class ModelRefused(ModelError):
    """The model's server answered with an HTTP error, of the status ``status_code``."""

    status_code: int
    response: Any
    """With ``headers``, which may say when to ask again."""


class ModelKeyMissing(ModelError):
    """The reference to a model's key leads nowhere on this worker."""


class NotRecorded(ModelError):
    """A cassette that is played back has no answer to this request; the message lists what it has."""


class AnswerNotAccepted(ModelError):
    """What a model answered is cut off, filtered, garbled or not what was asked for, as often as it was asked."""


class ForbiddenInAgent(KaigentsError):
    """An agent did what can't be replayed; the message names the line and the way out."""


class ForbiddenInStep(KaigentsError):
    """A step did what no retry mends, such as ``sys.exit()``, ``input()`` or asking for a gate."""


class StepFailed(KaigentsError):
    """A step failed with an exception class that the agent does not know."""


class Fatal(KaigentsError):
    """Raise it in a step to give up at once: no retry; the agent sees it as an exception."""
