"""What an agent has started and stopped has ended when its run does: its ``finally`` is done, not dropped."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import kaigents_nb as kg
from tests.support import eventually

pytestmark = pytest.mark.usefixtures("replayed")


@kg.step
def note(ledger: Path, text: str) -> str:
    with ledger.open("a") as file:
        file.write(f"{text}\n")
    return text


@kg.step
async def works_long(ledger: Path) -> None:
    ledger.with_suffix(".began").touch()
    await asyncio.sleep(600)


async def works(ledger: Path) -> None:
    try:
        await asyncio.sleep(600)
    finally:
        await note(ledger, "let go")
        await note(ledger, "and told")


@kg.agent
async def stops_it(ledger: Path) -> str:
    task = asyncio.create_task(works(ledger))
    await note(ledger, "began")
    task.cancel()
    return "ended"


@kg.agent
async def stops_it_with_others(ledger: Path) -> str:
    async def both() -> None:
        await asyncio.gather(works(ledger), works(ledger))

    task = asyncio.create_task(both())
    await note(ledger, "began")
    task.cancel()
    return "ended"


@kg.agent
async def calls_one_that_stops_it(ledger: Path) -> str:
    ended: str = await stops_it(ledger)
    return ended


@pytest.mark.parametrize(
    ("agent", "times"), [(stops_it, 1), (stops_it_with_others, 2), (calls_one_that_stops_it, 1)], ids=str
)
def test_what_was_told_to_stop_does_its_finally(agent, times, tmp_path):
    """As with ``asyncio.run()``: the run ends after it, as does a dry run; looking back shows its lines."""
    expected = sorted(["began", *["let go", "and told"] * times])
    run = agent.start(tmp_path / "ledger")
    assert run.result(20) == "ended"
    assert sorted((tmp_path / "ledger").read_text().splitlines()) == expected
    if agent is not calls_one_that_stops_it:
        assert run.trace()["source"].str.contains("and told").sum() == times
    assert agent.dry_run(tmp_path / "dry") == "ended"
    assert sorted((tmp_path / "dry").read_text().splitlines()) == expected


@kg.agent
async def fails_beside_it(ledger: Path, how: str) -> None:
    async def fails() -> None:
        await note(ledger, "began")
        raise ValueError("no")

    if how == "gather":
        await asyncio.gather(works(ledger), fails())
    task = asyncio.create_task(works(ledger))
    try:
        await fails()
    finally:
        if how == "cancel":
            task.cancel()


@pytest.mark.parametrize("how", ["gather", "cancel", "leave"])
def test_beside_an_error_it_is_done_too(how, tmp_path):
    """An agent that fails tells what it had started to stop, and waits for it; the error is the agent's own."""
    ledger = tmp_path / "ledger"
    with pytest.raises(kg.RunFailed, match="ValueError: no"):
        fails_beside_it.start(ledger, how).result(20)
    assert ledger.read_text().splitlines() == ["began", "let go", "and told"]
    ledger.unlink()
    with pytest.raises(ValueError, match="no"):
        fails_beside_it.dry_run(ledger, how)
    assert ledger.read_text().splitlines() == ["began", "let go", "and told"]


@kg.agent
async def waits_beside_it(ledger: Path) -> None:
    async def holds() -> None:
        try:
            await works_long(ledger)
        finally:
            await note(ledger, "let go")

    await asyncio.gather(holds(), kg.approve("Enough?"))


def test_beside_a_cancelled_run_it_is_done_too(tmp_path):
    """run.cancel() reaches what the agent has started, and the run is cancelled when that has ended."""
    ledger = tmp_path / "ledger"
    run = waits_beside_it.start(ledger)
    eventually(ledger.with_suffix(".began").exists)
    run.wait_for_gate(20)
    run.cancel()
    with pytest.raises(kg.RunCancelled):
        run.result(20)
    assert ledger.read_text() == "let go\n"


@kg.agent
async def is_cancelled_beside_it(ledger: Path) -> None:
    async def beside() -> None:
        try:
            await kg.approve("Enough?")
        finally:
            await note(ledger, "let go")

    task = asyncio.create_task(beside())
    await kg.sleep(600)
    await task


def test_a_cancelled_run_stops_tasks_that_nobody_awaits_yet(tmp_path):
    """Temporal cancels the agent only; its tasks are told by us."""
    ledger = tmp_path / "ledger"
    run = is_cancelled_beside_it.start(ledger)
    run.wait_for_gate(20)
    run.cancel()
    with pytest.raises(kg.RunCancelled):
        run.result(20)
    assert ledger.read_text() == "let go\n"


@kg.agent
async def asks_at_the_end(ledger: Path) -> str:
    async def tidies() -> None:
        try:
            await kg.sleep(600)
        finally:
            await kg.approve("Let go?")
            await note(ledger, "let go")

    task = asyncio.create_task(tidies())
    await note(ledger, "began")
    task.cancel()
    return "ended"


def test_a_finally_may_take_as_long_as_it_likes(tmp_path):
    """The run waits at its gate; cancelled there, it ends."""
    run = asks_at_the_end.start(tmp_path / "ledger")
    assert run.wait_for_gate(20).question == "Let go?"
    run.approve()
    assert run.result(20) == "ended"
    assert (tmp_path / "ledger").read_text() == "began\nlet go\n"
    run = asks_at_the_end.start(tmp_path / "other")
    run.wait_for_gate(20)
    run.cancel()
    with pytest.raises(kg.RunCancelled):
        run.result(20)


@kg.agent
async def stops_who_left_another(ledger: Path) -> str:
    async def leaves() -> None:
        task = asyncio.create_task(works(ledger))
        await kg.sleep(600)
        await task

    task = asyncio.create_task(leaves())
    await note(ledger, "began")
    task.cancel()
    return "ended"


def test_what_one_that_was_stopped_has_left_is_refused(tmp_path):
    """Nobody told it to stop: it is named, with its line; and tells to stop what it had started, as any failure."""
    with pytest.raises(kg.RunFailed, match=r"still ran: works\(…\), test_ending\.py, line \d+"):
        stops_who_left_another.start(tmp_path / "ledger").result(20)
    assert (tmp_path / "ledger").read_text().splitlines() == ["began", "let go", "and told"]
