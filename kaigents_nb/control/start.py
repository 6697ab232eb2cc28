"""Start a run of an agent of this process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kaigents_nb.authoring.agent import Agent
from kaigents_nb.control.prepare import Arguments, frozen, prepare, signed
from kaigents_nb.control.run import Run
from kaigents_nb.control.submit import submit
from kaigents_nb.runtime.connecting import current
from kaigents_nb.runtime.queue import home


def start(agent: Agent[..., Any, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], *, id: str | None) -> Run:
    """Start a run of an agent and return its handle; see :meth:`Agent.start`."""
    snapshot = frozen(agent, (args, kwargs))
    arguments = Arguments.of(agent.name, args, kwargs)
    connection = current()  # only now: what can't be started needs no server
    prepared = prepare(connection, agent.name, signed(connection, snapshot), arguments)
    return Run(connection, submit(connection, prepared, id=id, origin={"home": home()}))
