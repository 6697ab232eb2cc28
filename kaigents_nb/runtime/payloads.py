"""Values as Temporal payloads: our own encoding, carried through the SDK untouched as raw values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.converter import JSONProtoPayloadConverter

from kaigents_nb.runtime.refused import check_admitted
from kaigents_nb.values.brief import summary
from kaigents_nb.values.decode import decode
from kaigents_nb.values.encode import Check, encode_for
from kaigents_nb.values.encoded import Encoded, TypeResolver

Read = Callable[..., Any]
"""As :func:`~kaigents_nb.values.decode.decode`."""
Write = Callable[[object, str, Check | None], Encoded]
"""As :func:`~kaigents_nb.values.encode.encode_for`."""

_META = "kaigents-"
META_OWN = "kaigents-own"
"""Payload metadata of an agent's arguments that this library saved: they say themselves what they are."""


def raw(
    value: object,
    where: str,
    extra: Mapping[str, str] | None = None,
    check: Check | None = None,
    write: Write = encode_for,
) -> RawValue:
    """Encode a value; ``where`` names it in an error, such as ``"result of step load"``.

    ``check`` refuses classes that a reader of the value would not find.
    """
    encoded = write(value, where, check)
    payload = Payload(data=encoded.data)
    payload.metadata["encoding"] = encoded.encoding.encode()
    for key, text in encoded.meta.items():
        payload.metadata[_META + key] = text.encode("utf-8", "replace")
    for key, text in (extra or {}).items():
        payload.metadata[key] = text.encode("utf-8", "replace")
    return RawValue(payload)


def value(
    payload: Payload,
    resolve: TypeResolver | None,
    hint: object = None,
    *,
    coerce: bool = False,
    read: Read = decode,
) -> Any:
    """Decode a payload that :func:`raw` made, or that any Temporal client made as JSON."""
    return read(encoded(payload), resolve=resolve, hint=hint, coerce=coerce)


def encoded(payload: Payload) -> Encoded:
    """Return the payload's bytes and description, not decoded. Raises ConversionError where it can't be read."""
    check_admitted(payload)
    meta = {
        key.removeprefix(_META): data.decode("utf-8", "replace")
        for key, data in payload.metadata.items()
        if key.startswith(_META)
    }
    return Encoded(
        payload.metadata["encoding"].decode("utf-8", "replace"), payload.data, meta, own=META_OWN in payload.metadata
    )


def claimed(claim: Mapping[str, str], data: bytes) -> Encoded:
    """Return bytes from a file with the description that is in the history."""
    meta = {key.removeprefix(_META): text for key, text in claim.items() if key.startswith(_META)}
    return Encoded(claim["encoding"], data, meta)


def plain(payload: Payload) -> Any:
    """Read one of our own JSON headers; raises ValueError where it is none, whatever it is."""
    try:
        return json.loads(payload.data)
    except RecursionError:
        raise ValueError("It is nested too deeply.") from None


def call_arguments(
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    where: str,
    extra: Mapping[str, str] | None = None,
    check: Check | None = None,
    write: Write = encode_for,
) -> tuple[list[RawValue], tuple[str, ...]]:
    """Encode the arguments of a call, one payload each: positional ones first, then those by keyword."""
    named = [(str(number), item) for number, item in enumerate(args, 1)]
    named += [(repr(name), item) for name, item in kwargs.items()]
    payloads = [raw(item, f"argument {name} of {where}", extra, check, write) for name, item in named]
    return payloads, tuple(kwargs)


def read_arguments(
    payloads: Iterable[Payload],
    positional: int,
    keywords: Sequence[str],
    resolve: TypeResolver | None,
    hints: Mapping[str, Any] | None = None,
    names: Sequence[str] = (),
    *,
    coerce: bool = False,
    read: Read = decode,
) -> tuple[list[Any], dict[str, Any]]:
    """Undo :func:`call_arguments`.

    ``hints`` are the callee's annotations and ``names`` its positional parameters, for what other programs sent.
    """
    hints, items = hints or {}, list(payloads)
    args = [
        value(payload, resolve, hints.get(names[number]) if number < len(names) else None, coerce=coerce, read=read)
        for number, payload in enumerate(items[:positional])
    ]
    kwargs = {
        name: value(payload, resolve, hints.get(name), coerce=coerce, read=read)
        for name, payload in zip(keywords, items[positional:], strict=False)
    }
    return args, kwargs


def reference(payload: Payload) -> dict[str, str] | None:
    """Return the claim of a payload that is kept in a file, or None for one that is inline."""
    if payload.metadata.get("encoding") != JSONProtoPayloadConverter().encoding.encode():
        return None
    with suppress(ValueError, AttributeError):  # not from us
        claim = plain(payload).get("claimData")
        return dict(claim) if isinstance(claim, dict) else None
    return None


def metadata(payload: Payload, key: str) -> str:
    """Return one text of the payload's metadata, also where the value itself is kept in a file."""
    claim = reference(payload)
    if claim is not None:
        return claim.get(key, "")
    return payload.metadata.get(key, b"").decode("utf-8", "replace")


def content_digest(payload: Payload) -> str:
    """Return what tells a payload's content from any other, the same whether it lies inline or in a file."""
    claim = reference(payload) or {
        "encoding": payload.metadata["encoding"].decode(),
        "digest": hashlib.sha256(payload.data).hexdigest(),
    }
    return hashlib.sha256(f"{claim['encoding']} {claim['digest']}".encode()).hexdigest()[:32]


def shown(payload: Payload) -> str:
    """Return a value as short text, without reading it from its file."""
    claim = reference(payload)
    if claim is None:
        return summary(encoded(payload))
    meta = {key.removeprefix(_META): text for key, text in claim.items() if key.startswith(_META)}
    size_kib = sum(part.size_bytes for part in payload.external_payloads) // 1024
    return meta.get("summary") or f"{claim.get('encoding', 'value')}, {size_kib:,} KiB"
