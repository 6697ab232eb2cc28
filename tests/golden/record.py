"""Record histories with the interpreter of today: ``python -m tests.golden.record [FOLDER]``.

The folder's default is the package's version. What is recorded already stays as it is, for runs that were started
by then are in flight: an interpreter that writes other histories adds a folder of its own.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kaigents_nb as kg
from kaigents_nb.control.run import Run
from kaigents_nb.server import embedded
from tests.golden import agents
from tests.golden.histories import FOLDER, SIGNING_KEY, write
from tests.support import eventually

END_S = 30


@kg.step
def buggy(x):
    """The mended step of `agents.has_a_bug`, as a re-executed cell would define it."""
    return x.upper()


def ended(run: Run) -> Run:
    """Wait for the end, of whatever kind."""
    eventually(lambda: run.view().closed, END_S, f"{run.id} ends")
    return run


def at_gate(run: Run) -> Run:
    """Wait for the run's gate."""
    run.wait_for_gate(END_S)
    return run


def decided_by_update() -> Run:
    """A gate decided while a worker is there."""
    run = at_gate(agents.gated.start("panel"))
    run.approve(choice="B", comment="cheaper", by="ann")
    return ended(run)


def decided_by_signal() -> Run:
    """A gate decided while no worker is there: the server keeps the decision."""
    run = at_gate(agents.gated.start("panel"))
    kg.disconnect()
    os.environ["KAIGENTS_WORKER"] = "off"
    kg.run(run.id).reject(comment="none of them", by="bob")
    kg.disconnect()
    del os.environ["KAIGENTS_WORKER"]
    return ended(kg.run(run.id))


def waits_at_second_gate() -> Run:
    """A run in flight: one gate is decided, the next one is open."""
    run = at_gate(agents.two_gates.start())
    run.approve(by="ann")
    eventually(lambda: run.pending()["question"].tolist() == ["Second?"], END_S)
    return run


def forked_after_gate() -> Run:
    """A fork with recorded calls and the kept decision."""
    return ended(decided_by_update().fork(at="double", decisions="keep"))


def forked_and_edited() -> Run:
    """A fork with an edited output, over a handled failure and a called agent."""
    return ended(ended(agents.calls_safely.start(3)).fork(values={"called": 5}))


def mended() -> Run:
    """A bug parks a step, and its mended code goes on in the same run."""
    run = agents.has_a_bug.start("ab")
    eventually(lambda: run.status == "parked", END_S)
    run.mend()
    return ended(run)


def retried_now() -> Run:
    """A step that would wait an hour for its next attempt is started again at once."""
    os.environ.pop("GOLDEN_SWITCH", None)
    run = agents.switched.start()
    eventually(lambda: run.status == "retrying", END_S)
    os.environ["GOLDEN_SWITCH"] = "on"
    run.retry_now()
    return ended(run)


def cancelled() -> Run:
    """Cancelled at a gate."""
    run = at_gate(agents.two_gates.start())
    run.cancel()
    return ended(run)


def decides_at_once() -> Run:
    """Steps, gates, agents, waits and chance in the same turns; both gates are decided while the worker is away."""
    run = agents.many_at_once.start()
    eventually(lambda: len(run.pending()) == 2, END_S)
    eventually(lambda: (run.steps()["status"] == "completed").all(), END_S)
    kg.disconnect()
    os.environ["KAIGENTS_WORKER"] = "off"
    for gate, name in (("2", "ann"), ("1", "bob")):
        kg.run(run.id).approve(gate, by=name)
    kg.disconnect()
    del os.environ["KAIGENTS_WORKER"]
    return ended(kg.run(run.id))


def hears_at_once() -> Run:
    """Results, decisions, waits and started runs that come in one turn."""
    run = agents.hears_at_once.start()
    eventually(lambda: len(run.pending()) == 2, END_S)
    for gate in ("2", "1"):
        run.approve(gate, by="ann")
    return ended(run)


def forked_after_waits() -> Run:
    """A fork that does not wait again for what was over, but for what came later."""
    return ended(ended(agents.sleeps_between.start()).fork(at=("double", 2)))


def races() -> Run:
    """Branches that race, with a gate that is decided and one that nobody decides in time."""
    run = agents.races.start()
    eventually(lambda: run.pending()["question"].tolist() == ["Soon?"], END_S)
    run.approve(by="ann")
    return ended(run)


def forked_after_races() -> Run:
    """A fork that goes the way of the first run up to its last call, with the gate asked again."""
    fork = races().fork(at="double")
    eventually(lambda: fork.pending()["question"].tolist() == ["Soon?"], END_S)
    fork.approve(by="bob")
    return ended(fork)


SCENARIOS: dict[str, Callable[[], Run]] = {
    "sequence": lambda: ended(agents.sequence.start("panel")),
    "gathered": lambda: ended(agents.gathered.start(3)),
    "decided_by_update": decided_by_update,
    "decided_by_signal": decided_by_signal,
    "waits_at_second_gate": waits_at_second_gate,
    "cancelled": cancelled,
    "sleeps": lambda: ended(agents.sleeps.start()),
    "calls_agents": lambda: ended(agents.calls_agents.start(2)),
    "calls_safely": lambda: ended(agents.calls_safely.start(3)),
    "called": lambda: ended(kg.run(ended(agents.calls_safely.start(4)).view().steps[0].child_run)),
    "handles_a_failure": lambda: ended(agents.handles_a_failure.start()),
    "mended": mended,
    "retried_now": retried_now,
    "forked_after_gate": forked_after_gate,
    "forked_and_edited": forked_and_edited,
    "decides_at_once": decides_at_once,
    "hears_at_once": hears_at_once,
    "forked_after_hearing": lambda: ended(hears_at_once().fork(at="double", decisions="keep")),
    "ends_beside_a_task": lambda: ended(agents.ends_beside_a_task.start()),
    "ends_after_its_tasks": lambda: ended(agents.ends_after_its_tasks.start()),
    "fails_after_its_tasks": lambda: ended(agents.fails_after_its_tasks.start()),
    "forked_after_waits": forked_after_waits,
    "races": races,
    "forked_after_races": forked_after_races,
    "starts_runs": lambda: ended(agents.starts_runs.start()),
    "takes_turns": lambda: ended(agents.takes_turns.start()),
    "forbidden": lambda: ended(agents.reads_the_clock.start()),
    "fails_by_itself": lambda: ended(agents.fails_by_itself.start()),
}


def history_of(run: Run) -> str:
    """Return the history as JSON, without the names of this machine and process."""
    handle = run._connection.client.get_workflow_handle(run.id)
    history = run._connection.run(handle.fetch_history)
    return json.dumps(_anonymous(json.loads(history.to_json())), indent=1) + "\n"


def _anonymous(part: Any) -> Any:
    if isinstance(part, list):
        return [_anonymous(item) for item in part]
    if isinstance(part, dict):
        return {key: "somebody" if key == "identity" else _anonymous(value) for key, value in part.items()}
    return part


def record(folder: Path) -> None:
    """Record what is missing in the folder, on a server of its own."""
    missing = {name: play for name, play in SCENARIOS.items() if not any(folder.glob(f"{name}.json*"))}
    kept = len(SCENARIOS) - len(missing)
    print(f"{kept} of {len(SCENARIOS)} histories are in {folder.name} already and stay as they are.")
    if not missing:
        return
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as data_dir:
        # The notebook's name goes into the history in place of this file's path.
        os.environ |= {
            "KAIGENTS_DATA_DIR": data_dir,
            "KAIGENTS_SIGNING_KEY": SIGNING_KEY,
            "JPY_SESSION_NAME": "golden.ipynb",
        }
        try:
            kg.connect()
            kg.disconnect()  # the next connection knows the search attribute
            for name, play in missing.items():
                run = play()
                write(folder / f"{name}.json", history_of(run))
                print(f"{name}: {run.status}")
        finally:
            kg.disconnect()
            embedded.stop(Path(data_dir))


if __name__ == "__main__":
    record(FOLDER / (sys.argv[1] if len(sys.argv) > 1 else kg.__version__))
