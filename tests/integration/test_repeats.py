"""The same error three times in a row is a bug, and so is a step that takes its worker down: both park."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor

import pytest

import kaigents_nb as kg
from tests.support import eventually

pytestmark = pytest.mark.usefixtures("server")

SOON = kg.Retry(first_wait=0.05, max_wait=0.05)


class NoSuchShop(Exception):
    """An analyst's own exception."""


class Unreachable(Exception):
    """What a library makes of an error of the network."""


def dies():
    os._exit(1)


def deeper(depth):
    return deeper(depth + 1)


@kg.step(retry=SOON)
def errs(what):
    row = {"region": "EU"}
    if what == "key":
        return row["regoin"]
    if what == "index":
        return [1][3]
    if what == "value":
        return int("12,50")
    if what == "own":
        raise NoSuchShop("no shop 5")
    if what == "file":
        return open("/no/such/file").read()
    if what == "recursion":
        return deeper(0)
    if what == "pool":
        with ProcessPoolExecutor(1) as pool:
            return pool.submit(dies).result()
    return None


@kg.agent
async def has_a_common_bug(what):
    return await errs(what)


BUGS = ["key", "index", "value", "own", "file", "recursion", "pool"]


@pytest.fixture(scope="module")
def bugs(server):
    """A run for each, all under way at once: between its attempts the server waits for a second."""
    return {what: has_a_common_bug.start(what) for what in BUGS}


@pytest.mark.parametrize("what", BUGS)
def test_the_same_error_three_times_parks(what, bugs):
    """Analysts' commonest bugs are not retried for ever."""
    run = bugs[what]
    eventually(lambda: run.status == "parked", 30)
    assert run.view().steps[0].attempt == 3
    run.terminate()


@kg.step(retry=SOON)
def passes_later(what, path):
    with open(path, "a") as file:
        file.write("x")
    tries = os.path.getsize(path)
    if what == "ever":
        raise ValueError(f"bad row {tries}")
    if tries < (6 if what == "value" else 14):
        if what == "network":
            raise ConnectionResetError("by peer")
        if what == "chained":
            try:
                raise TimeoutError("no answer")
            except TimeoutError as error:
                raise Unreachable("no answer") from error
        if what == "value":
            raise ValueError(f"bad row {tries}")
        if what == "other":
            raise Unreachable(f"request {tries}")
        raise OSError(28, "No space left on device")
    return tries


@kg.agent
async def has_patience(what, path):
    return await passes_later(what, path)


PASSING = ["network", "chained", "other", "disk", "value"]


@pytest.fixture(scope="module")
def patient(server, tmp_path_factory):
    """A run for each, all under way at once."""
    place = tmp_path_factory.mktemp("tries")
    return {what: has_patience.start(what, str(place / what)) for what in PASSING}


@pytest.mark.parametrize("what", PASSING)
def test_what_may_pass_is_never_a_bug(what, patient):
    """Errors of network and disk, and errors in ever other words, are retried however often they come.

    A ValueError of one's own line in ever other words has time, too, but not for ever.
    """
    assert patient[what].result(30) == (6 if what == "value" else 14)


def test_a_value_error_in_ever_other_words_parks_in_the_end(tmp_path):
    """It is no other error because it names another row each time; the card says why it is taken for a bug."""
    run = has_patience.start("ever", str(tmp_path / "tries"))
    eventually(lambda: run.status == "parked", 30)
    [step] = run.view().steps
    assert step.attempt == 10
    assert "ValueError: bad row 10\n" in step.error
    assert "ValueError from the same line 10 times in a row, in other words each time" in step.error
    run.retry_now()
    eventually(lambda: os.path.getsize(tmp_path / "tries") > 10, 20)
    run.terminate()


@kg.step(retry=kg.Retry(max_attempts=4, first_wait=0.05, max_wait=0.05))
def tries_four_times(path):
    with open(path, "a") as file:
        file.write("x")
    return {}["x"]


@kg.agent
async def handles_it(path):
    try:
        await tries_four_times(path)
    except KeyError as error:
        return error.args


def test_an_agent_that_asked_for_the_error_gets_it(tmp_path):
    """With max_attempts the error is raised in the agent after so many, as documented, and does not park."""
    assert handles_it.start(str(tmp_path / "tries")).result(20) == ("x",)
    assert (tmp_path / "tries").read_text() == "xxxx"


@kg.step
def asks_the_keyboard():
    return input("How many? ")


@kg.agent
async def asks_in_vain():
    return await asks_the_keyboard()


def test_input_in_a_step_says_so_at_once():
    """Nobody sits before a worker: input() parks at the first attempt and names the way out."""
    run = asks_in_vain.start()
    eventually(lambda: run.status == "parked")
    [step] = run.view().steps
    assert step.attempt == 1
    assert "kg.approve" in step.error and "How many?" in step.error
    run.terminate()


@kg.step(retry=SOON)
def takes_the_worker_down(path):
    with open(path, "a") as file:
        file.write("x")
    os._exit(1)


@kg.agent
async def crashes(path):
    return await takes_the_worker_down(path)


def living_worker(workers):
    """Start a worker where the last one has died, as an operator would; return the one that lives."""
    if not workers.started or workers.started[-1].poll() is not None:
        workers.start()
    return workers.started[-1]


def test_a_step_that_takes_its_worker_down_parks(workers, tmp_path):
    """It kills three workers and no more: the fourth parks it."""
    killed = tmp_path / "killed"
    run = crashes.start(str(killed))
    eventually(lambda: living_worker(workers) and run.status == "parked", 120)
    assert killed.read_text() == "xxx"
    [step] = run.view().steps
    assert "The worker died 3 times in a row while it executed takes_the_worker_down" in step.error
    assert len(workers.started) == 4
    assert workers.started[-1].poll() is None
    run.terminate()
