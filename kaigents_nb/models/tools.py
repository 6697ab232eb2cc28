"""A function as a model sees it: JSON schema from signature, hints and docstring; arguments read by the same hints."""

from __future__ import annotations

import inspect
import json
import typing
import weakref
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NotRequired, Required

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import to_json
from typing_extensions import TypedDict

_typed_dict: Any = TypedDict  # called with what only a signature knows

_ROWS = 200
_CHARS = 100_000
_adapters: weakref.WeakKeyDictionary[Callable[..., Any], TypeAdapter[Any]] = weakref.WeakKeyDictionary()


def specification(name: str, fn: Callable[..., Any]) -> dict[str, Any]:
    """Return a function in the form that Chat Completions has for tools.

    Raises
    ------
    TypeError
        When a parameter has no JSON schema.
    """
    described, _ = _docstring(fn)
    parameters = _adapter(name, fn).json_schema()
    parameters.pop("title", None)
    return {"type": "function", "function": {"name": name, "description": described, "parameters": parameters}}


def read(name: str, fn: Callable[..., Any], written: str | Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that a model wrote as the values that the function wants.

    Raises
    ------
    ValueError
        Saying what is wrong, for the model to read.
    """
    arguments = parsed(written) if isinstance(written, str) else written
    try:
        return dict(_adapter(name, fn).validate_python(arguments))
    except ValidationError as error:
        raise ValueError(f"The arguments of {name} don't fit: {faults(error)}.") from None


def parsed(written: str) -> dict[str, Any]:
    """Return the arguments that a model wrote as JSON; raises as :func:`read` does."""
    try:
        arguments = json.loads(written) if written.strip() else {}
    except ValueError as error:
        raise ValueError(f"The arguments are no JSON: {error}.") from None
    except RecursionError:
        raise ValueError("The arguments are nested too deeply.") from None
    if not isinstance(arguments, dict):
        raise ValueError(f"The arguments are a JSON object, not {type(arguments).__name__}.")
    return arguments


def faults(error: ValidationError) -> str:
    """Return what does not fit, field by field, in a line."""
    return "; ".join(
        f"{'.'.join(map(str, fault['loc'])) or 'the value'}: {fault['msg']}, not {_short(fault['input'])}"
        if fault["type"] != "missing"
        else f"{'.'.join(map(str, fault['loc']))}: is missing"
        for fault in error.errors(include_url=False)
    )


def as_text(value: object) -> str:
    """Return what a tool gave as a model reads it: text as it is, tables as CSV, the rest as JSON."""
    if isinstance(value, str):
        return _bounded(value)
    if type(value).__module__.partition(".")[0] == "pandas" and hasattr(value, "to_csv"):
        shown: Any = value
        more = len(shown) - _ROWS
        return _bounded(shown.head(_ROWS).to_csv()) + (f"… and {more:,} more rows\n" if more > 0 else "")
    return _bounded(to_json(value, fallback=str, inf_nan_mode="constants").decode())


def _bounded(text: str) -> str:
    if len(text) <= _CHARS:
        return text
    return f"{text[:_CHARS]}… ({len(text):,} characters in all)"


def _adapter(name: str, fn: Callable[..., Any]) -> TypeAdapter[Any]:
    found = _adapters.get(fn)
    if found is None:
        found = _adapters[fn] = _made(name, fn)
    return found


def _made(name: str, fn: Callable[..., Any]) -> TypeAdapter[Any]:
    _, about = _docstring(fn)
    hints = typing.get_type_hints(fn, include_extras=True)
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(fn).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise TypeError(
                f"The tool {name} can't be called by a model: {parameter} has no name of its own. Give it parameters "
                "by name."
            )
        extra = {} if parameter.default is parameter.empty else _default(parameter.default)
        told = Field(description=about.get(parameter.name), json_schema_extra=extra or None)
        hint: Any = Annotated[hints.get(parameter.name, Any), told]
        fields[parameter.name] = Required[hint] if parameter.default is parameter.empty else NotRequired[hint]
    arguments: Any = _typed_dict(name, fields)
    arguments.__pydantic_config__ = ConfigDict(extra="forbid")
    try:
        return TypeAdapter(arguments)
    except PydanticUserError as error:
        raise TypeError(f"The tool {name} can't be described to a model: {error}") from None


def _default(value: object) -> dict[str, Any]:
    return {"default": value} if value is None or isinstance(value, str | int | float | bool) else {}


def _docstring(fn: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """Return what a docstring says of the function, and of each parameter."""
    import docstring_parser

    parsed = docstring_parser.parse(inspect.getdoc(fn) or "")
    about = {
        name.strip().lstrip("*"): part.description or ""
        for part in parsed.params
        for name in part.arg_name.split(",")  # numpy's "low, high : float"
    }
    said = "\n\n".join(text for text in (parsed.short_description, parsed.long_description) if text)
    return said, {name: text for name, text in about.items() if text}


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
