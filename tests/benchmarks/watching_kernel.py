"""A kernel for ``watching.py``: ``RUNS SECONDS``; prints what it takes of a core without and with the cards of runs."""

from __future__ import annotations

import json
import sys
import time

from kaigents_nb.display.card import Card
from tests.benchmarks import agents

_SETTLE_S = 5.0


def main(count: int, seconds: float) -> None:
    runs = [agents.gated.start() for _ in range(count)]
    for run in runs:
        run.wait_for_gate(60)
    alone = _percent(seconds)
    cards = [Card(run, run.view()) for run in runs]
    watching = _percent(seconds)
    assert all(card.alive for card in cards)
    print(json.dumps([alone, watching]), flush=True)
    sys.stdin.read()
    for run in runs:
        run.terminate()


def _percent(seconds: float) -> float:
    time.sleep(_SETTLE_S)
    cpu, began = time.process_time(), time.monotonic()
    time.sleep(seconds)
    return 100 * (time.process_time() - cpu) / (time.monotonic() - began)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
