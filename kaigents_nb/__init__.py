"""Durable AI agents written in notebook cells, run as real Temporal workflows.

>>> import kaigents_nb as kg
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from kaigents_nb.loading import one_at_a_time

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import ParamSpec, TypeAlias, TypeVar

    from kaigents_nb.authoring.agent import Agent as _Agent
    from kaigents_nb.authoring.ask import ask as ask
    from kaigents_nb.authoring.ask import choose as choose
    from kaigents_nb.authoring.clock import now as now
    from kaigents_nb.authoring.clock import random as random
    from kaigents_nb.authoring.clock import sleep as sleep
    from kaigents_nb.authoring.clock import uuid4 as uuid4
    from kaigents_nb.authoring.gate import Decision as Decision
    from kaigents_nb.authoring.gate import approve as approve
    from kaigents_nb.authoring.mapping import map as map
    from kaigents_nb.authoring.options import Retry as Retry
    from kaigents_nb.authoring.progress import idempotency_key as idempotency_key
    from kaigents_nb.authoring.progress import progress as progress
    from kaigents_nb.authoring.progress import track as track
    from kaigents_nb.authoring.resource import resource as resource
    from kaigents_nb.authoring.step import Step as Step
    from kaigents_nb.authoring.step import step as step
    from kaigents_nb.authoring.this_run import publish as publish
    from kaigents_nb.authoring.this_run import this_run as this_run
    from kaigents_nb.control.diff import diff as diff
    from kaigents_nb.control.run import Run as Run
    from kaigents_nb.control.run import run as run
    from kaigents_nb.display.inbox import inbox as inbox
    from kaigents_nb.errors import AlreadyDecided as AlreadyDecided
    from kaigents_nb.errors import Fatal as Fatal
    from kaigents_nb.errors import InvalidAnswer as InvalidAnswer
    from kaigents_nb.errors import KaigentsError as KaigentsError
    from kaigents_nb.errors import NoOpenGate as NoOpenGate
    from kaigents_nb.errors import Rejected as Rejected
    from kaigents_nb.errors import RunCancelled as RunCancelled
    from kaigents_nb.errors import RunFailed as RunFailed
    from kaigents_nb.errors import RunTimeout as RunTimeout
    from kaigents_nb.history.runs_table import runs as runs
    from kaigents_nb.models.any_client import openai_client as openai_client
    from kaigents_nb.models.cassette import cassette as cassette
    from kaigents_nb.models.chat import chat as chat
    from kaigents_nb.models.mcp import mcp as mcp
    from kaigents_nb.models.model import Model as Model
    from kaigents_nb.models.model import model as model
    from kaigents_nb.models.reply import Reply as Reply
    from kaigents_nb.models.rows import chat_rows as chat_rows
    from kaigents_nb.people.pending import decisions as decisions
    from kaigents_nb.people.pending import pending as pending
    from kaigents_nb.replay.moment import Moment as Moment
    from kaigents_nb.runtime.connecting import connect as connect
    from kaigents_nb.runtime.connecting import disconnect as disconnect

    # What `start()` gives is known here, where all rooms are seen; where agents are written it is not.
    _P = ParamSpec("_P")
    _R = TypeVar("_R")
    Agent: TypeAlias = _Agent[_P, _R, Run]

    def agent(fn: Callable[_P, Coroutine[Any, Any, _R]], /) -> _Agent[_P, _R, Run]:
        """See :func:`kaigents_nb.authoring.agent.agent`."""

    from kaigents_nb.runtime.connection import Connection as Connection

__version__ = "0.1.0"

_HOMES = {
    "Agent": "authoring.agent",
    "AlreadyDecided": "errors",
    "Connection": "runtime.connection",
    "Decision": "authoring.gate",
    "Fatal": "errors",
    "InvalidAnswer": "errors",
    "KaigentsError": "errors",
    "Model": "models.model",
    "Moment": "replay.moment",
    "NoOpenGate": "errors",
    "Rejected": "errors",
    "Reply": "models.reply",
    "Retry": "authoring.options",
    "Run": "control.run",
    "RunCancelled": "errors",
    "RunFailed": "errors",
    "RunTimeout": "errors",
    "Step": "authoring.step",
    "agent": "authoring.agent",
    "approve": "authoring.gate",
    "ask": "authoring.ask",
    "cassette": "models.cassette",
    "chat": "models.chat",
    "chat_rows": "models.rows",
    "choose": "authoring.ask",
    "connect": "runtime.connecting",
    "decisions": "people.pending",
    "diff": "control.diff",
    "disconnect": "runtime.connecting",
    "idempotency_key": "authoring.progress",
    "inbox": "display.inbox",
    "map": "authoring.mapping",
    "mcp": "models.mcp",
    "model": "models.model",
    "now": "authoring.clock",
    "openai_client": "models.any_client",
    "pending": "people.pending",
    "progress": "authoring.progress",
    "publish": "authoring.this_run",
    "random": "authoring.clock",
    "resource": "authoring.resource",
    "run": "control.run",
    "runs": "history.runs_table",
    "sleep": "authoring.clock",
    "step": "authoring.step",
    "this_run": "authoring.this_run",
    "track": "authoring.progress",
    "uuid4": "authoring.clock",
}

__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used, so that the import itself costs nothing."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with one_at_a_time:
        value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
