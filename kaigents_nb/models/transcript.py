"""A conversation in the store: each request a node that knows the one before, so that each item is kept once."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence

from kaigents_nb.errors import ConversionError
from kaigents_nb.models.items import Item

_BEFORE, _ITEMS = "before", "items"


def add(keep: Callable[[bytes], str], before: str, items: Sequence[Item]) -> str:
    """Save items that follow a node and return the new node's name."""
    node = {_BEFORE: before, _ITEMS: items}
    return keep(json.dumps(node, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass"))


def items(kept: Callable[[str], bytes], name: str) -> list[Item]:
    """Return the whole conversation up to a node, oldest first.

    Raises
    ------
    ConversionError
        When a part of it is missing or was altered.
    """
    nodes: list[tuple[Item, ...]] = []
    while name:
        name, found = _node(kept(name))
        nodes.append(found)
    return [item for found in reversed(nodes) for item in found]


@functools.lru_cache(maxsize=256)
def _node(data: bytes) -> tuple[str, tuple[Item, ...]]:
    try:
        node = json.loads(data)
        return str(node[_BEFORE]), tuple(node[_ITEMS])
    except (ValueError, LookupError, TypeError):
        raise ConversionError("What was saved under the name of a conversation is none.") from None
