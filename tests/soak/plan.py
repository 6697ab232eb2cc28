"""What is done to whom and when, from a seed: the same seed plans the same, whatever comes of it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

SERVER = "server"
_MEAN_PAUSE_S = 2.5
# (who, how often beside the others, longest stop)
_VICTIMS = ((SERVER, 6, 8.0), ("worker", 6, 15.0), ("decider", 2, 8.0), ("starter", 1, 8.0))


@dataclass(frozen=True)
class Fault:
    """A kill -9, or a stop (SIGSTOP) that ends after ``stopped_s``."""

    at_s: float
    victim: str
    stopped_s: float = 0.0

    @property
    def kind(self) -> str:
        """``kill`` or ``stop``."""
        return "stop" if self.stopped_s else "kill"


def faults(seed: int, length_s: float, counts: dict[str, int]) -> Iterator[Fault]:
    """Return the faults of a soak, earliest first; ``counts`` says how many processes of a kind there are."""
    chance, at_s = random.Random(seed), 2.0
    while (at_s := at_s + chance.expovariate(1 / _MEAN_PAUSE_S)) < length_s:
        kind, _, longest_s = chance.choices(_VICTIMS, [victim[1] for victim in _VICTIMS])[0]
        number = chance.randrange(counts.get(kind, 1))
        stopped_s = chance.uniform(0.3, longest_s) if chance.random() < 0.5 else 0.0
        yield Fault(at_s, SERVER if kind == SERVER else f"{kind} {number + 1}", stopped_s)
