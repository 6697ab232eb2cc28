"""Data that travels stays as it was at ``start()``, whatever the definitions do to it that are executed again.

A decorator that counts or notes what it decorates, a class that notes its subclasses: in the notebook that has
happened, and what came of it travels as a value. Where the code is loaded it happens again, and must not come on top.
"""

from __future__ import annotations

import ast
import collections
import re
from collections.abc import Iterator, Mapping
from typing import Any

from kaigents_nb.snapshot.cells import Cells
from kaigents_nb.snapshot.drafts import Draft, reached
from kaigents_nb.snapshot.origin import assigned_in
from kaigents_nb.values.sharing import objects_in

AS_IT_IS = ""
_EMPTY = {
    "set": "[]", "list": "[]", "dict": "{}", "OrderedDict": "{}", "defaultdict": "{}", "Counter": "{}", "deque": "[]",
}  # fmt: skip
_WRITES = r"\bglobal\b.*\b{0}\b|\b{0}(\[.*\])?\.(append|add|update|setdefault|insert|extend)\(|\b{0}\[.*\]\s*\W?="


def data_within_reach(drafts: Mapping[str, Draft], cells: Cells) -> dict[str, str]:
    """Return the names of the data that executing definitions may change, each with what it holds meanwhile.

    That is what its cell began with where the definitions fill it: a full registry refuses what it knows already.
    """
    calling = [draft for draft in drafts.values() if draft.origin is not None and not draft.captured]
    used = {name for draft in calling for name in draft.needs_now if name in drafts}
    within = {id(draft): draft for draft in reached([drafts[name] for name in used], drafts)}
    text = "\n".join(part.text for draft in within.values() if not draft.captured for part in draft.parts)
    found = {}
    for name, draft in drafts.items():
        if draft.captured and id(draft) in within:
            bindings, filled = cells.bindings(name), re.search(_WRITES.format(re.escape(name)), text)
            begins = filled is not None and name not in used and len(bindings) == 1 and not bindings[0].leaf.header
            found[name] = _literal(assigned_in(bindings[0].node, name)) if begins else AS_IT_IS
    return found


def _literal(node: ast.expr | None) -> str:
    if isinstance(node, ast.Call):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        takes = 1 if called == "defaultdict" else 0
        return _EMPTY.get(called, AS_IT_IS) if len(node.args) <= takes else AS_IT_IS
    if node is None:
        return AS_IT_IS
    try:
        ast.literal_eval(node)
    except (ValueError, SyntaxError, TypeError):
        return AS_IT_IS
    return ast.unparse(node)


class Untouched:
    """What some names of a namespace hold, to be held again after something was executed."""

    def __init__(self, namespace: dict[str, Any]) -> None:
        self._namespace = namespace
        self._bound: dict[str, Any] = {}
        self._tables: dict[str, Any] = {}
        self._held: dict[int, tuple[Any, list[tuple[type, Any]]]] = {}

    def add(self, name: str) -> None:
        """Note what a name holds now."""
        value = self._bound[name] = self._namespace[name]
        if _is_table(value):
            self._tables[name] = value.copy()
        for item in objects_in(value):
            if id(item) not in self._held and not _is_table(item):
                self._held[id(item)] = item, list(_content(item))

    def begin(self, name: str, literal: str) -> None:
        """Let a name hold, meanwhile, what its cell began with: a literal, or ``AS_IT_IS``."""
        if literal == AS_IT_IS:
            return
        value, first = self._bound[name], ast.literal_eval(literal)
        if isinstance(first, dict):
            if isinstance(value, dict):
                _fill(value, dict, list(first.items()))
        elif not isinstance(first, (list, set)):
            self._namespace[name] = first
        else:
            for kind in (list, set, collections.deque):
                if isinstance(value, kind):
                    _fill(value, kind, first)

    def restore(self) -> None:
        """Let all hold again what they held."""
        self._namespace.update(self._bound)
        for item, contents in self._held.values():
            for kind, content in contents:
                _fill(item, kind, content)
        for name, table in self._tables.items():
            if not table.equals(self._bound[name]):
                self._namespace[name] = table


def _is_table(value: object) -> bool:
    kind = type(value)
    return kind.__module__.partition(".")[0] == "pandas" and kind.__name__ in ("DataFrame", "Series")


def _content(item: Any) -> Iterator[tuple[type, Any]]:
    if isinstance(item, dict):
        yield dict, list(dict.items(item))
    for kind in (list, set, bytearray, collections.deque):
        if isinstance(item, kind):
            yield kind, list(item)
    if type(item).__name__ == "ndarray":
        yield type(item), item.copy()
    if isinstance(fields := getattr(item, "__dict__", None), dict):
        yield object, dict(fields)
    slots = [slot for cls in type(item).__mro__ for slot in vars(cls).get("__slots__", ()) if hasattr(item, slot)]
    if slots:
        yield slice, {slot: getattr(item, slot) for slot in slots}


def _fill(item: Any, kind: type, content: Any) -> None:
    if kind is dict:
        base = collections.OrderedDict if isinstance(item, collections.OrderedDict) else dict
        base.clear(item)
        for key, value in content:
            base.__setitem__(item, key, value)
    elif kind in (list, bytearray):
        item[:] = content
    elif kind is set:
        set.clear(item)
        set.update(item, content)
    elif kind is collections.deque:
        item.clear()
        item.extend(content)
    elif kind is slice:
        for slot, value in content.items():
            object.__setattr__(item, slot, value)
    elif kind is object:
        fields = object.__getattribute__(item, "__dict__")
        fields.clear()
        fields.update(content)
    else:
        item[...] = content
