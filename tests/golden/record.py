"""Record histories with the interpreter of today: ``python -m tests.golden.record [FOLDER]``.

The folder's default is the package's version. What is recorded already stays as it is, for runs that were started
by then are in flight: an interpreter that writes other histories adds a folder of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from temporalio.common import RawValue
from temporalio.converter import ExternalStorage

import kaigents_nb as kg
from kaigents_nb.authoring.step import Step
from kaigents_nb.control.notebook_code import current_code
from kaigents_nb.control.run import Run
from kaigents_nb.people.open_gates import open_gates
from kaigents_nb.runtime.protocol import DECIDE_SIGNAL, MEND_SIGNAL, RETRY_SIGNAL, StepCall
from kaigents_nb.runtime.steps import StepRunner
from kaigents_nb.runtime.storage import FileStore
from kaigents_nb.server import embedded
from tests.golden import agents
from tests.golden.histories import BLOBS, FOLDER, SIGNING_KEY, write
from tests.support import eventually

END_S = 30
EDITED = {("double", 1): 50}


@kg.step
def buggy(x):
    """The mended step of `agents.has_a_bug`, as a re-executed cell would define it."""
    return x.upper()


@kg.step
def parks_with(*texts):
    """The mended step of `agents.big_calls_park`."""
    return sum(map(len, texts))


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


@contextmanager
def without_worker() -> Iterator[None]:
    """Let this process look on only: what it sends is kept by the server, and comes all at once then."""
    kg.disconnect()
    os.environ["KAIGENTS_WORKER"] = "off"
    try:
        yield
    finally:
        kg.disconnect()
        del os.environ["KAIGENTS_WORKER"]


def decided_by_signal() -> Run:
    """A gate decided while no worker is there: the server keeps the decision."""
    run = at_gate(agents.gated.start("panel"))
    with without_worker():
        kg.run(run.id).reject(comment="none of them", by="bob")
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
    with without_worker():
        for gate, name in (("2", "ann"), ("1", "bob")):
            kg.run(run.id).approve(gate, by=name)
    return ended(kg.run(run.id))


def goes_on_after_gates() -> Run:
    """Two gates that are decided in one turn."""
    run = agents.goes_on_after_gates.start()
    eventually(lambda: len(run.pending()) == 2, END_S)
    with without_worker():
        both_decided(kg.run(run.id))
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


def signal(run: Run, name: str, *args: object) -> None:
    """Send a run what any client of the server may send."""
    connection = run._connection
    handle = connection.client.get_workflow_handle(run.id)
    connection.run(lambda: handle.signal(name, args=list(args)))


def as_file(run: Run, sent: object, folder: Path) -> RawValue:
    """Return what is sent as the name of a file in that folder, however small it is."""
    storage = ExternalStorage(drivers=[FileStore(folder)], payload_size_threshold=1)
    converter = replace(run._connection.client.data_converter, external_storage=storage)
    [payload] = run._connection.run(lambda: converter.encode([sent]))
    return RawValue(payload)


def decided_again() -> Run:
    """Two gates, and all sorts of decisions on them in one turn; some lie in files that only a replay finds."""
    run = agents.two_gates_at_once.start()
    eventually(lambda: len(run.pending()) == 2, END_S)
    connection = run._connection
    asked = connection.run(lambda: open_gates(connection, run.id))
    with without_worker():
        away = kg.run(run.id)
        for name, sent in (("unknown", 1), (RETRY_SIGNAL, "no list"), (DECIDE_SIGNAL, "no answer")):
            signal(away, name, sent)
        for question in reversed(asked):
            good = question.answer(True, by="ann").to_wire() | {"id": question.gate}
            signal(away, DECIDE_SIGNAL, as_file(away, good | {"by": "lost"}, BLOBS))
            for bad in ({"asked": "0" * 32}, {"choice": "neither"}):
                signal(away, DECIDE_SIGNAL, good | {"by": "nobody"} | bad)
            signal(away, DECIDE_SIGNAL, good)
            signal(away, DECIDE_SIGNAL, good | {"id": "late", "by": "late"})
    return ended(kg.run(run.id))


def statuses(run: Run, *expected: str) -> bool:
    """Whether the calls of a run are in these states."""
    return sorted(run.steps()["status"]) == sorted(expected)


def waits_and_parks() -> Run:
    """Calls started again all at once, twice; the first time they come no further."""
    os.environ.pop("GOLDEN_SWITCH", None)
    run = agents.waits_and_parks.start()
    eventually(lambda: statuses(run, "parked", "parked", "retrying", "retrying"), END_S)
    run.retry_now()
    eventually(lambda: happened(run, "activity_task_scheduled") == 8, END_S)
    eventually(lambda: statuses(run, "parked", "parked", "retrying", "retrying"), END_S)
    os.environ["GOLDEN_SWITCH"] = "on"
    run.retry_now()
    eventually(lambda: statuses(run, "parked", "parked", "completed", "completed"), END_S)
    eventually(lambda: happened(run, "activity_task_scheduled") == 12, END_S)
    eventually(lambda: len(run.pending()) == 1 and statuses(run, "parked", "parked", "completed", "completed"), END_S)
    run.mend()
    eventually(lambda: statuses(run, *["completed"] * 4), END_S)
    run.approve(by="ann")
    return ended(run)


def happened(run: Run, what: str) -> int:
    """Return how often something has happened to a run."""
    handle = run._connection.client.get_workflow_handle(run.id)
    history = run._connection.run(handle.fetch_history)
    return sum(event.HasField(f"{what}_event_attributes") for event in history.events)


def gives_up_what_is_retried() -> Run:
    """A call whose time is over in the turn in which it is started again."""
    os.environ.pop("GOLDEN_SWITCH", None)
    run = agents.gives_up_what_is_retried.start()
    eventually(lambda: run.status == "retrying", END_S)
    with without_worker():
        away = kg.run(run.id)
        signal(away, RETRY_SIGNAL, ["1"])
        eventually(lambda: happened(away, "timer_fired"), END_S)
    return ended(kg.run(run.id))


def both_decided(run: Run) -> Run:
    """Decide the gates of a run, the last first."""
    eventually(lambda: len(run.pending()) == 2, END_S)
    for gate, name in (("2", "ann"), ("1", "bob")):
        run.approve(gate, by=name)
    return run


def forked_after_giving_up(values: dict[Any, Any]) -> Run:
    """A fork with calls that the first run gave up, while its gate is asked again."""
    run = at_gate(agents.gives_up_beside_a_gate.start())
    run.approve(by="ann")
    run = ended(run)
    last = int((run.steps()["step"] == "double").sum())
    fork = at_gate(run.fork(at=("double", last), values=values))
    fork.approve(by="bob")
    return ended(fork)


def forked_in_another_order() -> Run:
    """A fork whose gates and waits are made in another order than they are awaited."""
    run = both_decided(agents.awaits_in_another_order.start())
    eventually(lambda: run.pending()["question"].tolist() == ["Third?"], END_S)
    run.approve(by="cleo")
    return ended(ended(run).fork(at="double", decisions="keep"))


def forked_past_gates() -> Run:
    """A fork in which a wait is over before the gates are decided again."""
    fork = ended(both_decided(agents.goes_past_gates.start())).fork(at="double")
    eventually(lambda: "double" in fork.steps()["step"].tolist(), END_S)
    return ended(both_decided(fork))


def forked_with_other_details() -> Run:
    """A decision that is not kept, as something else is shown now."""
    quotes = [agents.Quote("A", 1.0)]
    fork = at_gate(decided_by_update().fork(values={"find_quotes": quotes}, decisions="keep"))
    fork.approve(choice="A", by="bob")
    return ended(fork)


def forked_and_mended() -> Run:
    """A fork that takes over the code of two mended steps."""
    run = agents.has_two_bugs.start()
    eventually(lambda: statuses(run, "completed", "parked", "parked"), END_S)
    run.mend()
    return ended(ended(run).fork(at="buggy"))


@contextmanager
def declined(step: str, times: int) -> Iterator[None]:
    """Let so many attempts of a step come to a worker that lacks a module."""
    leave, left = StepRunner._leave_to_others, iter(range(times))

    def lacks_a_module(lacks: str | None, code: Any, call: StepCall, attempt: Any) -> None:
        leave("rare" if call.step == step and next(left, None) is not None else lacks, code, call, attempt)

    StepRunner._leave_to_others = staticmethod(lacks_a_module)  # type: ignore[method-assign]
    try:
        yield
    finally:
        StepRunner._leave_to_others = staticmethod(leave)  # type: ignore[method-assign]


def is_declined() -> Run:
    """Two attempts come to a worker that lacks a module."""
    with declined("twice_at_most", 2):
        return ended(agents.is_declined.start())


def forked_and_declined() -> Run:
    """A call that is made anew in a fork, and declined, before a wait that is not made anew."""
    run = ended(agents.parts_and_is_declined.start())
    with declined("twice_at_most", 1):
        return ended(run.fork(at=("double", 3), values=EDITED))


def retried_while_declined() -> Run:
    """A call is started again while it waits for another worker, and then fails: that is its end."""
    with declined("out_of_stock", 5):
        run = agents.handles_a_failure.start()
        eventually(lambda: happened(run, "timer_started") == 5, END_S)
        signal(run, RETRY_SIGNAL, ["1"])
        return ended(run)


def mended_for_no_calls() -> Run:
    """A step is mended, and what comes along to be started again is no list of calls."""
    run = agents.has_a_bug.start("ab")
    eventually(lambda: run.status == "parked", END_S)
    code = current_code(run._connection, Step, "buggy", run.id)
    signal(run, MEND_SIGNAL, ["buggy"], "no list", code.payload())
    run.retry_now()
    return ended(run)


def big_calls_park() -> Run:
    """A step that parks, and is mended beside big ones."""
    run = agents.big_calls_park.start()
    eventually(lambda: sorted(run.steps()["status"])[-2:] == ["parked", "parked"], END_S)
    run.mend()
    return ended(run)


def approved(run: Run) -> Run:
    """Decide the one gate of a run, when all else is done."""
    at_gate(run)
    eventually(lambda: (run.steps()["status"] == "completed").all(), END_S)
    run.approve(by="ann")
    return ended(run)


def asks_a_model() -> Run:
    """Requests of a scripted model, which calls a tool."""
    rules = "- {when: 'times', call: {double: {x: 4}}}\n- {say: '8'}\n"
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "rules.yaml").write_text(rules)
        command = [sys.executable, "-u", "-m", "kaigents_nb", "fake-model", f"{folder}/rules.yaml", "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                return ended(agents.asks_a_model.start(process.stdout.readline().split(" at ")[1].split()[0]))
            finally:
                process.terminate()


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
    "is_refused": lambda: approved(agents.is_refused.start()),
    "leaves_work": lambda: ended(agents.leaves_work.start()),
    "stops_a_task": lambda: ended(agents.stops_a_task.start()),
    "tells": lambda: approved(agents.tells.start()),
    "decided_again": decided_again,
    "waits_and_parks": waits_and_parks,
    "gives_up": lambda: ended(agents.gives_up.start()),
    "gives_up_what_is_retried": gives_up_what_is_retried,
    "forked_after_giving_up": lambda: forked_after_giving_up({}),
    "forked_and_wanted": lambda: forked_after_giving_up({("double", 1): 5}),
    "forked_as_it_hears": lambda: ended(both_decided(hears_at_once().fork(at=("double", 7)))),
    "forked_in_another_order": forked_in_another_order,
    "forked_past_gates": forked_past_gates,
    "forked_and_parted": lambda: ended(ended(agents.parts.start()).fork(at=("double", 9), values=EDITED)),
    "forked_and_differing": lambda: ended(
        ended(agents.differs.start()).fork(at=("double", 5), values=EDITED | {("double", 2): 7})
    ),
    "forked_with_other_details": forked_with_other_details,
    "forked_and_mended": forked_and_mended,
    "goes_on_after_gates": goes_on_after_gates,
    "big_calls_take_turns": lambda: ended(agents.big_calls_take_turns.start()),
    "big_calls_park": big_calls_park,
    "big_agents_take_turns": lambda: ended(agents.big_agents_take_turns.start()),
    "files_take_no_room": lambda: ended(agents.files_take_no_room.start()),
    "a_thousand_calls": lambda: ended(agents.a_thousand_calls.start()),
    "is_declined": is_declined,
    "forked_and_declined": forked_and_declined,
    "gives_up_as_its_turn_comes": lambda: ended(agents.gives_up_as_its_turn_comes.start()),
    "retried_while_declined": retried_while_declined,
    "mended_for_no_calls": mended_for_no_calls,
    "asks_a_model": asks_a_model,
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
