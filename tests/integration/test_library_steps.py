"""Steps that are the library's own: activities by their own names, whose code does not travel."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

import kaigents_nb as kg
from kaigents_nb.authoring.library_steps import library_step
from kaigents_nb.authoring.options import StepOptions
from kaigents_nb.snapshot import packages
from tests.integration.library_calls import repeat

pytestmark = pytest.mark.usefixtures("server")


@pytest.fixture(autouse=True)
def in_the_package(monkeypatch):
    """The module of the step stands for one of the package's, which is installed wherever a worker is."""
    monkeypatch.setattr(packages, "_NEVER_LOCAL", packages._NEVER_LOCAL | {"tests"})


@dataclass
class Quote:
    usd: float


@kg.step
def cheapest(quotes):
    return min(quote.usd for quote in quotes)


@kg.agent
async def repeats(times):
    quotes = await repeat(Quote(9.5), times)
    return quotes, await cheapest(quotes)


@kg.agent
async def handles(times):
    try:
        return await repeat(1, times)
    except ConnectionError as error:
        return str(error)


def test_a_library_step_is_an_activity_of_its_own():
    """It has a row, takes and gives values of the cells' classes, and stands beside steps that the run carries."""
    run = repeats.start(2)
    quotes, least = run.result(20)
    assert (quotes, least) == ([Quote(9.5), Quote(9.5)], 9.5)
    steps = run.steps()
    assert steps["step"].tolist() == ["test.repeat", "cheapest"]
    assert "def repeat(" not in run.code()
    assert [quote.usd for quote in run.at(step="cheapest").variables["quotes"]] == [9.5, 9.5]


def test_its_own_options_hold():
    """It is retried as it says, and its error reaches the agent."""
    run = handles.start(-1)
    assert run.result(20) == "-1 times"
    assert run.steps()["attempts"].tolist() == [2]


@pytest.mark.parametrize("name", ["repeat", "test.repeat"])
def test_a_name_is_its_own(name):
    """A name without a dot could be an analyst's; one name means one step."""
    with pytest.raises(ValueError, match=r"Known: .*'test\.repeat'"):
        library_step(name, StepOptions())
