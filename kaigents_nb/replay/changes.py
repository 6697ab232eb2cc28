"""The changes of a run's variables: which differ from what they were, and copies of what they are."""

from __future__ import annotations

import marshal
import types
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kaigents_nb.authoring.agent import Agent
from kaigents_nb.authoring.step import Step
from kaigents_nb.replay.copies import MISSING, Copier, short
from kaigents_nb.replay.records import DELETED, Change, Frame, Row

KEPT_BYTES = 256 * 2**20
"""How much memory the values of one trace may take; what comes later is kept as short text."""
CODE_TYPES: tuple[type, ...] = (
    types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType, type, Step, Agent,
)  # fmt: skip
"""Functions, modules and classes are no variables."""

_PLAIN_CONTAINERS = frozenset({list, dict, tuple, set, frozenset})
_LIST_HEAD = 5  # bytes of marshal before a list's items: its type and length
_HIDDEN: Any = object()


@dataclass(slots=True)
class Slot:
    """A variable as it was when we last looked."""

    live: Any
    fixed: bool
    """It can't change, so looking at its identity is enough."""
    copy: Any
    mark: bytes | None
    """The content of a container of plain values."""


class ChangeLog:
    """All changes of a run, in order."""

    def __init__(self, rows: list[Row], max_bytes: int) -> None:
        self.changes: list[Change] = []
        self.limit_row = -1
        """The row at which the memory for values was used up; -1: it was enough."""
        self._rows = rows
        self._max_bytes = max_bytes
        self._copier = Copier()
        self._event_id = 0
        self._time: Any = None

    @property
    def size_bytes(self) -> int:
        """How much memory the kept values take, roughly."""
        return self._copier.size_bytes

    def at(self, event_id: int, time: datetime) -> None:
        """Say at which event what follows happens, and when."""
        self._event_id, self._time = event_id, time

    def forget(self) -> None:
        """Let go of the live values."""
        self._copier.forget()

    def look(self, slots: dict[str, Slot], frame: Frame, variables: Mapping[str, Any], skipped: frozenset[str]) -> None:
        """Note which variables of a frame differ from their slots, and bring those up to date."""
        seen = 0
        for name, value in variables.items():
            slot = slots.get(name)
            if slot is None:
                if name in skipped or name[0] == ".":
                    continue
                self._changed(slots, frame, name, value, None)
            elif not (slot.fixed and slot.live is value) and name not in skipped:
                self._changed(slots, frame, name, value, slot)
            seen += 1
        if seen < len(slots):
            for name in [name for name in slots if name not in variables]:
                if slots.pop(name).copy is not _HIDDEN:
                    self._note(frame, name, DELETED, True)

    def _changed(self, slots: dict[str, Slot], frame: Frame, name: str, value: Any, slot: Slot | None) -> None:
        cls = type(value)
        plain = cls in _PLAIN_CONTAINERS
        grown = 0
        if plain and slot is not None and slot.live is value and slot.mark is not None:
            mark = _mark(value)
            if mark == slot.mark:
                return
            appended = mark is not None and mark.startswith(slot.mark[_LIST_HEAD:], _LIST_HEAD)
            if cls is list and appended and type(slot.copy) is list:
                grown = len(slot.copy)
        if not plain and (issubclass(cls, CODE_TYPES) or cls.__name__ == "_RestrictedProxy"):
            if slot is not None and slot.copy is not _HIDDEN:
                self._note(frame, name, DELETED, True)
            slots[name] = Slot(value, True, _HIDDEN, None)
            return
        old = MISSING if slot is None or slot.copy is _HIDDEN else slot.copy
        copier = self._copier
        kept_bytes = copier.size_bytes
        copy, whole = copier.copy(value, old, grown), copier.whole
        mark = _mark(value) if plain and copy is not value and not copier.shares else None
        if copy is not old and copier.size_bytes > self._max_bytes and copier.size_bytes > kept_bytes:
            copier.size_bytes = kept_bytes
            if self.limit_row < 0:
                self.limit_row = max(frame.last_row, 0)
            copy, whole = short(value), False
            if type(old) is str and old == copy and (mark is None or (slot is not None and slot.mark == mark)):
                copy = old
        slots[name] = Slot(value, copy is value, copy, mark)
        if copy is not old:
            self._note(frame, name, copy, whole)

    def _note(self, frame: Frame, name: str, value: Any, copied: bool) -> None:
        row = frame.last_row
        self.changes.append(Change(frame.number, row, len(self._rows), self._event_id, self._time, name, value, copied))
        if row >= 0:
            if self._rows[row].changed is None:
                self._rows[row].changed = {}
            self._rows[row].changed[name] = value  # type: ignore[index]


def _mark(value: Any) -> bytes | None:
    """Return the content of a container of plain values; None for one that holds others."""
    try:
        # Version 2 of the format says the same of the same content, whoever else refers to it.
        return marshal.dumps(value, 2)
    except ValueError:
        return None
