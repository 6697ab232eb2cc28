"""Run an agent here and now, without a server: for trying out and for pdb."""

from __future__ import annotations

import asyncio
import datetime as dt
import inspect
import random
import uuid
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from kaigents_nb.authoring.awaited import Begin, NotAwaited, refuse_unawaited
from kaigents_nb.authoring.context import agent_context
from kaigents_nb.authoring.gate import Decision
from kaigents_nb.authoring.tasks import AgentTasks
from kaigents_nb.gates.answer import REJECT

if TYPE_CHECKING:
    from kaigents_nb.authoring.agent import Agent
    from kaigents_nb.authoring.step import Step
    from kaigents_nb.gates.question import Question


_ABOUT_TO_END_S = 0.05
"""So long a task may still run that has handed over its last result; in a run it is until all tasks wait."""


def dry_run(
    agent: Agent[..., Any, Any], args: Iterable[Any], kwargs: Mapping[str, Any], decisions: Iterable[Any]
) -> Any:
    """Execute an agent in this thread; see :meth:`Agent.dry_run`."""

    async def execute() -> Any:
        interpreter = DryRun(iter(decisions))
        token = agent_context.set(interpreter)
        with interpreter.tasks_of(asyncio.get_running_loop()) as tasks:
            try:
                result = await agent.fn(*args, **kwargs)
                if running := list(tasks.still_running()):
                    await asyncio.wait(running, timeout=_ABOUT_TO_END_S)
                refuse_unawaited(interpreter, tasks.still_running())
                return result
            finally:
                agent_context.reset(token)

    return _block_on(execute())


def _block_on(work: Coroutine[Any, Any, Any]) -> Any:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    # A notebook's cell is executed inside a running loop, which only a patched asyncio lets us enter again.
    try:
        _nested_asyncio().apply(loop)
        return loop.run_until_complete(work)
    except BaseException:
        work.close()
        raise


def _nested_asyncio() -> Any:
    for name in ("nest_asyncio2", "nest_asyncio"):
        try:
            return import_module(name)
        except ImportError:
            continue
    raise ImportError(
        "dry_run() in a notebook needs nest-asyncio: pip install 'kaigents-nb[dry-run]'. "
        "In a terminal it needs nothing."
    )


class DryRun:
    """Answers what an agent asks for without saving anything: steps are called, waits are skipped."""

    replaying = False

    def __init__(self, decisions: Iterator[Any]) -> None:
        self._decisions = decisions
        self.unawaited: dict[int, NotAwaited[Any]] = {}

    @contextmanager
    def tasks_of(self, loop: asyncio.AbstractEventLoop) -> Iterator[AgentTasks]:
        """Note the tasks of the agent's own code; in a notebook the loop is the kernel's, with others."""
        tasks, before = AgentTasks(), loop.get_task_factory()

        def create(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> Any:
            if agent_context.get() is self:
                return tasks.start(work, work, options.get("context"), loop)
            return before(loop, work, **options) if before else asyncio.Task(work, loop=loop, **options)

        loop.set_task_factory(create)
        try:
            yield tasks
        finally:
            loop.set_task_factory(before)

    def place(self, filename: str, line: int) -> str:
        """Return the line; which cell it is in, the traceback says."""
        return f"line {line}"

    def call_step(self, step: Step[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Begin[Any]:
        """Call the step's function."""
        assert step.fn is not None
        return partial(self._call, step.fn, args, kwargs)

    def call_agent(self, agent: Agent[..., Any, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Begin[Any]:
        """Execute the other agent in the same way."""
        return partial(agent.fn, *args, **kwargs)

    def start_agent(
        self, agent: Agent[..., Any, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], run_id: str | None
    ) -> Begin[str]:
        """Execute the other agent here, now: there is nobody else who would."""
        return partial(self._start, agent, args, kwargs, run_id or f"{agent.name}-dry-run")

    async def _start(
        self, agent: Agent[..., Any, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], run_id: str
    ) -> str:
        await agent.fn(*args, **kwargs)
        return run_id

    async def _call(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        # A step calls other steps as plain functions.
        token = agent_context.set(None)
        try:
            result = fn(*args, **kwargs)
            return await result if inspect.isawaitable(result) else result
        finally:
            agent_context.reset(token)

    def open_gate(self, question: Question, details: Any) -> Begin[Decision]:
        """Take the next given decision, else ask here."""
        question.check()
        return partial(self._decide, question)

    async def _decide(self, question: Question) -> Decision:
        choice = next(self._decisions, None)
        allowed = [*question.choices, REJECT]
        while choice not in allowed:
            if choice is not None:
                print(f"No option {choice!r}.")
            choice = input(f"{question.question} ({' / '.join(allowed)}): ").strip()
        return Decision(approved=choice != REJECT, choice=choice, by="dry run", at=self.now())

    def sleep(self, delay_s: float) -> Begin[None]:
        """Go on at once."""
        return partial(asyncio.sleep, 0)

    def now(self) -> dt.datetime:
        """Return the time."""
        return dt.datetime.now(dt.UTC)

    def random(self) -> random.Random:
        """Return a generator."""
        return random.Random()  # noqa: S311

    def uuid4(self) -> uuid.UUID:
        """Return a new id."""
        return uuid.uuid4()
