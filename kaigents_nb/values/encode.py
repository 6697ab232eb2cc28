"""From a Python value to bytes: what comes back exactly is taken, anything else refused with advice."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from kaigents_nb.errors import ConversionError
from kaigents_nb.values import class_kinds, standard_kinds
from kaigents_nb.values.brief import brief, type_label
from kaigents_nb.values.class_names import type_name
from kaigents_nb.values.collecting import no_collection
from kaigents_nb.values.encoded import Encoded
from kaigents_nb.values.kinds import TAG, Writer, lazy, tagged
from kaigents_nb.values.refusals import Refused, key_step

NULL, PLAIN, JSON, TAGGED_JSON, ARROW = (
    "binary/null",
    "binary/plain",
    "json/plain",
    "json/kaigents",
    "binary/kaigents-arrow",
)
Check = Callable[[type], None]
DESCRIBES = ("type", "summary")
"""What the description of a value has, where it has one."""
MAX_DEPTH = 150
SUMMARY_LIMIT = 120
_BIG = 1 << 4096
"""Python refuses to print or read decimal integers that are much longer; those go as hexadecimal."""


def encode(value: object, *, name: str = "result", check: Check | None = None) -> Encoded:
    """Return a value as bytes from which :func:`~kaigents_nb.values.decode.decode` gives the same value.

    Plain JSON data is plain JSON (readable in Temporal's Web UI), DataFrames and arrays are Arrow, the rest
    XX give equal bytes; where two parts of a value are the
    same object, two equal ones come back.

    Parameters
    ----------
    value
        Numbers, text, bytes, dates, containers, dataclasses, pydantic models, enums, numpy and pandas
        objects, nested as you like.
    name
        What error messages call the value.
    check
        Called with each class that the value refers to by name; raises ConversionError for one that its readers
        would not find.

    Raises
    ------
    ConversionError
        When something in the value can't be saved; the message has its path, its type and what to do.

    Examples
    --------
    >>> encode({"price": 12.5}).data
    b'{"price":12.5}'
    """
    return encode_with(value, lambda check_text: Walk(check_text=check_text, check=check), name=name)


def encode_with(value: object, walk: Callable[[bool], Walk], *, name: str) -> Encoded:
    """Encode by a walk of another kind, which is told whether to look for text that is not Unicode."""
    try:
        with no_collection():
            try:
                return _encode(value, walk(False))
            except UnicodeEncodeError:
                # A lone surrogate somewhere: rare enough to look for it only now.
                return _encode(value, walk(True))
    except Refused as refusal:
        raise ConversionError(refusal.message(name)) from refusal.__cause__
    except RecursionError as error:
        raise ConversionError(f"Can't save {name}: it is nested too deeply. Flatten it.") from error


def encode_for(value: object, where: str, check: Check | None = None) -> Encoded:
    """Encode what passes between parts of a run; ``where`` names it in an error: ``"result of step load"``.

    Raises
    ------
    ConversionError
        As :func:`encode` does.
    """
    try:
        return encode(value, check=check)
    except ConversionError as error:
        raise ConversionError(f"The {where} can't be saved: {error}") from error


def classes_of(value: object) -> set[type]:
    """Return the classes that reading a saved value needs, however deep they are in it.

    Those of a value that can't be saved are the ones met before that shows.
    """
    walk = _ClassWalk()
    with suppress(Refused, RecursionError):
        walk.json(value)
    return set(walk.names)


def _encode(value: Any, walk: Walk) -> Encoded:
    if value is None:
        return Encoded(NULL, b"")
    if type(value) is bytes:
        return Encoded(PLAIN, value)
    if _library(type(value)) in ("pandas", "numpy") and (tabular := lazy("tabular")).handles(value):
        return Encoded(ARROW, tabular.to_arrow(value, walk), _meta(value))
    data = walk.json(value)
    raw = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")
    if data is value:
        return Encoded(JSON, raw, own=True)
    return Encoded(TAGGED_JSON, raw, _meta(value))


def _meta(value: Any) -> dict[str, str]:
    return {"type": type_label(value), "summary": brief(value, SUMMARY_LIMIT)}


def _library(cls: type) -> str:
    return (cls.__module__ or "").partition(".")[0]


class Walk:
    """One pass over a value: plain JSON data comes out as the same object, the rest as tagged JSON."""

    def __init__(self, *, check_text: bool = False, check: Check | None = None) -> None:
        self._check = check
        self._depth = 0
        self._check_text = check_text
        self._as_is = frozenset({bool, type(None)} if check_text else {bool, type(None), str})
        self.names: dict[type, str] = {}
        """Those of the classes that the value refers to."""

    def name(self, cls: type) -> str:
        """Return the name under which a class is found again."""
        named = self.names.get(cls)
        if named is None:
            named = ":".join(type_name(cls))
            if self._check is not None:
                self._check(cls)
            self.names[cls] = named
        return named

    def json(self, value: Any) -> Any:
        """Return JSON data for a value; the same object if it is plain JSON data already."""
        cls = type(value)
        if cls in self._as_is:
            return value
        if cls is int:
            return value if -_BIG < value < _BIG else tagged("int", hex(value))
        if cls is float:
            return value if math.isfinite(value) else tagged("float", repr(value))
        if cls is str:
            return self._text(value)
        if self._depth >= MAX_DEPTH:
            raise Refused(value, f"It is nested more than {MAX_DEPTH} deep, or contains itself. Flatten it.")
        self._depth += 1
        try:
            if cls is dict:
                return self._dict(value)
            if cls is list:
                return self._list(value)
            return _writer(value)(value, self)
        finally:
            self._depth -= 1

    def text(self, value: Any) -> str:
        """Return that JSON as text."""
        return json.dumps(self.json(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))

    def _text(self, value: str) -> Any:
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            return tagged("str", standard_kinds.write_bytes(value.encode("utf-8", "surrogatepass")))
        return value

    def _list(self, value: list[Any]) -> list[Any]:
        out, as_is = value, self._as_is
        for number, item in enumerate(value):
            cls = type(item)
            if cls in as_is or (cls is int and -_BIG < item < _BIG):
                continue  # the most common, without a call
            try:
                data = self.json(item)
            except Refused as refusal:
                refusal.path.append(f"[{number}]")
                raise
            if data is not item:
                if out is value:
                    out = value.copy()
                out[number] = data
        return out

    def _dict(self, value: dict[Any, Any]) -> Any:
        out, as_is = value, self._as_is
        for key, item in value.items():
            if type(key) is not str or key == TAG or (self._check_text and self._text(key) is not key):
                return tagged("dict", standard_kinds.write_items(value.items(), self))
            cls = type(item)
            if cls in as_is or (cls is int and -_BIG < item < _BIG):
                continue  # the most common, without a call
            try:
                data = self.json(item)
            except Refused as refusal:
                refusal.path.append(key_step(key))
                raise
            if data is not item:
                if out is value:
                    out = value.copy()
                out[key] = data
        return out


class _ClassWalk(Walk):
    """Looks for classes only: a table's numbers and text have none."""

    def json(self, value: Any) -> Any:
        cls = type(value)
        if cls in (bytes, bytearray):
            return None
        if _library(cls) in ("pandas", "numpy") and (tabular := lazy("tabular")).handles(value):
            for part in tabular.objects_in(value):
                super().json(part)
            return None
        return super().json(value)


def _writer(value: Any) -> Writer:
    """Return the writer for a value's class. Raises Refused."""
    cls = type(value)
    writer = standard_kinds.writer_for(cls)
    library = _library(cls)
    if writer is None and library in ("pandas", "numpy"):
        writer = lazy(f"{library}_kinds").writer_for(cls)
        if writer is None and (tabular := lazy("tabular")).handles(value):
            writer = tabular.write
    if writer is None and library != "numpy":
        writer = class_kinds.writer_for(cls)
    if writer is None:
        raise Refused(value)
    return writer
