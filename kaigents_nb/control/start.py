"""Start a run: freeze the code, sign it, hand both to the server."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from kaigents_nb.authoring.agent import Agent
from kaigents_nb.control.run import Run
from kaigents_nb.control.submit import submit
from kaigents_nb.runtime.code import hold
from kaigents_nb.runtime.connecting import current
from kaigents_nb.runtime.payloads import call_arguments
from kaigents_nb.runtime.protocol import Launch
from kaigents_nb.runtime.queue import home
from kaigents_nb.snapshot.freeze import freeze
from kaigents_nb.snapshot.lint import lint


def start(agent: Agent[..., Any, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], *, id: str | None) -> Run:
    """Start a run of an agent and return its handle; see :meth:`Agent.start`."""
    snapshot = freeze(agent, values=(args, kwargs))
    lint(snapshot)
    payloads, keywords = call_arguments(args, kwargs, f"agent {agent.name}")
    connection = current()
    code = hold(snapshot, snapshot.pack(connection.key))
    launch = Launch(
        agent=snapshot.root,
        code=snapshot.digest,
        positional=len(args),
        keywords=keywords,
        attribute=connection.attribute,
        chance=secrets.randbits(64),
    )
    return Run(connection, submit(connection, agent.name, launch, code, payloads, id=id, origin={"home": home()}))
