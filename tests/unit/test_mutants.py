"""Interpreters that do one thing otherwise: the golden histories notice each, or it is said why it is harmless."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.golden.mutants import PACKAGE, Mutant, copied, mutants, noticed

ALL = mutants()
FEW = ("parked counts before waiting", "the last of several decisions counts", "calls are started again last first")
LOOKS_FURTHER = settings.default.max_examples == settings.get_profile("nightly").max_examples


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A copy of the package."""
    with copied() as folder:
        yield folder


@pytest.mark.parametrize("mutant", ALL, ids=[mutant.name for mutant in ALL])
def test_the_table_is_about_the_package_of_today(mutant: Mutant) -> None:
    """What a mutant changes stands there once, and is Python when it is changed."""
    text = (PACKAGE / mutant.file).read_text()
    assert text.count(mutant.old) == 1
    changed = text.replace(mutant.old, mutant.new)
    assert changed != text
    ast.parse(changed)


def test_each_mutant_has_its_own_name() -> None:
    """By which it is chosen, and found in what the command says."""
    assert len({mutant.name for mutant in ALL}) == len(ALL)


@pytest.mark.nightly
@pytest.mark.parametrize(
    "mutant", [one for one in ALL if LOOKS_FURTHER or one.name in FEW], ids=lambda mutant: mutant.name
)
def test_a_mutant_is_noticed_or_harmless(mutant: Mutant, place: Path) -> None:
    """A few each time, with `-m nightly` all: those that no history notices have their reason."""
    by = noticed(mutant, place)
    assert bool(by) != bool(mutant.harmless), by or f"nothing notices that {mutant.name}"
