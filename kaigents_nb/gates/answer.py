"""``Answer``: what a person says to a question, from the click to the history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

APPROVE, REJECT, ANSWER = "approve", "reject", "answer"
"""What is chosen where a gate has no options; ``ANSWER`` where it asks for a value."""
VALUE = "value"
"""Under this name an answer's values carry the one that was asked for."""

_TEXTS = ("comment", "by", "at", "asked", "execution", "question")


@dataclass(frozen=True)
class Answer:
    """One person's answer: approved or not, the option taken, values, a comment, who, and when (UTC).

    ``id`` is the same however often it is sent. ``asked`` is the digest of the question that the person saw, and
    ``execution`` the run's execution that asked it: an answer to something else does not count. Answers of an older
    version have neither. ``question`` is the text asked, in what a run keeps.
    """

    gate: str
    approved: bool
    choice: str
    values: Mapping[str, Any] = field(default_factory=dict)
    comment: str = ""
    by: str = ""
    id: str = ""
    at: datetime | None = None
    asked: str = ""
    execution: str = ""
    question: str = ""

    @property
    def is_value(self) -> bool:
        """Whether it is a value that was asked for: ``values["value"]``."""
        return self.choice == ANSWER and set(self.values) == {VALUE}

    def to_wire(self) -> dict[str, Any]:
        """Return the JSON form, without what is unknown."""
        wire = {
            "id": self.id,
            "gate": self.gate,
            "approved": self.approved,
            "choice": self.choice,
            "values": dict(self.values),
            "comment": self.comment,
            "by": self.by,
            "at": self.at.isoformat() if self.at else "",
        }
        known = {"asked": self.asked, "execution": self.execution, "question": self.question}
        return wire | {name: text for name, text in known.items() if text}

    @classmethod
    def from_wire(cls, data: object) -> Answer:
        """Read the JSON form.

        Every client of the server may send something in an answer's place.

        Raises
        ------
        ValueError
            When it is not in order; nothing else is raised, whatever it is.
        """
        if not isinstance(data, Mapping):
            raise ValueError(f"An answer is a JSON object, not {type(data).__name__}.")
        texts = {name: data.get(name, "") for name in ("id", "gate", "choice", *_TEXTS)}
        wrong = [name for name, text in texts.items() if not isinstance(text, str)]
        wrong += [name for name in ("id", "gate", "choice") if not texts[name]]
        wrong += ["approved"] * (not isinstance(data.get("approved"), bool))
        wrong += ["values"] * (not isinstance(data.get("values", {}), Mapping))
        if wrong:
            raise ValueError(f"Not in order in an answer: {', '.join(dict.fromkeys(wrong))}.")
        at = texts.pop("at")
        return cls(
            approved=data["approved"],
            values=dict(data.get("values", {})),
            at=datetime.fromisoformat(at) if at else None,
            **texts,
        )
