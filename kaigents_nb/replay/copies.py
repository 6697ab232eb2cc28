"""Copies of values over time: whether a value has changed since its last copy, and a new copy where it has.

No ``==`` of an analyst's class is ever called. What did not change is kept once: a list that grew shares the copies
of its older items with the copy before.
"""

from __future__ import annotations

import copyreg
import hashlib
import pickle
import sys
from collections import deque
from typing import Any

import numpy as np
import pandas as pd

from kaigents_nb.values.brief import brief
from kaigents_nb.values.copying import frozen_copy
from kaigents_nb.values.encode import encode
from kaigents_nb.values.table_copying import COPY_ON_WRITE

MISSING: Any = object()
"""Stands for "no earlier copy"."""

_BY_EQUALITY = (int, str, bytes, bool, type(None))
_MAX_DEPTH = 60
_LONG = 500
_COUNTED_ITEMS = 2_000
_PLAIN_CLASS_BYTES = object.__basicsize__ + 2 * 8  # with room for __dict__ and __weakref__


class Copier:
    """Makes copies, knows how much they take, and notes in ``whole`` when part of one could not be copied."""

    def __init__(self) -> None:
        self.size_bytes = 0
        self.whole = True
        self.shares = False
        """Whether the last copy holds one object in several places."""
        self._memo: dict[int, Any] = {}
        self._texts: dict[int, Any] = {}  # long ones that are counted
        self._marks: dict[int, tuple[Any, bytes | None, Any]] = {}
        """Of opaque copies, by id: the copy, the fingerprint of the original, and that itself."""

    def copy(self, live: Any, old: Any = MISSING, grown: int = 0) -> Any:
        """Return ``old`` itself when ``live`` is still what it was, else a new copy; what can't be copied as text.

        ``grown`` is the length of ``old`` where ``live`` is known to be that list with more items.
        """
        self.whole, self.shares = True, False
        self._memo.clear()
        try:
            if grown:
                new = old + [self._renew(item, MISSING, 1) for item in live[grown:]]
                self.size_bytes += sys.getsizeof(new)
                return new
            return self._renew(live, old, 0)
        except Exception:  # noqa: BLE001 - a value whose own code misbehaves, or that is too deep
            return self._leaf(live, old)
        finally:
            self._memo.clear()

    def forget(self) -> None:
        """Let go of the originals."""
        self._marks.clear()
        self._texts.clear()

    def _renew(self, live: Any, old: Any, depth: int) -> Any:
        if live is old:
            return old
        cls = type(live)
        if cls in _BY_EQUALITY:
            if type(old) is cls and old == live:
                return old
            if (cls is str or cls is bytes) and len(live) > _LONG and id(live) not in self._texts:
                self._texts[id(live)] = live
                self.size_bytes += len(live)
            return live
        if cls is float:
            # By text, so that nan is nan and -0.0 is not 0.0.
            return old if type(old) is float and repr(old) == repr(live) else live
        renewer = _RENEWERS.get(cls)
        if renewer is None:
            if _is_plain_object(live, cls):
                return self._object(live, old, depth)
            return self._leaf(live, old)
        if depth > _MAX_DEPTH:
            raise RecursionError
        known = self._memo.get(id(live), MISSING)
        if known is not MISSING:
            self.shares = True
            return known
        new = renewer(self, live, old if type(old) is cls else MISSING, depth + 1)
        self._memo[id(live)] = new
        if new is not old and new is not live:
            self.size_bytes += sys.getsizeof(new)
        return new

    def _list(self, live: Any, old: Any, depth: int) -> Any:
        count = 0 if old is MISSING else len(old)
        new: list[Any] = []
        self._memo[id(live)] = new  # for a list that holds itself
        renew = self._renew
        same = old is not MISSING and count == len(live)
        for number, item in enumerate(live):
            before = old[number] if number < count else MISSING
            after = item if item is before else renew(item, before, depth)
            if after is not before:
                same = False
            new.append(after)
        return old if same else new

    def _deque(self, live: Any, old: Any, depth: int) -> Any:
        new = self._list(list(live), MISSING if old is MISSING else list(old), depth)
        kept = old is not MISSING and old.maxlen == live.maxlen and len(old) == len(new)
        if kept and all(a is b for a, b in zip(old, new, strict=True)):
            return old
        return deque(new, live.maxlen)

    def _tuple(self, live: Any, old: Any, depth: int) -> Any:
        items = self._list(live, MISSING if old is MISSING else list(old), depth)
        if old is not MISSING and len(old) == len(items) and all(a is b for a, b in zip(old, items, strict=True)):
            return old
        return live if all(a is b for a, b in zip(live, items, strict=True)) else tuple(items)

    def _dict(self, live: Any, old: Any, depth: int) -> Any:
        new: dict[Any, Any] = {}
        self._memo[id(live)] = new
        same = old is not MISSING and len(old) == len(live)
        # In step with the old one as long as the keys agree; from there on by position, without asking keys to compare.
        pairs = iter(old.items()) if old is not MISSING else iter(())
        for key, item in live.items():
            old_key, before = next(pairs, (MISSING, MISSING))
            new_key = key if key is old_key else self._renew(key, old_key, depth)
            after = item if item is before else self._renew(item, before, depth)
            if after is not before or new_key is not old_key:
                same = False
            new[new_key] = after
        return old if same else new

    def _set(self, live: Any, old: Any, depth: int) -> Any:
        # Items are hashable, so nearly always plain; a set is told apart by the texts of its items.
        if old is not MISSING and len(old) == len(live) and _texts(old) == _texts(live):
            return old
        return type(live)([self._renew(item, MISSING, depth) for item in live])

    def _bytearray(self, live: Any, old: Any, depth: int) -> Any:
        return old if old is not MISSING and bytes(old) == bytes(live) else bytearray(live)

    def _object(self, live: Any, old: Any, depth: int) -> Any:
        """An instance of a class written in Python: unchanged when its attributes are."""
        known = self._memo.get(id(live), MISSING)
        if known is not MISSING:
            self.shares = True
            return known
        if type(old) is type(live):
            names = copyreg._slotnames(type(live))  # type: ignore[attr-defined]
            before = [_attributes(old), *(_slot(old, name) for name in names)]
            self._memo[id(live)] = old
            after = [_attributes(live), *(_slot(live, name) for name in names)]
            marks = self.whole, self.size_bytes
            if all(self._renew(new, prior, depth + 1) is prior for new, prior in zip(after, before, strict=True)):
                return old
            self.whole, self.size_bytes = marks
        new = self._memo[id(live)] = self._leaf(live, MISSING)
        return new

    def _leaf(self, live: Any, old: Any) -> Any:
        """Anything else: copied whole, compared by what pickle sees or, for tables, by their data."""
        table = isinstance(live, (pd.DataFrame, pd.Series, np.ndarray))
        same = self._same_table if table else self._same_opaque
        if old is not MISSING and type(old) is type(live) and same(live, old):
            return old
        new, copied = frozen_copy(live)
        if not copied:
            self.whole = False
            return old if type(old) is str and old == new else new
        if new is live:
            # It can't change, so its text says all: the same time, the same path.
            return old if type(old) is type(live) and short(old) == short(live) else live
        self.size_bytes += _size(new)
        if not table and not _is_plain_object(live, type(live)):
            self._marks[id(new)] = (new, _mark(live), live)
        return new

    def _same_opaque(self, live: Any, old: Any) -> bool:
        _, mark, original = self._marks.get(id(old), (old, None, None))
        return mark == _mark(live) if mark is not None else original is live

    def _same_table(self, live: Any, old: Any) -> bool:
        try:
            if isinstance(live, np.ndarray):
                return _same_array(live, old) if live.dtype != object else self._same_cells(live, old)
            if COPY_ON_WRITE and _same_buffers(live, old) and not _has_objects(live):
                return True
            if isinstance(live, pd.Series):
                live, old = live.to_frame(), old.to_frame()
            if not (live.columns.identical(old.columns) and live.index.identical(old.index)):
                return False
            if list(live.dtypes) != list(old.dtypes) or self._renew(live.attrs, old.attrs, 1) is not old.attrs:
                return False
            for number in range(len(live.columns)):
                mine, its = live.iloc[:, number], old.iloc[:, number]
                same = (
                    self._same_cells(mine.to_numpy(), its.to_numpy())
                    if mine.array.dtype.name == "object"
                    else mine.equals(its)
                )
                if not same:
                    return False
        except Exception:  # noqa: BLE001 - an extension array or cell that can't be compared counts as changed
            return False
        return True

    def _same_cells(self, live: Any, old: Any) -> bool:
        return live.shape == old.shape and all(
            self._renew(a, b, 1) is b for a, b in zip(live.ravel(), old.ravel(), strict=True)
        )


def same(a: Any, b: Any) -> bool:
    """Tell whether two copies hold the same, without calling any ``==`` of an analyst's class."""
    if Copier().copy(a, b) is b:
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


def _is_plain_object(value: Any, cls: type) -> bool:
    """Whether an object's class is written in Python, so that its attributes are all there is to it."""
    if not cls.__flags__ & (1 << 9) or cls.__module__.partition(".")[0] in ("pandas", "numpy", "asyncio"):
        return False
    slots = copyreg._slotnames(cls)  # type: ignore[attr-defined]
    return (
        cls.__basicsize__ <= _PLAIN_CLASS_BYTES + 8 * len(slots)
        and cls.__itemsize__ == 0
        and all(base is object or base.__flags__ & (1 << 9) for base in cls.__mro__)
        and (bool(slots) or _attributes(value) is not None)
    )


def _attributes(value: Any) -> Any:
    try:
        return object.__getattribute__(value, "__dict__")
    except AttributeError:
        return None


def _slot(value: Any, name: str) -> Any:
    try:
        return object.__getattribute__(value, name)
    except AttributeError:
        return MISSING


def _mark(value: Any) -> bytes | None:
    """Return a fingerprint of an object that is opaque to us; None where there is none."""
    try:
        return hashlib.blake2b(pickle.dumps(value, 5), digest_size=16).digest()
    except Exception:  # noqa: BLE001 - clients, coroutines, locks: told apart by identity only
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
    """Whether two tables still share all their memory: under copy-on-write neither was written to."""
    mine, its = live._mgr.blocks, old._mgr.blocks
    return (
        len(mine) == len(its)
        and all(_buffers(a.values) == _buffers(b.values) for a, b in zip(mine, its, strict=True))
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


def _has_objects(table: Any) -> bool:
    return any(block.dtype == object for block in table._mgr.blocks)


def _size(value: Any) -> int:
    """Return roughly how much memory a copy takes."""
    if isinstance(value, np.ndarray):
        return int(value.nbytes)
    if isinstance(value, (pd.DataFrame, pd.Series)):
        used: Any = value.memory_usage(deep=False)
        return int(used if isinstance(value, pd.Series) else used.sum())
    total, stack, seen = 0, [value], 0
    while stack and seen < _COUNTED_ITEMS:
        item = stack.pop()
        seen += 1
        total += sys.getsizeof(item, 64)
        if isinstance(item, (np.ndarray, pd.DataFrame, pd.Series)):
            total += _size(item)
        elif type(item) in (list, tuple, set, frozenset):
            stack += item
        elif type(item) is dict:
            stack += [*item, *item.values()]
        elif (held := _attributes(item)) is not None and not isinstance(item, type):
            stack += held.values()
    return total if not stack else total * (seen + len(stack)) // seen


_RENEWERS: dict[type, Any] = {
    list: Copier._list,
    dict: Copier._dict,
    tuple: Copier._tuple,
    set: Copier._set,
    frozenset: Copier._set,
    deque: Copier._deque,
    bytearray: Copier._bytearray,
}
