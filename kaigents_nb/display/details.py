"""Values as blocks: the details of a gate, bounded in rows, columns and characters."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from itertools import islice
from numbers import Real
from typing import Any, Final

from kaigents_nb.display import blocks as b
from kaigents_nb.display import words
from kaigents_nb.gates.visible import visible

ROWS, COLUMNS, ITEMS = 20, 12, 40
ABSENT: Final = "–"


def details_blocks(value: Any, depth: int = 0) -> b.Blocks:
    """Return a value as a person reads it: text as written, tables, names with values, lists."""
    if isinstance(value, str):
        return (b.line(visible(value)),)
    if (table := as_table(value)) is not None:
        return (table,)
    if depth < 2 and dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if depth < 2 and isinstance(value, Mapping):
        shown = (b.Pair(line(name), details_blocks(item, depth + 1)) for name, item in islice(value.items(), ITEMS))
        return b.Pairs(tuple(shown)), *b.more(len(value) - ITEMS)
    if isinstance(value, list | tuple | set | frozenset) and value:
        return b.Items(tuple(map(cell, list(value)[:ROWS]))), *b.more(len(value) - ROWS)
    return (b.line(cell(value)),)


def line(value: Any) -> str:
    """Return a value on one line, with nothing in it that could not be seen: somebody decides by it."""
    return words.line(visible(words.text_of(value)[: 4 * words.LINE]))


def cell(value: Any) -> str:
    """Return one value on one line; a missing one is a dash."""
    if value is None or _missing(value):
        return ABSENT
    if isinstance(value, float):
        return f"{value:.15g}"  # all the digits that a float has for sure
    return line(value)


def as_table(value: Any, rows: int = ROWS, columns: int = COLUMNS) -> b.Table | None:
    """Return a DataFrame, a Series or a list of mappings as a table; None for anything else."""
    # If nobody imported pandas, then nothing is a DataFrame, and a terminal need not wait for the import.
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(value, pandas.Series):
        value = value.to_frame()
    if pandas is not None and isinstance(value, pandas.DataFrame):
        return _frame_table(value, pandas, rows, columns)
    if _is_records(value):
        names = list(dict.fromkeys(name for row in value[:rows] for name in row))
        cells = [[row.get(name) for name in names[:columns]] for row in value[:rows]]
        return _table([line(name) for name in names[:columns]], cells, (len(value), len(names)), (rows, columns))
    return None


def _frame_table(frame: Any, pandas: Any, n_rows: int, n_columns: int) -> b.Table:
    head = frame.iloc[:n_rows, :n_columns]
    names = [line(name) for name in head.columns]
    rows = [list(row) for row in head.itertuples(index=False, name=None)]
    if not isinstance(frame.index, pandas.RangeIndex):
        labels = [line(name or "") for name in frame.index.names]
        multi = isinstance(frame.index, pandas.MultiIndex)
        names = [*labels, *names]
        rows = [[*(key if multi else (key,)), *row] for key, row in zip(head.index, rows, strict=True)]
    return _table(names, rows, frame.shape, (n_rows, n_columns))


def _table(names: list[str], rows: list[list[Any]], shape: tuple[int, int], limits: tuple[int, int]) -> b.Table:
    note, (n_rows, n_columns) = "", shape
    if n_rows > limits[0] or n_columns > limits[1]:
        shown = f"first {min(n_rows, limits[0])} rows, {min(n_columns, limits[1])} columns"
        note = f"{n_rows:,} rows × {n_columns:,} columns; {shown} shown"
    elif not n_rows:
        note = "no rows"
    numeric = tuple(bool(rows) and all(_is_number(row[at]) for row in rows) for at in range(len(names)))
    return b.Table(tuple(names), tuple(tuple(map(cell, row)) for row in rows), numeric, note)


def _is_records(value: Any) -> bool:
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str | bytes)
        and len(value) > 0
        and all(isinstance(row, Mapping) for row in value[:ROWS])
    )


def _is_number(value: Any) -> bool:
    return cell(value) == ABSENT or (isinstance(value, Real) and not isinstance(value, bool))


def _missing(value: Any) -> bool:
    pandas = sys.modules.get("pandas")
    if pandas is None:
        return isinstance(value, float) and value != value
    return bool(pandas.api.types.is_scalar(value) and pandas.isna(value))
