"""Promises broken on purpose, one of each kind, to show that a soak would notice; its deciders lie beside."""

from __future__ import annotations

from collections import Counter

from tests.soak import agents
from tests.soak.ledger import STEPS, TOLD, Ledger, read
from tests.support import eventually

NOWHERE = "soak-999999"
NEVER_DECIDED = "soak-900000"
_PATIENCE_S = 90.0


def spoil() -> None:
    """Promise a run that is not there, one that never ends, and do a step that has ended once more."""
    told = Ledger(TOLD)
    told.write("started", run=NOWHERE)
    agents.never.start(0, id=NEVER_DECIDED)
    told.write("started", run=NEVER_DECIDED)
    done = eventually(lambda: next((line for line in read(STEPS) if line["what"] == "end"), None), _PATIENCE_S)
    assert done is not None
    steps = Ledger(STEPS)
    for _ in range(2):
        steps.write("begin", key=done["key"])
        steps.write("end", key=done["key"], digest=done["digest"])
    eventually(_lied, _PATIENCE_S)


def _lied() -> bool:
    won = Counter((line["run"], line["gate"]) for line in read(TOLD) if line["what"] == "won")
    return max(won.values(), default=0) > 1
