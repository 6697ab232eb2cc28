"""The soak's judge condemns what it must, and only that; its plan follows from its seed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.soak import agents
from tests.soak.evidence import RunFacts
from tests.soak.judge import judge
from tests.soak.plan import faults

RUN = RunFacts(
    "soak-1",
    "asks",
    "completed",
    {"work": agents.expected("asks", 1), "decided": {"1": "ann", "2": "bob"}},
    recorded={"soak-1/1": (100.0, "a")},
    counted={"1": "ann", "2": "bob"},
)
STEPS = [
    {"what": "begin", "key": "soak-1/1", "pid": 7, "time": 90.0},
    {"what": "end", "key": "soak-1/1", "digest": "a", "pid": 7, "time": 95.0},
]
TOLD = [
    {"what": "started", "run": "soak-1"},
    {"what": "won", "run": "soak-1", "gate": "1", "by": "ann", "winner": "ann"},
    {"what": "lost", "run": "soak-1", "gate": "1", "by": "cem", "winner": "ann"},
    {"what": "closed", "run": "soak-1", "gate": "2", "by": "cem"},
    {"what": "trouble", "run": "soak-1", "gate": "2", "by": "bob", "error": "decide: not known"},
    {"what": "result", "run": "soak-1", "decided": {"1": "ann", "2": "bob"}},
]


def wrong(found):
    return [name for name, texts in vars(found).items() if isinstance(texts, list) and texts]


def test_what_kept_its_promises_is_clean():
    assert judge([RUN], STEPS, TOLD).clean


def test_a_step_done_twice_by_two_processes_breaks_no_promise():
    found = judge([RUN], [*STEPS, *({**line, "pid": 8} for line in STEPS)], TOLD)
    assert found.clean
    assert found.ended_twice == 1


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"closed": "", "result": None}, ["stuck"]),
        ({"closed": "failed", "result": None}, ["lost"]),
        ({"result": {"work": [0], "decided": RUN.counted}}, ["lost"]),
        ({"recorded": {"soak-1/1": (100.0, "b")}}, ["lost"]),
        ({"recorded": {**RUN.recorded, "soak-1/2": (100.0, "a")}}, ["lost"]),
        ({"recorded": {"soak-1/1": (80.0, "a")}}, ["begun_again"]),
        ({"counted": {"1": "cem", "2": "bob"}}, ["falsely_won"]),
    ],
)
def test_a_run_that_broke_a_promise(changes, kind):
    assert wrong(judge([replace(RUN, **changes)], STEPS, TOLD)) == kind


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ({"what": "won", "gate": "1", "by": "cem", "winner": "cem"}, ["falsely_won"]),
        ({"what": "lost", "gate": "1", "by": "ann", "winner": "cem"}, ["falsely_won"]),
        ({"what": "lost", "gate": "1", "by": "ann", "winner": "ann"}, ["falsely_won"]),
        ({"what": "closed", "gate": "1", "by": "ann"}, ["falsely_won"]),
        ({"what": "failed", "error": "RunFailed"}, ["lost"]),
        ({"what": "result", "decided": {}}, ["lost"]),
    ],
)
def test_what_somebody_was_told_and_is_not_so(line, kind):
    assert wrong(judge([RUN], STEPS, [*TOLD, {"run": "soak-1", **line}])) == kind


def test_a_run_that_the_server_does_not_know_is_lost():
    assert wrong(judge([], [], [], ["soak-1: no such run"])) == ["lost"]


def test_a_process_that_had_the_result_and_did_the_step_again():
    again = {**STEPS[1], "time": 99.0}
    assert wrong(judge([RUN], [*STEPS, again], TOLD)) == ["done_again"]


def test_the_same_seed_plans_the_same():
    counts = {"worker": 2, "decider": 2, "starter": 1}
    first, again, other = (list(faults(seed, 180, counts)) for seed in (1, 1, 2))
    assert first == again != other
    assert {f"{fault.kind} {fault.victim}" for fault in first} >= {"kill server", "stop server", "kill worker 1"}
