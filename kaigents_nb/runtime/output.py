"""What steps print goes with the step, not into whichever cell runs at the time."""

from __future__ import annotations

import sys
from contextvars import ContextVar
from types import TracebackType
from typing import Any, TextIO

from kaigents_nb.authoring.context import agent_context

LIMIT_CHARS = 8_000
"""Of a step's output the last so many characters are kept."""

_capturing: ContextVar[Output | None] = ContextVar("kaigents_output", default=None)


class Output:
    """The end of what one attempt printed. Use as a context manager in the attempt's own context."""

    def __init__(self) -> None:
        self._text = ""

    def write(self, text: str) -> None:
        """Take what is printed."""
        self._text = (self._text + text)[-2 * LIMIT_CHARS :]

    @property
    def text(self) -> str:
        """The last ``LIMIT_CHARS`` characters; says so when something was left out."""
        if len(self._text) <= LIMIT_CHARS:
            return self._text
        return "[… earlier output left out]\n" + self._text[-LIMIT_CHARS:]

    def __enter__(self) -> Output:
        route_output()  # somebody may have put another stream there since the worker started
        self._token = _capturing.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _capturing.reset(self._token)


class _Routed:
    """A stream that sends what a step prints to its own output, and everything else where it always went."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        output, agent = _capturing.get(), agent_context.get()
        if agent is not None and agent.replaying:
            return len(text)  # the agent printed it before
        if output is None:
            return self.stream.write(text)
        output.write(text)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def route_output() -> None:
    """Send the output of steps to their steps; done when a worker starts, undone by :func:`restore_output`."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, _Routed):
            setattr(sys, name, _Routed(stream))


def restore_output() -> None:
    """Put the plain streams back."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, _Routed):
            setattr(sys, name, stream.stream)
