"""Values as pickles that never leave this process: quicker to make and to take apart than what travels, and small.

Each time one is taken apart, another value comes of it. Only what comes back exactly is packed, and no code of the
analyst's is executed for it: built-in containers and scalars, dates and numbers of the standard library, dataclasses,
named tuples and members of enums. Those name their classes as what travels does.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import io
import pickle
import uuid
from collections.abc import Callable
from typing import Any

from kaigents_nb.errors import ConversionError
from kaigents_nb.values.class_names import is_namedtuple, type_name
from kaigents_nb.values.collecting import no_collection
from kaigents_nb.values.encoded import TypeResolver
from kaigents_nb.values.objects import slots

_BIG_PARTS = 4_000
_SCALARS = frozenset({type(None), bool, int, float, complex, str, bytes})
_SEQUENCES = (list, tuple, set, frozenset, collections.deque)


def pack(value: object) -> bytes | None:
    """Return a value's pickle, equal only to those of equal values; None where something in it is of another kind."""
    out = io.BytesIO()
    try:
        with no_collection():
            _Packing(out).dump(value)
    except (_OfAnotherKind, RecursionError):
        return None
    return out.getvalue()


def unpack(packed: bytes, resolve: TypeResolver) -> Any:
    """Return a value that was packed; ``resolve`` finds its classes."""
    with no_collection():
        return _Unpacking(packed, resolve).load()


def is_big(value: object) -> bool:
    """Tell whether a value has so many parts that it takes a while to read or write it."""
    count, waiting = 0, [value]
    while waiting:
        item: Any = waiting.pop()
        if type(item) in _SCALARS or isinstance(item, type):
            continue
        parts: Any = ()
        if isinstance(item, dict):
            parts = item.values()
        elif isinstance(item, _SEQUENCES):
            parts = item
        elif type(item).__module__.partition(".")[0] in ("numpy", "pandas"):
            count += getattr(item, "size", 0)
        else:
            parts = getattr(item, "__dict__", {}).values()
        count += len(parts)
        if count > _BIG_PARTS:
            return True
        waiting += parts
    return False


class _OfAnotherKind(Exception):
    pass


def _rebuilt(*_: Any) -> None:
    """Stands in pickles for :meth:`_Unpacking._rebuild`."""


class _Packing(pickle.Pickler):
    def __init__(self, out: io.BytesIO) -> None:
        super().__init__(out, protocol=5)
        self._writers = dict(_WRITERS)

    def reducer_override(self, value: Any) -> Any:
        """Say how an object is made again that is no built-in container or scalar."""
        if value is _rebuilt:
            return NotImplemented
        cls = type(value)
        write = self._writers.get(cls)
        if write is None:
            write = self._writers[cls] = _writer_for(cls)
        return _rebuilt, write(value)


class _Unpacking(pickle.Unpickler):
    def __init__(self, packed: bytes, resolve: TypeResolver) -> None:
        super().__init__(io.BytesIO(packed))
        self._resolve = resolve
        self._classes: dict[tuple[str, str], Any] = {}

    def find_class(self, module: str, name: str, /) -> Any:
        """Return what ``_rebuilt`` stands for; nothing else is named in these pickles, and nothing is imported."""
        return self._rebuild

    def _rebuild(self, kind: str, *content: Any) -> Any:
        if kind in _MAKERS:
            return _MAKERS[kind](*content)
        module, qualname, held = content
        cls: Any = self._classes.get((module, qualname))
        if cls is None:
            cls = self._classes[module, qualname] = self._resolve(module, qualname)
        if kind == "member":
            return cls.__members__[held]
        if kind == "namedtuple":
            return tuple.__new__(cls, held)
        value = object.__new__(cls)
        for name, part in held.items():
            object.__setattr__(value, name, part)
        return value


_Writer = Callable[[Any], tuple[Any, ...]]


def _writer_for(cls: type) -> _Writer:
    """Return what writes instances of an analyst's class. Raises _OfAnotherKind."""
    try:
        module, qualname = type_name(cls)
    except ConversionError:
        raise _OfAnotherKind from None
    if issubclass(cls, enum.Enum):
        return lambda value: ("member", module, qualname, _member_name(value))
    if is_namedtuple(cls) and cls.__bases__ == (tuple,):
        return lambda value: ("namedtuple", module, qualname, tuple(value))
    if dataclasses.is_dataclass(cls) and cls.__dictoffset__ and not slots(cls) and not _has_descriptors(cls):
        return lambda value: ("dataclass", module, qualname, vars(value))
    raise _OfAnotherKind


def _member_name(value: enum.Enum) -> str:
    cls: Any = type(value)
    if value.name not in cls.__members__:
        raise _OfAnotherKind
    return str(value.name)


def _has_descriptors(cls: Any) -> bool:
    fields = {field.name for field in dataclasses.fields(cls)}
    return any(hasattr(type(held), "__set__") for base in cls.__mro__ for n, held in vars(base).items() if n in fields)


def _reduced(value: Any) -> tuple[Any, ...]:
    """Return the arguments from which the class itself makes an equal object."""
    arguments: tuple[Any, ...] = value.__reduce_ex__(4)[1]
    return type(value).__name__, *arguments


_REDUCED = (decimal.Decimal, fractions.Fraction, dt.date, dt.datetime, dt.time, dt.timedelta, dt.timezone)
_WRITERS: dict[type, _Writer] = {
    **dict.fromkeys(_REDUCED, _reduced),
    complex: lambda value: ("complex", value.real, value.imag),
    uuid.UUID: lambda value: ("UUID", value.int),
    bytearray: lambda value: ("bytearray", bytes(value)),
    collections.OrderedDict: lambda value: ("OrderedDict", list(value.items())),
    collections.Counter: lambda value: ("Counter", dict(value)),
    collections.deque: lambda value: ("deque", list(value), value.maxlen),
}
_MAKERS: dict[str, Callable[..., Any]] = {
    **{cls.__name__: cls for cls in _REDUCED},
    "complex": complex,
    "UUID": lambda number: uuid.UUID(int=number),
    "bytearray": bytearray,
    "OrderedDict": collections.OrderedDict,
    "Counter": collections.Counter,
    "deque": collections.deque,
}
