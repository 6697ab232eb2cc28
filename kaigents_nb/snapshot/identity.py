"""One object under several names, or in several values, stays one object where the code is loaded."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from kaigents_nb.snapshot import live
from kaigents_nb.snapshot.capture import LITERAL_LIMIT_CHARS, literal, shape_of
from kaigents_nb.snapshot.containers import Unnamed, written
from kaigents_nb.snapshot.drafts import Draft
from kaigents_nb.snapshot.module import Part
from kaigents_nb.snapshot.state import HOLE, Slot
from kaigents_nb.values.encode import encode
from kaigents_nb.values.encoded import Encoded
from kaigents_nb.values.sharing import encode_together, has_identity, objects_in

_KEPT = "_kept_{}"
"""The global name of a value that only stands in some object's state."""

ClassesOf = Callable[[object, Encoded], set[str]]


def settle(
    drafts: dict[str, Draft],
    namespace: Mapping[str, Any],
    names: Mapping[int, str],
    slots: Iterable[tuple[Draft, Slot]],
    classes_of: ClassesOf,
) -> Iterator[str]:
    """Write captured values and state into the drafts; return sentences on what can't be kept as it is.

    Raises
    ------
    ConversionError
        When values contain each other.
    """
    captured = {name: namespace[name] for name, draft in drafts.items() if draft.captured}
    texts: list[tuple[Draft, Slot, str]] = []
    plain: list[tuple[Draft, Slot]] = []
    for draft, slot in slots:
        known = names.get(id(slot.value))
        if known in drafts and (live.is_code(slot.value) or has_identity(slot.value)):
            texts.append((draft, slot, str(known)))
        elif live.is_code(slot.value) or live.holds_code(slot.value):
            texts.append((draft, slot, written(slot.value, names, path="…")))
        else:
            plain.append((draft, slot))
    counts = Counter(id(item) for value in captured.values() for item in objects_in(value))
    counts.update(id(item) for _, slot in plain for item in objects_in(slot.value))
    shared = {key for key, count in counts.items() if count > 1}
    kept: dict[int, str] = {}
    for draft, slot in plain:
        text = literal(slot.value) if not any(id(item) in shared for item in objects_in(slot.value)) else None
        if text is None:
            text = kept.get(id(slot.value)) or keep(drafts, slot.value, slot.path, classes_of)
            kept[id(slot.value)] = text
            captured[text] = slot.value
            draft.needs_later.add(text)
        texts.append((draft, slot, text))
    called = {name for draft in drafts.values() for name in draft.needs_now}  # executed code may change them
    for draft, slot, text in texts:
        line = slot.form.replace(HOLE, text)
        in_parts = any(part.text == line for part in draft.parts) and draft.names.isdisjoint(called)
        if line not in draft.state and not in_parts:
            draft.state.append(line)
    for group in _groups(captured, shared) if shared else ():
        _write_group(group, captured, shared, drafts, classes_of)
    return _views(captured)


def keep(drafts: dict[str, Draft], value: object, path: str, classes_of: ClassesOf) -> str:
    """Add a value that stands in some object's state; return the global name under which it is kept."""
    name = _KEPT.format(sum(name.startswith(_KEPT[:-2]) for name in drafts) + 1)
    drafts[name] = _keep((name,), encode(value, name=path), [value], classes_of)
    return name


def _keep(names: tuple[str, ...], encoded: Encoded, values: list[object], classes_of: ClassesOf) -> Draft:
    shapes = ", ".join(shape_of(value) for value in values)
    part = Part(f"{', '.join(names)} = ...  # {shapes}, kept beside this text")
    draft = Draft(set(names), [part], order=(1, (0,), 0, names[0]), binds=set(names), value=encoded, captured=True)
    draft.needs_now = {name for value in values for name in classes_of(value, encoded)}
    return draft


def _groups(captured: Mapping[str, object], shared: set[int]) -> Iterator[list[str]]:
    """Yield the names whose values have an object in common, or one of them twice in itself."""
    members: dict[int, set[str]] = defaultdict(set)
    for name, value in captured.items():
        for item in objects_in(value):
            if id(item) in shared:
                members[id(item)].add(name)
    waiting = set().union(*members.values())
    while waiting:
        group, stack = set(), [min(waiting)]
        while stack:
            name = stack.pop()
            if name not in group:
                group.add(name)
                stack += [other for found in members.values() if name in found for other in found]
        waiting -= group
        yield sorted(group)


def _write_group(
    group: list[str],
    captured: Mapping[str, object],
    shared: set[int],
    drafts: dict[str, Draft],
    classes_of: ClassesOf,
) -> None:
    """Write them with each other's names where that can be read, else as one encoded value."""
    named: dict[int, str] = {}
    for name in sorted(group, key=lambda n: (drafts[n].order, n)):
        named.setdefault(id(captured[name]), name)
    inside = {id(item) for name in group for item in objects_in(captured[name]) if id(item) in shared}
    if inside <= named.keys() and all(drafts[name].value is None for name in group):
        try:
            texts = {
                name: named[id(captured[name])] if named[id(captured[name])] != name else written(captured[name], named)
                for name in group
            }
        except (Unnamed, RecursionError):
            texts = {}
        if texts and max(map(len, texts.values())) <= LITERAL_LIMIT_CHARS:
            for name, text in texts.items():
                draft = drafts[name]
                draft.parts = [Part(f"{name} = {text}", draft.parts[0].label, draft.parts[0].line)]
                draft.needs_now = {need.name for _, needs in draft.needs() for need in needs.uses}
            return
    values = tuple(captured[name] for name in group)
    one = encode_together(values if len(group) > 1 else values[0], inside, name=", ".join(group))
    merged = _keep(tuple(group), one, list(values), classes_of)
    merged.order = max(drafts[name].order for name in group)
    if len(group) == 1:
        merged.parts = [Part(merged.parts[0].text, drafts[group[0]].parts[0].label, drafts[group[0]].parts[0].line)]
    for name in group:
        drafts[name].value = one
        merged.needs_now |= drafts[name].needs_now
        merged.needs_later |= drafts[name].needs_later
        merged.state += drafts[name].state
    drafts.update(dict.fromkeys(group, merged))


def _views(captured: Mapping[str, object]) -> Iterator[str]:
    """Yield a sentence for arrays that are views of the same memory."""
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return
    roots: dict[int, str] = {}
    for name, value in captured.items():
        if isinstance(value, numpy.ndarray):
            root: Any = value
            while isinstance(root.base, numpy.ndarray):
                root = root.base
            first = roots.setdefault(id(root), name)
            if first != name and captured[first] is not value:
                view, whole = (name, first) if value.base is not None else (first, name)
                yield (
                    f"{view} shares its memory with {whole} here; in the run each is an array of its own, so that a "
                    f"change of one does not show in the other. Make {view} in the step, from {whole}."
                )
