"""Values inside of JSON that others read too, such as a decision: plain where they are plain, else tagged."""

from __future__ import annotations

import json
from typing import Any

from kaigents_nb.errors import ConversionError
from kaigents_nb.values.decode import decode
from kaigents_nb.values.encode import TAGGED_JSON, encode_for
from kaigents_nb.values.encoded import Encoded, TypeResolver


def to_json(values: dict[str, Any], where: str) -> Any:
    """Return JSON that says exactly what some values are; ``where`` names them in an error.

    Raises
    ------
    ConversionError
        When one can't be saved.

    Examples
    --------
    >>> to_json({"price": 5, "size": (1, 2)}, "values of a decision")
    {'price': 5, 'size': {'$kg': 'tuple', 'v': [1, 2]}}
    """
    return json.loads(encode_for(values, where).data)


def from_json(data: dict[str, Any], resolve: TypeResolver | None = None) -> dict[str, Any]:
    """Undo :func:`to_json`; what can't be read stays as it was sent, for anybody may have sent it."""
    try:
        values: Any = decode(Encoded(TAGGED_JSON, json.dumps(data).encode()), resolve=resolve)
    except ConversionError:
        return data
    return values if isinstance(values, dict) else data
