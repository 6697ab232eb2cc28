"""Prepare a run: freeze and sign its code, save its arguments, and build its header."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from temporalio.common import RawValue

from kaigents_nb.authoring.agent import Agent
from kaigents_nb.authoring.context import Tape, tape
from kaigents_nb.authoring.step import Step
from kaigents_nb.runtime.code import Code, hold
from kaigents_nb.runtime.connection import Connection
from kaigents_nb.runtime.payloads import META_OWN, call_arguments
from kaigents_nb.runtime.protocol import Launch, launch
from kaigents_nb.snapshot.freeze import freeze
from kaigents_nb.snapshot.lint import lint
from kaigents_nb.snapshot.module import Snapshot
from kaigents_nb.values.encode import Check


@dataclass(frozen=True)
class Arguments:
    """What an agent is called with, saved: positional values first, then those by keyword."""

    payloads: tuple[RawValue, ...]
    positional: int
    keywords: tuple[str, ...]

    @classmethod
    def of(cls, agent: str, args: Sequence[Any], kwargs: Mapping[str, Any], check: Check | None = None) -> Arguments:
        """Save the arguments of a call; ``check`` refuses classes that the run could not read.

        Raises
        ------
        ConversionError
            When one can't be saved.
        """
        payloads, keywords = call_arguments(args, kwargs, f"agent {agent}", {META_OWN: "1"}, check)
        return cls(tuple(payloads), len(args), keywords)


@dataclass(frozen=True)
class Prepared:
    """All that the server is handed for a run: ``payloads`` follow the header and the code."""

    agent: str
    launch: Launch
    code: Code
    payloads: tuple[RawValue, ...]


def prepare(
    connection: Connection,
    name: str,
    code: Code,
    arguments: Arguments,
    *,
    agent: str | None = None,
    chance: int | None = None,
    plays_from: Tape = (),
    more: Sequence[RawValue] = (),
    **taken_over: Any,
) -> Prepared:
    """Return a run that is ready to be started: ``agent`` is its global name in the code, by default the code's root.

    ``chance``, ``plays_from``, ``more`` payloads and ``taken_over`` are what only a fork brings from the run before.
    """
    header = launch(
        agent or code.snapshot.root,
        code.snapshot.digest,
        positional=arguments.positional,
        keywords=arguments.keywords,
        attribute=connection.attribute,
        chance=secrets.randbits(64) if chance is None else chance,
        tape=tape.get() or plays_from,
        **taken_over,
    )
    return Prepared(name, header, code, (*arguments.payloads, *more))


def frozen(root: Agent[..., Any, Any] | Step[..., Any], values: tuple[object, ...] = ()) -> Snapshot:
    """Freeze an agent or step of this process with all that it needs, look it over, and say what does not travel."""
    snapshot = freeze(root, values=values)
    lint(snapshot)
    for sentence in snapshot.told:
        # Not a warning: a filter that ignores those is one of the things that are told.
        print(f"{root.name}: {sentence}", file=sys.stderr, flush=True)
    return snapshot


def signed(connection: Connection, snapshot: Snapshot) -> Code:
    """Sign frozen code with the key of the data directory."""
    return hold(snapshot, snapshot.pack(connection.key))
