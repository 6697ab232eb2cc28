"""A replay that asks for other things than were recorded says so: in a look back, a fork, and on the card."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

import kaigents_nb as kg
from kaigents_nb.display.blocks_text import text
from kaigents_nb.display.run_blocks import run_blocks
from kaigents_nb.runtime.protocol import DIFFERS_SIGNAL
from tests.integration.conftest import Executed
from tests.support import eventually

pytestmark = pytest.mark.usefixtures("server")


@kg.step
def keep(*values, tag=""):
    return values


@kg.agent
async def called(value):
    return await keep(value)


@kg.agent
async def depends_on_the_clock(everywhere):
    """What it asks for is another each time; how often and in which order is not."""
    stamp = time.clock_gettime(time.CLOCK_REALTIME)
    first = await keep(1, stamp, tag=f"at {stamp}")
    await called(stamp)
    gate = stamp if everywhere else 0  # a decision counts for what was shown, so a question should stay the same
    decision = await kg.approve(f"Go on at {gate}?", details=[gate], options=["yes", "no"])
    await kg.sleep(0.01 + stamp % 1 / 100)
    await keep("after", tag=decision.choice)
    return stamp, first


@kg.agent
async def steady():
    await keep({"a": {1, 2, 3}, "b": {"x", "y", "z"}}, 0.1)
    await kg.approve("Go on?")
    return await keep(str(kg.now()))


def test_a_look_back_and_a_fork_say_what_differs() -> None:
    """Call, line, recorded and new value: in trace(), at() and fork(), also of gates, waits and the end."""
    run = depends_on_the_clock.start(False)
    run.wait_for_gate(20)
    run.approve(choice="yes")
    run.result(20)
    with pytest.warns(UserWarning, match="does not ask for what it asked for then") as told:
        lines = run.trace()
    said = str(told[0].message)
    assert lines.attrs["notice"] == said
    source = Path(__file__).read_text().split("\n")
    line = next(number for number, one in enumerate(source, 1) if "first = await keep(1, stamp" in one)
    where = re.escape(f"(depends_on_the_clock(), test_swaps.py, line {line})")
    assert re.search(rf"call 1, keep\(\) {where}: argument 2 was \d+\.\d+, and is \d+\.\d+ now", said)
    assert "argument 1 was 1," not in said
    with pytest.warns(UserWarning, match="does not ask"):
        moment = run.at(step="keep")
    assert "other than recorded: call 1, keep()" in repr(moment)
    with pytest.warns(UserWarning, match="does not ask"):
        every = run.at(step="keep").trace.differs
    with pytest.warns(UserWarning, match=r"call 1, keep\(\): argument 2 was"):
        run.fork(at=("keep", 2), decisions="keep").result(20)
    said = " ".join(one.text for one in every)
    assert "call 2, called() " in said and "a wait " in said and "its time was 0.0" in said and "the end of" in said


def test_a_decision_on_another_question_is_told() -> None:
    """A decision counts for what was asked: where a replay asks something else, it ends there, and says both."""
    run = depends_on_the_clock.start(True)
    run.wait_for_gate(20)
    run.approve(choice="yes")
    run.result(20)
    with pytest.warns(UserWarning) as told:
        moment = run.at("last")
    [said] = {str(one.message) for one in told}
    assert "gate 1, 'Go on at " in said and "question was Go on at" in said and "asks something else there" in said
    assert moment.source.startswith("decision = await kg.approve")


LOOKS_BACK = """
import json, sys, warnings
import kaigents_nb as kg
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    kg.run(sys.argv[1]).trace()
print(json.dumps([str(one.message) for one in told]))
"""


def test_sets_and_classes_are_the_same_in_another_process() -> None:
    """Another process has other hashes; a set that is handed on whole is still the same argument."""
    run = steady.start()
    run.wait_for_gate(20)
    run.approve()
    run.result(20)
    looked = subprocess.run([sys.executable, "-c", LOOKS_BACK, run.id], capture_output=True, text=True, check=True)
    assert json.loads(looked.stdout.splitlines()[-1]) == []


def test_a_worker_that_replays_a_run_with_other_arguments_says_so_on_the_card(forgetful_worker: Executed) -> None:
    """The card names call, argument, both values; the run goes on with what was recorded."""
    run = depends_on_the_clock.start(False)
    run.wait_for_gate(20)
    [told] = eventually(lambda: [said for said in run.view().notices if "call 1, keep(): argument 2 was" in said])
    assert re.search(r"argument 2 was (\d+\.\d+), and is (?!\1)(\d+\.\d+) now", told)
    notices = " ".join(run.view().notices)
    assert "call 1, keep(): argument 'tag' was" in notices and "call 2, called(): argument 1 was" in notices
    assert "argument 1 was 1," not in notices
    assert told in " ".join(text(run_blocks(run.view())).split())
    run.approve(choice="yes")
    run.result(20)
    events = run.events()
    texts = [str(row) for row in events.to_dict("records") if DIFFERS_SIGNAL in str(row)]
    assert 0 < len(texts) <= 5


def test_a_run_that_is_replayed_as_it_was_has_no_notice(forgetful_worker: Executed) -> None:
    """Sets, tables of the run's own time and ids are the same; nothing is sent to the run."""
    run = steady.start()
    run.wait_for_gate(20)
    run.approve()
    run.result(20)
    assert run.view().notices == ()
    assert not any(DIFFERS_SIGNAL in str(row) for row in run.events().to_dict("records"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "notice" not in run.trace().attrs
