"""What counts as the same thing three times in a row."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
from datetime import datetime

import pytest

from kaigents_nb.runtime import repeats
from kaigents_nb.runtime.passing import may_pass
from kaigents_nb.runtime.repeats import (
    ALIKE_IN_A_ROW,
    IN_A_ROW,
    Record,
    after_death,
    after_error,
    alike_error,
    one_at_a_time,
    same_error,
    stays,
    this_process,
)


def deaths_after(*times_s: float) -> int:
    """How many deaths in a row are counted where each attempt's worker died so long after the step began."""
    record = Record()
    for attempt, ran_s in enumerate(times_s, 1):
        told = Record(**{**vars(record), "attempt": attempt, "ran_s": ran_s})
        record = after_death(Record.from_wire(told.to_wire()), attempt + 1)
    return len(record.deaths)


def test_deaths_count_when_they_come_alike() -> None:
    """A step that crashes does it at its own time; a kernel that is restarted over a long step dies at any."""
    assert deaths_after(0, 0, 0) == IN_A_ROW
    assert deaths_after(600, 640, 580) == IN_A_ROW
    assert deaths_after(5, 1800, 240) == 1
    assert deaths_after(3, 4, 900) == 1
    assert deaths_after(0, 6, 3) == 2


def test_a_worker_that_dies_while_a_step_waits_is_not_its_fault() -> None:
    """An attempt that had not begun leaves the count as it was; one that said nothing is counted."""
    twice = Record(2, deaths=(1.0, 1.0))
    assert after_death(twice, 3).deaths == (1.0, 1.0)
    assert after_death(twice, 4).deaths == (1.0, 1.0, 0.0)


def test_a_worker_that_lives_has_not_died() -> None:
    """One that was only stopped for a while, as a closed laptop is, and that went on, is no death."""
    for process, count in ((this_process(), 1), (this_process() + "1", 2), ("1@elsewhere 1.0", 2), ("", 2)):
        told = Record(2, deaths=(1.0,), ran_s=1.0, process=process)
        assert len(after_death(Record.from_wire(told.to_wire()), 3).deaths) == count


async def test_suspects_begin_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has outlived the time of the deaths goes on beside the next; one that ends makes room at once."""
    monkeypatch.setattr(repeats, "_ALIKE_S", 0.05)
    monkeypatch.setattr(repeats, "_TOLD_S", 0.05)
    began: list[str] = []
    ends = {name: asyncio.Event() for name in ("long", "next", "last")}

    async def attempt(name: str, deaths: tuple[float, ...]) -> None:
        async with one_at_a_time(Record(3, deaths=deaths)):
            began.append(name)
            await ends[name].wait()

    async with asyncio.TaskGroup() as group:
        for name in ends:
            group.create_task(attempt(name, (0.0, 0.0)))
            await asyncio.sleep(0)
        group.create_task(attempt("long", (0.0,)))  # one death is no reason to wait
        await asyncio.sleep(0)
        assert began == ["long", "long"]
        async with asyncio.timeout(10):
            while len(began) < 4:
                await asyncio.sleep(0.01)
        assert began == ["long", "long", "next", "last"]
        for event in ends.values():
            event.set()


@pytest.mark.parametrize("data", [None, 5, [], {}, {"deaths": "x"}, {"deaths": [], "more": 1}, {"deaths": None}])
def test_a_record_of_another_make_is_none(data: object) -> None:
    """What an older or newer worker left is no reason to fail."""
    assert Record.from_wire(data) == Record()


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


def elsewhere(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


def test_the_same_error_has_the_same_class_message_and_line() -> None:
    """Addresses of objects in a message do not matter, nor which key or file was looked for."""
    one = same_error(raised(ValueError("a")), __file__)
    assert one == same_error(raised(ValueError("a")), __file__)
    others = [raised(ValueError("b")), raised(LookupError("a")), elsewhere(ValueError("a"))]
    assert one not in {same_error(error, __file__) for error in others}
    for cls in (KeyError, FileNotFoundError):
        assert same_error(raised(cls("a")), __file__) == same_error(raised(cls("b")), __file__)
        assert same_error(raised(cls("a")), __file__) != same_error(elsewhere(cls("a")), __file__)
    objects = [raised(ValueError(f"no {at}")) for at in (object(), object())]
    assert len({same_error(error, __file__) for error in objects}) == 1
    record = Record()
    for error in (one, one, "other", one):
        record = after_error(record, error)
    assert record.times == 1


def test_words_do_not_count_of_a_line_that_finds_a_value_wrong() -> None:
    """Only of one's own line, and only of errors that are about a value: all else may be a service's."""
    one, other = (alike_error(raised(ValueError(text)), __file__) for text in "ab")
    assert one == other != ""
    assert alike_error(elsewhere(ValueError("a")), __file__) not in ("", one)
    with pytest.raises(ValueError, match="time data") as in_a_library:
        datetime.strptime("a", "%Y")
    for error in (in_a_library.value, raised(RuntimeError("a"))):
        assert alike_error(error, __file__) == ""
    record = Record()
    for number in range(ALIKE_IN_A_ROW):
        assert not stays(record, ValueError())
        record = after_error(Record.from_wire(record.to_wire()), f"{number}", one)
    assert stays(record, ValueError())
    assert not stays(after_error(record, "other"), ValueError())


class APITimeoutError(Exception):
    """As a library calls it."""


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (ConnectionError(), True),
        (TimeoutError(), True),
        (socket.gaierror(-2, "Name or service not known"), True),
        (OSError(28, "No space left on device"), True),
        (APITimeoutError(), True),
        (sqlite3.OperationalError("database is locked"), True),
        (ExceptionGroup("both", [ValueError(), ConnectionError()]), True),
        (sqlite3.OperationalError("no such table: prices"), False),
        (FileNotFoundError(2, "No such file or directory"), False),
        (PermissionError(13, "Permission denied"), False),
        (RuntimeError("boom"), False),
        (ExceptionGroup("both", [ValueError(), KeyError()]), False),
    ],
)
def test_errors_of_network_and_machine_may_pass(error: Exception, passes: bool) -> None:
    """By their class, by the library they come from, or by what they were raised over."""
    assert may_pass(error) is passes
