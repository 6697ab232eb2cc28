"""Promises broken on purpose, one of each kind, to show that a soak would notice; its deciders lie beside."""

from __future__ import annotations

from tests.soak import agents
from tests.soak.ledger import STEPS, TOLD, Ledger, read

NOWHERE = "soak-999999"
NEVER_DECIDED = "soak-900000"


def spoil() -> None:
    """Promise a run that is not there, one that never ends, and do a step that has ended once more."""
    told = Ledger(TOLD)
    told.write("started", run=NOWHERE)
    agents.never.start(0, id=NEVER_DECIDED)
    told.write("started", run=NEVER_DECIDED)
    done = next(line for line in read(STEPS) if line["what"] == "end")
    steps = Ledger(STEPS)
    for _ in range(2):
        steps.write("begin", key=done["key"])
        steps.write("end", key=done["key"], digest=done["digest"])
