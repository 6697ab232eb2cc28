"""What the widgets ask of a run: all of it returns within a second, and never waits for a person."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

from kaigents_nb.gates.answer import Answer
from kaigents_nb.gates.question import Question
from kaigents_nb.history.view import RunView
from kaigents_nb.replay.moment import Moment

Done = Callable[[BaseException | None], None]
"""Called from the library's background thread when a posted call ended: with its error, or None."""

Action = Literal["mend", "retry_now", "cancel"]


class LiveRun(Protocol):
    """The part of ``Run`` that the card and the inbox use."""

    @property
    def id(self) -> str:
        """The run's id."""
        ...

    def view(self) -> RunView:
        """Return the state, fetched now."""
        ...

    def watch(self, callback: Callable[[RunView], None]) -> Callable[[], None]:
        """Call back with the present state and on each change; returns the way to stop.

        Calls come from a background thread, at most 4 a second; the last has ``closed`` set.
        """
        ...

    def submit_answer(self, question: Question, answer: Answer, done: Done, kept: Callable[[], None]) -> None:
        """Post an answer to a question of the run, or of an agent that it called, and return at once.

        ``kept`` is called where it is not known at once whether the answer counts.
        """
        ...

    def at(self, moment: str) -> Moment:
        """Return a moment; replays the run, so it may take long. Never called where somebody waits."""
        ...

    def post(self, action: Action, done: Done) -> None:
        """Post an action and return at once."""
        ...
