"""What commands print: tables for people, aligned text for pipes, JSON and CSV for machines."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from kaigents_nb.display import words
from kaigents_nb.display.blocks_text import aligned

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console


def console(*, stderr: bool = False) -> Console:
    """Return rich's console; it is imported when something is printed, not when the program starts."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, soft_wrap=True)


def say(text: str = "", *, stderr: bool = False) -> None:
    """Print a line at once, also into a pipe."""
    print(text, file=sys.stderr if stderr else sys.stdout, flush=True)


def table(rows: Iterable[Sequence[Any]], columns: Sequence[str], *, numbers: Sequence[str] = ()) -> None:
    """Print a table: with lines and folded cells on a terminal, else aligned and whole, one line per row."""
    texts = [[_text(item) for item in row] for row in rows]
    screen = console()
    if not screen.is_terminal:
        say("\n".join(aligned([columns, *texts], [name in numbers for name in columns])))
        return
    from rich.table import Table
    from rich.text import Text

    drawn = Table()
    for name in columns:
        whole = name == "run_id" or name in numbers  # an id in two lines can't be copied
        drawn.add_column(name, justify="right" if name in numbers else "left", no_wrap=whole, overflow="fold")
    for line in texts:
        drawn.add_row(*(Text(text) for text in line))
    screen.print(drawn, soft_wrap=False)


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a DataFrame as JSON values: ISO times, ``null`` for what is missing."""
    return [{str(name): plain(value) for name, value in row.items()} for row in frame.to_dict("records")]


def as_json(value: object) -> None:
    """Print a value as JSON."""
    say(json.dumps(value, ensure_ascii=False, indent=2))


def plain(value: Any) -> Any:
    """Return a value as JSON has it; what JSON has no form for becomes a short text."""
    pandas = sys.modules.get("pandas")
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None  # false for NaN, too
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if pandas is not None:
        if value is pandas.NaT or value is pandas.NA:
            return None
        if isinstance(value, pandas.DataFrame):
            return records(value)
        if isinstance(value, pandas.Series):
            return [plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:  # a numpy scalar
        return plain(value.item())
    from kaigents_nb.values.brief import brief

    return brief(value)


def seconds(value: Any) -> str:
    """Return a duration in words, nothing for a missing one."""
    return "" if value is None or value != value else words.duration(float(value))


def program() -> str:
    """Return how to call this program again: by name, or by the path it was called with."""
    called = sys.argv[0]
    return called if Path(called).stem == "kaigents-nb" and not shutil.which("kaigents-nb") else "kaigents-nb"


def fail(message: str, code: int = 1) -> typer.Exit:
    """Say on stderr what is wrong; raise what this returns."""
    say(message, stderr=True)
    return typer.Exit(code)


def _text(value: Any) -> str:
    if plain(value) is None:
        return ""
    if isinstance(value, datetime):
        return words.clock(value, date=True)
    if isinstance(value, list | tuple):
        return ", ".join(words.line(item) for item in value)
    return words.line(value)
