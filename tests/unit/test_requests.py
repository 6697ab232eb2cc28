"""How a difference between what was recorded and what a replay asks for is put into words."""

from __future__ import annotations

import pytest

from kaigents_nb.runtime.requests import beside


@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        ("1", "2", "was 1, and is 2 now"),
        ("nothing", "[1]", "was nothing, and is [1] now"),
        ("DataFrame 1 × 1: a", "DataFrame 1 × 1: a", "was DataFrame 1 × 1: a, and has another content now"),
        ("a" * 500 + "b", "a" * 500 + "c", f"was …{'a' * 40}b, and is …{'a' * 40}c now"),
        ("b" + "a" * 500, "c" + "a" * 500, f"was b{'a' * 119}…, and is c{'a' * 119}… now"),
    ],
)
def test_both_values_are_shown_where_they_part(was: str, now: str, said: str) -> None:
    """Short ones whole, long ones about the place; where the texts do not tell them apart, that is said."""
    assert beside(was, now) == said
