"""``@step``: a plain function whose calls in an agent are durable."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar, overload

from kaigents_nb.authoring.awaited import durable
from kaigents_nb.authoring.context import agent_context
from kaigents_nb.authoring.durations import Duration
from kaigents_nb.authoring.options import Retry, StepOptions

P = ParamSpec("P")
R = TypeVar("R")


class Step(Generic[P, R]):
    """A function that an agent can call durably; anywhere else it is just the function.

    ``.name`` is the function's name, ``.fn`` the function (``None`` where only its name is known, as in an
    agent's interpreter), ``.options`` how it is run.
    """

    def __init__(self, fn: Callable[P, R] | None, options: StepOptions, name: str | None = None) -> None:
        self.fn = fn
        self.options = options
        self.name = name if name is not None else str(getattr(fn, "__name__", ""))
        if fn is not None:
            if self.name == "<lambda>":
                raise TypeError("A step needs a name that history can show. Write it with def, not lambda.")
            functools.update_wrapper(self, fn)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Call the function; in an agent, await the result of a durable call."""
        interpreter = agent_context.get()
        if interpreter is not None:
            return durable(interpreter, f"{self.name}(…)", interpreter.call_step(self, args, kwargs))
        if self.fn is None:
            raise RuntimeError(f"Step {self.name!r} is only known by name here; await it in an agent.")
        return self.fn(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<step {self.name}>"


@overload
def step(fn: Callable[P, R], /) -> Step[P, R]: ...
@overload
def step(
    *,
    timeout: Duration | None = None,
    retry: Retry | None = None,
    concurrency: int | None = None,
    rate: str | None = None,
    cache: Duration | None = None,
) -> Callable[[Callable[P, R]], Step[P, R]]: ...


def step(
    fn: Callable[P, R] | None = None,
    /,
    *,
    timeout: Duration | None = None,
    retry: Retry | None = None,
    concurrency: int | None = None,
    rate: str | None = None,
    cache: Duration | None = None,
) -> Step[P, R] | Callable[[Callable[P, R]], Step[P, R]]:
    """Mark a sync or async function as a step.

    In an agent, ``await name(...)`` runs it on a worker: its result is saved, a failure that may pass is
    retried for ever, a bug parks the run until the cell is mended; the same error from the same line three times in a
    row is one, unless it is of network or HTTP, and so is a ``ValueError`` or ``ArithmeticError`` that this line raises
    ten times in a row in other words. Called anywhere else it is the plain function.

    Decorators below ``@step`` are a part of the step; those above are executed in the agent, around the call.

    Parameters
    ----------
    timeout
        Longest time for one attempt; seconds, ``timedelta`` or text such as ``"5 min"``. ``None``: no end. An attempt
        that takes longer gets ``asyncio.CancelledError`` at its next line of Python, and the next one begins after it.
    retry
        A :class:`Retry`; the default retries for ever, waiting 1 s at first and 60 s at most.
    concurrency
        So many calls at the same time, over all runs of a worker; a call that waits says so on the card.
    rate
        So many calls in a time, such as ``"20/min"``, over all runs and, best effort, over all workers of the queue
        with the same data directory; a call that waits says so on the card.
    cache
        Take a result of the same code for the same arguments, if it is not older than this: ``"1 day"``. It is kept in
        the data directory; the card says where a result came from.

    Examples
    --------
    >>> @step
    ... def double(x: int) -> int:
    ...     return 2 * x
    >>> double(4)
    8
    """
    options = StepOptions(timeout, retry or Retry(), concurrency, rate, cache)
    if fn is None:
        return lambda f: Step(f, options)
    if not callable(fn):
        raise TypeError(f"@step goes on a function, not {fn!r}. With options, name them: @step(timeout='5 min').")
    return Step(fn, options)
