"""One column of values to Arrow arrays and back, its pandas or numpy dtype kept exactly.

Arrow's own idea of pandas types loses some (an interval's sides, which string dtype, which missing value),
so a column is its plain numbers or text plus a small description (``{"k": "masked", …}``) of what to rebuild.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa

from kaigents_nb.values.kinds import Reading, Writing
from kaigents_nb.values.numpy_kinds import dtype_text, read_dtype
from kaigents_nb.values.pandas_kinds import in_zone
from kaigents_nb.values.refusals import Refused
from kaigents_nb.values.standard_kinds import write_each

Spec = dict[str, Any]

_MASKED = {
    "i": pd.arrays.IntegerArray,
    "u": pd.arrays.IntegerArray,
    "f": pd.arrays.FloatingArray,
    "b": pd.arrays.BooleanArray,
}


def values_of(data: Any) -> Any:
    """Return the values of a Series, Index or extension array: numpy where the dtype is numpy's."""
    return data.to_numpy() if isinstance(data.dtype, np.dtype) else data.array


def write_values(values: Any, out: list[pa.Array], w: Writing) -> Spec:
    """Append a column's Arrow arrays to ``out`` and return its description. Raises Refused."""
    dtype = values.dtype
    if isinstance(dtype, np.dtype):
        return _write_object(values, out, w) if dtype.kind == "O" else _write_numpy(values, out)
    if isinstance(dtype, pd.StringDtype):
        return _write_string(values, out, w)
    if isinstance(dtype, pd.DatetimeTZDtype):
        out.append(pa.array(values.asi8))
        return {"k": "tz", "unit": dtype.unit, "tz": w.json(dtype.tz)}
    if isinstance(dtype, pd.CategoricalDtype):
        spec = _write_numpy(values.codes, out)
        return {"k": "category", "v": spec, "of": w.json(dtype.categories), "ordered": bool(dtype.ordered)}
    if isinstance(dtype, pd.PeriodDtype):
        out.append(pa.array(values.asi8))
        return {"k": "period", "t": dtype.name}
    if isinstance(dtype, pd.IntervalDtype):
        sides = [write_values(values_of(side), out, w) for side in (values.left, values.right)]
        return {"k": "interval", "v": sides, "closed": dtype.closed}
    if isinstance(dtype, pd.SparseDtype):
        return {"k": "sparse", "v": write_values(values.to_dense(), out, w), "fill": w.json(dtype.fill_value)}
    if isinstance(dtype, pd.ArrowDtype):
        out.append(one_chunk(values.__arrow_array__()))
        return {"k": "arrow"}
    if isinstance(values, (pd.arrays.IntegerArray, pd.arrays.FloatingArray, pd.arrays.BooleanArray)):
        number: Any = dtype.numpy_dtype
        mask = np.asarray(values.isna())
        # What lies under a missing value is arbitrary; zero makes equal columns equal bytes.
        data = values.to_numpy(dtype=number, na_value=False if number.kind == "b" else 0)
        spec = _write_numpy(data, out)
        out.append(pa.array(mask))
        return {"k": "masked", "v": spec}
    raise Refused(values, f"Its dtype {dtype} can't be saved; convert it with .astype(object) or to text.")


def read_values(spec: Spec, arrays: Iterator[pa.Array], r: Reading) -> Any:
    """Return the column for a description, taking its Arrow arrays. Numpy data may be read-only."""
    kind = spec["k"]
    if kind == "np":
        return _read_numpy(spec, next(arrays))
    if kind in ("text", "cells", "date"):
        return _read_object(spec, next(arrays), r)
    if kind == "string":
        return _read_string(spec, arrays, r)
    if kind == "tz":
        naive = pd.DatetimeIndex(next(arrays).to_numpy().view(f"M8[{spec['unit']}]"))
        return in_zone(naive, spec["tz"]).array
    if kind == "category":
        dtype: Any = pd.CategoricalDtype(spec["of"], ordered=spec["ordered"])
        return pd.Categorical.from_codes(_read_numpy(spec["v"], next(arrays)).copy(), dtype=dtype)
    if kind == "period":
        return pd.arrays.PeriodArray(
            next(arrays).to_numpy().copy(), dtype=cast(Any, pd.PeriodDtype.construct_from_string(spec["t"]))
        )
    if kind == "interval":
        left, right = (index_of(read_values(side, arrays, r)) for side in spec["v"])
        return pd.arrays.IntervalArray.from_arrays(left, right, closed=spec["closed"])
    if kind == "sparse":
        dense = read_values(spec["v"], arrays, r)
        return pd.arrays.SparseArray(dense, dtype=pd.SparseDtype(dense.dtype, spec["fill"]))
    if kind == "arrow":
        return pd.arrays.ArrowExtensionArray(pa.chunked_array([next(arrays)]))
    if kind == "masked":
        data = _read_numpy(spec["v"], next(arrays)).copy()
        return _MASKED[data.dtype.kind](data, next(arrays).to_numpy(zero_copy_only=False).copy())
    raise ValueError(f"unknown kind of column {kind!r}")


def index_of(values: Any, name: Any = None) -> Any:
    """Return the Index over some values, with no guess at what objects might be."""
    return pd.Index(values, name=name, dtype=object if values.dtype == object else None)


def _write_numpy(values: Any, out: list[pa.Array]) -> Spec:
    dtype = values.dtype
    spec = {"k": "np", "t": dtype_text(dtype, values)}
    if dtype.itemsize == 0:
        out.append(pa.array(np.zeros(len(values), "i1")))
    elif dtype.kind in "mM":
        out.append(pa.array(np.ascontiguousarray(values, dtype.newbyteorder("=")).view("i8")))
    elif dtype.kind in "biuf" and dtype.itemsize <= 8:
        out.append(pa.array(np.ascontiguousarray(values, dtype.newbyteorder("=")), from_pandas=False))
    else:
        buffer = pa.py_buffer(np.ascontiguousarray(values).view("u1"))
        out.append(pa.FixedSizeBinaryArray.from_buffers(pa.binary(dtype.itemsize), len(values), [None, buffer]))
    return spec


def _read_numpy(spec: Spec, array: pa.Array) -> Any:
    dtype = read_dtype(spec["t"])
    if dtype.itemsize == 0:
        return np.zeros(len(array), dtype)
    if pa.types.is_fixed_size_binary(array.type):
        if array.type.byte_width != dtype.itemsize or array.null_count:
            raise ValueError(f"{array.type} does not hold {dtype}")
        start = array.offset * dtype.itemsize
        data = array.buffers()[1]
        whole = memoryview(data)[start : start + len(array) * dtype.itemsize] if data is not None else b""
        return np.frombuffer(whole, dtype)
    data = array.to_numpy(zero_copy_only=False)
    if dtype.kind in "mM":
        data = data.view(dtype.newbyteorder("="))
    return data.astype(dtype, copy=False)


def _write_object(values: Any, out: list[pa.Array], w: Writing) -> Spec:
    cells = values.tolist()
    kinds = set(map(type, cells))
    try:
        if kinds <= {str, type(None)}:
            out.append(pa.array(cells, pa.large_string()))
            return {"k": "text"}
        if kinds <= {str, float} and all(cell != cell for cell in cells if type(cell) is float):
            out.append(pa.array([cell if type(cell) is str else None for cell in cells], pa.large_string()))
            return {"k": "text", "nan": True}
    except UnicodeEncodeError:
        pass  # lone surrogates: Arrow has no room for them, tagged JSON has
    if kinds <= {dt.date, type(None)}:
        out.append(pa.array(cells, pa.date32()))
        return {"k": "date"}
    out.append(pa.array(write_each(cells, w.text), pa.large_string()))
    return {"k": "cells"}


def _read_object(spec: Spec, array: pa.Array, r: Reading) -> Any:
    if spec["k"] == "text":
        values = array.to_numpy(zero_copy_only=False)
        if values.dtype != object:  # an empty or all-missing column
            values = values.astype(object)
        if not values.flags.writeable:
            values = values.copy()
        if spec.get("nan"):
            values[array.is_null().to_numpy(zero_copy_only=False)] = np.nan
        return values
    cells = array.to_pylist()
    values = np.empty(len(cells), object)
    # One by one: numpy would read a column of equally long lists as a table.
    for number, cell in enumerate(cells):
        values[number] = cell if spec["k"] == "date" else r.json(cell)
    return values


def _write_string(values: Any, out: list[pa.Array], w: Writing) -> Spec:
    dtype = values.dtype
    spec = {"k": "string", "storage": dtype.storage, "nan": dtype.na_value is not pd.NA}
    try:
        out.append(one_chunk(pa.array(values, pa.large_string())))
    except UnicodeEncodeError:
        return {**spec, "cells": _write_object(values.astype(object), out, w)}
    return spec


def _read_string(spec: Spec, arrays: Iterator[pa.Array], r: Reading) -> Any:
    # pandas 2.2 has a storage of that name instead of the argument na_value.
    by_argument = spec["nan"] and spec["storage"] != "pyarrow_numpy"
    dtype = pd.StringDtype(spec["storage"], **({"na_value": np.nan} if by_argument else {}))
    if "cells" in spec:
        return pd.array(_read_object(spec["cells"], next(arrays), r), dtype=dtype)
    return cast(Any, dtype).__from_arrow__(pa.chunked_array([next(arrays)]))


def one_chunk(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return a column in one piece, copied only where it is in several."""
    if isinstance(array, pa.Array):
        return array
    return array.chunk(0) if array.num_chunks == 1 else array.combine_chunks()
