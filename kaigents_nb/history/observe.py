"""The history of one run as far as this process has read it: each page once, for all who look."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import ParentClosePolicy
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflow.v1 import PendingChildExecutionInfo
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionResponse
from temporalio.service import RPCError, RPCStatusCode

from kaigents_nb.errors import KaigentsError, RunNotFound
from kaigents_nb.gates.question import Question
from kaigents_nb.history.decoding import Decoder
from kaigents_nb.history.fold import RunFold
from kaigents_nb.history.view import MessageView
from kaigents_nb.runtime.connection import Connection
from kaigents_nb.runtime.protocol import DECIDE_SIGNAL
from kaigents_nb.runtime.refused import lost
from kaigents_nb.runtime.seeds import Seed, unpack_seeds
from kaigents_nb.runtime.supervisor import is_coming_up


def not_found(run_id: str, error: RPCError) -> RunNotFound | RPCError:
    """Return our error for a run the server does not know; one that comes up does not know any, and is waited for."""
    if is_coming_up(error):
        return RPCError(error.message, RPCStatusCode.UNAVAILABLE, error.raw_grpc_status)
    return RunNotFound(
        f"No run {run_id!r} on this server ({error.message}). kg.runs() lists the known ones; runs are deleted when "
        "the server's retention is over.",
        run_id=run_id,
    )


def running_called(children: Iterable[PendingChildExecutionInfo]) -> list[str]:
    """Return the ids of the agents that a run waits for; a run of its own that it has started is none of them."""
    detached = ParentClosePolicy.PARENT_CLOSE_POLICY_ABANDON
    return [child.workflow_id for child in children if child.parent_close_policy != detached]


async def describe(
    connection: Connection, run_id: str, execution: str | None = None
) -> DescribeWorkflowExecutionResponse:
    """Ask the server for a run as it is now: its execution, how long its history is, and what is pending."""
    handle = connection.client.get_workflow_handle(run_id, run_id=execution)
    try:
        return (await handle.describe()).raw_description
    except RPCError as error:
        if error.status in (RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT):
            raise not_found(run_id, error) from None
        raise


class Observer:
    """One execution of a run, read so far; shared by all who look, so made by ``observed()`` only.

    Everything here runs on the library's loop. The fold may grow at every ``await``.
    """

    def __init__(self, connection: Connection, run_id: str, execution: str) -> None:
        self.connection = connection
        self.run_id = run_id
        self.execution = execution
        """Temporal's run id: a reset gives a run another one."""
        self.fold = RunFold()
        self.decoder = Decoder(connection, self.fold)
        self.ended = False
        """Whether the last event has been read: no more will come."""
        self.description = DescribeWorkflowExecutionResponse()
        """As it was at the last look."""
        self.details: dict[str, Any] = {}
        """What gates ask about, decoded."""
        self.unread: set[str] = set()
        """The gates whose details can't be read here."""
        self.said: dict[str, tuple[MessageView, ...]] = {}
        """By call of a model, what was said in it, decoded."""
        self.called: dict[str, Observer] = {}
        """Called agents that are or were at a gate while this run was looked at."""
        self._token = b""
        """Where the next page begins."""
        self._page: _Page | None = None
        self._numbered = False
        """Whether the server gives what is in a history a task id, as Temporal's own does."""

    async def take(self, description: DescribeWorkflowExecutionResponse) -> None:
        """Read what the server had when it described the run."""
        self.description = description
        length = description.workflow_execution_info.history_length
        while not self.ended and (self.fold.last_event < length or self.fold.seeds_payload is not None):
            await self._next_page()

    async def catch_up(self) -> None:
        """Ask the server for the run as it is now, and read what is new."""
        await self.take(await describe(self.connection, self.run_id, self.execution))

    async def grown(self, seen: int) -> bool:
        """Wait until the history goes on after event ``seen``; false when it has ended there."""
        while not self.ended and self.fold.last_event <= seen:
            await self._next_page()
        return self.fold.last_event > seen

    def open_gates(self) -> list[Question]:
        """Return the gates that wait, as far as was read: of this run, and of the agents it called."""
        if self.fold.closed:
            return []
        gates = [gate.asked for gate in self.fold.gates.values() if gate.is_open]
        return gates + [gate for called in self.called.values() for gate in called.open_gates()]

    async def _next_page(self) -> None:
        """Read on: one request, whose answer the server holds back until there is one, for all who wait for it."""
        page = self._page
        if page is None or page.request.done():
            page = self._page = _Page(asyncio.create_task(self._read()))
        page.waiting += 1
        try:
            await asyncio.shield(page.request)
        finally:
            page.waiting -= 1
            if not page.waiting and not page.request.done():
                # Nobody waits for it any more. Whoever comes next makes a request of their own.
                page.request.cancel()
                self._page = None

    async def _read(self) -> None:
        handle = self.connection.client.get_workflow_handle(self.run_id, run_id=self.execution)
        # With wait_new_event a page that has events comes at once, and its token leads on for ever. Without, the
        # server reads from the beginning whatever token it is given.
        pages = handle.fetch_history_events(wait_new_event=True, next_page_token=self._token or None)
        try:
            await pages.fetch_next_page()
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                raise not_found(self.run_id, error) from None
            if error.status != RPCStatusCode.INVALID_ARGUMENT or not self._token:
                raise
            # A token that the server no longer takes: from the beginning; what is known is passed over.
            self._token = b""
            return
        for event in pages.current_page or ():
            await self._take(event)
        # Only now: if this was cancelled before, the page is read again.
        self._token = pages.next_page_token or b""
        self.ended = not self._token

    async def _take(self, event: HistoryEvent) -> None:
        if event.event_id == 1:
            self._numbered = bool(event.task_id)
        # A task under way is shown with the history though it is not in it, under ids that others may get.
        recorded = bool(event.task_id) or not self._numbered
        if recorded and event.event_id > self.fold.last_event:
            for error in await complete(self.connection, event):
                self.fold.unreadable.append(f"Event {event.event_id} can't be read here: {error}")
            self.fold.add(event)
        if self.fold.seeds_payload is not None:
            seeds: list[Seed] = []
            try:
                seeds = unpack_seeds(await self.connection.fetch(self.fold.seeds_payload))
            except (KaigentsError, OSError) as error:
                self.fold.unreadable.append(f"The calls that this fork took over can't be shown here: {error}")
            self.fold.take_seeds(seeds)


@dataclass
class _Page:
    request: asyncio.Task[None]
    waiting: int = 0


async def complete(connection: Connection, event: HistoryEvent) -> list[Exception]:
    """Put what a person wrote into the event of the decision: it may be long enough to lie in a file.

    Returns why, where a file can't be read. Such a decision counts for nothing.
    """
    errors: list[Exception] = []
    for payload in _decision(event):
        try:
            payload.CopyFrom(await connection.fetch(payload))
        except (KaigentsError, OSError) as error:
            payload.CopyFrom(lost(error))
            errors.append(error)
    return errors


def _decision(event: HistoryEvent) -> Sequence[Payload]:
    if event.HasField("workflow_execution_update_accepted_event_attributes"):
        return event.workflow_execution_update_accepted_event_attributes.accepted_request.input.args.payloads
    if event.workflow_execution_signaled_event_attributes.signal_name == DECIDE_SIGNAL:
        return event.workflow_execution_signaled_event_attributes.input.payloads
    return ()
