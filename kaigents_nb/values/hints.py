"""Plain JSON of another program, in the shape that an annotation asks for.

What this library saved says itself what it is. JSON of other programs can't say that an object is a dataclass or a text
a date: there the annotation decides, and only there. What JSON can say stays as it was sent, whatever is annotated.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import functools
import pathlib
import types
import typing
import uuid
from collections import abc
from typing import Annotated, Any

import pydantic

from kaigents_nb.errors import ConversionError
from kaigents_nb.values.brief import brief
from kaigents_nb.values.class_names import display_name, is_namedtuple, is_pydantic_model

_TEXTS = (
    dt.date, dt.time, dt.timedelta, decimal.Decimal, fractions.Fraction, uuid.UUID, pathlib.PurePath, enum.Enum
)  # fmt: skip
"""What is written as text or number, and is read as such by pydantic."""
_JSON_TYPES = (type(None), bool, int, float, str, list, dict, object, Any)
_SEQUENCES: dict[Any, Any] = {tuple: tuple, set: set, frozenset: frozenset, collections.deque: collections.deque}
_LISTS = (list, abc.Sequence, abc.MutableSequence, abc.Iterable, abc.Collection, abc.Reversible)
_MAPPINGS = (dict, abc.Mapping, abc.MutableMapping)


def shape(value: Any, hint: Any) -> Any:
    """Return plain JSON data with the classes that an annotation names; what JSON itself can say is unchanged.

    Raises
    ------
    ConversionError
        When the data doesn't fit such a class.
    """
    hint = _bare(hint)
    if value is None or not needs_structure(hint):
        return value
    origin, args = typing.get_origin(hint) or hint, typing.get_args(hint)
    if _is_union(origin):
        return _either(value, args)
    if _is_class(origin):
        return _validated(value, hint)
    if typing.is_typeddict(origin):
        known = _typed_keys(origin) if isinstance(value, dict) else {}
        return {key: shape(item, known.get(key)) for key, item in value.items()} if known else value
    if origin in _MAPPINGS and isinstance(value, dict) and len(args) == 2:
        return {shape(key, args[0]): shape(item, args[1]) for key, item in value.items()}
    if not isinstance(value, list):
        return value
    if origin is tuple and len(args) > 0 and args[-1] is not ...:
        shaped = [shape(item, hint) for item, hint in zip(value, args, strict=False)] + value[len(args) :]
    else:
        shaped = [shape(item, args[0] if args else None) for item in value]
    try:
        return _SEQUENCES.get(origin, list)(shaped)
    except TypeError as error:  # a list in a set
        raise _misfit(value, hint, str(error)) from error


def coerced(value: Any, hint: Any) -> Any:
    """Return plain JSON data as pydantic makes it of all that an annotation says: for runs that began with that.

    Raises
    ------
    ConversionError
        When the data doesn't fit.
    """
    return value if value is None or _is_json(hint) else _validated(value, hint)


def _is_json(hint: Any) -> bool:
    if any(hint is known for known in (None, *_JSON_TYPES)) or isinstance(hint, (str, typing.TypeVar)):
        return True
    origin = typing.get_origin(hint)
    if origin in (list, dict, typing.Union, types.UnionType):
        return all(_is_json(part) for part in typing.get_args(hint))
    return origin is typing.Literal


def needs_structure(hint: object) -> bool:
    """Tell whether an annotation asks for more than JSON types.

    Examples
    --------
    >>> needs_structure(dict[str, list[int]]), needs_structure(list[tuple[int, int]])
    (False, True)
    """
    return _needs(hint, ())


def _needs(hint: object, above: tuple[object, ...]) -> bool:
    hint = _bare(hint)
    if any(hint is known for known in above):  # an alias or TypedDict that names itself
        return False
    origin, args = typing.get_origin(hint) or hint, typing.get_args(hint)
    if not isinstance(origin, abc.Hashable):
        return False
    if isinstance(origin, type) and typing.is_typeddict(origin):
        return any(_needs(part, (*above, hint)) for part in _typed_keys(origin).values())
    if origin in _SEQUENCES or _is_class(origin):
        return True
    if _is_union(origin) or origin in _LISTS or origin in _MAPPINGS:
        return any(_needs(part, (*above, hint)) for part in args)
    return False


def _bare(hint: Any) -> Any:
    """Return what stands behind names and notes: ``NewType``, ``type X = …``, ``Annotated``."""
    for _ in range(50):
        if isinstance(hint, typing.NewType):
            hint = hint.__supertype__
        elif type(hint).__name__ == "TypeAliasType":
            hint = hint.__value__
        elif typing.get_origin(hint) is Annotated:
            hint = typing.get_args(hint)[0]
        else:
            return hint
    return None


def _is_union(origin: object) -> bool:
    return origin in (typing.Union, types.UnionType)


def _is_class(origin: object) -> bool:
    return isinstance(origin, type) and (
        issubclass(origin, _TEXTS)
        or dataclasses.is_dataclass(origin)
        or is_pydantic_model(origin)
        or is_namedtuple(origin)
    )


def _typed_keys(cls: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls)
    except (NameError, TypeError):  # it names something that is not defined
        return {}


def _either(value: Any, options: tuple[Any, ...]) -> Any:
    """Return a value as one of several types: as it is if it can be, else as the class that fits it best."""
    structured: list[Any] = []
    plain = False
    for option in options:
        bare = _bare(option)
        if needs_structure(bare):
            structured.append(bare)
        elif (typing.get_origin(bare) or bare) in (type(value), Any, object):
            return value
        else:
            plain = plain or bare is not type(None)
    try:
        return _structured(value, structured)
    except ConversionError:
        if plain:  # it was meant as the other
            return value
        raise


def _structured(value: Any, structured: list[Any]) -> Any:
    if len(structured) == 1:
        return shape(value, structured[0])
    if all(_is_class(typing.get_origin(option) or option) for option in structured):
        return _validated(value, typing.Union[tuple(structured)])  # noqa: UP007 - made of values
    for option in structured:
        try:
            shaped = shape(value, option)
        except ConversionError:
            continue
        if shaped is not value:
            return shaped
    return value


def _validated(value: Any, hint: Any) -> Any:
    try:
        try:
            adapter = _adapter(hint)
        except TypeError:  # it can't be hashed
            adapter = _adapter.__wrapped__(hint)
        return value if adapter is None else adapter.validate_python(value)
    except pydantic.errors.PydanticUserError:
        return value  # it names something that is not defined
    except pydantic.ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc']) or 'value'}: {problem['msg']}"
            for problem in error.errors(include_url=False)[:5]
        )
        raise _misfit(value, hint, problems) from error


def _misfit(value: Any, hint: Any, problems: str) -> ConversionError:
    name = display_name(hint) if isinstance(hint, type) and not typing.get_args(hint) else str(hint)
    return ConversionError(
        f"The value {brief(value)} doesn't fit the annotation {name} ({problems}). Correct the annotation or the value."
    )


@functools.lru_cache(maxsize=16)  # few: a class of a run keeps all its code in memory
def _adapter(hint: Any) -> pydantic.TypeAdapter[Any] | None:
    try:
        adapter: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(hint)
    except (pydantic.errors.PydanticUserError, NameError, TypeError):
        return None
    return adapter
