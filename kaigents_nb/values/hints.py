"""Plain JSON data in the shape that an annotation asks for."""

from __future__ import annotations

import functools
import types
import typing
from typing import Any

import pydantic

from kaigents_nb.errors import ConversionError
from kaigents_nb.values.brief import brief
from kaigents_nb.values.class_names import display_name

_JSON_TYPES = (None, type(None), bool, int, float, str, list, dict, object, Any)


def shape(value: Any, hint: object) -> Any:
    """Return plain JSON data as the annotation says; unchanged where JSON types are all that it asks for.

    An annotation that pydantic can't read, such as a DataFrame or a class of one's own, changes nothing.

    Raises
    ------
    ConversionError
        When the data doesn't fit.
    """
    if value is None or not needs_structure(hint):
        return value
    try:
        adapter = _adapter(hint)
    except TypeError:  # it can't be hashed
        adapter = _adapter.__wrapped__(hint)
    if adapter is None:
        return value
    try:
        return adapter.validate_python(value)
    except pydantic.errors.PydanticUserError:
        return value  # it names something that is not defined
    except pydantic.ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc']) or 'value'}: {problem['msg']}"
            for problem in error.errors(include_url=False)[:5]
        )
        name = display_name(hint) if isinstance(hint, type) and not typing.get_args(hint) else str(hint)
        raise ConversionError(
            f"The value {brief(value)} doesn't fit the annotation {name} ({problems}). "
            "Correct the annotation or the value."
        ) from error


def needs_structure(hint: object) -> bool:
    """Tell whether an annotation asks for more than JSON types.

    Examples
    --------
    >>> needs_structure(dict[str, list[int]]), needs_structure(list[tuple[int, int]])
    (False, True)
    """
    if any(hint is known for known in _JSON_TYPES) or isinstance(hint, (str, typing.TypeVar)):
        return False
    origin = typing.get_origin(hint)
    if origin is None:
        return True
    if origin is typing.Literal:
        return False
    if origin in (list, dict, typing.Union, types.UnionType):
        return any(needs_structure(part) for part in typing.get_args(hint))
    return True


@functools.lru_cache(maxsize=16)  # few: a class of a run keeps all its code in memory
def _adapter(hint: Any) -> pydantic.TypeAdapter[Any] | None:
    try:
        adapter: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(hint)
    except (pydantic.errors.PydanticUserError, NameError, TypeError):
        return None
    return adapter
