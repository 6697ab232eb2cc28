"""The promises, held against what ledgers and histories say; pure, so that it can be shown to condemn."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.soak import agents
from tests.soak.evidence import RunFacts

Line = dict[str, Any]


@dataclass
class Findings:
    """What is wrong, a sentence each; all must be empty. What is only counted has no promise."""

    lost: list[str] = field(default_factory=list)
    """A run that was promised and is not there, failed, or has not the right result; a step's result that no
    execution of the step had."""
    begun_again: list[str] = field(default_factory=list)
    """A step that began after its result was in the history."""
    done_again: list[str] = field(default_factory=list)
    """A step that one process did twice, though it had the result."""
    falsely_won: list[str] = field(default_factory=list)
    """Somebody was told that they won, and history has another's decision; or the winner that they lost."""
    stuck: list[str] = field(default_factory=list)
    """A run that has not ended long after the chaos."""
    ended_twice: int = 0
    """Steps done twice, by whomever: no promise, for a worker may die with the result."""

    @property
    def clean(self) -> bool:
        """Whether every promise was kept."""
        return not (self.lost or self.begun_again or self.done_again or self.falsely_won or self.stuck)


def judge(
    runs: Sequence[RunFacts], steps: Iterable[Line], told: Iterable[Line], unknown: Sequence[str] = ()
) -> Findings:
    """Return what is wrong: with the runs as histories have them, what steps did, and what people were told."""
    found = Findings(lost=[f"not there: {text}" for text in unknown])
    by_id = {run.run_id: run for run in runs}
    for run in runs:
        _judge_run(run, found)
    _judge_steps(runs, steps, found)
    for line in told:
        if line.get("run") in by_id:
            _judge_told(by_id[line["run"]], line, found)
    return found


def _judge_run(run: RunFacts, found: Findings) -> None:
    if not run.closed:
        found.stuck.append(run.run_id)
    elif run.result is None:
        found.lost.append(f"{run.run_id} {run.closed}: {run.failure}")
    elif run.result["work"] != agents.expected(run.agent, run.number, called=run.called):
        found.lost.append(f"{run.run_id} returned {run.result['work']}")
    elif run.result["decided"] != run.counted:
        found.falsely_won.append(f"{run.run_id} went on with {run.result['decided']}, history has {run.counted}")


def _judge_steps(runs: Sequence[RunFacts], steps: Iterable[Line], found: Findings) -> None:
    recorded = {key: fact for run in runs for key, fact in run.recorded.items()}
    ends: dict[str, list[Line]] = defaultdict(list)
    for line in steps:
        key = line["key"]
        if line["what"] == "end":
            ends[key].append(line)
        elif key in recorded and line["time"] > recorded[key][0]:
            late_s = line["time"] - recorded[key][0]
            found.begun_again.append(f"{key} in process {line['pid']}, {late_s:.3f} s after it was recorded")
    for key, (_, result) in recorded.items():
        if result not in {line["digest"] for line in ends[key]}:
            found.lost.append(f"{key} has a result that no execution of it had")
    for key, lines in ends.items():
        found.ended_twice += len(lines) > 1
        pids = [line["pid"] for line in lines]
        for pid in {pid for pid in pids if pids.count(pid) > 1}:
            times = [line["time"] for line in lines if line["pid"] == pid]
            found.done_again.append(f"{key} by process {pid}, {times[1] - times[0]:.1f} s later")


def _judge_told(run: RunFacts, line: Line, found: Findings) -> None:
    what, counted = line["what"], run.counted.get(line.get("gate", ""), "")
    if what == "won" and counted != line["by"]:
        found.falsely_won.append(f"{line['by']} at gate {line['gate']} of {run.run_id}: history has {counted!r}")
    elif what == "lost" and (counted != line["winner"] or counted == line["by"]):
        found.falsely_won.append(
            f"{line['by']} lost gate {line['gate']} of {run.run_id} to {line['winner']}: history has {counted!r}"
        )
    elif what == "closed" and counted == line["by"]:
        found.falsely_won.append(
            f"{line['by']} won gate {line['gate']} of {run.run_id}, and was told that it is closed"
        )
    elif what == "failed" and run.closed == "completed":
        found.lost.append(f"the starter was told that {run.run_id} failed: {line['error']}")
    elif what == "result" and run.result is not None and line["decided"] != run.result["decided"]:
        found.lost.append(f"the starter got another result of {run.run_id} than history has")
