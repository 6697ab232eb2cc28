"""``@agent``: an ``async def`` that awaits steps and people, and survives everything."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from kaigents_nb.authoring.awaited import Begin, durable
from kaigents_nb.authoring.context import agent_context
from kaigents_nb.loading import one_at_a_time

if TYPE_CHECKING:
    from kaigents_nb.authoring.gate import Decision

P = ParamSpec("P")
R = TypeVar("R")
Handle = TypeVar("Handle")
"""What ``start()`` gives: a room far above says which class that is."""


@dataclass(frozen=True)
class StartedRun:
    """A run of its own that an agent has started: ``kg.run(started.id)`` follows it, in a cell."""

    id: str


class Agent(Generic[P, R, Handle]):
    """An agent: ``.start(...)`` runs it durably; awaited in another agent it is a run of its own."""

    def __init__(self, fn: Callable[P, Coroutine[Any, Any, R]]) -> None:
        self.fn = fn
        self.name = fn.__name__
        functools.update_wrapper(self, fn)

    def __class_getitem__(cls, item: Any) -> Any:
        # Written as ``Agent[[str], int]``: what ``start()`` gives is no choice of who annotates.
        written = item if isinstance(item, tuple) else (item,)
        return super().__class_getitem__((*written, Any) if len(written) == 2 else written)  # type: ignore[misc]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Await the agent inside another agent; in a cell, :meth:`start` it."""
        interpreter = agent_context.get()
        if interpreter is not None:
            return durable(interpreter, f"{self.name}(…)", interpreter.call_agent(self, args, kwargs))
        raise RuntimeError(
            f"An agent is not called in a cell. Write {self.name}.start(…), which gives a run; {self.name}.dry_run(…) "
            f"tries it here without a server, and in another agent it is awaited: await {self.name}(…)."
        )

    def start(self, *args: Any, id: str | None = None, **kwargs: Any) -> Handle:
        """Start a run and return at once.

        The code of the cells is frozen and travels with the run, so that any worker can go on with it.

        In an agent, ``started = await other.start(…)`` starts a run of its own, with the code that this one carries:
        it goes on when this one ends, and ``started.id`` is its id. To wait for its result, await ``other(…)`` instead.

        Parameters
        ----------
        *args, **kwargs
            The agent's arguments; checked against its signature here.
        id
            An id of your own. Starting an id that is already running returns that run; in an agent, which may have to
            say it twice, also one that has ended.

        Raises
        ------
        TypeError
            When the arguments don't fit the agent's signature.
        CannotFreeze
            When a name in the cells can't travel; the message says which, where it is used and what to do.
        ConversionError
            When an argument can't be saved.

        Examples
        --------
        ``run = sourcing_agent.start("solar panel")``
        """
        inspect.signature(self.fn).bind(*args, **kwargs)
        interpreter = agent_context.get()
        if interpreter is not None:
            begin = partial(_started, interpreter.start_agent(self, args, kwargs, id))
            there: Any = durable(interpreter, f"{self.name}.start(…)", begin)
            return there  # type: ignore[no-any-return]
        with one_at_a_time:
            from kaigents_nb.control.start import start

        run: Any = start(self, args, kwargs, id=id)
        return run  # type: ignore[no-any-return]

    def dry_run(self, *args: Any, decisions: Iterable[str | Decision | Mapping[str, Any]] = (), **kwargs: Any) -> Any:
        """Run the agent in this cell, without a server: nothing is kept or retried, waits are skipped, pdb works.

        Arguments and results are copied as in a run, and what a run can't save is refused here too.

        What a run refuses an agent when it happens, such as to read a file, is not refused here.

        Parameters
        ----------
        *args, **kwargs
            The agent's arguments.
        decisions
            What to answer at its gates, in order: an option, ``"approve"`` or ``"reject"``; with values and a comment
            ``{"choice": "approve", "values": {"price": 5}, "comment": "cheap"}`` or a ``kg.Decision``; where a value
            is asked for, that value, or ``"reject"``. Without, you are asked.

        Raises
        ------
        ConversionError
            When an argument or result can't be saved.
        ImportError
            In a notebook without nest-asyncio: ``pip install 'kaigents-nb[dry-run]'``.

        Examples
        --------
        >>> @agent
        ... async def greet(name: str) -> str:
        ...     return f"Hello {name}"
        >>> greet.dry_run("Ada")
        'Hello Ada'
        """
        inspect.signature(self.fn).bind(*args, **kwargs)
        from kaigents_nb.authoring.dry_run import dry_run

        return dry_run(self, args, kwargs, decisions)

    def __repr__(self) -> str:
        return f"<agent {self.name}>"


async def _started(begin: Begin[str]) -> StartedRun:
    return StartedRun(await begin())


def agent(fn: Callable[P, Coroutine[Any, Any, R]], /) -> Agent[P, R, Any]:
    """Mark an ``async def`` as an agent.

    Its body is replayed after a crash, so it holds decisions and order only: work goes into steps, time and
    chance come from ``kg.now()``, ``kg.random()``, ``kg.uuid4()`` and ``kg.sleep()``.

    Examples
    --------
    >>> @agent
    ... async def greet(name: str) -> str:
    ...     return f"Hello {name}"
    >>> greet
    <agent greet>
    """
    if not inspect.iscoroutinefunction(fn):
        name = getattr(fn, "__name__", repr(fn))
        raise TypeError(f"An agent is an async def. Write: async def {name}(...).")
    return Agent(fn)
