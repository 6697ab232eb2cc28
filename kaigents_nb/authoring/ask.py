"""Gates that ask for a value: one of several options, several of them, or what a type says."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, Literal, TypeVar, overload

from kaigents_nb.authoring.awaited import Begin, durable
from kaigents_nb.authoring.context import agent_context
from kaigents_nb.authoring.gate import Decision, checked_options, interpreter_of
from kaigents_nb.errors import InvalidAnswer, Rejected
from kaigents_nb.gates.answer import VALUE
from kaigents_nb.gates.form import Form, several_of
from kaigents_nb.gates.question import Question
from kaigents_nb.gates.schema import Faults, in_words
from kaigents_nb.gates.visible import visible

T = TypeVar("T")
_NOTHING: Final = object()
_IN_A_SCHEMA = frozenset(
    {
        "any", "bool", "dataclass", "dataclass-args", "dataclass-field", "date", "datetime", "default",
        "definition-ref", "definitions", "dict", "enum", "float", "int", "list", "literal", "model", "model-field",
        "model-fields", "none", "nullable", "str", "time", "tuple", "typed-dict", "typed-dict-field", "union",
    }
)  # fmt: skip
"""Kinds of core schema of which a JSON schema says all that pydantic checks, without the next ones."""
_UNTOLD = (
    "pattern", "multiple_of", "strict", "strip_whitespace", "to_lower", "to_upper", "post_init", "custom_init",
    "tz_constraint", "config",
)  # fmt: skip
_UNTOLD_OF_TIMES = ("ge", "gt", "le", "lt")
_NO_PARTS = ("metadata", "default", "expected", "members", "config", "serialization")
_HARMLESS = frozenset({"title"})
"""Settings of a model by which nothing is checked."""


@overload
def choose(
    question: str, options: Sequence[T], *, several: Literal[False] = False, details: Any = None
) -> Coroutine[Any, Any, T]: ...
@overload
def choose(
    question: str, options: Sequence[T], *, several: Literal[True], details: Any = None
) -> Coroutine[Any, Any, list[T]]: ...
def choose(
    question: str, options: Sequence[T], *, several: bool = False, details: Any = None
) -> Coroutine[Any, Any, T] | Coroutine[Any, Any, list[T]]:
    """Wait until a person takes one of the options, or with ``several`` as many as they like, at least one.

    Parameters
    ----------
    question
        What is asked, in one sentence.
    options
        What may be taken. A person sees each as ``str()`` writes it; the agent gets the option itself.
    several
        Whether more than one may be taken: then the result is a list, in the order of ``options``.
    details
        What the person should see: text, a dict or a DataFrame.

    Raises
    ------
    Rejected
        When the person takes none of them.
    RuntimeError
        Outside an agent.

    Examples
    --------
    ``supplier = await kg.choose("Who gets the order?", ["Helian", "Mekong"], details=quotes)``
    """
    labels = checked_options(options)
    if not labels:
        raise ValueError(f"There is nothing to choose from at {question!r}: give at least one option.")
    asked = Question(question, labels, form=several_of(labels) if several else None)
    interpreter = interpreter_of(asked, "choose")
    begin = interpreter.open_gate(asked, details)
    by_label = dict(zip(labels, options, strict=True))

    async def taken() -> Any:
        decision = await _approved(begin, question)
        if not several:
            return by_label[decision.choice]
        return [by_label[label] for label in labels if label in decision.values[VALUE]]

    return durable(interpreter, "kg.choose(…)", taken)


@overload
def ask(question: str, schema: type[T], *, initial: Any = _NOTHING, details: Any = None) -> Coroutine[Any, Any, T]: ...
@overload
def ask(
    question: str, schema: object = ..., *, initial: Any = _NOTHING, details: Any = None
) -> Coroutine[Any, Any, Any]: ...
def ask(question: str, schema: Any = str, *, initial: Any = _NOTHING, details: Any = None) -> Coroutine[Any, Any, Any]:
    """Wait until a person gives a value of a type; what does not fit is refused, and the gate stays open.

    Parameters
    ----------
    question
        What is asked, in one sentence.
    schema
        The type: ``bool``, ``int``, ``float``, ``str``, ``date``, ``datetime``, an Enum, ``Literal[…]``, a list of
        these, ``Annotated[int, Field(ge=1, le=10)]`` for bounds, a pydantic model or dataclass for several fields,
        also nested. A text of many lines is ``Annotated[str, Field(json_schema_extra={"format": "textarea"})]``. The
        validators of a model are asked in the run, so they may use nothing but the value.
    initial
        What the form begins with.
    details
        What the person should see: text, a dict or a DataFrame.

    Returns
    -------
    object
        The value: a member of the Enum, an instance of the model; the same one on every replay.

    Raises
    ------
    Rejected
        When the person gives none.
    TypeError
        When there is no form for the type.
    ValueError
        When ``initial`` does not fit, or the form is too big for a gate.
    RuntimeError
        Outside an agent.

    Examples
    --------
    ``limit = await kg.ask("How many?", Annotated[int, Field(ge=1, le=500)], initial=10)``
    """
    wanted = _Wanted(schema)
    asked = Question(question, form=wanted.form(initial))
    interpreter = interpreter_of(asked, "ask")
    begin = interpreter.open_gate(asked, details, wanted.read)

    async def given() -> Any:
        decision = await _approved(begin, question)
        return wanted.read(decision.values[VALUE])

    return durable(interpreter, "kg.ask(…)", given)


async def _approved(begin: Begin[Decision], question: str) -> Decision:
    decision = await begin()
    if not decision.approved:
        why = f": {decision.comment}" if decision.comment else "."
        raise Rejected(f"{decision.by or 'Somebody'} rejected {question!r}{why}", decision=decision)
    return decision


class _Wanted:
    """A type, as a form and as what reads an answer."""

    def __init__(self, wanted: Any) -> None:
        from pydantic import TypeAdapter
        from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

        self._name = str(getattr(wanted, "__name__", None) or wanted)
        try:
            self._adapter: TypeAdapter[Any] = TypeAdapter(wanted)
            self._schema = self._adapter.json_schema()
        except (PydanticUserError, PydanticSchemaGenerationError) as error:
            raise TypeError(
                f"There is no form for {self._name}: {str(error).splitlines()[0]} Ask for a plain type, an Enum, "
                "Literal, a date, a list of these, a dataclass or a pydantic model."
            ) from None
        if _has(self._adapter.core_schema, lambda part: "now_op" in part):
            raise TypeError(
                f"{self._name} compares a date with today's, which differs at each replay. Ask for the date, and "
                "compare it with kg.now() in the agent."
            )

    def form(self, initial: Any = _NOTHING) -> Form:
        """Return the form, with what it begins with."""
        exact = not _has(self._adapter.core_schema, _says_more)
        if initial is _NOTHING:
            return Form(self._schema, exact)
        from pydantic import ValidationError

        try:
            value = self._adapter.validate_python(initial)
            plain = json.loads(self._adapter.dump_json(value, by_alias=True))
        except ValidationError as error:
            raise ValueError(f"initial={initial!r} is no {self._name}: {in_words(_faults(error))}.") from None
        return Form({**self._schema, "default": plain}, exact)

    def read(self, data: Any) -> Any:
        """Return the value that an answer is.

        Raises
        ------
        InvalidAnswer
            Naming the fields.
        """
        from pydantic import ValidationError

        outside = agent_context.set(None)  # a check may ask the run for nothing: it is not made again on a replay
        try:
            return self._adapter.validate_json(json.dumps(data))
        except ValidationError as error:
            found = _faults(error)
        except Exception as error:  # noqa: BLE001 - a validator of the analyst, which must not stop the run
            found = {"": f"its check ended with {type(error).__name__}: {error}"}
        finally:
            agent_context.reset(outside)
        raise InvalidAnswer(f"Not {self._name}: {in_words(found)}.", faults=found)


def _faults(error: Any) -> Faults:
    """Return pydantic's faults by field, as the form has them."""
    found: Faults = {}
    for fault in error.errors(include_url=False, include_context=False):
        told = fault["msg"].removeprefix("Value error, ")
        found.setdefault(".".join(map(str, fault["loc"])), visible(told[:1].lower() + told[1:]))
    return found


def _says_more(part: Mapping[str, Any]) -> bool:
    """Whether pydantic checks, or may check, more than a JSON schema says."""
    kind = part.get("type")
    untold = {name for name in _UNTOLD if part.get(name)}
    if kind in ("date", "datetime", "time"):
        untold |= {name for name in _UNTOLD_OF_TIMES if part.get(name) is not None}
    if set(part.get("config") or ()) <= _HARMLESS:
        untold.discard("config")
    if kind in ("literal", "enum"):
        members = part.get("expected", part.get("members", ()))
        return not all(isinstance(getattr(item, "value", item), str) for item in members)
    if kind == "dict" and set(part.get("keys_schema", {"type": "str"}).items()) != {("type", "str")}:
        return True
    return kind not in _IN_A_SCHEMA or bool(untold)


def _has(part: Any, told: Callable[[Mapping[str, Any]], bool]) -> bool:
    """Whether some part of a core schema is such a one."""
    if isinstance(part, Mapping):
        inner = (value for key, value in part.items() if key not in _NO_PARTS)
        return ("type" in part and told(part)) or any(_has(value, told) for value in inner)
    return isinstance(part, list | tuple) and any(_has(value, told) for value in part)
