"""People at the same gates: several decide at once, each after a moment, and write down what they were told."""

from __future__ import annotations

import itertools
import os
import random
import sys
import threading
import time

import kaigents_nb as kg
from kaigents_nb.errors import GateError
from tests.soak.agents import NEVER
from tests.soak.ledger import TOLD, Ledger
from tests.soak.processes import end_with_whoever_started_this

_PEOPLE = 3
_LONGEST_MOMENT_S = 0.4
_KILLED = "The worker died"


def main(name: str, *, lies: bool) -> None:
    ledger, chance = Ledger(TOLD), random.Random(f"{name} {time.time()}")
    for number in itertools.count():
        try:
            _look_after_parked(ledger)
            gates = kg.pending()
        except kg.KaigentsError as error:
            ledger.write("trouble", error=f"look: {type(error).__name__}: {error}")
            time.sleep(0.5)
            continue
        gates = gates[gates["agent"] != NEVER]
        if gates.empty or chance.random() < 0.3:  # some gates are left open for a while
            time.sleep(0.3)
            continue
        # Mostly the one that waits longest, as the others do.
        gate = gates.iloc[0 if chance.random() < 0.7 else chance.randrange(len(gates))]
        people = [
            threading.Thread(
                target=_decide,
                args=(f"{name}.{os.getpid()}.{number}.{person}", gate["run_id"], gate["gate"], gate["options"]),
                kwargs={"after_s": chance.uniform(0, _LONGEST_MOMENT_S), "lies": lies, "ledger": ledger},
            )
            for person in range(_PEOPLE)
        ]
        for person in people:
            person.start()
        for person in people:
            person.join()


def _look_after_parked(ledger: Ledger) -> None:
    """Do as the card says where chance has killed the worker of a step three times at the same place."""
    for run_id in kg.runs(status="parked")["run_id"]:
        run = kg.run(run_id)
        if any(step.status == "parked" and _KILLED in step.error for step in run.view().steps):
            ledger.write("retried", run=run_id, steps=run.retry_now())


def _decide(by: str, run_id: str, gate: str, options: list[str], *, after_s: float, lies: bool, ledger: Ledger) -> None:
    time.sleep(after_s)
    facts = {"run": run_id, "gate": gate, "by": by}
    try:
        run = kg.run(run_id)
        run.pending()  # what is decided on is what was shown
        if options and by[-1] != "0":
            decision = run.approve(gate, choice=options[int(by[-1]) % len(options)], by=by)
        elif options:
            decision = run.reject(gate, by=by)
        else:
            decision = run.approve(gate, by=by)
        ledger.write("won", **facts | {"winner": decision.by})
    except kg.AlreadyDecided as error:
        ledger.write("won" if lies else "lost", **facts | {"winner": by if lies else error.decision["by"]})
    except kg.KaigentsError as error:
        # A refusal, or told neither: not yet known, or no server.
        refused = isinstance(error, GateError) and "not yet known" not in str(error)
        told = f"decide: {type(error).__name__}: {error}"
        ledger.write("closed" if refused else "trouble", **facts, error=told[:1000])
    except Exception as error:
        ledger.write("trouble", **facts, error=f"decide: {type(error).__name__}: {error}"[:1000])


if __name__ == "__main__":
    end_with_whoever_started_this()
    main(sys.argv[1], lies="--lies" in sys.argv)
