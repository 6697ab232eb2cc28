"""The one workflow: it executes the agent code that a run carries.

Registered as Temporal's dynamic workflow, so that a run's workflow type is its agent's name. It runs in the
SDK's sandbox: frozen code that asks for the time, chance or the world outside is stopped at its line.
"""

# No `from __future__ import annotations`: the SDK reads this module's annotations as objects.

import asyncio
import random
import uuid
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from contextvars import Context, copy_context
from datetime import datetime
from functools import partial
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue, SearchAttributeKey
from temporalio.exceptions import ActivityError, ApplicationError, ChildWorkflowError

from kaigents_nb.authoring.agent import Agent
from kaigents_nb.authoring.awaited import Begin, NotAwaited, noted, refuse_unawaited
from kaigents_nb.authoring.context import agent_context
from kaigents_nb.authoring.gate import Decision, to_decision
from kaigents_nb.authoring.library_steps import agent_of_the_library, is_library_step
from kaigents_nb.authoring.step import Step
from kaigents_nb.authoring.tasks import CALL, GATE, SLEEP, TIMER, AgentTasks
from kaigents_nb.authoring.this_run import ThisRun
from kaigents_nb.gates.question import Question
from kaigents_nb.models.spent import Spent, spent_on
from kaigents_nb.runtime import agent_asyncio, agent_loop, guard
from kaigents_nb.runtime.agent_calls import AgentCalls, Called
from kaigents_nb.runtime.code import Code, held
from kaigents_nb.runtime.failures import RAISE, rebuild, to_failure
from kaigents_nb.runtime.forbidden import in_words
from kaigents_nb.runtime.gate_desk import GateDesk
from kaigents_nb.runtime.kept_values import RunValues
from kaigents_nb.runtime.lacking import LacksModule, lacked
from kaigents_nb.runtime.payloads import META_OWN, call_arguments, metadata, plain, raw, read_arguments, value
from kaigents_nb.runtime.protocol import (
    DECIDE_SIGNAL,
    DECIDE_UPDATE,
    MEMO_PUBLISHED,
    MEMO_SPENT,
    MEMO_STATE,
    MEND_SIGNAL,
    META_REPEATED,
    RETRY_SIGNAL,
    SLEEP_SUMMARY,
    STARTED,
    UNREADABLE_SIGNAL,
    Launch,
    StepCall,
    from_wire,
)
from kaigents_nb.runtime.recorded import Asked, Recorded
from kaigents_nb.runtime.recorded_by_number import RecordedByNumber
from kaigents_nb.runtime.refused import check_admitted, check_found, is_lost, wait_until_readable
from kaigents_nb.runtime.sandbox import unwrap
from kaigents_nb.runtime.seeds import Seed, recorded, store_of, unpack_seeds
from kaigents_nb.runtime.signature import hints, positional_names
from kaigents_nb.runtime.step_calls import StepCalls
from kaigents_nb.runtime.storage import FileStore
from kaigents_nb.server.attribute import STATE_ATTRIBUTE
from kaigents_nb.snapshot.load import LoadedCode, load
from kaigents_nb.snapshot.local_modules import local_place
from kaigents_nb.snapshot.settings import apply_settings
from kaigents_nb.snapshot.tracebacks import analyst_traceback

_STATE = SearchAttributeKey.for_keyword(STATE_ATTRIBUTE)
_RUN_TRACEBACK_LIMIT = 8_000
"""In any alphabet below the size from which values go to files: a failure is read where it is shown."""
_LISTED_PARKED = 20
_PUBLISHED_BYTES = 16 * 1024


@workflow.defn(dynamic=True)
class AgentWorkflow:
    """One run of an agent; as ``AgentContext`` it answers what the agent's code asks for."""

    def __init__(self) -> None:
        self._launch = Launch(agent="", code="")
        self._code: Code | None = None
        self._loaded: LoadedCode | None = None
        self._values = RunValues("")
        self._calls = 0
        self._gates = GateDesk(self._publish)
        self._steps = StepCalls(self._publish)
        self._recorded = Recorded()  # what a fork takes over
        self._store: FileStore | None = None  # where the results lie
        self._signals = 0
        self._tasks = AgentTasks()
        self.unawaited: dict[int, NotAwaited[Any]] = {}
        self._random = random.Random()  # noqa: S311 - not for secrets; seeded in run()
        self._agents = AgentCalls(self._random)
        self._published: tuple[str, Any] = ("running", None)
        self._spent = Spent()

    @workflow.run
    async def run(self, args: Sequence[RawValue]) -> RawValue:
        """Execute the agent."""
        self._launch = header = from_wire(Launch, plain(args[0].payload))
        for item in args:
            check_admitted(item.payload)
        self._code = self._steps.code = self._agents.code = code = code_by_digest(header.code)
        self._values = RunValues(code.snapshot.digest)
        self._tasks.salt = header.chance
        agent_loop.serve(asyncio.get_running_loop(), self, self._tasks)
        agent_context.set(self)
        agent_asyncio.provide()
        if header.version > 2:
            guard.watch()
        try:
            apply_settings(code.snapshot.settings)
            own = agent_of_the_library(header.agent)
            names = [] if own else [header.agent]
            note = noted if header.version > 4 else None
            loaded = self._loaded = load(code.snapshot, names, for_agent=True, unwrap=unwrap, note=note)
            agent: Agent[..., Any, Any] = own or loaded.get(header.agent)
            count = header.positional + len(header.keywords)
            payloads = [item.payload for item in args[2 : 2 + count]]
            positional, keyword = read_arguments(
                payloads,
                header.positional,
                header.keywords,
                loaded.resolve,
                hints(agent.fn, unwrap),
                positional_names(agent.fn),
                coerce=header.version < 4,
                read=self._values.read,
            )
            self._random.seed(header.chance)
            self._take_over([item.payload for item in args[2 + count :]])
            result = await agent.fn(*positional, **keyword)
            if header.version > 1:
                await self._let_tasks_end()
                if header.version > 4:
                    await self._tasks.stopped()
                refuse_unawaited(self, self._tasks.still_running())
            elif header.version > 0:
                refuse_unawaited(self)
            return raw(result, f"result of agent {agent.name}", write=self._values.write)
        except asyncio.CancelledError:
            if header.version > 4:
                await self._tasks.stopped(everyone=True)
            raise
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001 - the analyst's, of any kind
            lacks = lacked(error, code.snapshot)
            if lacks is not None:
                raise LacksModule(lacks, code.snapshot) from None
            if header.version > 4:
                with suppress(asyncio.CancelledError):  # it has failed before
                    await self._tasks.stopped(everyone=True)
            raise self._failure(error) from None
        finally:
            for made in list(self.unawaited.values()):
                made.close()

    async def _let_tasks_end(self) -> None:
        """Wait for tasks that are about to end, such as one that has just handed over its last result."""
        if any(self._tasks.still_running()):
            await workflow.wait_condition(lambda: True)

    def _failure(self, error: BaseException) -> ApplicationError:
        """The run's failure, with the analyst's traceback: cell lines, not ours."""
        assert self._code is not None
        error = in_words(error)
        return to_failure(error, analyst_traceback(error, self._code.snapshot), RAISE, limit=_RUN_TRACEBACK_LIMIT)

    def _take_over(self, payloads: Sequence[Any]) -> None:
        """What a fork brings from the first run: recorded calls, mended steps, decisions."""
        self._gates.begin(self._launch)
        rest = iter(payloads)
        if self._launch.seeded:
            payload = next(rest)
            self._store, seeds = store_of(payload), unpack_seeds(payload)
            if self._launch.version < 2:
                self._recorded = RecordedByNumber(seeds, self._launch.slept)
            else:
                self._recorded = Recorded(seeds)
                beside = copy_context()
                beside.run(agent_context.set, None)  # no task of the agent
                beside.run(asyncio.create_task, self._hand_out())
        for steps in self._launch.mended:
            payload = next(rest)
            check_admitted(payload)
            code = code_by_digest(plain(payload))
            self._steps.mend(steps, code)

    async def _hand_out(self) -> None:
        await self._recorded.hand_out(self._gates.is_open)
        if self._recorded.notes:
            self._publish()

    # For those who watch a replay.

    def watched(self, work: Coroutine[Any, Any, Any]) -> Coroutine[Any, Any, Any]:
        """Return the work of a task as it is executed."""
        return work

    def asked(self, kind: str, asked: Asked) -> None:
        """Hear of a call, gate or wait when it gets its number."""

    # What the agent's code asks for: AgentContext.

    @property
    def replaying(self) -> bool:
        """Whether this is repeated after a restart."""
        return workflow.unsafe.is_replaying()

    def place(self, filename: str, line: int) -> str:
        """Return a line of the run's code as the cell's line."""
        assert self._code is not None
        where = self._code.snapshot.where(line) if filename == self._code.snapshot.filename else None
        file, line = where or (local_place(filename), line)
        return f"{file}, line {line}" if file else f"line {line}"

    def call_step(self, step: Step[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Begin[Any]:
        """Run a step as an activity."""
        place, call = self._next_place(CALL)
        payloads, keywords = call_arguments(args, kwargs, f"step {step.name}", write=self._values.write)
        header = StepCall(step.name, call, "", len(args), keywords, tape=self._launch.tape)
        return self._call(
            "step", Asked(place, call, step.name, payloads), partial(self._perform, call, step, payloads, header)
        )

    async def _perform(self, call: str, step: Step[..., Any], payloads: list[RawValue], header: StepCall) -> Any:
        try:
            result = await self._steps.perform(call, step, payloads, header)
            await wait_until_readable([result])
            found = self._decode(result)
            if is_library_step(step):
                self._count(found, int(metadata(result, META_REPEATED) or 0))
            return found
        except ActivityError as error:
            own = self._own(error.cause)
            raise own from own.__cause__

    def _count(self, result: object, repeated: int) -> None:
        """Add what a call has cost to what the memo says, where it asked a model."""
        more = spent_on(result) + Spent(repeated=repeated)
        if more != Spent() and self._launch.version >= 6:
            self._spent += more
            workflow.upsert_memo({MEMO_SPENT: self._spent.to_wire()})

    def call_agent(self, agent: Agent[..., Any, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Begin[Any]:
        """Run another agent as a child workflow, with the same code."""
        place, called = self._called(agent, args, kwargs)
        return self._call("agent", Asked(place, called.call, agent.name, called.payloads), partial(self._child, called))

    async def _child(self, called: Called) -> Any:
        try:
            result = await self._agents.perform(called, self._launch)
            await wait_until_readable([result])
            return self._decode(result)
        except ChildWorkflowError as error:
            own = self._own(error.cause)
            raise own from own.__cause__

    def start_agent(
        self, agent: Agent[..., Any, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], run_id: str | None
    ) -> Begin[str]:
        """Start a run of its own, which goes on when this one ends."""
        place, called = self._called(agent, args, kwargs)
        asked = Asked(place, called.call, STARTED.format(agent=agent.name), called.payloads)
        return self._call("agent", asked, partial(self._agents.start, called, self._launch, run_id))

    def _called(
        self, agent: Agent[..., Any, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[str, Called]:
        place, call = self._next_place(CALL)
        own = {META_OWN: "1"} if self._launch.version >= 4 else {}
        payloads, keywords = call_arguments(args, kwargs, f"agent {agent.name}", own, write=self._values.write)
        return place, Called(call, agent, payloads, len(args), keywords)

    def _next_place(self, kind: str) -> tuple[str, str]:
        place = self._tasks.branch.next_place(kind)
        return place, self._recorded.number(place, self._next_call)

    def _call(self, kind: str, asked: Asked, begin: Begin[Any]) -> Begin[Any]:
        self.asked(kind, asked)
        told = self._recorded.notes
        begin = self._recorded.call(asked, self._tasks.branch, begin, self._replayed)
        if self._recorded.notes != told:
            self._publish()
        return begin

    def open_gate(self, question: Question, details: Any, read: Callable[[Any], Any] | None = None) -> Begin[Decision]:
        """Wait until a person decides."""
        return partial(self.decided, self._tasks.branch.next_place(GATE), question, details, read)

    async def decided(
        self, place: str, question: Question, details: Any, read: Callable[[Any], Any] | None
    ) -> Decision:
        """Open a gate and wait for its decision."""
        self._gates.check_question(question)
        number = self._recorded.number(place, self._gates.next_number)
        self.asked("gate", Asked(place, number, question.question, ()))
        kept = self._gates.kept(number, question, details, read)
        begin = self._recorded.gate(
            place, partial(self._gates.open, number, question, details, kept, read), kept=kept is not None
        )
        assert self._loaded is not None
        return to_decision(await begin(), self._loaded.resolve)

    def sleep(self, delay_s: float) -> Begin[None]:
        """Wait by a timer of the server; a wait that was over before the point of a fork is not repeated."""
        place = self._tasks.branch.next_place(SLEEP)
        self.asked("sleep", Asked(place, "", "sleep", ()))
        begin = partial(workflow.sleep, delay_s, summary=SLEEP_SUMMARY)
        return self._recorded.sleep(place, self._tasks.branch, begin)

    def timer(
        self, start: Callable[..., asyncio.TimerHandle], callback: Callable[[], Any], context: Context | None
    ) -> asyncio.TimerHandle:
        """Begin a time-out or wait of asyncio's own."""
        place = self._tasks.branch.next_place(TIMER)
        self.asked("timer", Asked(place, "", "", ()))
        return self._recorded.timer(place, self._tasks.branch, start, callback, context)

    def named(self, name: str) -> Step[..., Any] | Agent[..., Any, Any]:
        """Return a step or agent of the run's code."""
        assert self._loaded is not None
        found: Step[..., Any] | Agent[..., Any, Any] = self._loaded.get(self._loaded.snapshot.callable_global(name))
        return found

    @property
    def this_run(self) -> ThisRun:
        """What the run is."""
        info = workflow.info()
        return ThisRun(info.workflow_id, info.workflow_type, info.workflow_start_time)

    def publish(self, values: Mapping[str, Any]) -> None:
        """Say values in the memo."""
        shown = {MEMO_PUBLISHED.format(name=name): raw(value, f"value {name!r}") for name, value in values.items()}
        size = sum(len(item.payload.data) for item in shown.values())
        if size > _PUBLISHED_BYTES:
            raise ValueError(
                f"kg.publish() shows at most {_PUBLISHED_BYTES >> 10} KiB, not {size:,} bytes: publish a summary."
            )
        self._publish(shown)

    def now(self) -> datetime:
        """Return the time of the current workflow task."""
        return workflow.now()

    def random(self) -> random.Random:
        """Return the run's seeded generator."""
        return self._random

    def uuid4(self) -> uuid.UUID:
        """Return an id from the run's seeded generator."""
        return uuid.UUID(int=self._random.getrandbits(128), version=4)

    def _next_call(self) -> str:
        self._calls += 1
        return str(self._calls)

    async def _replayed(self, seed: Seed) -> Any:
        if seed.result is not None:
            assert self._loaded is not None
            assert self._store is not None
            return self._values.read(await recorded(seed.result, self._store), resolve=self._loaded.resolve)
        failure = ApplicationError(
            seed.failure.get("message", ""), seed.failure.get("details", {}), type=seed.failure.get("type")
        )
        own = self._own(failure)
        raise own from own.__cause__

    def _decode(self, payload: Any) -> Any:
        assert self._loaded is not None
        return value(payload, self._loaded.resolve, read=self._values.read)

    def _own(self, failure: BaseException | None) -> BaseException:
        assert self._loaded is not None
        return rebuild(failure, self._loaded.resolve)

    def _publish(self, details: Mapping[str, Any] | None = None) -> None:
        """Say in the memo and the search attribute what the run waits for; an inbox then asks no worker.

        ``details`` of a gate go along, so that opening or closing one is one event.
        """
        state = "waiting" if self._gates.is_waited_at else "parked" if self._steps.parked else "running"
        summary = {
            "gates": self._gates.listed(),
            "parked": list(self._steps.parked.values())[:_LISTED_PARKED],
            **self._gates.notes,
            **self._recorded.notes,
        }
        changed = (state, summary) != self._published
        memo = {**(details or {}), **({MEMO_STATE: summary} if changed else {})}
        if memo:
            workflow.upsert_memo(memo)
        if self._launch.attribute and state != self._published[0]:
            workflow.upsert_search_attributes([_STATE.value_set(state)])
        self._published = (state, summary)

    # Decisions and mending, from outside.

    @workflow.update(name=DECIDE_UPDATE)
    def decide(self, decision: Any) -> dict[str, Any]:
        """Take a decision; refused by the validator when it comes too late, or is none.

        Any: for a ``dict[str, Any]`` the SDK would check every key and value, slowly, and twice.
        """
        return self._gates.decide(decision)

    @decide.validator
    def _check(self, decision: Any) -> None:
        self._gates.check(decision)

    @workflow.signal(dynamic=True)
    def signalled(self, name: str, args: Sequence[RawValue]) -> None:
        """Take what was sent from outside: a decision that the server kept, new code for steps, calls to start again.

        Every client of the server may send anything, and an exception here would stop the run for good: what is not in
        order is left alone.
        """
        handlers: dict[str, Callable[..., None]] = {
            DECIDE_SIGNAL: self._gates.decide_later,
            MEND_SIGNAL: self._mend,
            RETRY_SIGNAL: self._retry_now,
        }
        self._signals += 1
        if name in handlers and not self._is_unreadable(args):
            with suppress(TypeError, ValueError, LookupError):
                handlers[name](*(plain(item.payload) for item in args))

    def _is_unreadable(self, args: Sequence[RawValue]) -> bool:
        """Whether a signal is left alone because a file of it was missing when it came; the history says so then.

        Whatever becomes of the file, a replay leaves the same signals alone.
        """
        missing = any(is_lost(item.payload) for item in args)
        marker = UNREADABLE_SIGNAL.format(number=self._signals)
        if (missing or workflow.unsafe.is_replaying()) and workflow.patched(marker):
            return True
        for item in args:  # it was read once, and the run went on by it
            check_found(item.payload)
        return False

    def _mend(self, steps: list[str], calls: list[str], code: str) -> None:
        """Give steps new code (by its digest) and start the named calls again."""
        mended = held(code)
        if mended is not None:
            self._steps.mend(_names(steps), mended)
            self._retry_now(calls)

    def _retry_now(self, calls: list[str]) -> None:
        """Start calls again that wait for a retry or are parked."""
        self._steps.retry_now(_names(calls))


def _names(sent: object) -> list[str]:
    """Return a list of names as it was sent."""
    if not isinstance(sent, list) or not all(isinstance(name, str) for name in sent):
        raise TypeError(f"Not a list of names: {sent!r}.")
    return sent


def code_by_digest(digest: str) -> Code:
    """Return code that came with the run; the guard has verified it on the way in."""
    code = held(digest)
    if code is None:
        raise RuntimeError(f"The code {digest[:12]} did not come with the run.")
    return code
