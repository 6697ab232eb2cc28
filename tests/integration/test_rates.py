"""Rates and limits hold over all runs and over the worker processes of a machine, by the scripted model's clock."""

from __future__ import annotations

import asyncio

import pytest

import kaigents_nb as kg
from kaigents_nb.authoring.rate import Window
from kaigents_nb.history.view import StepView
from tests.fake_model import FakeModels
from tests.support import eventually
from tests.workers import elsewhere, serves

pytestmark = pytest.mark.usefixtures("server")

ECHO = "def answer(request):\n    return {'say': request.last}"


@kg.step(rate="5/s")
async def often(model, number):
    return (await kg.chat(f"often {number}", model=model, stream=False)).text


@kg.agent
async def hurries(model, count):
    await asyncio.gather(*(often(model, number) for number in range(count)))


@kg.agent
async def asks(model, count):
    await asyncio.gather(*(kg.chat(str(number), model=model) for number in range(count)))


@pytest.fixture(scope="module")
def two_workers(server):
    """Two worker processes of this queue; this process executes nothing."""
    with elsewhere() as workers:
        started = [workers.start(), workers.start()]
        assert all(serves(worker) for worker in started)
        yield started


def test_a_rate_of_a_step_holds_over_workers(two_workers, fake_models: FakeModels):
    """Two workers together make five calls a second, not ten."""
    fake = fake_models(ECHO)
    asks.start(fake.model(), 10).result(40)  # what a worker does once, for its first request, is over
    run = hurries.start(fake.model(), 20)
    run.result(40)
    assert len(set(run.steps()["worker"])) == 2
    at = sorted(asked["at"] for asked in fake.asked if "often" in asked["last"])
    assert len(at) == 20
    # How late a request arrives is the machine's; the sixth can't be there before a second, the eleventh before two.
    assert all(at[5 * second] - at[0] > second - 0.3 for second in range(1, 4)), at
    assert at[-1] - at[0] < 8


@pytest.mark.parametrize(
    ("limits", "fit"),
    [({"requests_per_min": 6}, 6), ({"tokens_per_min": 10}, 1)],  # one that is bigger than the limit goes alone
)
def test_a_limit_of_a_model_holds_over_workers(two_workers, fake_models: FakeModels, limits, fit):
    """Of two runs at the same time as many requests go out as the minute has; the others wait, and say how long."""
    fake = fake_models(ECHO)
    runs = [asks.start(fake.model(**limits), 10) for _ in range(2)]
    eventually(lambda: len(fake.asked) == fit, 20)
    [(what, limit)] = limits.items()
    told = f"for {limit} {what.partition('_')[0]} a minute"

    def steps() -> list[StepView]:
        return [step for run in runs for step in run.view().steps]

    eventually(lambda: sum(told in step.progress.note for step in steps() if step.progress) >= 20 - fit, 20)
    waits = [step.progress.note.split()[1] for step in steps() if step.progress]
    assert len(waits) - waits.count("for") == 2  # the first in line of each worker knows how long
    assert all(50 <= int(wait_s) <= 60 for wait_s in waits if wait_s != "for")
    assert len({step.worker for step in steps()}) == 2
    assert len(fake.asked) == fit
    for run in runs:
        run.terminate("looked at")


def test_what_a_dead_worker_had_reserved_is_free(tmp_path):
    """A place is taken when it is there: nobody holds one for later. Clocks that were set back wait for nothing."""
    first, second = Window(tmp_path / "rate", 60), Window(tmp_path / "rate", 60)
    assert [first.take(1, 2, now)[1] for now in (0.0, 10.0, 20.0, 20.0)] == [0, 0, 40, 40]
    assert [second.take(1, 2, now)[1] for now in (30.0, 60.0, 61.0, 70.0)] == [30, 0, 9, 0]
    assert second.take(5, 2, 70.0)[1] == 60
    assert second.take(5, 2, 130.0)[1] == 0
    entry, _ = first.take(5, 10, 200.0)
    assert second.take(6, 10, 201.0)[1] == 59
    first.correct(entry, 3)
    assert second.take(6, 10, 202.0)[1] == 0
    assert first.take(10, 10, 50.0)[1] == 0
    (tmp_path / "rate").write_text("[[1")
    assert first.take(1, 1, 300.0)[1] == 0
