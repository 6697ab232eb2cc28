"""``Question``: what a run asks people."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from kaigents_nb.errors import InvalidAnswer
from kaigents_nb.gates.answer import ANSWER, APPROVE, REJECT, VALUE, Answer
from kaigents_nb.gates.form import Form
from kaigents_nb.gates.schema import in_words
from kaigents_nb.gates.visible import LABEL_CHARS, same_labels, visible


@dataclass(frozen=True)
class Question:
    """A question, its options, and where it waits; its details are a value of their own and travel beside it.

    A cell gives ``question``, ``options``, and a ``form`` where a value is asked for. The run that asks adds ``gate``
    (its number in the run), ``opened`` (UTC), ``details`` (a digest of what is shown with it) and ``execution`` (the
    server's id of the run's execution). Who reads it from a server adds ``run_id``, ``agent`` and ``queue``, the task
    queue of its run.
    """

    question: str
    options: tuple[str, ...] = ()
    gate: str = ""
    opened: datetime | None = None
    details: str = ""
    execution: str = ""
    run_id: str = ""
    agent: str = ""
    queue: str = field(default="", repr=False, compare=False)
    form: Form | None = None

    def __repr__(self) -> str:
        told = ", ".join(f"{item.name}={getattr(self, item.name)!r}" for item in fields(self) if item.repr)
        return visible(f"Question({told})")

    @cached_property
    def digest(self) -> str:
        """What tells this question, with its options, details and form, from any other."""
        form = [] if self.form is None else [sorted(self.form.to_wire().items())]
        asked = json.dumps([self.question, self.options, self.details, *form], ensure_ascii=True)
        return hashlib.sha256(asked.encode()).hexdigest()[:32]

    @cached_property
    def token(self) -> str:
        """What stands for this question in a command: as it was asked, at this gate, by this execution of its run."""
        asked = json.dumps([self.execution, self.gate, self.digest])
        return hashlib.sha256(asked.encode()).hexdigest()[:12]

    def is_called(self, name: str) -> bool:
        """Whether a person means this question: by its number, its text, or the token that was shown with it."""
        return name in (self.gate, self.question, visible(self.question), self.token)

    @property
    def choices(self) -> tuple[str, ...]:
        """What may be chosen beside rejecting."""
        if self.form is not None:
            return (ANSWER,)
        return self.options or (APPROVE,)

    def answer(
        self,
        approved: bool,
        *,
        choice: str | None = None,
        values: Mapping[str, Any] | None = None,
        comment: str = "",
        by: str = "",
    ) -> Answer:
        """Return an answer to this question as it is shown; without its id and time, which deciding adds.

        Raises
        ------
        ValueError
            When the choice is not among the options, written as they are or as they are shown, or one must be named.
        """
        if approved and self.form is not None and VALUE not in (values or {}):
            raise ValueError(f"The gate {self.question!r} asks for a value: give it with run.answer(value).")
        return Answer(
            gate=self.gate,
            approved=approved,
            choice=self._chosen(choice) if approved else REJECT,
            values=dict(values or {}),
            comment=comment,
            by=by,
            asked=self.digest,
            execution=self.execution,
        )

    def answered(self, value: Any, *, comment: str = "", by: str = "") -> Answer:
        """Return the answer that is a value: what the form asks for, or one of the options.

        Raises
        ------
        InvalidAnswer
            When it does not fit the form; names the fields.
        ValueError
            When it is none of the options, or the gate asks for approval only.
        """
        if self.form is None:
            if not self.options:
                raise ValueError(f"The gate {self.question!r} asks for approval: run.approve() or run.reject().")
            return self.answer(True, choice=str(value), comment=comment, by=by)
        values = {VALUE: self._plain(value)}
        self.check_values(values)
        return self.answer(True, values=values, comment=comment, by=by)

    def check_values(self, values: Mapping[str, Any]) -> None:
        """Refuse values that don't fit the form.

        Raises
        ------
        InvalidAnswer
            Naming the fields.
        """
        if self.form is not None and (found := self.form.faults(values)):
            raise InvalidAnswer(f"Not an answer to {visible(self.question)!r}: {in_words(found)}.", faults=found)

    def _plain(self, value: Any) -> Any:
        """Return a value as JSON has it: an Enum's value, a date as text, a model as its fields."""
        from pydantic_core import PydanticSerializationError, to_jsonable_python

        if self.options and isinstance(value, list | tuple | set | frozenset):
            value = [str(item) for item in value]
        try:
            return to_jsonable_python(value)
        except (PydanticSerializationError, ValueError, TypeError) as error:
            found = {"": f"can't be written as JSON: {error}"}
            raise InvalidAnswer(
                f"Not an answer to {visible(self.question)!r}: {in_words(found)}.", faults=found
            ) from None

    def _chosen(self, choice: str | None) -> str:
        if choice is None and len(self.choices) == 1:
            return self.choices[0]
        for option in self.choices:
            if choice in (option, visible(option)):
                return option
        if not self.options:
            raise ValueError(f"The gate {self.question!r} has no options; leave choice={choice!r} out.")
        said = "Say which" if choice is None else f"No option {choice!r}"
        raise ValueError(f"{said} for {self.question!r}. Options: {[visible(option) for option in self.options]}.")

    def check(self) -> None:
        """Refuse what a person could not decide with open eyes.

        Raises
        ------
        ValueError
            When two options look alike on their buttons, or two choices in its form.
        """
        if self.form is not None:
            self.form.check(self.question)
        alike = same_labels(self.options)
        if alike is not None:
            raise ValueError(
                f"The options {alike[0]!r} and {alike[1]!r} of {self.question!r} look alike to who decides. Let them "
                f"differ in their first {LABEL_CHARS} signs, by more than spaces, case or width."
            )

    def to_wire(self) -> dict[str, Any]:
        """Return the JSON form: what the run that asks knows."""
        wire = {
            "gate": self.gate,
            "question": self.question,
            "options": list(self.options),
            "opened": self.opened.isoformat() if self.opened else "",
            "details": self.details,
            "execution": self.execution,
        }
        return wire if self.form is None else wire | {"form": self.form.to_wire()}

    @classmethod
    def from_wire(cls, data: Mapping[str, Any], *, run_id: str = "", agent: str = "", queue: str = "") -> Question:
        """Read the JSON form; one of an older version has neither details nor execution nor form."""
        return cls(
            question=data["question"],
            options=tuple(data["options"]),
            gate=data["gate"],
            opened=_utc(data["opened"]) if data.get("opened") else None,
            details=data.get("details", ""),
            execution=data.get("execution", ""),
            form=Form.from_wire(data["form"]) if "form" in data else None,
            run_id=run_id,
            agent=agent,
            queue=queue,
        )


def _utc(text: str) -> datetime:
    when = datetime.fromisoformat(text)
    return when if when.tzinfo else when.replace(tzinfo=UTC)
