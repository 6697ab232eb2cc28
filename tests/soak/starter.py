"""A notebook's kernel, as it were: it starts runs, serves their queue and waits for their results. Killed and started
again, it goes on with its runs."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import kaigents_nb as kg
from kaigents_nb.errors import RunNotFound
from tests.soak import agents
from tests.soak.ledger import TOLD, Ledger, digest, read
from tests.soak.processes import end_with_whoever_started_this

ENOUGH = "enough"
"""This file in the soak's folder: no more runs."""
_PACE_S = 1.0
_OPEN_RUNS = 20


def main(place: Path) -> None:
    ledger = Ledger(TOLD)
    lines = list(read(TOLD))
    started = [line["run"] for line in lines if line["what"] == "started"]
    done = {line["run"] for line in lines if line["what"] in ("result", "failed")}
    waiting = [_wait_for(run_id, ledger) for run_id in started if run_id not in done]
    number = len(started)
    while True:
        open_runs = sum(thread.is_alive() for thread in waiting)
        if (place / ENOUGH).exists() or open_runs >= _OPEN_RUNS:
            time.sleep(_PACE_S)
            continue
        run_id = f"soak-{number}"
        try:
            agents.start(number, run_id)
        except ValueError as error:  # started before this process was killed, and ended meanwhile
            if "already ended" not in str(error):
                raise
        except kg.KaigentsError as error:
            ledger.write("trouble", run=run_id, error=f"start: {error}")
            time.sleep(_PACE_S)
            continue
        ledger.write("started", run=run_id)
        waiting.append(_wait_for(run_id, ledger))
        number += 1
        time.sleep(_PACE_S)


def _wait_for(run_id: str, ledger: Ledger) -> threading.Thread:
    thread = threading.Thread(target=_wait, args=(run_id, ledger), daemon=True)
    thread.start()
    return thread


def _wait(run_id: str, ledger: Ledger) -> None:
    while True:
        try:
            result = kg.run(run_id).result()
            ledger.write("result", run=run_id, digest=digest(result["work"]), decided=result["decided"])
            return
        except (kg.RunFailed, kg.RunCancelled, RunNotFound) as error:
            ledger.write("failed", run=run_id, error=str(error)[:1000])
            return
        except Exception as error:
            ledger.write("trouble", run=run_id, error=f"result: {type(error).__name__}: {error}"[:1000])
            time.sleep(1)


if __name__ == "__main__":
    end_with_whoever_started_this()
    main(Path(sys.argv[1]))
