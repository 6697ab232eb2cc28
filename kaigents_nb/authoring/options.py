"""How a step is run: one frozen object, passed whole through every room."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from kaigents_nb.authoring.durations import Duration, seconds
from kaigents_nb.authoring.rate import Rate


def check_count(what: str, count: object, *, or_none: str = "") -> None:
    """Refuse what is no whole number from 1; ``or_none`` says what None means, where it is allowed.

    Raises
    ------
    ValueError
        With the name and the value.
    """
    if count is None and or_none:
        return
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        allowed = f", or None {or_none}" if or_none else ""
        raise ValueError(f"{what} is a whole number, at least 1{allowed}, not {count!r}.")


@dataclass(frozen=True)
class Retry:
    """When a step that failed is tried again. The default is for ever.

    Parameters
    ----------
    max_attempts
        Attempts in all; then the error is raised in the agent. ``None`` means no end, but that the same error three
        times in a row, unless it is of network or HTTP, parks the run as a bug.
    first_wait, max_wait
        Wait before the second attempt, and the longest wait; seconds, ``timedelta`` or text.
    backoff
        Each wait is this many times the one before.
    give_up_on
        Exception classes that are raised in the agent at once.

    Examples
    --------
    >>> Retry(max_attempts=3, first_wait="2 s")
    Retry(max_attempts=3, first_wait='2 s', max_wait=60, backoff=2, give_up_on=())
    """

    max_attempts: int | None = None
    first_wait: Duration = 1
    max_wait: Duration = 60
    backoff: float = 2
    give_up_on: tuple[type[BaseException], ...] = ()

    def __post_init__(self) -> None:
        check_count("max_attempts", self.max_attempts, or_none="for no end")
        if not 1 <= self.backoff < math.inf:
            raise ValueError(f"backoff is at least 1, not {self.backoff!r}.")
        if seconds(self.first_wait) > seconds(self.max_wait):
            raise ValueError(f"first_wait {self.first_wait!r} is longer than max_wait {self.max_wait!r}.")
        if not isinstance(self.give_up_on, tuple | list):
            raise TypeError(f"give_up_on takes several classes, such as (KeyError,), not {self.give_up_on!r}.")
        for kind in self.give_up_on:
            if not (isinstance(kind, type) and issubclass(kind, BaseException)):
                raise TypeError(f"give_up_on takes exception classes, not {kind!r}.")


@dataclass(frozen=True)
class StepOptions:
    """The options of one step.

    Parameters
    ----------
    timeout
        Longest time that one attempt may take; ``None`` means no end.
    retry
        When to try again.
    concurrency
        So many calls of the step at the same time; ``None`` means as many as there are.
    rate
        So many calls in a time, such as ``"20/min"``; ``None`` means no limit.
    cache
        How old a result for the same arguments may be to be taken; ``None`` means that each call is made.
    """

    timeout: Duration | None = None
    retry: Retry = field(default_factory=Retry)
    concurrency: int | None = None
    rate: str | None = None
    cache: Duration | None = None

    def __post_init__(self) -> None:
        check_count("concurrency", self.concurrency, or_none="for no limit")
        if self.rate is not None:
            Rate.of(self.rate)
        if self.cache is not None:
            seconds(self.cache)
        if self.timeout is not None and seconds(self.timeout) == 0:
            raise ValueError("timeout must be longer than 0; None means no end.")
