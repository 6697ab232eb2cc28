"""Text of a gate as a person must see it: no sign of it vanishes, hides another, or looks like nothing."""

from __future__ import annotations

import re
import unicodedata

LABEL_CHARS = 60
"""So much of an option a button shows."""

# Blank to the eye though they are letters or symbols, and joiners and selectors that are drawn as nothing.
_BLANK = (
    "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u2800\u2d7f\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8"
    "\U00013441\U00013442\U00016fe4\U0001d159\U000e0000-\U000e0fff"
)
_LOOKED_AT = re.compile(rf"[^ -~\n]|[{_BLANK}]")
_MARKS = 5
"""More marks on one letter than any script needs are drawn over what stands around them."""
_PLAIN_LETTERS = ("L", "M", "N", "P", "S")


def visible(text: str) -> str:
    r"""Return text in which everything that would not be seen stands as its escape.

    Carriage returns and other control signs, signs that change the direction of reading, spaces that are not the
    plain one, signs that are drawn as nothing, and marks heaped over each other. Lines stay lines.

    Examples
    --------
    >>> visible("Pay 5,000,000 to Evil?\rPay 5")
    'Pay 5,000,000 to Evil?\\rPay 5'
    """
    told = _LOOKED_AT.sub(_shown, text)
    return told if told.isascii() else _without_heaps(told)


def label(option: str) -> str:
    """Return an option as a button shows it: on one line, shortened."""
    one = " ".join(visible(option).split()) or "(blank)"
    return one if len(one) <= LABEL_CHARS else one[: LABEL_CHARS - 1] + "…"


def same_labels(options: tuple[str, ...]) -> tuple[str, str] | None:
    """Return two options that a person could not tell apart, if there are any."""
    seen: dict[str, str] = {}
    for option in options:
        key = unicodedata.normalize("NFKC", label(option)).casefold()
        if key in seen:
            return seen[key], option
        seen[key] = option
    return None


def _without_heaps(text: str) -> str:
    """Return text with its marks told where there is nothing to put them on, or too many of them."""
    signs: list[str] = []
    room = 0
    for sign in text:
        if unicodedata.category(sign)[0] != "M":
            room = 0 if sign in " \n" else _MARKS
        elif room == 0:
            sign = _escape(sign)
        else:
            room -= 1
        signs.append(sign)
    return "".join(signs)


def _escape(sign: str) -> str:
    return sign.encode("unicode_escape").decode() if not 0xD800 <= ord(sign) <= 0xDFFF else f"\\u{ord(sign):04x}"


def _shown(found: re.Match[str]) -> str:
    sign = found[0]
    seen = unicodedata.category(sign)[0] in _PLAIN_LETTERS and not re.match(rf"[{_BLANK}]", sign)
    return sign if seen else _escape(sign)
