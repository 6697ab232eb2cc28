"""``Run``: the handle of one run, in this process or started by any other."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from typing import Any, Literal

import pandas as pd
from temporalio.client import WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from kaigents_nb.authoring.durations import Duration, seconds
from kaigents_nb.authoring.gate import Decision, to_decision
from kaigents_nb.control.approval import submit, take
from kaigents_nb.control.fork import StepKey, fork
from kaigents_nb.control.lookback import LookingBack
from kaigents_nb.control.mend import mend, retry_now
from kaigents_nb.control.orphans import adoptable_queue
from kaigents_nb.control.outcome import outcome
from kaigents_nb.control.prompt import Prompter
from kaigents_nb.errors import KaigentsError, NoOpenGate, RunTimeout
from kaigents_nb.gates.answer import Answer
from kaigents_nb.gates.question import Question
from kaigents_nb.gates.shown import shown
from kaigents_nb.history import frames, messages, model_calls
from kaigents_nb.history.assemble import view_of
from kaigents_nb.history.attending import attended
from kaigents_nb.history.following import Following
from kaigents_nb.history.observe import Observer, not_found
from kaigents_nb.history.observers import look_at_called, observed, observed_with_called
from kaigents_nb.history.view import RunView
from kaigents_nb.history.watch import settle, subscribe
from kaigents_nb.people.open_gates import open_gates
from kaigents_nb.runtime.connecting import current
from kaigents_nb.runtime.connection import Connection

_POLL_S = 0.2
_STATUS_S = 1.0
_KEPT = (
    "The server keeps the decision. Whether it counts is known when the worker that has the run in hand answers: "
    "waiting for that. An interrupt ends the waiting, not the decision."
)


class Run(LookingBack):
    """One run of an agent. Shown in a notebook it is a live card.

    ``kg.run(id)`` gives the handle of any run on the server; ``agent.start()`` that of a new one.

    Examples
    --------
    >>> run = sourcing_agent.start("solar panel")  # doctest: +SKIP
    >>> run.wait_for_gate()  # doctest: +SKIP
    >>> run.approve(choice="Supplier A")  # doctest: +SKIP
    >>> run.result()  # doctest: +SKIP
    """

    def __init__(self, connection: Connection, run_id: str) -> None:
        self._connection = connection
        self._observer: Observer | None = None
        """What was seen of the run, after the first look; of an ended one for good."""
        self.id = run_id

    # What it is doing.

    @property
    def status(self) -> str:
        """What the run does now.

        One of ``starting, running, waiting`` (at a gate), ``retrying, parked`` (a step has a bug: mend it),
        ``stuck`` (no worker can execute it), ``completed, failed, cancelled, terminated, timed out``. Source: the
        server, asked now.
        """
        return self.view().status

    @property
    def url(self) -> str:
        """Address of the run in Temporal's web UI, ``""`` where none is known."""
        return self.view().url

    def view(self) -> RunView:
        """Return everything that a card shows, as plain data; asked now.

        Raises
        ------
        RunNotFound
            When the server does not know the run (any more).
        """
        view = self._connection.run(self._look)
        shown.add(self.id, [gate.asked for gate in view.open_gates])
        return view

    async def _look(self) -> RunView:
        observer = await self._caught_up()
        await look_at_called(observer)
        return await view_of(observer)

    def watch(self, callback: Callable[[RunView], None], *, adopt: bool = True) -> Callable[[], None]:
        """Call back with the view now and on every change, at most four times a second, until the run has ended.

        The callback runs on a background thread. Returns a function that stops it. A run that is left without a
        worker meanwhile is adopted by this process, unless ``adopt`` is false.
        """

        def show(view: RunView) -> None:
            shown.add(self.id, [gate.asked for gate in view.open_gates])
            callback(view)

        return subscribe(self._connection, self.id, show, adopt=adopt)

    # Its result.

    def result(self, timeout: Duration | None = None) -> Any:
        """Wait for the run's end and return what the agent returned.

        While a gate is open it shows it and says where to decide, and asks right here where a terminal or notebook
        can answer: until there is an answer, somebody else has decided, or the time is over. An interrupt (■) stops
        the waiting, not the run.

        A cell that waits for this keeps its kernel: no other cell runs until it has ended. In a notebook an empty
        answer ends it. ``await run`` lets clicks on the card through; a cell that only shows ``run`` lets all through.

        Parameters
        ----------
        timeout
            Longest wait, at a gate too; ``None`` means no end.

        Raises
        ------
        RunFailed
            When the agent raised; the message has its traceback, ``__cause__`` its own exception.
        RunCancelled
            When it was cancelled or terminated.
        RunTimeout
            When the wait is over, or was ended by an empty answer; the run goes on.
        """
        limit_s = math.inf if timeout is None else seconds(timeout)
        end = time.monotonic() + limit_s
        waited = self._connection.post(self._outcome())
        prompter = Prompter(self, over=lambda: waited.done() or time.monotonic() >= end)
        try:
            while True:
                try:
                    return waited.result(max(min(_POLL_S, end - time.monotonic()), 0))
                except TimeoutError:
                    if waited.done():
                        raise
                if time.monotonic() >= end:
                    raise RunTimeout(
                        f"Run {self.id!r} goes on after {limit_s:g} s{self._state()}. Call result() again at any time.",
                        run_id=self.id,
                    )
                prompter.tick()
        finally:
            waited.cancel()
            prompter.close()

    def __await__(self) -> Generator[Any, None, Any]:
        """Wait in a cell or coroutine: ``value = await run``."""
        prompter = Prompter(self, awaiting=True)
        prompter.tick(force=True)
        return self._awaited(prompter).__await__()

    async def _awaited(self, prompter: Prompter) -> Any:
        waited = self._connection.post(self._outcome())
        here = asyncio.wrap_future(waited)
        # Whoever is interrupted does not ask what becomes of it: it must not be told in a later cell.
        here.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            # A kernel's loop that sleeps does not see an interrupt (■) before the next message: it would hit the next
            # cell that is executed.
            while not here.done():
                await asyncio.wait([here], timeout=_POLL_S)
                prompter.tell_outage()
            return here.result()
        finally:
            waited.cancel()

    async def _outcome(self) -> Any:
        try:
            return await outcome(self._connection, self.id)
        finally:
            # The cards show the end first: what executes a notebook saves what arrived before the cell ended.
            await settle(self._connection, self.id)

    def _state(self) -> str:
        """What the run does, for somebody who has waited for long enough: it must come in time."""
        outage = self._connection.supervisor.outage
        if outage is not None:
            return f". {outage.told}"
        try:
            return f": it is {self._connection.run(self._look, _STATUS_S).status!r}"
        except (TimeoutError, KaigentsError):
            return ": its server does not say what it does"

    # Deciding.

    def wait_for_gate(self, timeout: Duration | None = None) -> Question:
        """Wait until the run, or an agent it called, is at a gate, and return that gate.

        Raises
        ------
        NoOpenGate
            When the run ends without one.
        RunTimeout
            When the wait is over.
        """
        limit_s = None if timeout is None else seconds(timeout)

        async def look() -> list[Question]:
            observer = await observed_with_called(self._connection, self.id)
            async with Following(observer) as following:
                while not (gates := observer.open_gates()):
                    if observer.ended:
                        ended = f"Run {self.id!r} ended ({observer.fold.closed})"
                        raise NoOpenGate(f"{ended} without waiting at a gate.")
                    await following.change()
            return gates

        async def wait() -> Question:
            async with asyncio.timeout(limit_s), attended(self._connection, self.id):
                gates = await self._connection.supervisor.patiently(look)
            shown.see(self.id, gates)
            return gates[0]

        try:
            return self._connection.run(wait)
        except TimeoutError:
            raise RunTimeout(
                f"Run {self.id!r} is at no gate after {limit_s:g} s{self._state()}.", run_id=self.id
            ) from None

    def pending(self) -> pd.DataFrame:
        """Return the open gates of this run and the agents it called; columns as in ``kg.pending()``."""
        gates = self._connection.run(lambda: open_gates(self._connection, self.id))
        shown.see(self.id, gates)
        return frames.gates_frame(gates)

    def approve(
        self,
        gate: str | None = None,
        *,
        choice: str | None = None,
        values: Mapping[str, Any] | None = None,
        comment: str = "",
        by: str | None = None,
    ) -> Decision:
        """Approve at a gate; the run goes on.

        It is a decision on what was shown here: by the run's card, ``wait_for_gate()``, ``pending()``, ``status`` or
        ``kg.pending()``, in this process. If the run asks something else by now, or nothing was shown yet, nothing is
        decided: the error shows what is asked, and calling again decides on that.

        Parameters
        ----------
        gate
            Number, question or token of the gate, as ``pending()`` has them; needed only where several are open. A
            gate that is named need not have been shown.
        choice
            One of the gate's options, where it has some.
        values
            More for the agent: ``decision.values``.
        by
            Who decides; the default is the JupyterHub or operating system user.

        Raises
        ------
        AlreadyDecided
            When somebody was first; the message and ``.decision`` say who and when.
        NoOpenGate
            When nothing waits, or what was shown no longer does.
        GateError
            When nothing was shown yet, or the run asks something else by now.
        NotYetKnown
            When it was sent, and after a minute the history still does not say whether it counts.
        """
        return self._decide(
            gate, lambda asked: asked.answer(True, choice=choice, values=values, comment=comment, by=by or "")
        )

    def reject(self, gate: str | None = None, *, comment: str = "", by: str | None = None) -> Decision:
        """Reject at a gate; the agent gets ``approved=False`` and goes on as it was written. Raises as approve."""
        return self._decide(gate, lambda asked: asked.answer(False, comment=comment, by=by or ""))

    def answer(self, value: Any, gate: str | None = None, *, comment: str = "", by: str | None = None) -> Decision:
        """Give the value that a gate asks for (``kg.ask()``), or the option or options (``kg.choose()``).

        Parameters
        ----------
        value
            An instance of what is asked for, or the same as JSON has it: ``"2026-03-31"`` for a date, a dict for a
            model. A list where several options may be taken.
        gate
            As for :meth:`approve`, like all else.

        Raises
        ------
        InvalidAnswer
            When it does not fit what is asked for: says which field, ``.faults`` has all. The gate stays open.
        ValueError
            When it is none of the options.
        GateError
            As :meth:`approve` raises them; ``NotYetKnown`` also where the agent's own check needs a worker, and none
            is there: the server keeps the value.
        """
        return self._decide(gate, lambda asked: asked.answered(value, comment=comment, by=by or ""))

    def _decide(self, gate: str | None, answer: Callable[[Question], Answer]) -> Decision:
        return to_decision(take(self._connection, self.id, gate, answer, lambda: print(_KEPT)))

    def submit_answer(
        self, question: Question, answer: Answer, kept: Callable[[], None] = lambda: print(_KEPT)
    ) -> Answer:
        """Decide on a question as it was shown, of this run or of an agent that it called.

        ``kept`` is called where it is not known at once whether the decision counts.
        """
        return submit(self._connection, question, answer, kept)

    # Mending and ending.

    def mend(self) -> list[str]:
        """Give the failing steps their current code from this notebook and run them now, in the same run.

        Mend the cell and execute it first. Returns the names of the mended steps.

        Raises
        ------
        RunError
            When no step is parked or retrying, or the notebook does not define the step, or its cell is unchanged.
        CannotFreeze
            When the new code can't travel.
        """
        return mend(self._connection, self.id)

    def retry_now(self) -> list[str]:
        """Start parked and retrying steps again without waiting; returns their names."""
        return self._connection.run(lambda: retry_now(self._connection, self.id))

    def cancel(self) -> None:
        """Ask the run to stop; the agent sees ``asyncio.CancelledError`` and can tidy up."""
        self._end(lambda handle: handle.cancel())

    def terminate(self, reason: str = "") -> None:
        """End the run at once, without asking the agent; one that has ended stays as it is."""
        self._end(lambda handle: handle.terminate(reason=reason or None))

    def _end(self, ask: Callable[[WorkflowHandle[Any, Any]], Coroutine[Any, Any, None]]) -> None:
        handle = self._connection.client.get_workflow_handle(self.id)
        try:
            self._connection.run(lambda: ask(handle))
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise
            if "already completed" not in str(error):
                raise not_found(self.id, error) from None

    def fork(
        self,
        at: Any = None,
        *,
        values: Mapping[StepKey, Any] | None = None,
        args: Sequence[Any] | Mapping[str, Any] | None = None,
        code: Literal["same", "current"] = "same",
        decisions: Literal["ask", "keep"] = "ask",
        id: str | None = None,
    ) -> Run:
        """Start a new run that takes over what was recorded before a point, and goes on live from there.

        No step before the point runs again: results are taken over by reference, so big values are not copied. This
        run is not changed. A call is known by its place, the branch of the agent and the order in it, and outcomes come
        in the order in which they came: with the same code the fork goes the same way up to the point, whatever ran at
        once. For this the history is replayed here.

        Parameters
        ----------
        at
            The point: a step's name (before its last call), ``(name, occurrence)``, an event id (after it), a
            ``Moment``, ``"start"``, or ``"failed"``: before what failed or is parked; all else is kept. The default is
            after the first of ``values``, without them ``"failed"``.
        values
            Outputs that replace recorded ones, by step: ``{"load": frame}`` or ``{("load", 2): frame}``.
        args
            Other arguments for the agent: a list of positional or a dict of named ones.
        code
            ``"same"``: the code this run carries. ``"current"``: that of this notebook now. Where new code no longer
            asks for a recorded step, the two part: that branch goes on live from there, and so does what calls with
            other arguments than were recorded; the card says where. As long as nothing parts, a call of the same
            step is taken over also with other arguments, and the card names it.
        decisions
            ``"ask"``: gates before the point are asked again; what came after a decision waits for it. ``"keep"``:
            their decisions are taken over.
        id
            An id for the fork.

        Raises
        ------
        NoSuchMoment
            When the point is unknown; the message lists the known ones.
        ReplayDiverged
            When the recorded code no longer makes a call that is to be taken over.

        Examples
        --------
        ``better = run.fork(at="analyze_tariffs", code="current")``
        """
        fork_id = fork(
            self._connection, self.id, at=at, values=values, args=args, code=code, decisions=decisions, id=id
        )
        return Run(self._connection, fork_id)

    @property
    def published(self) -> dict[str, Any]:
        """What the agent shows to the outside with ``kg.publish()``, by name; ``{}`` for nothing.

        Source: the server's history, read now.
        """

        async def read() -> dict[str, Any]:
            observer = await self._caught_up()
            return {name: await observer.decoder.value(item) for name, item in observer.fold.published.items()}

        return self._connection.run(read)

    # Looking back.

    def steps(self, *, full: bool = False) -> pd.DataFrame:
        """Return the calls of steps and agents, one row per call: (n_calls, 15), in the order of the calls.

        Columns: ``step`` (str), ``call`` (int), ``status`` (str), ``attempts`` (int), ``scheduled, started, ended``
        (datetime64, UTC), ``duration_s`` (float, how long the last attempt worked: from ``started`` to ``ended``),
        ``waited_s`` (float, what went before, from ``scheduled`` to ``started``: queueing, parking, earlier attempts
        and the waits between them), ``inputs`` (dict), ``result`` (object), ``error`` (str), ``output`` (str, what it
        printed), ``worker`` (str), ``child_run`` (str). ``step`` is ``other.start`` where a run of its own began.

        Source: the server's history, and for steps that still run its description. Empty case: the same columns,
        zero rows. ``df.attrs["run_id"]`` is the run.

        Parameters
        ----------
        full
            Also read values over 64 KiB from their files; without, they are short text.
        """

        async def build() -> pd.DataFrame:
            observer = await self._caught_up()
            return await frames.steps_frame(observer, full=full)

        return self._connection.run(build)

    def events(self) -> pd.DataFrame:
        """Return the server's events, one row per event: (n_events, 7), oldest first.

        Columns: ``event_id`` (int), ``time`` (datetime64, UTC), ``type`` (str), ``step`` (str), ``call`` (int or NA),
        ``attempt`` (int or NA), ``detail`` (str). Source: the server's history, fetched now; that of an ended run is
        fetched once.
        """
        return self._connection.run(lambda: frames.events_frame(self._connection, self.id))

    def calls(self) -> pd.DataFrame:
        """Return what was asked of models, one row per call that asked: (n_calls, 18), in the order of the calls.

        A call of ``kg.chat`` is one request. All rows that one call of ``kg.chat_rows`` asked for are one row here, or
        one for each price where they have several; ``requests`` says how many. What a fork took over is not here: the
        first run asked for it, and paid.

        Columns: ``call`` (int, as in :meth:`steps`), ``model`` (str, as it names itself), ``api`` (``"responses"`` or
        ``"chat"``), ``status`` (str), ``requests`` (int, answers on record), ``tokens_in, tokens_out, tokens_cached,
        tokens_reasoning`` (int, or NA where the answer does not say; cached ones are part of those in, reasoning of
        those out), ``cost_usd`` (float, USD; NaN where no price is known), ``price_basis`` (str, which price, or why
        none; service tier and batch count), ``started`` (datetime64, UTC, of the last attempt), ``latency_s`` (float,
        of the last attempt), ``attempts`` (int), ``finish`` (str, why the answer ended; of rows how many are what),
        ``tool_calls`` (list of str), ``repeated`` (int), ``error`` (str).

        ``repeated`` counts requests that may have been paid without an answer on record, and so paid twice: their
        worker died or fell silent, the connection was lost after sending, a stream broke off, it took too long, or the
        run ended meanwhile. Each is noted on the disk before it is sent, so none is missing; one that had not left yet
        may be counted. Of a call under way it is 0.

        Source: the server's history; of calls without a result the data directory. Empty case: the same columns, zero
        rows. ``df.attrs["run_id"]`` is the run.

        Examples
        --------
        ``run.calls().groupby("model")["cost_usd"].sum()``
        """

        async def build() -> pd.DataFrame:
            return await model_calls.calls_frame(await self._caught_up())

        return self._connection.run(build)

    def messages(self, call: int | None = None) -> pd.DataFrame:
        """Return what was said to models and by them, one row per message: (n_messages, 7), in the order of the calls.

        Columns: ``call`` (int, the request that it belongs to), ``row`` (int, which row of those that a call of
        ``kg.chat_rows`` asked for, from 0; NA elsewhere), ``role`` (str), ``type`` (str), ``tool`` (str, of a call),
        ``text`` (str; of reasoning the summary, where the API gives one), ``item`` (dict, the whole of it, in the form
        of the Responses API). Each message is there once, where it was said first.

        Parameters
        ----------
        call
            The number of one request: then exactly what the model saw in it, from the beginning of its conversation;
            ``df.attrs`` has its ``model, tools, options``.

        Raises
        ------
        LookupError
            When that call asked no model; the message lists those that did.
        ConversionError
            When a part of the conversation is missing on this machine.

        Source: the server's history, and for ``call=`` the data directory. Empty case: the same columns, zero rows.
        """

        async def build() -> pd.DataFrame:
            return await messages.messages_frame(await self._caught_up(), call)

        return self._connection.run(build)

    def decisions(self) -> pd.DataFrame:
        """Return the decisions taken, one row per attempt to decide: (n, 12), oldest first.

        Columns: ``run_id, gate, question`` (str), ``approved`` (bool), ``choice, comment, by`` (str), ``values``
        (dict), ``at`` (when clicked, UTC), ``time`` (when the server took it, UTC), ``counted`` (bool: whether it was
        the one that won), ``event_id`` (int). Source: the server's history.
        """

        async def build() -> pd.DataFrame:
            fold = (await self._caught_up()).fold
            return frames.frame(frames.decision_rows(fold), frames.DECISION_COLUMNS, self.id)

        return self._connection.run(build)

    def timeline(self) -> Any:
        """Return a picture of who did what when: a :class:`~kaigents_nb.display.timeline.Timeline`.

        It shows steps with their attempts, waits at gates and who decided, sleeps, called agents, and workers that
        died. Long waits are folded, so that seconds of work beside days of waiting can be seen. ``.frame`` is its
        table, one row per bar: (n_bars, 11), columns ``kind, name, call, attempt, start, end, duration_s, waited_s,
        status, worker, detail``; times are UTC.

        Source: the server's history, and for an open run its description, asked now. Empty case: the same columns,
        zero rows. Runs of any length are drawn; from 400 bars on close neighbours are drawn as one, and the picture
        says so.

        Raises
        ------
        RunNotFound
            When the server does not know the run (any more).

        Examples
        --------
        >>> run.timeline()  # doctest: +SKIP
        >>> bars = run.timeline().frame  # doctest: +SKIP
        >>> bars[bars.kind == "wait at gate"].duration_s.sum()  # doctest: +SKIP
        """
        from kaigents_nb.display.timeline import Timeline

        return Timeline(self.view())

    def explore(self, at: Any = None) -> Any:
        """Return a slider over the moments of the run; code, variables and timeline follow it.

        Show it as the last line of a cell. The slider takes the arrow keys; buttons go to the line before, the next
        one, and the next call of a step. What a saved notebook keeps is the moment that it was opened at.

        Parameters
        ----------
        at
            Where to begin: a ``Moment`` or what :meth:`at` takes as ``moment``. The default is the failure, or the
            first line of a run that has not failed.

        Raises
        ------
        NoSuchMoment
            When nothing was executed yet, or ``at`` is unknown.
        HistoryGone, UntrustedCode, ReplayDiverged
            As :meth:`trace`.

        Examples
        --------
        >>> run.explore()  # doctest: +SKIP
        """
        from kaigents_nb.display.explore import explore

        return explore(self, at)

    def code(self) -> str:
        """Return the code that the run carries, as a readable module.

        Raises
        ------
        UntrustedCode
            When it is not signed with this data directory's key.
        """

        async def read() -> str:
            code = await (await self._caught_up()).decoder.code()
            if code is None:
                raise KaigentsError(f"{self.id!r} is a workflow of another program: it carries no code of ours.")
            return code.snapshot.text

        return self._connection.run(read)

    async def _caught_up(self) -> Observer:
        if self._observer is None or not self._observer.fold.closed:
            self._observer = await observed(self._connection, self.id)
        return self._observer

    # Display.

    def __repr__(self) -> str:
        # Cheap on purpose: a notebook asks for it constantly.
        return f"<run {self.id}>"

    def _ipython_display_(self) -> None:
        from kaigents_nb.display.card import show

        show(self)


def run(id: str) -> Run:
    """Return the handle of a run, started here or anywhere.

    A run that no worker serves any more is adopted: from now on this process executes it. So is a run of this
    notebook, whoever else serves it.

    Raises
    ------
    RunNotFound
        When the server does not know the id.

    Examples
    --------
    ``kg.run("sourcing_agent-1f3a9c2e")``
    """
    connection = current()
    queue = connection.run(lambda: adoptable_queue(connection, id))
    if queue:
        connection.serve(queue)
    return Run(connection, id)
