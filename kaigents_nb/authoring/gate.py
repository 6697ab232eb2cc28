"""Gates: an agent waits for a person."""

from __future__ import annotations

import json
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from kaigents_nb.authoring.awaited import durable
from kaigents_nb.authoring.context import AgentContext, agent_context, step_context
from kaigents_nb.errors import ForbiddenInStep
from kaigents_nb.gates.answer import REJECT, Answer
from kaigents_nb.gates.question import Question
from kaigents_nb.values.encoded import TypeResolver
from kaigents_nb.values.in_json import from_json

_LONGEST = 8_000


@dataclass(frozen=True)
class Decision:
    """What a person decided.

    ``approved`` is false only for a rejection; ``choice`` is the option taken (``"approve"`` or ``"reject"`` where
    the gate has no options of its own, ``"answer"`` where it asks for a value); ``values`` are extra values, ``by``
    who and ``at`` when (UTC).
    """

    approved: bool
    choice: str
    values: dict[str, Any] = field(default_factory=dict)
    comment: str = ""
    by: str = ""
    at: datetime | None = None

    def __bool__(self) -> bool:
        return self.approved


def to_decision(answer: Answer, resolve: TypeResolver | None = None) -> Decision:
    """Return a recorded answer as the agent gets it; ``resolve`` finds the classes of its values."""
    return Decision(
        approved=answer.approved,
        choice=answer.choice,
        # A value that was asked for is JSON: what it is made of, the form says.
        values=dict(answer.values) if answer.is_value else from_json(dict(answer.values), resolve),
        comment=answer.comment,
        by=answer.by,
        at=answer.at,
    )


def approve(
    question: str, *, details: Any = None, options: Sequence[str] | None = None
) -> Coroutine[Any, Any, Decision]:
    """Wait, for minutes or months, until a person approves or rejects.

    Parameters
    ----------
    question
        What is asked, in one sentence.
    details
        What the person should see: text, a dict or a DataFrame.
    options
        Choices, such as supplier names; the one taken is ``decision.choice``. Without, it is approve or reject.

    Returns
    -------
    Decision
        True in an ``if`` when approved.

    Raises
    ------
    RuntimeError
        Outside an agent.

    Examples
    --------
    ``if not await kg.approve("Contact this supplier?", details=quote): return "stopped"``
    """
    asked = Question(question, checked_options(options or ()))
    interpreter = interpreter_of(asked, "approve")
    return durable(interpreter, "kg.approve(…)", interpreter.open_gate(asked, details))


def checked_options(options: Sequence[Any]) -> tuple[str, ...]:
    """Return options as they are shown on buttons; refuse what can't be told apart."""
    if isinstance(options, str):
        raise TypeError(f"options is a list of choices, not one text: [{options!r}].")
    names = tuple(str(option) for option in options)
    if len(set(names)) != len(names):
        raise ValueError(f"The options of a gate must differ: {list(names)}.")
    if REJECT in names:
        raise ValueError("Every gate can be rejected already; leave 'reject' out of options.")
    return names


def interpreter_of(asked: Question, name: str) -> AgentContext:
    """Return who executes the agent that calls ``kg.name()``; refuse a question that can't be asked, or not here."""
    question = asked.question
    if not isinstance(question, str) or not question.strip():
        raise ValueError(f"A gate asks a question in words, not {question!r}.")
    form = "" if asked.form is None else json.dumps(asked.form.to_wire())
    length = len(question) + sum(map(len, asked.options)) + len(form)
    if length > _LONGEST:
        parts = "question, options and form" if form else "question and options"
        raise ValueError(
            f"The {parts} of a gate are {length:,} characters; {_LONGEST:,} is the most. Ask in one "
            "sentence, "
            + ("for fewer fields at once, " if form else "")
            + "and give what the person should read as details=."
        )
    interpreter = agent_context.get()
    if interpreter is None and step_context.get() is not None:
        raise ForbiddenInStep(
            f"A step can't wait for a person: ask {question!r} in the agent, with await kg.{name}(...), between steps."
        )
    if interpreter is None:
        raise RuntimeError(
            f"Only an agent can wait for a person. Put await kg.{name}({question!r}) into an async def with "
            "@kg.agent, and start that."
        )
    return interpreter
