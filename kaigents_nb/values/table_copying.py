"""Copies of pandas and numpy tables, as cheap as is safe."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

COPY_ON_WRITE = int(pd.__version__.partition(".")[0]) >= 3
"""Since pandas 3 a shallow copy is a promise: writing to either side copies first."""
_SCALARS = (pd.Timestamp, pd.Timedelta, pd.Period, pd.Interval, type(pd.NaT), type(pd.NA))


def table_copier(cls: type) -> Callable[[Any, dict[int, Any]], Any] | None:
    """Return how to copy a class of tables; None for others."""
    if cls is pd.DataFrame:
        return _frame
    if cls is pd.Series:
        return _series
    if cls is np.ndarray:
        return _array
    if issubclass(cls, np.ndarray):
        return _subclassed
    if issubclass(cls, np.generic) or cls in _SCALARS:
        return lambda value, memo: value
    return None


def _array(value: Any, memo: dict[int, Any]) -> Any:
    return copy.deepcopy(value, memo) if value.dtype.hasobject else value.copy(order="K")


def _subclassed(value: Any, memo: dict[int, Any]) -> Any:
    out = copy.deepcopy(value, memo)
    for name, item in vars(value).items():
        if name not in vars(out):  # numpy copies what it knows itself, such as a mask
            vars(out)[name] = copy.deepcopy(item, memo)
    return out


def _frame(value: Any, memo: dict[int, Any]) -> Any:
    objects = [i for i, dtype in enumerate(value.dtypes) if dtype.kind == "O"]
    out = value.copy(deep=not COPY_ON_WRITE)
    for position in objects:
        # A deep copy in pandas stops at the cells, which may be lists.
        out.isetitem(position, _series(value.iloc[:, position], memo))
    return _finish(out, value, memo)


def _series(value: Any, memo: dict[int, Any]) -> Any:
    if value.dtype != object:
        return _finish(value.copy(deep=not COPY_ON_WRITE), value, memo)
    cells = np.empty(len(value), object)
    for number, cell in enumerate(value.to_numpy()):
        cells[number] = copy.deepcopy(cell, memo)
    return _finish(pd.Series(cells, index=value.index, name=value.name, dtype=object), value, memo)


def _finish(out: Any, value: Any, memo: dict[int, Any]) -> Any:
    out.index = value.index.copy()  # names can be changed in place
    if isinstance(value, pd.DataFrame):
        out.columns = value.columns.copy()
    out.attrs = copy.deepcopy(value.attrs, memo)
    return out
