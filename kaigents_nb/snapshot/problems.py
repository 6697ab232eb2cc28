"""What can't be frozen, told all at once: which name, where it is used, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kaigents_nb.errors import CannotFreeze

_SHOWN_USES = 3


@dataclass(frozen=True)
class Use:
    """A place in a cell where a name is used."""

    function: str
    label: str
    line: int

    def __str__(self) -> str:
        place = f"{self.label}, line {self.line}" if self.label else ""
        return ", ".join(part for part in (f"{self.function}()" if self.function else "", place) if part)


@dataclass(frozen=True)
class Problem:
    """One name that can't travel."""

    what: str
    """The fact, starting with the name: ``client is an openai.OpenAI, which is alive``."""
    advice: str

    def text(self, uses: Sequence[Use]) -> str:
        """Return the whole sentence."""
        places = [str(use) for use in dict.fromkeys(uses) if str(use)]
        shown = "; ".join(places[:_SHOWN_USES])
        more = f" and {len(places) - _SHOWN_USES} more" if len(places) > _SHOWN_USES else ""
        used = f" Used in {shown}{more}." if shown else ""
        return f"{self.what}.{used} {self.advice}"


def refuse(root: str, problems: Iterable[str]) -> CannotFreeze:
    """Return the error for all problems of one freeze."""
    found = list(problems)
    if len(found) == 1:
        return CannotFreeze(f"{root} can't be frozen: {found[0]}")
    lines = "\n".join(f"  {number}. {text}" for number, text in enumerate(found, 1))
    return CannotFreeze(f"{root} can't be frozen, for {len(found)} reasons:\n{lines}")


def with_article(noun: str) -> str:
    """Return ``an Engine``, ``a queue.Queue``."""
    return f"{'an' if noun[:1].lower() in 'aeio' else 'a'} {noun}"
