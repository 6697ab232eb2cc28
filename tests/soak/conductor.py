"""One soak: processes are started, the plan is carried out, then there is peace, and the evidence is gathered."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from temporalio.service import RPCError

import kaigents_nb as kg
from kaigents_nb.runtime.connection import WORKER_ENV
from kaigents_nb.runtime.environment import PROFILE_ENV
from kaigents_nb.server import datadir, embedded
from kaigents_nb.server.starting import log_tail
from tests.soak import evidence, sabotage
from tests.soak.judge import Findings, judge
from tests.soak.ledger import PLACE, STEPS, TOLD, read
from tests.soak.plan import SERVER, Fault, faults
from tests.soak.processes import Server, Supervised
from tests.soak.starter import ENOUGH
from tests.support import ROOT, eventually

_COUNTS = {"worker": 2, "decider": 2, "starter": 1}
_POLL_S = 0.05
_LOOK_EVERY_S = 1.0
_QUIET_S = 1.0
_FIRST_STEP_S = 120.0
"""When the first step has begun all are at work, and the chaos begins."""
_SHOWN_CHARS = 160


@dataclass
class Soak:
    """What a soak did, and what was found."""

    findings: Findings
    runs: int
    steps: int
    decisions: int
    done: Counter[str] = field(default_factory=Counter)
    """How often each thing was done to each kind of process: ``kill server``."""
    away_s: list[float] = field(default_factory=list)
    """After each kill of the server, how long it did not answer; the next one may have been killed or stopped too."""
    fell: Counter[str] = field(default_factory=Counter)
    """How often a process ended that nobody had killed."""
    left_dead: int = 0
    """So many times nobody started it again, but this process at last."""
    trouble: Counter[str] = field(default_factory=Counter)
    """What processes were told that is neither success nor refusal."""
    retried: int = 0
    """So many times a person started a step again that the chaos had killed three times at the same place."""
    states: list[str] = field(default_factory=list)
    """Where stuck runs are."""

    @property
    def clean(self) -> bool:
        """Whether every promise was kept."""
        return self.findings.clean and not self.left_dead and not self.fell


def soak(seed: int, length_s: float, place: Path, *, patience_s: float, sabotaged: bool = False) -> Soak:
    """Run one soak in an empty folder; ``patience_s`` is how long after the chaos a run may still be open."""
    data_dir = place / "data"
    with _environment(place, data_dir):
        server, processes = Server(data_dir), dict[str, Supervised]()
        try:
            embedded.ensure(data_dir)
            processes = _started(seed, place, sabotaged)
            everyone: dict[str, Supervised | Server] = {SERVER: server, **processes}
            eventually(lambda: any(read(STEPS)), _FIRST_STEP_S, "the first step")
            done = _chaos([] if sabotaged else list(faults(seed, length_s, _COUNTS)), length_s, everyone)
            if sabotaged:
                sabotage.spoil()
            (place / ENOUGH).touch()
            for one in everyone.values():
                one.heal()
            _peace(everyone, patience_s)
            return _found(server, processes, done)
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)  # a second one must not keep anything alive
            for process in processes.values():
                process.kill()
            server.heal()
            kg.disconnect()
            _stop_server(data_dir)


def _started(seed: int, place: Path, sabotaged: bool) -> dict[str, Supervised]:
    commands = {
        "worker": ["kaigents_nb", "worker", "--until-eof"],
        "decider": ["tests.soak.decider"],
        "starter": ["tests.soak.starter"],
    }
    lies = ["--lies"] if sabotaged else []
    processes = {}
    for kind, count in _COUNTS.items():
        for name in (f"{kind} {number + 1}" for number in range(count)):
            argument = {"decider": [f"{seed}.{name}", *lies], "starter": [str(place)]}.get(kind, [])
            executes = {WORKER_ENV: "off" if kind == "decider" else ""}
            processes[name] = Supervised([*commands[kind], *argument], executes, place / f"{name}.log")
    return processes


def _chaos(plan: list[Fault], length_s: float, everyone: dict[str, Supervised | Server]) -> Counter[str]:
    done: Counter[str] = Counter()
    began = time.monotonic()
    while (now := time.monotonic() - began) < length_s:
        while plan and plan[0].at_s <= now:
            fault = plan.pop(0)
            victim = everyone[fault.victim]
            if victim.stop(fault.stopped_s) if fault.kind == "stop" else victim.kill():
                done[f"{fault.kind} {fault.victim.split()[0]}"] += 1
        for one in everyone.values():
            one.tend()
        time.sleep(_POLL_S)
    return done


def _peace(everyone: dict[str, Supervised | Server], patience_s: float) -> None:
    """Wait until all runs have ended, or patience has."""
    deadline, look_at = time.monotonic() + patience_s, 0.0
    ended: set[str] = set()
    while time.monotonic() < deadline:
        for one in everyone.values():
            one.tend()
        if time.monotonic() >= look_at:
            # A run that is not there, or a server that does not answer, is judged by the evidence.
            with suppress(kg.KaigentsError, RPCError):
                unended = _promised() - ended
                still_open = evidence.open_runs(unended)
                if not still_open:
                    return
                ended |= unended - still_open
            look_at = time.monotonic() + _LOOK_EVERY_S
        time.sleep(_POLL_S)


def _promised() -> set[str]:
    """The runs whose starter was told that they are started."""
    return {line["run"] for line in read(TOLD) if line["what"] == "started"}


def _found(server: Server, processes: dict[str, Supervised], done: Counter[str]) -> Soak:
    runs, unknown = evidence.read_runs(_promised())
    findings = judge(runs, read(STEPS), read(TOLD), unknown)
    trouble = Counter(line["error"][:_SHOWN_CHARS] for line in read(TOLD) if line["what"] == "trouble")
    states = [evidence.state_of(run_id) for run_id in findings.stuck[:5]]
    fell = Counter({name: len(process.fell) for name, process in processes.items() if process.fell})
    if states or fell:
        states += [f"{name} said:\n{process.said}" for name, process in processes.items()]
        states.append(f"the server said:\n{log_tail(kg.connect().data_dir)}")
    return Soak(
        findings,
        runs=len(runs),
        steps=sum(len(run.recorded) for run in runs),
        decisions=sum(len(run.counted) for run in runs),
        done=done,
        away_s=server.away_s,
        fell=fell,
        left_dead=server.left_dead,
        trouble=trouble,
        retried=sum(line["what"] == "retried" for line in read(TOLD)),
        states=states,
    )


def _stop_server(data_dir: Path) -> None:
    """Stop it; also one that was on its way when whoever launched it was killed."""
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < _QUIET_S:
        if embedded.stop(data_dir):
            quiet_since = time.monotonic()
        time.sleep(_POLL_S)


@contextmanager
def _environment(place: Path, data_dir: Path) -> Iterator[None]:
    """One notebook in that folder, for this process and those that it starts; this one executes nothing."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    ours = {
        PLACE: str(place),
        datadir.ENVIRONMENT_VARIABLE: str(data_dir),
        WORKER_ENV: "off",
        "JPY_SESSION_NAME": str(place / "soak.ipynb"),
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
    }
    before = dict(os.environ)
    for name in [PROFILE_ENV, *(name for name in before if name.startswith("TEMPORAL_"))]:
        os.environ.pop(name, None)
    os.environ.update(ours)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
