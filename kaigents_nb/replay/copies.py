"""Copies of values over time: whether a value has changed since its last copy, and a new copy where it has.

No ``==`` of an analyst's class is ever called. What did not change is kept once: a list that grew shares the copies
of its older items with the copy before.
"""

from __future__ import annotations

import copyreg
import hashlib
import itertools
import pickle
import sys
from collections import deque
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from kaigents_nb.values.brief import brief
from kaigents_nb.values.copying import ATOMS, frozen_copy
from kaigents_nb.values.encode import encode
from kaigents_nb.values.stand_in import StandIn, stand_in
from kaigents_nb.values.table_copying import COPY_ON_WRITE

MISSING: Any = object()
"""Stands for "no earlier copy"."""

_BY_EQUALITY = (int, str, bytes, bool, type(None))
_TEXTS = frozenset({str, bytes})
_LONG = 500
_PLAIN_BYTES = object.__basicsize__ + 2 * 8  # with room for __dict__ and __weakref__
_PICKLE_PROTOCOL = 4  # that `copy` takes objects apart with


class Copier:
    """Makes copies, knows how much they take, and notes in ``whole`` when part of one could not be copied."""

    def __init__(self) -> None:
        self.size_bytes = 0
        self.whole = True
        self.shares = False
        """Whether the last copy holds one object in several places, or may do so."""
        self._texts: dict[int, Any] = {}  # long ones that are counted

    def copy(self, live: Any, old: Any = MISSING, grown: int = 0) -> Any:
        """Return ``old`` itself when ``live`` is still what it was, else a new copy; what can't be copied as text.

        ``grown`` is the length of ``old`` where ``live`` is known to be that list with more items.
        """
        comparison = _Comparison()
        if not grown and old is not MISSING and comparison.is_same(live, old):
            self.whole, self.shares = comparison.whole, comparison.shares
            return old
        memo = comparison.unchanged
        kept = len(memo)
        new, whole, shares = frozen_copy(live[grown:] if grown else live, memo)
        if grown:
            if type(new) is not list:
                return self.copy(live, old)
            new = old + new
            self.size_bytes += sys.getsizeof(new)
        self.whole, self.shares = whole and comparison.whole, shares or comparison.shares
        memo.pop(id(memo), None)  # what copying came by and has kept alive
        self._count(itertools.islice(memo.items(), kept, None))
        self._count_texts((new,))
        return new

    def forget(self) -> None:
        """Let go of the originals."""
        self._texts.clear()

    def _count(self, made: Iterable[tuple[int, Any]]) -> None:
        for key, copy in made:
            try:
                if key != id(copy):
                    self.size_bytes += _size(copy)
                if isinstance(copy, dict):
                    self._count_texts(copy)
                    self._count_texts(copy.values())
                elif isinstance(copy, (list, tuple, set, frozenset, deque)):
                    self._count_texts(copy)
            except Exception:  # noqa: BLE001 - a class whose own code can't say
                self.size_bytes += object.__basicsize__

    def _count_texts(self, items: Iterable[Any]) -> None:
        if _TEXTS.isdisjoint(map(type, items)):
            return
        for item in items:
            if type(item) in _TEXTS and len(item) > _LONG and id(item) not in self._texts:
                self._texts[id(item)] = item
                self.size_bytes += len(item)


class _Comparison:
    """One look at a value beside its last copy. In ``unchanged`` it notes, by id, the parts whose copies still hold."""

    def __init__(self) -> None:
        self.unchanged: dict[int, Any] = {}
        self.whole = True
        self.shares = False
        self._compared: dict[int, Any] = {}
        """By id, what a part is beside, while that is looked at and when it was the same; ``MISSING`` if changed."""
        self._held: list[Any] = []  # what was made for the comparison: ids are good only as long as the object lives
        self._holds_itself = False
        self._plain: dict[type, bool] = {}

    def is_same(self, live: Any, old: Any) -> bool:
        """Tell whether a value is still what it was."""
        try:
            same = self._same(live, old)
        except Exception:  # noqa: BLE001 - a value whose own code misbehaves, or that is too deep
            same, self._holds_itself = False, True
        if not same and self._holds_itself:
            self.unchanged.clear()  # those parts may hold one that changed
        return same

    def _same(self, live: Any, old: Any) -> bool:
        cls = type(live)
        if live is old:
            if cls is tuple:
                self.unchanged[id(live)] = live
                if not self.shares and tuple in map(type, live):
                    self.shares = True  # perhaps: it is not looked into
            return True
        if type(old) is not cls:
            return type(old) is StandIn and self._is_text_of(live, old)
        compare = _COMPARERS.get(cls)
        if compare is None:
            if cls in _BY_EQUALITY:
                return bool(old == live)
            if cls is float:
                return repr(old) == repr(live)  # so that nan is nan and -0.0 is not 0.0
            if cls in ATOMS:
                return short(old) == short(live)  # the text says all: the same time, the same path
            compare = self._comparer_of(live, cls)
        key = id(live)
        known = self._compared.get(key, self)
        if known is not self:
            self.shares = True
            self._holds_itself = self._holds_itself or (known is not MISSING and key not in self.unchanged)
            return known is old
        self._compared[key] = old
        if compare(self, live, old):
            self.unchanged[key] = old
            return True
        self._compared[key] = MISSING
        return False

    def _comparer_of(self, live: Any, cls: type) -> Any:
        if isinstance(live, (pd.DataFrame, pd.Series, np.ndarray)):
            return _Comparison._table
        plain = self._plain.get(cls)
        if plain is None:
            plain = self._plain[cls] = _is_plain(cls)
        return _Comparison._plain_object if plain else _Comparison._object

    def _is_text_of(self, live: Any, old: StandIn) -> bool:
        """Whether a text stands for something that can't be copied, and that is still what it was."""
        now = frozen_copy(live).value
        if type(now) is not StandIn or now != old or now.mark != old.mark:
            return False
        self.whole = False
        return True

    def _items(self, live: Any, old: Any) -> bool:
        same = len(live) == len(old)
        # All are looked at, also behind one that changed: what did not change is not copied again.
        for item, before in zip(live, old, strict=False):
            if (item is not before or type(item) is tuple) and not self._same(item, before):
                same = False
        return same

    def _dict(self, live: Any, old: Any) -> bool:
        same = len(live) == len(old)
        # By position, without asking keys to compare.
        for (key, item), (old_key, before) in zip(live.items(), old.items(), strict=False):
            if key is not old_key and not self._same(key, old_key):
                same = False
            if (item is not before or type(item) is tuple) and not self._same(item, before):
                same = False
        return same

    def _set(self, live: Any, old: Any) -> bool:
        return len(live) == len(old) and _texts(live) == _texts(old)

    def _plain_object(self, live: Any, old: Any) -> bool:
        return self._dict(object.__getattribute__(live, "__dict__"), object.__getattribute__(old, "__dict__"))

    def _object(self, live: Any, old: Any) -> bool:
        """Anything else is what ``copy`` and ``pickle`` take it apart into; where they can't, its text and mark."""
        mine, its = _parts(live), _parts(old)
        if mine is None or its is None:
            return mine is its and stand_in(live).mark == stand_in(old).mark
        self._held += mine, its
        return self._items(mine, its)

    def _table(self, live: Any, old: Any) -> bool:
        try:
            if not self._same_extras(live, old):
                return False
            if isinstance(live, np.ndarray):
                return _same_array(live, old) if live.dtype != object else self._cells(live, old)
            if COPY_ON_WRITE and _same_buffers(live, old):
                return True
            if isinstance(live, pd.Series):
                live, old = live.to_frame(), old.to_frame()
            if not (live.columns.identical(old.columns) and live.index.identical(old.index)):
                return False
            if list(live.dtypes) != list(old.dtypes) or not self._same(live.attrs, old.attrs):
                return False
            for number in range(len(live.columns)):
                mine, its = live.iloc[:, number], old.iloc[:, number]
                same = (
                    self._cells(mine.to_numpy(), its.to_numpy())
                    if mine.array.dtype.name == "object"
                    else mine.equals(its)
                )
                if not same:
                    return False
        except Exception:  # noqa: BLE001 - an extension array or cell that can't be compared counts as changed
            return False
        return True

    def _same_extras(self, live: Any, old: Any) -> bool:
        """What a class adds to a table: the mask of a masked array, what a subclass of a DataFrame hands on."""
        if isinstance(live, np.ndarray):
            return type(live) is np.ndarray or self._same(vars(live), vars(old))
        return all(self._same(getattr(live, name, None), getattr(old, name, None)) for name in live._metadata)

    def _memoryview(self, live: Any, old: Any) -> bool:
        return bool(live.tobytes() == old.tobytes())

    def _cells(self, live: Any, old: Any) -> bool:
        return live.shape == old.shape and self._items(live.ravel(), old.ravel())


def same(a: Any, b: Any) -> bool:
    """Tell whether two copies hold the same, without calling any ``==`` of an analyst's class."""
    if _Comparison().is_same(a, b):
        return True
    try:
        # Two runs have classes of their own, though the cell is the same: what would be saved of them is compared.
        return encode(a) == encode(b)
    except Exception:  # noqa: BLE001 - can't be saved, such as an exception
        if type(a).__qualname__ != type(b).__qualname__:
            return False
    if isinstance(a, BaseException) and isinstance(b, BaseException):
        return same(list(a.args), list(b.args))
    mark = _mark(a)
    return mark == _mark(b) if mark is not None else short(a) == short(b)


def short(value: Any) -> str:
    """Return the text that stands for a value."""
    return brief(value, 2_000)


def _texts(items: Any) -> list[str]:
    return sorted(f"{type(item).__name__} {brief(item, 10_000)}" for item in items)


def _is_plain(cls: type) -> bool:
    """Whether the attributes of an object are all that ``_parts`` would say of it, so that it need not be asked."""
    return (
        all(getattr(cls, name) is getattr(object, name) for name in ("__reduce_ex__", "__reduce__", "__getstate__"))
        and cls not in copyreg.dispatch_table
        and cls.__dictoffset__ != 0
        and cls.__basicsize__ <= _PLAIN_BYTES
        and cls.__itemsize__ == 0
        and not any(vars(base).get("__slots__") for base in cls.__mro__)
    )


def _parts(value: Any) -> list[Any] | None:
    """Return what ``copy`` and ``pickle`` would take an object apart into; None where they can't."""
    try:
        reduce = copyreg.dispatch_table.get(type(value))
        made = reduce(value) if reduce is not None else value.__reduce_ex__(_PICKLE_PROTOCOL)
        if isinstance(made, str):  # the name of something global
            return [made]
        make, args, state, items, pairs = (*made, None, None, None)[:5]
        if isinstance(value, (set, frozenset)):
            args = _texts(value)  # a copy has an order of its own
        if type(state) is dict and not state:
            state = None  # an exception has no attributes until somebody asks for them
        return [make, args, state, [*(items or ())], [*itertools.chain.from_iterable(pairs or ())]]
    except Exception:  # noqa: BLE001 - clients, coroutines, locks
        return None


def _mark(value: Any) -> bytes | None:
    """Return a fingerprint of an object that is opaque to us; None where there is none."""
    try:
        return hashlib.blake2b(pickle.dumps(value, 5), digest_size=16).digest()
    except Exception:  # noqa: BLE001 - clients, coroutines, locks: told apart by their text
        return None


def _same_array(live: Any, old: Any) -> bool:
    if live.shape != old.shape or live.dtype != old.dtype:
        return False
    if live.flags.c_contiguous and old.flags.c_contiguous:
        # By their bits, so that nan is nan; in words where that comes out even, which is eight times as fast.
        word = np.uint64 if live.nbytes % 8 == 0 else np.uint8
        return bool(np.array_equal(live.reshape(-1).view(word), old.reshape(-1).view(word)))
    return live.tobytes() == old.tobytes()  # type: ignore[no-any-return]


def _same_buffers(live: Any, old: Any) -> bool:
    """Whether two tables still share all their memory: under copy-on-write neither was written to.

    pandas keeps the columns of one dtype together in a block and has no public way to see those. A block of objects
    says nothing: the objects may have changed.
    """
    mine, its = live._mgr.blocks, old._mgr.blocks
    return (
        len(mine) == len(its)
        and all(a.dtype != object and _buffers(a.values) == _buffers(b.values) for a, b in zip(mine, its, strict=True))
        and all(np.array_equal(a.mgr_locs.as_array, b.mgr_locs.as_array) for a, b in zip(mine, its, strict=True))
        and all(a.identical(b) for a, b in zip(live.axes, old.axes, strict=True))
        and getattr(live, "name", None) == getattr(old, "name", None)
        and not live.attrs
        and not old.attrs
    )


def _buffers(values: Any) -> tuple[Any, ...]:
    if isinstance(values, np.ndarray):
        return values.__array_interface__["data"][0], values.shape, values.strides, values.dtype
    parts = [getattr(values, name, None) for name in ("_ndarray", "_data", "_mask", "_pa_array")]
    found = tuple(_buffers(part) if isinstance(part, np.ndarray) else id(part) for part in parts if part is not None)
    return (*found, values.dtype) if found else (id(values),)


def _size(copy: Any) -> int:
    """Return roughly how much memory a copy takes, without what it holds."""
    if isinstance(copy, np.ndarray):
        return int(copy.nbytes)
    if isinstance(copy, (pd.DataFrame, pd.Series)):
        return int(np.sum(copy.memory_usage(deep=False)))
    return sys.getsizeof(copy, 64)


_COMPARERS: dict[type, Any] = {
    list: _Comparison._items,
    tuple: _Comparison._items,
    dict: _Comparison._dict,
    set: _Comparison._set,
    frozenset: _Comparison._set,
    memoryview: _Comparison._memoryview,
}
