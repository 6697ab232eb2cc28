"""Definitions while they are being found, and the order in which they can be executed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kaigents_nb.snapshot.cells import Statement
from kaigents_nb.snapshot.module import Definition, Part
from kaigents_nb.snapshot.needs import Needs, needs_of
from kaigents_nb.values.encoded import Encoded


@dataclass(eq=False)
class Draft:
    """A definition to be."""

    names: set[str]
    parts: list[Part]
    order: tuple[Any, ...] = ()
    """Where it stands among the others, as long as nothing speaks against it."""
    binds: set[str] = field(default_factory=set)
    """All names that the parts bind."""
    flags: int = 0
    value: Encoded | None = None
    real: bool = False
    needs_now: set[str] = field(default_factory=set)
    needs_later: set[str] = field(default_factory=set)
    filled: Part | None = None
    """For a container: what fills it, where it has to exist before what it holds."""
    empty: str = ""
    origin: Statement | None = None
    """The statement that it takes over, where it takes over one."""
    captured: bool = False
    """It is a plain value, written or encoded as it is now."""
    state: list[str] = field(default_factory=list)
    """Statements that set, in what it makes, what its source would not give: executed after all definitions."""

    def needs(self) -> Iterator[tuple[Part, Needs]]:
        """Yield what each part of the source needs."""
        if self.value is None:
            for part in self.parts:
                yield part, needs_of(part.text, self.flags)

    def definition(self, known: Mapping[str, Draft], parts: list[Part] | None = None) -> Definition:
        """Return it finished, with those of its needs that the snapshot has."""
        now = {name for name in self.needs_now if name in known} - self.names
        later = {name for name in self.needs_later if name in known} - self.names - now
        return Definition(
            names=tuple(sorted(self.names)),
            parts=tuple(self.parts if parts is None else parts),
            value=self.value,
            needs_now=tuple(sorted(now)),
            needs_later=tuple(sorted(later)),
            temporary=tuple(sorted(self.binds - self.names)),
            flags=self.flags,
            real=self.real,
        )


def in_order(drafts: Iterable[Draft]) -> list[Definition]:
    """Return the definitions in an order in which they can be executed.

    It is the order of the cells, but for what a definition needs when it is executed: that comes before, with all
    that it may call.
    """
    waiting = sorted(drafts, key=lambda d: d.order)
    known = {name: draft for draft in waiting for name in draft.names}
    done: list[Draft] = []
    state: dict[int, bool] = {}

    def visit(draft: Draft) -> None:
        if id(draft) in state:
            return
        state[id(draft)] = True
        if not (draft.filled and _made_by_its_content(draft, known)):
            draft.filled = None
            before = [known[name] for name in sorted(draft.needs_now - draft.names) if name in known]
            for needed in sorted(before, key=lambda d: d.order):
                visit(needed)
            for needed in sorted(reached(before, known), key=lambda d: d.order):
                visit(needed)
        done.append(draft)

    for draft in waiting:
        visit(draft)
    definitions, last, states = [], [], []
    for draft in done:
        if draft.state:
            states.append(_state_of(draft).definition(known))
        if draft.filled is None:
            definitions.append(draft.definition(known))
            continue
        whole = draft.parts[0]
        made = Draft(draft.names, [Part(draft.empty, whole.label, whole.line)])
        definitions.append(made.definition(known))
        last.append(draft.definition(known, [draft.filled]))
    return definitions + last + states


def _state_of(draft: Draft) -> Draft:
    text = "\n".join((f"# {', '.join(sorted(draft.names))}, as it was at the start", *draft.state))
    made = Draft(draft.names, [Part(text)])
    made.needs_now = {need.name for _, needs in made.needs() for need in needs.uses}
    return made


def reached(start: Iterable[Draft], known: Mapping[str, Draft]) -> list[Draft]:
    """Return the drafts and all that they need, now or later, directly or not."""
    seen: dict[int, Draft] = {}
    stack = list(start)
    while stack:
        draft = stack.pop()
        if id(draft) in seen:
            continue
        seen[id(draft)] = draft
        stack.extend(known[name] for name in (*draft.needs_now, *draft.needs_later) if name in known)
    return list(seen.values())


def _made_by_its_content(draft: Draft, known: Mapping[str, Draft]) -> bool:
    """Tell whether making what a container holds needs the container, as with a decorator that registers."""
    held = [known[name] for name in draft.needs_now if name in known]
    makers = [known[name] for item in held for name in item.needs_now if name in known]
    return draft in reached(makers, known)
