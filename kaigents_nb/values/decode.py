"""From bytes to the Python value that was encoded."""

from __future__ import annotations

import json
from typing import Any

from kaigents_nb.errors import ConversionError
from kaigents_nb.values import class_kinds, standard_kinds
from kaigents_nb.values.class_names import resolve_loaded
from kaigents_nb.values.collecting import no_collection
from kaigents_nb.values.encode import ARROW, JSON, NULL, PLAIN, TAGGED_JSON
from kaigents_nb.values.encoded import Encoded, TypeResolver
from kaigents_nb.values.kinds import TAG, Reader, lazy

_READERS: dict[str, Reader] = {**standard_kinds.READERS, **class_kinds.READERS}
_MODULES = {"np": "numpy_kinds", "pd": "pandas_kinds", "arrow": "tabular"}


def decode(
    encoded: Encoded, *, resolve: TypeResolver | None = None, hint: object = None, coerce: bool = False
) -> object:
    """Return the value that was encoded.

    Parameters
    ----------
    encoded
        What :func:`~kaigents_nb.values.encode.encode` gave, or plain JSON from elsewhere.
    resolve
        Finds the classes that a payload names. The default, :func:`~kaigents_nb.values.class_names.resolve_loaded`,
        knows the data classes in modules that are loaded already. Whatever it gives, only classes of data are
        accepted.
    hint
        A type annotation. Plain JSON of another program says nothing about classes, so there ``hint`` makes
        dicts into dataclasses, text into dates and so on. What was encoded here comes back as it was, whatever it says.

    coerce
        Whether the hint decides everything about plain JSON, as it did in runs that began before
        ``INTERPRETER_VERSION`` 2.

    Raises
    ------
    ConversionError
        When the payload is damaged, names a class that is not known, or doesn't fit the hint.

    Examples
    --------
    >>> from kaigents_nb.values.encode import encode
    >>> decode(encode((1, 2)))
    (1, 2)
    """
    reading = _Reading(resolve or resolve_loaded)
    try:
        if encoded.encoding == NULL:
            return None
        if encoded.encoding == PLAIN:
            return bytes(encoded.data)
        if encoded.encoding == JSON:
            with no_collection():
                value = json.loads(encoded.data)
        elif encoded.encoding == TAGGED_JSON:
            with no_collection():
                return reading.json(encoded.data)
        elif encoded.encoding == ARROW:
            return lazy("tabular").from_arrow(encoded.data, reading)
        else:
            known = ", ".join((NULL, PLAIN, JSON, TAGGED_JSON, ARROW))
            raise ConversionError(
                f"Can't read a value with the encoding {encoded.encoding!r}. Known: {known}. "
                "It was saved by a newer kaigents_nb, which reads it, or by another program."
            )
    except ConversionError:
        raise
    except Exception as error:  # a damaged payload can break any reader in any way
        what = encoded.meta.get("summary") or encoded.encoding
        raise ConversionError(
            f"Can't read back a saved value ({what}, {len(encoded.data):,} bytes), which is damaged or was "
            f"saved by other versions of the libraries: {type(error).__name__}: {error}. Run the step again."
        ) from error
    if hint is None or encoded.own:
        return value
    hints = lazy("hints")
    return hints.coerced(value, hint) if coerce else hints.shape(value, hint)


class _Reading:
    """The readers' view of one payload."""

    def __init__(self, resolve: TypeResolver) -> None:
        self.resolve = resolve
        self._shared: dict[int, Any] = {}

    def json(self, text: str | bytes) -> Any:
        return json.loads(text, object_hook=self._untag)

    def _untag(self, raw: dict[str, Any]) -> Any:
        # json calls this from the inside out, so what a tag holds is decoded already.
        kind = raw.get(TAG)
        if kind is None:
            return raw
        if kind == "shared":
            return self._shared.setdefault(raw["n"], raw["v"])
        if kind == "again":
            return self._shared[raw["v"]]
        return _reader(str(kind))(raw, self)


def _reader(kind: str) -> Reader:
    reader = _READERS.get(kind)
    if reader is None and (module := _MODULES.get(kind.partition(".")[0])):
        reader = lazy(module).READERS.get(kind)
    if reader is None:
        raise ConversionError(
            f"Can't read a value of the unknown kind {kind!r}. It was saved by a newer kaigents_nb: upgrade."
        )
    return reader
