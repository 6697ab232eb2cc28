"""Kinds from numpy: scalars, with their dtype. Arrays are in :mod:`~kaigents_nb.values.tabular`."""

from __future__ import annotations

import ast
from typing import Any

import numpy as np

from kaigents_nb.values.kinds import Reader, Reading, Writer, Writing, tagged
from kaigents_nb.values.refusals import Refused
from kaigents_nb.values.standard_kinds import read_bytes, write_bytes


def writer_for(cls: type) -> Writer | None:
    """Return the writer for a class, or None."""
    if issubclass(cls, np.generic) and cls.__module__ == "numpy":
        return _write_scalar
    return (lambda v, w: tagged("np.dtype", dtype_text(v, v))) if issubclass(cls, np.dtype) else None


def dtype_text(dtype: np.dtype[Any], value: Any) -> str:
    """Return a dtype as text. Raises Refused for one that holds objects or metadata."""
    text = repr(np.lib.format.dtype_to_descr(dtype))
    if dtype.hasobject or dtype.kind not in "biufcmMSUV" or read_dtype(text) != dtype:
        raise Refused(value, f"Its dtype {dtype} can't be saved; convert it with .astype(object) or .tolist().")
    return text


def read_dtype(text: str) -> np.dtype[Any]:
    """Return the dtype of :func:`dtype_text`."""
    dtype: np.dtype[Any] = np.lib.format.descr_to_dtype(ast.literal_eval(text))
    if dtype.hasobject:
        raise ValueError(f"a dtype with objects: {text}")
    return dtype


def _write_scalar(value: Any, w: Writing) -> dict[str, Any]:
    dtype = value.dtype
    if dtype.kind in "biu" or dtype.str in ("<f2", "<f4", "<f8"):
        return tagged("np", w.json(value.item()), t=dtype.str)
    if dtype.kind in "mM":
        return tagged("np.time", int(value.view("i8")), t=dtype.str)
    if dtype.kind == "U":
        return tagged("np.str", w.json(str(value)))
    if dtype.kind == "S":
        return tagged("np.bytes", write_bytes(bytes(value)))
    return tagged("np.raw", write_bytes(value.tobytes()), t=dtype_text(dtype, value))


def _read_scalar(raw: dict[str, Any], r: Reading) -> Any:
    dtype = np.dtype(raw["t"])
    if dtype.kind not in "biuf":
        raise ValueError(f"{dtype} is not a number")
    return dtype.type(raw["v"])


READERS: dict[str, Reader] = {
    "np": _read_scalar,
    "np.time": lambda raw, r: np.array(raw["v"], "i8").view(raw["t"])[()],
    "np.str": lambda raw, r: np.str_(raw["v"]),
    "np.bytes": lambda raw, r: np.bytes_(read_bytes(raw["v"])),
    "np.raw": lambda raw, r: np.frombuffer(read_bytes(raw["v"]), read_dtype(raw["t"])).copy()[0],
    "np.dtype": lambda raw, r: read_dtype(raw["v"]),
}
