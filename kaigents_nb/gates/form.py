"""``Form``: what is asked for where a person answers with a value, as every face has it: without the agent's types."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kaigents_nb.gates.answer import VALUE
from kaigents_nb.gates.schema import Faults, Node, choices_of, faults, in_short, optional, resolved, short
from kaigents_nb.gates.visible import LABEL_CHARS, same_labels


@dataclass(frozen=True)
class Form:
    """A JSON schema, with the initial value as its ``default``.

    ``exact`` says that what fits the schema is valid: there is no check of the agent's own that only a run can make.
    """

    schema: Mapping[str, Any] = field(hash=False)
    exact: bool = True

    def faults(self, values: Mapping[str, Any]) -> Faults:
        """Return what of an answer's values does not fit, by field."""
        if set(values) != {VALUE}:
            return {"": f"is given as {{{VALUE!r}: …}} and nothing else"}
        return faults(values[VALUE], self.schema)

    def told(self) -> str:
        """Return what is asked for in words."""
        return in_short(self.schema, self.schema)

    def read(self, text: str) -> Any:
        """Return what somebody typed as the JSON value that is meant: text where text is asked for, else JSON.

        Examples
        --------
        >>> Form({"type": "integer"}).read("5"), Form({"type": "string"}).read("5")
        (5, '5')
        """
        candidates: list[Any] = [text]
        try:
            parsed = json.loads(text)
            candidates.insert(0 if isinstance(parsed, str) else 1, parsed)
        except (ValueError, RecursionError):
            asked = optional(resolved(self.schema, self.schema), self.schema)[0]
            if asked.get("type") == "boolean" and text.strip().casefold() in ("yes", "no"):
                candidates.append(text.strip().casefold() == "yes")
            if asked.get("type") == "array" and self._is_of_texts(asked):
                candidates.append([part.strip() for part in text.split(",")])
        fitting = (item for item in candidates if not faults(item, self.schema))
        return next(fitting, candidates[-1])

    def _is_of_texts(self, asked: Node) -> bool:
        inner = resolved(asked.get("items"), self.schema)
        return inner.get("type") == "string"

    def check(self, question: str) -> None:
        """Refuse a form that a person could not fill in with open eyes.

        Raises
        ------
        ValueError
            When two of its choices look alike.
        """
        for part in _parts(self.schema):
            listed = choices_of(part) or []
            alike = same_labels(tuple(item if isinstance(item, str) else short(item) for item in listed))
            if alike is not None:
                raise ValueError(
                    f"The choices {alike[0]!r} and {alike[1]!r} of {question!r} look alike to who answers. Let them "
                    f"differ in their first {LABEL_CHARS} signs, by more than spaces, case or width."
                )

    def to_wire(self) -> dict[str, Any]:
        """Return the JSON form; the schema is text in it: JSON may be sorted on its way, and fields have an order."""
        text = json.dumps(self.schema, separators=(",", ":"))
        return {"schema": text} | ({} if self.exact else {"exact": False})

    @classmethod
    def from_wire(cls, data: Any) -> Form:
        """Read the JSON form.

        Raises
        ------
        ValueError
            When it is none.
        """
        text = data.get("schema") if isinstance(data, Mapping) else None
        try:
            schema = json.loads(text) if isinstance(text, str) else None
        except RecursionError:
            schema = None
        if not isinstance(schema, dict) or not all(map(_is_sound, _parts(schema))):
            raise ValueError("The form of a gate is not in order.")
        return cls(schema, data.get("exact", True) is True)


def several_of(options: tuple[str, ...]) -> Form:
    """Return a form on which several options are ticked, at least one."""
    items = {"type": "string", "enum": list(options)}
    return Form({"type": "array", "items": items, "minItems": 1, "uniqueItems": True})


_SOUND: Mapping[str, type | tuple[type, ...]] = {
    "properties": Mapping, "$defs": Mapping, "required": list, "enum": list, "anyOf": list, "oneOf": list,
    "prefixItems": list, "minimum": (int, float), "maximum": (int, float), "exclusiveMinimum": (int, float),
    "exclusiveMaximum": (int, float), "multipleOf": (int, float), "minLength": int, "maxLength": int, "minItems": int,
    "maxItems": int,
}  # fmt: skip
"""What keywords must be for a face to make a form of them: anybody may have written one into a memo."""


def _is_sound(part: Mapping[str, Any]) -> bool:
    return all(isinstance(part[key], kind) for key, kind in _SOUND.items() if key in part) and all(
        isinstance(name, str) for name in part.get("required", ())
    )


def _parts(node: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(node, Mapping):
        yield node
        for key, part in node.items():
            if key in ("properties", "$defs") and isinstance(part, Mapping):
                for inner in part.values():  # whose names are no keywords
                    yield from _parts(inner)
            elif key not in ("default", "examples", "enum", "const", "required"):
                yield from _parts(part)
    elif isinstance(node, list):
        for part in node:
            yield from _parts(part)
