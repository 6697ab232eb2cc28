"""``Shown``: the questions that a process has shown to its person and that nobody there has decided yet."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from kaigents_nb.gates.question import Question

_RUNS = 1_000
"""So many runs are remembered: a process that looks on for months shows many."""

_Key = tuple[str, str]


def _key(question: Question) -> _Key:
    return question.run_id, question.token


@dataclass
class _Looks:
    """What was shown of one run: at the last look at it, and in passing since then."""

    seen: dict[_Key, Question] = field(default_factory=dict)
    passed: dict[_Key, Question] = field(default_factory=dict)
    over: set[_Key] = field(default_factory=set)


class Shown:
    """What "approve" means where it names no gate: what was shown, never what waits there by now.

    What somebody has looked at (``see``) is what they mean, until it is decided here or its end was told here. Without
    such a look it is what a card or a state has shown in passing (``add``): these go on by themselves, so that of two
    questions after each other the first is still the one that somebody may have in mind.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: OrderedDict[str, _Looks] = OrderedDict()

    def of(self, run_id: str) -> list[Question]:
        """Return what was shown of a run, by whatever face, oldest first."""
        with self._lock:
            looks = self._looks(run_id)
            return list((looks.seen or looks.passed).values())

    def see(self, run_id: str, questions: Iterable[Question]) -> None:
        """Note that somebody has looked at all open questions of a run, its own and those of agents that it called."""
        listed = list(questions)
        with self._lock:
            for shown_as in {run_id, *(question.run_id for question in listed)}:
                looks = self._looks(shown_as)
                mine = [question for question in listed if shown_as in (run_id, question.run_id)]
                looks.seen, looks.passed = {_key(question): question for question in mine}, {}

    def add(self, run_id: str, questions: Iterable[Question]) -> None:
        """Note what was shown of a run in passing."""
        with self._lock:
            for question in questions:
                for shown_as in {run_id, question.run_id}:
                    looks = self._looks(shown_as)
                    if _key(question) not in looks.over:
                        looks.passed[_key(question)] = question

    def forget(self, question: Question) -> None:
        """Let go for good of a question that was decided here, or of which was told here that it is over."""
        key = _key(question)
        with self._lock:
            for looks in self._runs.values():
                if key in looks.seen or key in looks.passed:
                    looks.over.add(key)
                    looks.seen.pop(key, None)
                    looks.passed.pop(key, None)

    def _looks(self, run_id: str) -> _Looks:
        looks = self._runs.setdefault(run_id, _Looks())
        self._runs.move_to_end(run_id)
        if len(self._runs) > _RUNS:
            self._runs.popitem(last=False)
        return looks


shown = Shown()
"""What this process has shown: the person before it is the same, whatever connection it has."""
