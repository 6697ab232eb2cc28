"""pandas and numpy tables as Arrow streams: frames, series, indexes, arrays.

The stream's columns are the data; its schema metadata has shape, labels, dtypes and names, as tagged JSON.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pandas.api.extensions import ExtensionArray
from pandas.tseries.frequencies import to_offset

from kaigents_nb.values.columns import Spec, index_of, one_chunk, read_values, values_of, write_values
from kaigents_nb.values.kinds import Reader, Reading, Writing, tagged
from kaigents_nb.values.refusals import inside, key_step
from kaigents_nb.values.standard_kinds import read_bytes, write_bytes

_HEAD = b"kaigents"
_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")
"""lz4 takes 60 % off integers and text for 15 ms per 50 MB, and costs random floats 30 ms."""


def handles(value: object) -> bool:
    """Tell whether a value is a table of pandas or numpy; subclasses of others' making are not."""
    if type(value) in (pd.DataFrame, pd.Series, np.ndarray):
        return True
    return isinstance(value, (pd.Index, ExtensionArray)) and type(value).__module__.partition(".")[0] == "pandas"


def to_arrow(value: Any, w: Writing) -> bytes:
    """Return a table as an Arrow stream; equal tables give equal bytes. Raises Refused."""
    arrays: list[pa.Array] = []
    head = json.dumps(_describe(value, arrays, w), ensure_ascii=False, separators=(",", ":")).encode()
    schema = pa.schema([(str(i), array.type) for i, array in enumerate(arrays)], metadata={_HEAD: head})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema, options=_OPTIONS) as stream:
        stream.write_batch(pa.record_batch(arrays, schema=schema))
    data: bytes = sink.getvalue().to_pybytes()
    return data


def from_arrow(data: bytes, r: Reading) -> Any:
    """Return the table of an Arrow stream; it can be written to, like any other."""
    with pa.ipc.open_stream(pa.py_buffer(data)) as stream:
        table = stream.read_all()
    # Offsets that point outside of a buffer would crash the process; damage must be an error instead.
    table.validate(full=True)
    head = r.json(table.schema.metadata[_HEAD])
    return _rebuild(head, map(one_chunk, table.columns), r)


def write(value: Any, w: Writing) -> dict[str, Any]:
    """Return a table inside another value as tagged JSON."""
    return tagged("arrow", write_bytes(to_arrow(value, w)))


READERS: dict[str, Reader] = {"arrow": lambda raw, r: from_arrow(read_bytes(raw["v"]), r)}


def objects_in(value: Any) -> Iterator[Any]:
    """Yield what a table holds that is neither numbers nor text: its cells of objects as lists, labels, attributes."""
    if isinstance(value, pd.DataFrame):
        yield from (
            part for position in range(value.shape[1]) for part in objects_in(values_of(value.iloc[:, position]))
        )
        yield from (*objects_in(value.columns), *objects_in(value.index), dict(value.attrs))
    elif isinstance(value, pd.Series):
        yield from (*objects_in(values_of(value)), *objects_in(value.index), value.name, dict(value.attrs))
    elif isinstance(value, pd.MultiIndex):
        yield from (part for level in value.levels for part in objects_in(level))
    elif isinstance(value, pd.Index):
        yield value.name
        yield from objects_in(values_of(value))
    elif isinstance(value, pd.Categorical):
        yield from objects_in(value.categories)
    elif isinstance(value, np.ndarray) and value.dtype == object:
        yield value.reshape(-1).tolist()


def _describe(value: Any, out: list[pa.Array], w: Writing) -> Spec:
    if isinstance(value, pd.DataFrame):
        attrs = _attrs(value, w)
        # Taking a column out copies the attributes deeply, each time.
        value = value.copy(deep=False)
        value.attrs = {}
        columns = []
        for position, label in enumerate(value.columns):
            with inside(key_step(label)):
                columns.append(write_values(values_of(value.iloc[:, position]), out, w))
        labels = _write_labels(value.columns, w)
        index = _write_index(value.index, out, w)
        return {"k": "frame", "columns": columns, "labels": labels, "index": index, **attrs}
    if isinstance(value, pd.Series):
        spec = write_values(values_of(value), out, w)
        index = _write_index(value.index, out, w)
        return {"k": "series", "v": spec, "index": index, "name": w.json(value.name), **_attrs(value, w)}
    if isinstance(value, pd.Index):
        return {"k": "index", "index": _write_index(value, out, w)}
    if isinstance(value, np.ndarray):
        flat = np.ascontiguousarray(value).reshape(-1)
        return {"k": "array", "shape": list(value.shape), "v": write_values(flat, out, w)}
    numpys = isinstance(value.dtype, np.dtype)
    return {"k": "extension", "v": write_values(value.to_numpy() if numpys else value, out, w)}


def _rebuild(head: Spec, arrays: Iterator[pa.Array], r: Reading) -> Any:
    kind = head["k"]
    if kind == "frame":
        return _read_frame(head, arrays, r)
    if kind == "index":
        return _read_index(head["index"], arrays, r)
    values = read_values(head["v"], arrays, r)
    if kind == "series":
        series = _series(values, _read_index(head["index"], arrays, r))
        series.name = head["name"]
        series.attrs = head.get("attrs", {})
        return series
    if kind == "array":
        return values.reshape(head["shape"]).copy()
    if kind == "extension":
        return values if isinstance(values, ExtensionArray) else pd.array(values.copy())
    raise ValueError(f"unknown kind of table {kind!r}")


def _read_frame(head: Spec, arrays: Iterator[pa.Array], r: Reading) -> pd.DataFrame:
    columns = [read_values(spec, arrays, r) for spec in head["columns"]]
    index = _read_index(head["index"], arrays, r)
    # A Series of dtype object says so; pandas would guess at the type of a bare array of objects.
    data = {i: _series(v, index) if v.dtype == object else v for i, v in enumerate(columns)}
    # Arrow's memory is read-only, hence the copy.
    frame = pd.DataFrame(data, index=index, copy=True)
    frame.columns = _read_labels(head["labels"], r)
    frame.attrs = head.get("attrs", {})
    return frame


def _series(values: Any, index: Any) -> Any:
    return pd.Series(values, index=index, dtype=object if values.dtype == object else None, copy=True)


def _attrs(value: Any, w: Writing) -> Spec:
    if not value.attrs:
        return {}
    with inside(".attrs"):
        return {"attrs": w.json(dict(value.attrs))}


def _write_index(index: Any, out: list[pa.Array], w: Writing) -> Spec:
    with inside(".index"):
        if isinstance(index, pd.RangeIndex):
            return {"k": "range", "v": [index.start, index.stop, index.step], "name": w.json(index.name)}
        if isinstance(index, pd.MultiIndex):
            # Levels as they are, also unused ones: they are part of what the index knows.
            levels = [_write_labels(level, w) for level in index.levels]
            codes = [write_values(np.asarray(code), out, w) for code in index.codes]
            return {"k": "multi", "levels": levels, "codes": codes, "names": w.json(list(index.names))}
        spec = write_values(values_of(index), out, w)
        freq = getattr(index, "freqstr", None) if isinstance(index, (pd.DatetimeIndex, pd.TimedeltaIndex)) else None
        return {"k": "flat", "v": spec, "name": w.json(index.name), **({"freq": freq} if freq else {})}


def _read_index(spec: Spec, arrays: Iterator[pa.Array], r: Reading) -> Any:
    if spec["k"] == "range":
        start, stop, step = spec["v"]
        return pd.RangeIndex(start, stop, step, name=spec["name"])
    if spec["k"] == "multi":
        codes = [read_values(code, arrays, r) for code in spec["codes"]]
        levels = [_read_labels(level, r) for level in spec["levels"]]
        return pd.MultiIndex(levels=levels, codes=codes, names=spec["names"])
    index = index_of(read_values(spec["v"], arrays, r), spec["name"])
    if "freq" in spec:
        with contextlib.suppress(ValueError):  # a calendar of its own has no text form; the values are all there
            index.freq = to_offset(spec["freq"])
    return index


def _write_labels(labels: Any, w: Writing) -> Spec:
    """Return an Index that is short or of another length: readable text, or a stream inside the stream."""
    if isinstance(labels, pd.RangeIndex):
        return _write_index(labels, [], w)
    if type(labels) is pd.Index and labels.dtype in (object, pd.Series(["x"]).dtype):
        texts = labels.tolist()
        if all(type(text) is str for text in texts):
            kind = "object" if labels.dtype == object else "str"
            return {"k": kind, "v": w.json(texts), "name": w.json(labels.name)}
    return {"k": "stream", "v": write_bytes(to_arrow(labels, w))}


def _read_labels(spec: Spec, r: Reading) -> Any:
    if spec["k"] == "range":
        return _read_index(spec, iter(()), r)
    if spec["k"] == "stream":
        return from_arrow(read_bytes(spec["v"]), r)
    return pd.Index(spec["v"], name=spec["name"], dtype=object if spec["k"] == "object" else "str")
