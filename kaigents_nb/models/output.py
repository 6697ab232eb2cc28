"""``output=``: the type that an answer must have, as a JSON schema for the model and as a check of what it wrote."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

from kaigents_nb.models.tools import faults

_VALUE = "value"
_FENCED = re.compile(r"\A\s*```[a-zA-Z]*\n(.*?)\n?```\s*\Z", re.DOTALL)
_NAME = re.compile(r"[^a-zA-Z0-9_-]+")


class Output:
    """A type, asked for as a JSON object: one that is no object is its only field."""

    def __init__(self, wanted: Any) -> None:
        self._name = str(getattr(wanted, "__name__", None) or wanted)
        try:
            self._adapter: TypeAdapter[Any] = TypeAdapter(wanted)
            self._wraps = self._adapter.json_schema().get("type") != "object" and not _is_model(wanted)
            if self._wraps:
                self._adapter = TypeAdapter(dict[str, wanted])
        except (PydanticUserError, PydanticSchemaGenerationError) as error:
            raise TypeError(
                f"output={self._name} has no JSON schema: {str(error).splitlines()[0]} Take a pydantic model, a "
                "dataclass, a TypedDict, Literal, Enum, list[…] or a plain type."
            ) from None

    def schema(self) -> dict[str, Any]:
        """Return name and schema as both APIs take them."""
        found = self._adapter.json_schema()
        if self._wraps:
            inner = found.pop("additionalProperties", {})
            found = {"type": "object", "properties": {_VALUE: inner}, "required": [_VALUE], **_defs(found)}
        name = _NAME.sub("_", self._name)[:64]
        try:
            return {"name": name, "schema": _closed(found), "strict": True}
        except LookupError:
            return {"name": name, "schema": found, "strict": False}

    def parse(self, text: str) -> Any:
        """Return the value that a model wrote.

        Raises
        ------
        ValueError
            Saying what does not fit, for the model to read.
        """
        fenced = _FENCED.match(text)
        try:
            value = self._adapter.validate_json(fenced[1] if fenced else text)
        except ValidationError as error:
            raise ValueError(f"The answer is not the JSON that was asked for: {faults(error)}.") from None
        if not self._wraps:
            return value
        if set(value) != {_VALUE}:
            raise ValueError(f"The answer is a JSON object with the one field {_VALUE!r}, not with {sorted(value)}.")
        return value[_VALUE]


def _is_model(wanted: Any) -> bool:
    return isinstance(wanted, type) and issubclass(wanted, BaseModel) and "root" not in wanted.model_fields


def _defs(schema: dict[str, Any]) -> dict[str, Any]:
    return {"$defs": schema["$defs"]} if "$defs" in schema else {}


def _closed(schema: Any) -> Any:
    """Return a schema that a provider can hold a model to: all fields required, no others, no defaults.

    Raises
    ------
    LookupError
        Where the schema has an object with free keys, for which there is no such form.
    """
    if isinstance(schema, list):
        return [_closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {
        key: {name: _closed(part) for name, part in inner.items()} if key in ("properties", "$defs") else _closed(inner)
        for key, inner in schema.items()
        if key != "default"
    }
    if closed.get("type") == "object":
        if closed.get("additionalProperties"):
            raise LookupError("an object with free keys")
        closed.update(required=list(closed["properties"]), additionalProperties=False)
    return closed
