"""What a durable call gives: something to await, and nothing else.

A decision that was not awaited is an object, and every object is true. So what ``kg.approve()``, ``kg.sleep()``, a step
or an agent gives refuses to be anything but awaited, and a run does not end while one of them never was. In a run the
same holds for coroutines of the analyst's own.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Coroutine, Generator, Iterable
from functools import partial
from types import CoroutineType
from typing import Any, NoReturn, TypeVar

from kaigents_nb.authoring.context import AgentContext, agent_context
from kaigents_nb.authoring.tasks import AgentTask
from kaigents_nb.errors import ForbiddenInAgent
from kaigents_nb.values.refusals import advise

R = TypeVar("R")
Begin = Callable[[], Coroutine[Any, Any, R]]
"""Begins the work of a durable call, once; what must be in the order of the calls is done by then."""


def durable(interpreter: AgentContext, what: str, begin: Begin[R], depth: int = 2) -> NotAwaited[R]:
    """Return a durable call for the agent to await; ``what`` names it, its line is ``depth`` frames up."""
    frame = sys._getframe(depth)
    made = NotAwaited(begin, what, (frame.f_code.co_filename, frame.f_lineno), interpreter)
    interpreter.unawaited[id(made)] = made
    return made


def noted(given: Any, reads: str) -> Any:
    """Return what a call in an agent's code gave: a coroutine as a durable call, which must be awaited."""
    kind = type(given)
    interpreter = agent_context.get() if kind is CoroutineType or kind is map else None
    if interpreter is None:
        return given
    frame = sys._getframe(1)
    note = partial(_noted, interpreter, (frame.f_code.co_filename, frame.f_lineno))
    return note(given, reads) if kind is CoroutineType else map(note, given)


def _noted(interpreter: AgentContext, made_at: tuple[str, int], given: Any, reads: str = "") -> Any:
    if type(given) is not CoroutineType or inspect.getcoroutinestate(given) != inspect.CORO_CREATED:
        return given
    made = NotAwaited(lambda: given, reads or f"{given.__qualname__}(…)", made_at, interpreter, given)
    interpreter.unawaited[id(made)] = made
    return made


def refuse_unawaited(interpreter: AgentContext, running: Iterable[AgentTask] = ()) -> None:
    """Refuse the end of an agent that has made calls which nobody awaited, or whose tasks are still ``running``.

    Raises
    ------
    ForbiddenInAgent
        Naming each, with its line.
    """
    tasks = list(running)
    begun = {id(task.work) for task in tasks}
    texts = []
    if calls := [made for made in interpreter.unawaited.values() if id(made) not in begun and not made._is_begun]:
        named = "; ".join(f"{made._what}, {made._place}" for made in calls)
        texts.append(
            f"The agent ended and never awaited {named}. It would never have run: write await before it, or give it to "
            "asyncio.gather()."
        )
    if tasks:
        named = "; ".join(f"{_name(task)}, {interpreter.place(*task.made_at)}" for task in tasks)
        texts.append(
            f"The agent ended while something that it had started still ran: {named}. It would be cut off: await it "
            "before the end (asyncio.gather() goes on beside one that failed: with return_exceptions=True it waits for "
            "all), or task.cancel() it. What shall go on by itself is a run of its own: await other_agent.start(…)."
        )
    if texts:
        raise ForbiddenInAgent(" ".join(texts))


def _name(task: AgentTask) -> str:
    work: Any = task.work
    return work._what if isinstance(work, NotAwaited) else f"{getattr(work, '__qualname__', task.get_name())}()"


class NotAwaited(Coroutine[Any, Any, R]):
    """A durable call before it is awaited; the name is what Python says where somebody uses it for something else."""

    def __init__(
        self,
        begin: Begin[R],
        what: str,
        made_at: tuple[str, int],
        interpreter: AgentContext,
        begun: CoroutineType[Any, Any, R] | None = None,
    ) -> None:
        self._begin = begin
        self._begun: Coroutine[Any, Any, R] | None = begun
        self._made_at = made_at
        self._interpreter = interpreter
        self._what = what

    @property
    def _place(self) -> str:
        """The line that made the call."""
        return self._interpreter.place(*self._made_at)

    @property
    def _is_begun(self) -> bool:
        """Whether somebody has awaited the coroutine behind it, past this."""
        begun: Any = self._begun
        return begun is not None and inspect.getcoroutinestate(begun) != inspect.CORO_CREATED

    # A coroutine, for await, gather(), create_task() and wait_for().

    def _work(self) -> Coroutine[Any, Any, R]:
        self._interpreter.unawaited.pop(id(self), None)
        # Made when it is needed: of a coroutine that is made and never awaited Python complains by itself, somewhere.
        if self._begun is None:
            self._begun = self._begin()
        return self._begun

    def send(self, value: Any) -> Any:
        """Go on; see :class:`collections.abc.Coroutine`."""
        return self._work().send(value)

    def throw(self, *error: Any) -> Any:
        """Go on with an exception."""
        return self._work().throw(*error)

    def close(self) -> None:
        """Give it up."""
        self._interpreter.unawaited.pop(id(self), None)
        if self._begun is not None:
            self._begun.close()

    def __await__(self) -> Generator[Any, Any, R]:
        return self._work().__await__()

    def __repr__(self) -> str:
        return f"<not awaited: {self._what}, {self._place}>"

    # And nothing else.

    @property
    def _why(self) -> str:
        return f"{self._what}, {self._place}, is not awaited, so there is no result yet. Write: await {self._what}."

    def _refuse(self, *_: Any) -> NoReturn:
        raise ForbiddenInAgent(self._why)

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("__", "cr_", "gi_", "ag_")):
            raise AttributeError(name)  # asyncio, copy and debuggers ask for these
        self._refuse()

    def __bool__(self) -> bool:
        # The repr of a task asks, on Python 3.12.
        if not str(sys._getframe(1).f_globals.get("__name__", "")).startswith("asyncio."):
            self._refuse()
        return True

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):
            self._refuse()
        super().__setattr__(name, value)


_OPERATORS = (
    "add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "divmod", "pow", "lshift", "rshift", "and", "or",
    "xor",
)  # fmt: skip
_REFUSED = (
    "str", "format", "bytes", "eq", "ne", "lt", "le", "gt", "ge", "call", "len", "contains", "getitem", "setitem",
    "delitem", "iter", "reversed", "aiter", "enter", "exit", "aenter", "aexit", "neg", "pos", "abs",
    "invert", "int", "float", "complex", "index", "round", "trunc", "floor", "ceil",
    *(f"{side}{operator}" for operator in _OPERATORS for side in ("", "r")),
)  # fmt: skip
for _special in _REFUSED:  # Python looks these up in the class, past __getattr__
    setattr(NotAwaited, f"__{_special}__", NotAwaited._refuse)


@advise.register(NotAwaited)
def _advise(made: NotAwaited[Any]) -> str:
    return made._why
