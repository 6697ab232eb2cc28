"""What an error does: retried, parked, raised in the agent, or failing the run."""

from __future__ import annotations

import datetime
import random
import sys
import time

import pytest

import kaigents_nb as kg
from kaigents_nb.errors import CannotFreeze, RunError
from tests.support import eventually

pytestmark = pytest.mark.usefixtures("replayed")


class OutOfStock(ValueError):
    """An analyst's own exception."""


@kg.step(retry=kg.Retry(first_wait=0.05, max_wait=0.1))
def passes_at_third(path):
    with open(path, "a") as file:
        file.write("x")
    with open(path) as file:
        tries = len(file.read())
    if tries < 3:
        raise ConnectionError("the network is down")
    return tries


@kg.agent
async def retried(path):
    return await passes_at_third(path)


@kg.step(retry=kg.Retry(max_attempts=2, first_wait=0.05))
def never(what):
    raise OutOfStock("no", what)


@kg.agent
async def handled(what):
    try:
        await never(what)
    except ValueError as error:
        return type(error).__name__, error.args, "in never" in str(error.__cause__)


@kg.agent
async def unhandled(what):
    await never(what)


@kg.step(retry=kg.Retry(give_up_on=(KeyError,)))
def gives_up():
    raise KeyError("gone")


@kg.step
def fatal():
    raise kg.Fatal("stop here")


@kg.agent
async def gives_up_at_once():
    seen = []
    for step in (gives_up, fatal):
        try:
            await step()
        except (KeyError, kg.Fatal) as error:
            seen.append(type(error).__name__)
    return seen


@kg.step
def buggy(x):
    return x.nothing_like_it


@kg.step(retry=kg.Retry(first_wait=3600, max_wait=3600))
def slow_to_retry(path):
    import os

    if not os.path.exists(path):
        raise OSError("not there yet")
    return "there"


@kg.agent
async def has_a_bug():
    kept = 1
    return kept, await buggy("abc")


@kg.agent
async def waits_for_file(path):
    return await slow_to_retry(path)


@kg.agent
async def bug_in_the_agent():
    rows = [1, 2]
    return rows[5]


@kg.agent
async def reads_the_clock():
    return datetime.datetime.now()


@kg.agent
async def sleeps_badly():
    time.sleep(1)


@kg.agent
async def rolls_dice():
    return random.random()


@kg.agent
async def opens_a_file():
    return open("/etc/hostname").read()


@kg.step
def returns_a_lock():
    import threading

    return {"lock": threading.Lock()}


@kg.agent
async def unsavable():
    return await returns_a_lock()


class NotFound(Exception):
    status_code = 404


@kg.step
def asks_for_a_missing_page():
    raise NotFound("no such model")


@kg.agent
async def http_404():
    return await asks_for_a_missing_page()


def test_what_may_pass_is_retried(tmp_path):
    """A transient error is retried until it passes; attempts are counted."""
    run = retried.start(str(tmp_path / "tries"))
    assert run.result(20) == 3
    assert run.steps()["attempts"].tolist() == [3]


def test_an_error_is_caught_as_its_own_class():
    """When attempts are used up, except ValueError round the step works, with the step's traceback as cause."""
    assert handled.start("A").result(20) == ("OutOfStock", ("no", "A"), True)


def test_an_uncaught_error_fails_the_run_with_the_analysts_traceback():
    """The traceback shows the analyst's lines and none of ours."""
    run = unhandled.start("A")
    with pytest.raises(kg.RunFailed) as caught:
        run.result(20)
    text = str(caught.value)
    assert "await never(what)" in text
    assert 'raise OutOfStock("no", what)' in text
    assert "interpreter.py" not in text
    assert "steps.py" not in text
    assert isinstance(caught.value.__cause__, OutOfStock)
    assert run.status == "failed"


def test_fatal_and_give_up_on_are_not_retried():
    """Fatal and give_up_on reach the agent after one attempt."""
    run = gives_up_at_once.start()
    assert run.result(20) == ["KeyError", "Fatal"]
    assert run.steps()["attempts"].tolist() == [1, 1]


def test_a_bug_parks_the_run_until_it_is_mended(monkeypatch):
    """A bug parks the step; mend() puts the corrected code into the same run."""
    run = has_a_bug.start()
    eventually(lambda: run.status == "parked")
    [step] = run.view().steps
    assert "AttributeError" in step.error
    assert "x.nothing_like_it" in step.error
    monkeypatch.setitem(vars(sys.modules["__main__"]), "buggy", mended_buggy())
    assert run.mend() == ["buggy"]
    assert run.result(20) == (1, "ABC")
    assert run.steps()["attempts"].tolist() == [2]
    with pytest.raises(RunError, match="fork"):
        run.mend()


def mended_buggy():
    from tests.integration.mended import buggy

    return buggy


def test_mend_wants_the_step_defined():
    """Without the step in this notebook, mend says what to do."""
    run = has_a_bug.start()
    eventually(lambda: run.status == "parked")
    with pytest.raises(RunError, match="defines no step 'buggy'"):
        run.mend()
    run.terminate()


def test_mend_says_that_the_cell_is_unchanged(monkeypatch, tmp_path):
    """Without a correction nothing is sent; a correction goes into a step that is being retried, once."""
    run = waits_for_file.start(str(tmp_path / "file"))
    eventually(lambda: run.status == "retrying")
    monkeypatch.setitem(vars(sys.modules["__main__"]), "slow_to_retry", slow_to_retry)
    with pytest.raises(RunError, match="The cell of slow_to_retry is unchanged"):
        run.mend()
    assert [step.attempt for step in run.view().steps] == [2]
    from tests.integration import mended

    monkeypatch.setitem(vars(sys.modules["__main__"]), "slow_to_retry", mended.slow_to_retry)
    assert run.mend() == ["slow_to_retry"]
    eventually(lambda: "still not there" in run.view().steps[0].error)
    assert run.status == "retrying"
    with pytest.raises(RunError, match="is unchanged"):
        run.mend()
    run.terminate()


def test_retry_now_skips_the_wait(tmp_path):
    """A step that waits an hour for its retry can be tried at once."""
    path = tmp_path / "file"
    run = waits_for_file.start(str(path))
    step = eventually(lambda: next((s for s in run.view().steps if s.status == "retrying"), None))
    assert "not there yet" in step.error
    assert step.next_retry is not None
    assert run.status == "retrying"
    path.write_text("")
    assert run.retry_now() == ["slow_to_retry"]
    assert run.result(20) == "there"


def test_a_bug_in_the_agent_fails_the_run():
    """The agent's own bug fails the run with its line."""
    with pytest.raises(kg.RunFailed, match=r"return rows\[5\]") as caught:
        bug_in_the_agent.start().result(20)
    assert isinstance(caught.value.__cause__, IndexError)


@pytest.mark.parametrize(
    ("agent", "line", "way_out"),
    [
        (reads_the_clock, "datetime.datetime.now()", "kg.now()"),
        (sleeps_badly, "time.sleep(1)", "kg.sleep"),
        (rolls_dice, "random.random()", "kg.random()"),
        (opens_a_file, "open(", "@kg.step"),
    ],
)
def test_what_cannot_be_replayed_is_refused_with_its_line(agent, line, way_out, caplog):
    """A forbidden call names its line and what to write instead; nothing else is said about it."""
    with pytest.raises(kg.RunFailed) as caught:
        agent.start().result(20)
    assert line in str(caught.value)
    assert way_out in str(caught.value)
    assert "restricted" not in caplog.text


def test_a_value_that_cannot_be_saved_parks_with_its_name():
    """The step and the place in its value are named, and it is not retried."""
    run = unsavable.start()
    eventually(lambda: run.status == "parked")
    [step] = run.view().steps
    assert "returns_a_lock" in step.error
    assert "lock" in step.error
    assert step.attempt == 1
    run.terminate()


def test_a_refusal_parks():
    """An HTTP 404 stays a 404 however often one asks: it parks."""
    run = http_404.start()
    eventually(lambda: run.status == "parked")
    run.terminate()


handle = open(__file__)  # noqa: SIM115 - a live object on purpose


@kg.step
def uses_a_handle():
    return handle.read()


@kg.agent
async def not_freezable():
    return await uses_a_handle()


def test_what_cannot_travel_fails_at_start():
    """An open file in a cell is an error at start() that names it, its use and the way out."""
    with pytest.raises(CannotFreeze, match="handle") as caught:
        not_freezable.start()
    assert "uses_a_handle" in str(caught.value)
    assert "Open it in the step" in str(caught.value)
    handle.close()
