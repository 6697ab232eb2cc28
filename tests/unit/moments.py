"""A trace written by hand: code, the lines executed, and what each changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from kaigents_nb.replay.records import CallSite, Change, Frame, Raised, Row, Wait
from kaigents_nb.replay.statements import Statements
from kaigents_nb.replay.trace import Trace

START = datetime(2026, 11, 23, 15, 6, 2, tzinfo=UTC)
SOURCE = """\
def best(options):
    # the cheapest one
    return min(options)


@kg.agent
async def buy(product, prices):
    total = 0
    for price in prices:
        total = total + price
    quotes = await load(
        product,
        total,
    )
    return best(quotes)
"""


def a_trace(
    lines: Sequence[tuple[int, Mapping[str, Any]]],
    *,
    source: str = SOURCE,
    arguments: Mapping[str, Any] | None = None,
    uncopied: Sequence[str] = (),
    calls: Mapping[int, str] | None = None,
    raised: Mapping[int, BaseException | str] | None = None,
    inner: Sequence[tuple[int, Mapping[str, Any]]] = (),
    in_cell: bool = True,
) -> Trace:
    """Return a trace of one function; ``lines`` are ``(line, what executing it changed)``.

    ``calls`` are names of steps by row, which the run still waits for when it is the last row. ``inner`` are the lines
    of a function that the last line calls, as ``(line, changed)``.
    """
    rows, changes = [], []
    for name, value in (arguments or {}).items():
        changes.append(Change(0, -1, 0, 3, START, name, value, name not in uncopied))
    for frame, (line, changed) in [*((0, one) for one in lines), *((1, one) for one in inner)]:
        number = len(rows)
        error = (raised or {}).get(number)
        text = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
        rows.append(
            Row(
                3 + number,
                START + timedelta(seconds=number),
                frame,
                line,
                dict(changed),
                Raised(0, text, error if isinstance(error, BaseException) else None, number) if error else None,
            )
        )
        for name, value in changed.items():
            changes.append(Change(frame, number, number + 1, 4 + number, START, name, value, name not in uncopied))
    frames = [Frame(0, "buy", 0, -1, 7, 0, len(lines) - 1 if not inner else -1)]
    if inner:
        frames.append(Frame(1, "best", 0, 0, 1, len(lines), len(rows) - 1))
    made = [
        CallSite("step", name, str(number + 1), row, 3 + row, START + timedelta(seconds=row))
        for number, (row, name) in enumerate(sorted((calls or {}).items()))
    ]
    waits = [
        Wait("step", call.name, (call.row, call.event_id), None if call.row == len(rows) - 1 else (call.row + 1, 99))
        for call in made
    ]
    snapshot = SimpleNamespace(source=source, where=lambda line: ("In [3]", line) if in_cell else None)
    return Trace(
        run_id="run-1",
        agent="buy",
        snapshot=snapshot,  # type: ignore[arg-type]
        statements=Statements(source),
        rows=rows,
        frames=frames,
        changes=changes,
        calls=made,
        waits=waits,
        last_event=3 + len(rows),
        closed="",
        parked=(),
        halted=(),
        max_bytes=2**20,
        size_bytes=0,
        limit_row=-1,
        problem="",
    )
