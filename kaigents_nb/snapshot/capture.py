"""Plain values, as they are at ``start()``: short ones as Python literals, others encoded."""

from __future__ import annotations

import math
import re
import sys
from typing import Any

VALUE_LIMIT_BYTES = 16 * 2**20
"""Largest value of one global name that travels with a run."""
TOTAL_LIMIT_BYTES = 40 * 2**20
"""Largest sum of all values that travel with a run."""

LITERAL_LIMIT_CHARS = 4000
LITERAL_LIMIT_ITEMS = 500
_LITERAL_DEPTH = 12
_WIDTH = 100

_SECRET_WORDS = frozenset(
    ["token", "secret", "password", "passwd", "pwd", "passphrase", "apikey", "credential", "credentials"]
)
_SECRET_KEYS = frozenset(
    {
        "api", "secret", "access", "private", "auth", "encryption", "signing", "service", "account", "subscription",
        "openai", "anthropic", "aws", "azure", "google", "gcp", "github", "hf",
    }
)  # fmt: skip
# Names of language processing, not of secrets: eos_token, mask_token.
_SPECIAL_TOKENS = frozenset(
    ["stop", "eos", "bos", "pad", "unk", "sep", "cls", "mask", "end", "start", "special", "next", "page", "sos"]
)


def literal(value: object) -> str | None:
    """Return a value as Python source, or None when it is not a short value of built-in types.

    Examples
    --------
    >>> literal({"CN": 0.25, "VN": [1, 2]})
    "{'CN': 0.25, 'VN': [1, 2]}"
    >>> literal(float("nan")) is None
    True
    """
    budget = [LITERAL_LIMIT_ITEMS]
    if not _is_literal(value, _LITERAL_DEPTH, budget):
        return None
    try:
        text = _broken(value, 0)
    except ValueError:  # an int of more digits than Python prints
        return None
    return text if len(text) <= LITERAL_LIMIT_CHARS else None


def _flat(value: Any) -> str:
    """Return a value on one line; sets in one order always, so that the same set gives the same code."""
    kind = type(value)
    if kind is list:
        return f"[{', '.join(map(_flat, value))}]"
    if kind is tuple:
        return f"({_flat(value[0])},)" if len(value) == 1 else f"({', '.join(map(_flat, value))})"
    if kind is dict:
        return f"{{{', '.join(f'{_flat(k)}: {_flat(v)}' for k, v in value.items())}}}"
    if kind in (set, frozenset) and value:
        items = f"{{{', '.join(sorted(map(_flat, value)))}}}"
        return items if kind is set else f"frozenset({items})"
    return repr(value)


def _broken(value: Any, indent: int) -> str:
    """Return a value on as many lines as it needs."""
    text = _flat(value)
    if len(text) + indent <= _WIDTH or type(value) not in (list, tuple, dict) or len(value) == 0:
        return text
    pad = " " * (indent + 4)
    if type(value) is dict:
        items = [f"{_flat(k)}: {_broken(v, indent + 4)}" for k, v in value.items()]
    else:
        items = [_broken(item, indent + 4) for item in value]
    lines = [pad]
    for item in items:
        if lines[-1] != pad and ("\n" in item or len(lines[-1]) + len(item) > _WIDTH):
            lines.append(pad)
        lines[-1] += f"{item}, "
        if "\n" in item:
            lines.append(pad)
    body = "\n".join(line.rstrip() for line in lines if line.strip())
    return f"{text[0]}\n{body}\n{' ' * indent}{text[-1]}"


def _is_literal(value: object, depth: int, budget: list[int]) -> bool:
    budget[0] -= 1
    if budget[0] < 0 or depth < 0:  # it is long or deep, or holds itself
        return False
    kind = type(value)
    if kind is float:
        return math.isfinite(value)  # type: ignore[arg-type]
    if kind in (int, str, bytes, bool, type(None)):
        return True
    items: Any = value
    if kind is dict:
        items = [part for item in items.items() for part in item]
    elif kind not in (list, tuple, set, frozenset):
        return False
    return all(_is_literal(item, depth - 1, budget) for item in items)


def secret_word(name: str, value: object) -> str | None:
    """Return what makes a name look like that of a secret, or None.

    Examples
    --------
    >>> secret_word("OPENAI_API_KEY", "sk-1"), secret_word("sort_key", "price"), secret_word("eos_token", "</s>")
    ('key', None, None)
    """
    if type(value) is not str or not value.strip():
        return None
    words: list[str] = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
    lower = [word.lower() for word in words]
    if not lower:
        return None
    last, before = lower[-1], (lower[-2] if len(lower) > 1 else "")
    if last == "key" and before in _SECRET_KEYS:
        return "key"
    if last in _SECRET_WORDS and not (last == "token" and before in _SPECIAL_TOKENS):
        return last
    return None


def held_bytes(value: object) -> int:
    """Return roughly how much memory a value takes where that can be told at once, else 0."""
    numpy, pandas = sys.modules.get("numpy"), sys.modules.get("pandas")
    if type(value) in (bytes, str, bytearray):
        return len(value)  # type: ignore[arg-type]
    if numpy is not None and isinstance(value, numpy.ndarray):
        return int(value.nbytes)
    if pandas is not None and isinstance(value, pandas.DataFrame):
        return int(value.memory_usage(deep=False).sum())
    if pandas is not None and isinstance(value, pandas.Series):
        return int(value.memory_usage(deep=False))
    return 0


def shape_of(value: object) -> str:
    """Return a value's type and size in a few words, for a comment.

    Examples
    --------
    >>> shape_of([0] * 1000)
    'list of 1000'
    """
    kind = type(value)
    shape = getattr(value, "shape", None) if kind.__module__.split(".")[0] in ("numpy", "pandas") else None
    if isinstance(shape, tuple) and shape:
        return f"{kind.__name__} of {' × '.join(map(str, shape))}"
    if kind in (list, tuple, dict, set, frozenset, str, bytes):
        return f"{kind.__name__} of {len(value)}"  # type: ignore[arg-type]
    return kind.__qualname__


def size_text(size_bytes: int) -> str:
    """Return a size as people read it.

    Examples
    --------
    >>> size_text(16 * 2**20)
    '16 MB'
    """
    if size_bytes < 1000:
        return f"{size_bytes} bytes"
    return f"{size_bytes / 2**20:.3g} MB" if size_bytes >= 2**20 else f"{size_bytes / 2**10:.3g} kB"
