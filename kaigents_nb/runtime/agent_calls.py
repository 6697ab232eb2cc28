"""The agents that a run calls or starts: child workflows, with the same code."""

# No `from __future__ import annotations`: the SDK reads this room's annotations as objects.

import asyncio
import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue, WorkflowIDReusePolicy
from temporalio.exceptions import CancelledError, ChildWorkflowError, WorkflowAlreadyStartedError
from temporalio.workflow import ParentClosePolicy

from kaigents_nb.authoring.agent import Agent
from kaigents_nb.authoring.library_steps import agent_of_the_library
from kaigents_nb.runtime.budget import InFlightBudget, message_bytes
from kaigents_nb.runtime.code import Code
from kaigents_nb.runtime.protocol import MEMO_ORIGIN, TASK_TIMEOUT, Launch, launch, to_wire


@dataclass(frozen=True)
class Called:
    """A call of an agent: its number, and the arguments, saved."""

    call: str
    agent: Agent[..., Any, Any]
    payloads: Sequence[RawValue]
    positional: int
    keywords: tuple[str, ...]


class AgentCalls:
    """Executed in the workflow, so everything here replays."""

    def __init__(self, chance: random.Random) -> None:
        self.code: Code | None = None  # of the run, known when it begins
        self._chance = chance
        self._budget = InFlightBudget()

    async def perform(self, called: Called, caller: Launch) -> Payload:
        """Run an agent to its end and return its result, not decoded.

        Raises
        ------
        ChildWorkflowError
            With the agent's own error as its cause.
        """
        arguments = self._arguments(called, caller)
        size = message_bytes([len(item.payload.data) for item in arguments[1:]])
        await self._budget.enter(size)
        try:
            handle: workflow.ChildWorkflowHandle[Any, RawValue] = await workflow.start_child_workflow(
                called.agent.name,
                args=arguments,
                id=f"{workflow.info().workflow_id}/{called.agent.name}-{called.call}",
                result_type=RawValue,
                task_timeout=TASK_TIMEOUT,
                parent_close_policy=ParentClosePolicy.REQUEST_CANCEL,
            )
            self._budget.leave(size, calls=0)
            size = 0
            result = await handle
        except ChildWorkflowError as error:
            if isinstance(error.cause, CancelledError):
                raise asyncio.CancelledError from None
            raise
        finally:
            self._budget.leave(size)
        return result.payload

    async def start(self, called: Called, caller: Launch, run_id: str | None) -> str:
        """Start a run of its own, which goes on when this one ends, and return its id."""
        arguments = self._arguments(called, caller, call=called.call)
        size = message_bytes([len(item.payload.data) for item in arguments[1:]])
        info = workflow.info()
        own = hashlib.sha256(f"{info.first_execution_run_id} {called.call}".encode()).hexdigest()[:8]
        started = run_id or f"{called.agent.name}-{own}"
        await self._budget.enter(size)
        try:
            handle = await workflow.start_child_workflow(
                called.agent.name,
                args=arguments,
                id=started,
                task_timeout=TASK_TIMEOUT,
                memo={MEMO_ORIGIN: {"home": str(workflow.memo().get(MEMO_ORIGIN, {}).get("home", ""))}},
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                parent_close_policy=ParentClosePolicy.ABANDON,
            )
            handle.add_done_callback(_let_go)
        except WorkflowAlreadyStartedError:
            pass  # as start() in a cell does: that run
        finally:
            self._budget.leave(size)
        return started

    def _arguments(self, called: Called, caller: Launch, call: str = "") -> list[Any]:
        assert self.code is not None
        name = called.agent.name
        header = launch(
            agent=name if agent_of_the_library(name) else self.code.snapshot.agent_global(name),
            code=caller.code,
            positional=called.positional,
            keywords=called.keywords,
            attribute=caller.attribute,
            chance=self._chance.getrandbits(64),
            tape=caller.tape,
            call=call,
        )
        return [to_wire(header), self.code.payload(), *called.payloads]


def _let_go(ended: asyncio.Task[Any]) -> None:
    """Look at how a run of its own ended, so that Python does not complain that nobody did."""
    if not ended.cancelled():
        ended.exception()
