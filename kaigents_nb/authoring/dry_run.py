"""Run an agent here and now, without a server: for trying out and for pdb."""

from __future__ import annotations

import asyncio
import datetime as dt
import gc
import inspect
import random
import re
import sys
import uuid
import warnings
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from kaigents_nb.authoring.awaited import Begin, NotAwaited, refuse_unawaited
from kaigents_nb.authoring.context import agent_context
from kaigents_nb.authoring.gate import Decision, to_decision
from kaigents_nb.authoring.tasks import AgentTasks, tell_but_cancelled
from kaigents_nb.authoring.this_run import ThisRun
from kaigents_nb.errors import ForbiddenInAgent, InvalidAnswer
from kaigents_nb.gates.answer import APPROVE, REJECT, VALUE, Answer
from kaigents_nb.values.decode import decode
from kaigents_nb.values.encode import encode_for
from kaigents_nb.values.encoded import Encoded
from kaigents_nb.values.in_json import to_json

if TYPE_CHECKING:
    from kaigents_nb.authoring.agent import Agent
    from kaigents_nb.authoring.step import Step
    from kaigents_nb.gates.question import Question


_ANSWERED = frozenset(field.name for field in fields(Decision))
_ABOUT_TO_END_S = 0.05
"""So long a task may still run that has handed over its last result; in a run it is until all tasks wait."""

_YOUNG = 1
"""What the dry run has made is among the younger objects; a notebook may have many others."""
_TURNS = 10
"""So many times others go on before a call ends: those that begin, and what these begin. In a run until all wait."""


def dry_run(
    agent: Agent[..., Any, Any], args: Iterable[Any], kwargs: Mapping[str, Any], decisions: Iterable[Any]
) -> Any:
    """Execute an agent in this thread; see :meth:`Agent.dry_run`."""

    async def execute() -> Any:
        interpreter = DryRun(iter(decisions))
        interpreter.agent = agent.name
        work = interpreter.call_agent(agent, tuple(args), kwargs)
        token = agent_context.set(interpreter)
        tasks = interpreter.tasks
        with interpreter.tasks_made(asyncio.get_running_loop()):
            try:
                with _refuse_forgotten():
                    result = await work()
                interpreter.is_over = True
                if running := list(tasks.still_running()):
                    await asyncio.wait(running, timeout=_ABOUT_TO_END_S)
                await tasks.stopped()
                refuse_unawaited(interpreter, tasks.still_running())
                return result
            finally:
                await tasks.stopped(everyone=True)
                agent_context.reset(token)

    return _block_on(execute())


@contextmanager
def _refuse_forgotten() -> Iterator[None]:
    """Refuse that Python throws a coroutine away which nobody awaited: it says so in a warning, and goes on."""
    forgotten: list[str] = []
    traced = sys.get_coroutine_origin_tracking_depth()
    gc.collect(_YOUNG)  # of others
    with warnings.catch_warnings():
        warnings.filterwarnings("always", "coroutine .* was never awaited", RuntimeWarning)
        show = warnings.showwarning

        def note(message: Any, category: type[Warning], *where: Any, **options: Any) -> None:
            if issubclass(category, RuntimeWarning) and "was never awaited" in str(message):
                made_at = re.search(r", line (\d+), in ", str(message))
                line = f", line {made_at[1]}," if made_at else ""
                forgotten.append(str(message).partition("\n")[0].replace(" was never", f"{line} was never"))
            else:
                show(message, category, *where, **options)

        warnings.showwarning = note
        sys.set_coroutine_origin_tracking_depth(max(traced, 1))
        try:
            yield
        finally:
            sys.set_coroutine_origin_tracking_depth(traced)
        gc.collect(_YOUNG)  # what holds itself
    if forgotten:
        raise ForbiddenInAgent(f"The {'; the '.join(dict.fromkeys(forgotten))}: it never ran. Write await before it.")


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


@dataclass(frozen=True)
class _Saved:
    """The arguments of a call as they were when it was made."""

    args: tuple[Encoded, ...]
    kwargs: Mapping[str, Encoded]

    def read(self) -> tuple[list[Any], dict[str, Any]]:
        """Return new copies."""
        return [decode(item) for item in self.args], {name: decode(item) for name, item in self.kwargs.items()}


def _arguments(args: tuple[Any, ...], kwargs: Mapping[str, Any], where: str) -> _Saved:
    return _Saved(
        tuple(encode_for(item, f"argument {number} of {where}") for number, item in enumerate(args, 1)),
        {name: encode_for(item, f"argument {name!r} of {where}") for name, item in kwargs.items()},
    )


def _copied(value: object, where: str) -> Any:
    """Return what a run would get, which saves the value and reads it."""
    return decode(encode_for(value, where))


def _answer(question: Question, given: Any, read: Callable[[Any], Any] | None) -> Answer | None:
    """Return what a given decision says to a question; None, and says why, where it is no answer to it."""
    if given is None:
        return None
    if question.form is not None and given != REJECT and not isinstance(given, Decision):
        try:
            answer = question.answered(given)
            if read is not None:
                read(answer.values[VALUE])
        except InvalidAnswer as error:
            print(error)
            return None
        return answer
    if isinstance(given, str):
        given = {"choice": given}
    elif isinstance(given, Decision):
        given = {field.name: getattr(given, field.name) for field in fields(given)}
    if not isinstance(given, Mapping) or not set(given) <= _ANSWERED:
        raise TypeError(
            f"A decision is an option, a kg.Decision or a dict with some of {', '.join(sorted(_ANSWERED))}, "
            f"not {given!r}."
        )
    choice = given.get("choice")
    approved = given.get("approved", choice != REJECT) and choice != REJECT
    # Where a gate has no options, approving it is the only one.
    named = None if choice == APPROVE and not question.options else choice
    values = to_json(dict(given.get("values") or {}), f"values of the decision on {question.question!r}")
    try:
        answer = question.answer(
            approved, choice=named, values=values, comment=given.get("comment", ""), by=given.get("by", "")
        )
    except ValueError as error:
        print(error)
        return None
    return replace(answer, at=given.get("at"))


class DryRun:
    """Answers what an agent asks for: steps are called, waits are skipped, and what is passed is copied as in a run."""

    replaying = False

    def __init__(self, decisions: Iterator[Any]) -> None:
        self._decisions = decisions
        self._started = self.now()
        self.agent = ""
        self.unawaited: dict[int, NotAwaited[Any]] = {}
        self.tasks = AgentTasks()
        self.is_over = False
        """Whether the agent has returned."""

    @contextmanager
    def tasks_made(self, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
        """Note the tasks of the agent's own code; in a notebook the loop is the kernel's, with others."""
        tasks, before = self.tasks, loop.get_task_factory()

        def create(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> Any:
            if agent_context.get() is self:
                return tasks.start(work, work, options.get("context"), loop)
            return before(loop, work, **options) if before else asyncio.Task(work, loop=loop, **options)

        handler = loop.get_exception_handler()
        loop.set_task_factory(create)
        loop.set_exception_handler(handler or tell_but_cancelled)
        try:
            yield
        finally:
            loop.set_task_factory(before)
            loop.set_exception_handler(handler)

    async def _turn(self) -> None:
        """Let the others begin, as in a run; a task that is left when the agent has returned, waits for its end."""
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        if self.is_over and any(task is asyncio.current_task() for task in self.tasks.still_running()):
            await asyncio.get_running_loop().create_future()

    def place(self, filename: str, line: int) -> str:
        """Return the line; which cell it is in, the traceback says."""
        return f"line {line}"

    def named(self, name: str) -> Step[..., Any] | Agent[..., Any, Any]:
        """Not asked for here: what is mapped is called in one go."""
        raise LookupError(name)

    @property
    def this_run(self) -> ThisRun:
        """A run that is none."""
        return ThisRun("dry-run", self.agent, self._started)

    def publish(self, values: Mapping[str, Any]) -> None:
        """Print them."""
        print("published:", ", ".join(f"{name}={value!r}" for name, value in values.items()))

    def call_step(self, step: Step[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Begin[Any]:
        """Call the step's function, with copies as a run does."""
        assert step.fn is not None
        return partial(self._call, step.fn, f"step {step.name}", _arguments(args, kwargs, f"step {step.name}"))

    def call_agent(self, agent: Agent[..., Any, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Begin[Any]:
        """Execute the other agent in the same way."""
        return partial(self._execute, agent, _arguments(args, kwargs, f"agent {agent.name}"))

    def start_agent(
        self, agent: Agent[..., Any, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], run_id: str | None
    ) -> Begin[str]:
        """Execute the other agent here, now: there is nobody else who would."""
        given = _arguments(args, kwargs, f"agent {agent.name}")
        return partial(self._start, agent, given, run_id or f"{agent.name}-dry-run")

    async def _start(self, agent: Agent[..., Any, Any], given: _Saved, run_id: str) -> str:
        await self._execute(agent, given)
        return run_id

    async def _execute(self, agent: Agent[..., Any, Any], given: _Saved) -> Any:
        args, kwargs = given.read()
        return _copied(await agent.fn(*args, **kwargs), f"result of agent {agent.name}")

    async def _call(self, fn: Callable[..., Any], where: str, given: _Saved) -> Any:
        await self._turn()
        # A step calls other steps as plain functions.
        token = agent_context.set(None)
        try:
            args, kwargs = given.read()
            result = fn(*args, **kwargs)
            return _copied(await result if inspect.isawaitable(result) else result, f"result of {where}")
        finally:
            agent_context.reset(token)

    def open_gate(self, question: Question, details: Any, read: Callable[[Any], Any] | None = None) -> Begin[Decision]:
        """Take the next given decision, else ask here."""
        question.check()
        return partial(self._decide, question, details, read)

    async def _decide(self, question: Question, details: Any, read: Callable[[Any], Any] | None) -> Decision:
        await self._turn()
        encode_for(details, f"details of the gate {question.question!r}")
        answer = _answer(question, next(self._decisions, None), read)
        allowed = " / ".join((*question.choices, REJECT)) if question.form is None else question.form.told()
        while answer is None:
            said = input(f"{question.question} ({allowed}): ").strip()
            given = said if question.form is None or said == REJECT else question.form.read(said)
            answer = _answer(question, given, read)
        return replace(to_decision(answer), by=answer.by or "dry run", at=answer.at or self.now())

    def sleep(self, delay_s: float) -> Begin[None]:
        """Go on at once."""
        return self._turn

    def now(self) -> dt.datetime:
        """Return the time."""
        return dt.datetime.now(dt.UTC)

    def random(self) -> random.Random:
        """Return a generator."""
        return random.Random()  # noqa: S311

    def uuid4(self) -> uuid.UUID:
        """Return a new id."""
        return uuid.uuid4()
