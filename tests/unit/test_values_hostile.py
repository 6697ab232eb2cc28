"""Payloads that are damaged or hostile give a ConversionError and run nothing."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import random
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from kaigents_nb.errors import ConversionError
from kaigents_nb.values.class_names import resolve_loaded
from kaigents_nb.values.decode import decode
from kaigents_nb.values.encode import encode
from kaigents_nb.values.encoded import Encoded
from tests.unit import values_examples as ex

HERE = ex.__name__


def _tagged(data: Any) -> Encoded:
    return Encoded("json/kaigents", json.dumps(data).encode())


TARGETS = [
    "os:system",
    "subprocess:Popen",
    "builtins:eval",
    "builtins:int",
    "os:path.join",
    "sys:modules",
    "nowhere:X",
    "__main__:Gone",
    "",
    ":",
    "os",
    "pathlib:Path",
    "importlib:import_module",
    f"{HERE}:Plain",
    f"{HERE}:Plain.__init__.__globals__",
    f"{HERE}:Supplier.__class__",
    f"{HERE}:same",
    "threading:Thread",
]


@pytest.mark.parametrize("kind", ["dataclass", "model", "enum", "flag", "namedtuple", "subclass"])
@pytest.mark.parametrize("target", TARGETS)
def test_only_data_classes_are_built(kind: str, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tag that names a function, a callable or an unknown class is refused before anything is called."""

    def never(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("executed")

    monkeypatch.setattr(os, "system", never)
    monkeypatch.setattr(subprocess.Popen, "__init__", never)
    for payload in ({"v": {}}, {"v": ["touch /tmp/x"]}, {"v": "A", "set": []}):
        with pytest.raises(ConversionError):
            decode(_tagged({"$kg": kind, "c": target, **payload}))


@pytest.mark.parametrize("kind", ["dataclass", "model", "enum", "namedtuple", "subclass"])
def test_resolver_is_not_trusted_with_the_sort_of_class(kind: str) -> None:
    """Even a resolver that returns anything can't make a tag build something that is no data class."""
    with pytest.raises(ConversionError, match="refused"):
        decode(_tagged({"$kg": kind, "c": "a:B", "v": {}, "set": []}), resolve=lambda module, name: subprocess.Popen)
    with pytest.raises(ConversionError):
        decode(_tagged({"$kg": kind, "c": "a:B", "v": {}, "set": []}), resolve=lambda module, name: os.system)  # type: ignore[arg-type, return-value]


def test_nothing_is_imported() -> None:
    """A payload can't make a module load."""
    sys.modules.pop("this", None)
    with pytest.raises(
        ConversionError, match=r"is not known here .module 'this' is not imported here.. Import this and"
    ):
        decode(_tagged({"$kg": "dataclass", "c": "this:Zen", "v": {}}))
    assert "this" not in sys.modules


DAMAGED = [
    b"",
    b"{",
    b"\xff",
    b"[" * 100_000,
    b'{"$kg":' * 5000,
    b'{"$kg":"decimal"}',
    b'{"$kg":"decimal","v":[]}',
    b'{"$kg":"decimal","v":"abc"}',
    b'{"$kg":1}',
    b'{"$kg":{}}',
    b'{"$kg":"np","t":"O","v":1}',
    b'{"$kg":"np.evil"}',
    b'{"$kg":"pd.evil"}',
    b'{"$kg":"unknown"}',
    b'{"$kg":"set","v":[[]]}',
    b'{"$kg":"dict","v":[1]}',
    b'{"$kg":"range","v":["a"]}',
    b'{"$kg":"range","v":[1,2,0]}',
    b'{"$kg":"datetime","v":"yesterday"}',
    b'{"$kg":"datetime","v":"2020-01-01","tz":"x"}',
    b'{"$kg":"zoneinfo","v":"../../etc/passwd"}',
    b'{"$kg":"arrow","v":"AAAA"}',
    b'{"$kg":"arrow","v":"?"}',
    b'{"$kg":"bytes","v":"*"}',
    b'{"$kg":"int","v":"zz"}',
    b'{"$kg":"defaultdict","v":[],"f":"eval"}',
    b'{"$kg":"np.dtype","v":"__import__(\'os\')"}',
    b'{"$kg":"np.raw","t":"\'|O\'","v":"AAAAAAAAAAA="}',
    b'{"$kg":"np.time","t":"O","v":5}',
    b'{"$kg":"pd.Period","v":1,"freq":"nope"}',
    b'{"$kg":"timedelta","v":[1e300]}',
    b'{"$kg":"tz.file","v":"../../etc/passwd"}',
    b'{"$kg":"tz.file","v":"/etc/passwd"}',
    b'{"$kg":"tz.str","v":[]}',
    b'{"$kg":"pytz","v":"../../etc/passwd"}',
    b'{"$kg":"ip","v":["ip_address","1.2.3.4"]}',
    b'{"$kg":"url","v":"http://a","c":"__import__"}',
    b'{"$kg":"url","v":"http://a","c":"import_email_validator"}',
    b'{"$kg":"pattern","v":"(","flags":0}',
    b'{"$kg":"model","v":{},"c":"tests.unit.values_examples:Box","set":[],"args":["os:system"]}',
    b'{"$kg":"model","v":{},"c":"tests.unit.values_examples:Box","set":[],"args":["builtins:eval"]}',
    b'{"$kg":"model","v":{},"c":"tests.unit.values_examples:Box","set":[],"args":[{"of":"model","c":"os:system","args":[]}]}',
    b'{"$kg":"model","v":{},"c":"tests.unit.values_examples:Box","set":[],"args":[{"of":"eval","args":["x"]}]}',
    b'{"$kg":"subclass","v":{"$kg":"date","v":"2024-01-01"},"c":"datetime:datetime"}',
    b"1" * 5000,
]


@pytest.mark.parametrize("data", DAMAGED, ids=lambda data: repr(data[:40]))
def test_damaged_json_is_an_error(data: bytes) -> None:
    """Whatever a reader does with nonsense, a ConversionError comes out."""
    with pytest.raises(ConversionError):
        decode(Encoded("json/kaigents", data))


def test_arrow_cut_anywhere_is_an_error() -> None:
    """A truncated stream never crashes the process or gives half of a frame."""
    data = encode(ex.FRAME).data
    for end in range(0, len(data) - 8, 7):
        with pytest.raises(ConversionError):
            decode(Encoded("binary/kaigents-arrow", data[:end]))


def test_arrow_with_flipped_bytes_never_crashes() -> None:
    """Random damage gives an error or some frame, nothing else."""
    data, dice = encode(ex.FRAME).data, random.Random(1)
    for _ in range(1500):
        broken = bytearray(data)
        for _ in range(dice.choice([1, 3, 20])):
            broken[dice.randrange(len(broken))] = dice.randrange(256)
        with contextlib.suppress(ConversionError):
            decode(Encoded("binary/kaigents-arrow", bytes(broken)))


@pytest.mark.parametrize(
    "head",
    [
        {},
        {"k": "frame"},
        {"k": "evil"},
        {"k": "array", "shape": [10**12], "v": {"k": "np", "t": "'<i8'"}},
        {"k": "array", "shape": [2], "v": {"k": "np", "t": "'|O'"}},
        {"k": "array", "shape": [2], "v": {"k": "np", "t": "'<U400'"}},
        {"k": "extension", "v": {"k": "period", "t": "period[evil]"}},
        {"k": "series", "v": {"k": "cells"}},
        {"k": "index", "index": {"k": "multi", "levels": [], "codes": [{"k": "np", "t": "'<i8'"}], "names": ["x"]}},
    ],
)
def test_arrow_with_a_false_description(head: Any) -> None:
    """A description that doesn't fit the columns is an error."""
    schema = pa.schema([("0", pa.int64())], metadata={b"kaigents": json.dumps(head).encode()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as stream:
        stream.write_batch(pa.record_batch([pa.array([1, 2, 3])], schema=schema))
    data = sink.getvalue().to_pybytes()
    with pytest.raises(ConversionError):
        decode(Encoded("binary/kaigents-arrow", data))
    with pytest.raises(ConversionError):
        decode(_tagged({"$kg": "arrow", "v": base64.b64encode(data).decode()}))


def test_unknown_encoding_lists_the_known_ones() -> None:
    """A payload of another program says so."""
    with pytest.raises(ConversionError, match=r"the encoding 'x/y'. Known: binary/null, binary/plain, json/plain"):
        decode(Encoded("x/y", b""))


def test_plain_json_from_elsewhere_is_never_tagged() -> None:
    """A dict that looks like a tag in plain JSON stays a dict."""
    assert decode(Encoded("json/plain", b'{"$kg":"dataclass","c":"os:system"}')) == {
        "$kg": "dataclass",
        "c": "os:system",
    }


def test_class_of_a_cell_that_is_gone() -> None:
    """The message says which cell to run."""
    with pytest.raises(
        ConversionError, match=r"is a Gone, which is not known here .* Run the cell that defines Gone and read"
    ):
        decode(_tagged({"$kg": "dataclass", "c": "__main__:Gone", "v": {}}))


def test_resolve_loaded_takes_data_classes_only() -> None:
    """Dataclasses, models, enums, named tuples and subclasses of built-ins are found, also nested ones."""
    for name in ("Supplier", "Offer", "Color", "Point", "UserId", "Outer.Inner"):
        assert resolve_loaded(HERE, name).__qualname__ == name
    for module, name in (
        ("os", "system"),
        ("subprocess", "Popen"),
        (HERE, "Plain"),
        (HERE, "np"),
        (HERE, "Missing"),
        ("builtins", "int"),
    ):
        with pytest.raises(LookupError):
            resolve_loaded(module, name)


def test_lazy_modules_are_not_asked() -> None:
    """A module's __getattr__ does not run."""
    module = type(sys)("kaigents_lazy_test")
    module.__getattr__ = lambda name: exec("raise AssertionError")  # type: ignore[method-assign]
    sys.modules[module.__name__] = module
    try:
        with pytest.raises(LookupError, match="has no 'X'"):
            resolve_loaded(module.__name__, "X")
    finally:
        del sys.modules[module.__name__]


def test_arrays_of_objects_are_not_read_from_bytes() -> None:
    """A dtype with objects can't be smuggled in, as its bytes would be pointers."""
    data = encode(np.arange(3)).data
    assert b"'<i8'" in data
    with pytest.raises(ConversionError):
        decode(Encoded("binary/kaigents-arrow", data.replace(b"'<i8'", b"'|O8'")))


def test_reading_does_not_pickle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither pandas nor Arrow unpickles anything on the way."""
    import pickle

    def never(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("pickled")

    encoded = encode([ex.FRAME, ex.Offer(Name="a", price=1), pd.Period("2024", "Y")])
    for name in ("loads", "load", "Unpickler", "dumps"):
        monkeypatch.setattr(pickle, name, never)
    decode(encoded)
