"""The README names everything that a user can call, and nothing that is not there."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import typer

import kaigents_nb as kg
from kaigents_nb.__main__ import app
from tests.support import ROOT

README = (ROOT / "README.md").read_text()


def commands(group: Any, path: str = "kaigents-nb") -> Iterator[str]:
    """All commands, as they are typed."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}"


def is_error(name: str) -> bool:
    """Whether a public name is an error class."""
    found = getattr(kg, name)
    return isinstance(found, type) and issubclass(found, BaseException)


@pytest.mark.parametrize("command", list(commands(typer.main.get_command(app))))
def test_every_command_is_in_the_readme(command: str) -> None:
    """Each command of the command line is in the README."""
    assert re.search(rf"{command}\b", README)


@pytest.mark.parametrize("name", [name for name in kg.__all__ if not is_error(name)])
def test_every_public_name_is_in_the_readme(name: str) -> None:
    """Each public name is in the README as it is written in a cell."""
    assert re.search(rf"\bkg\.{name}\b", README)


def test_readme_names_only_what_there_is() -> None:
    """Names, methods, files and settings that the README speaks of exist."""
    for name in re.findall(r"\bkg\.(\w+)", README):
        assert name in kg.__all__, f"kg.{name}"
    for name in re.findall(r"(?<!/)\brun\.(\w+)", README):
        assert hasattr(kg.Run, name) or name == "id", f"run.{name}"
    for path in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / path).is_file(), path
    sources = "\n".join(path.read_text() for path in (ROOT / "kaigents_nb").rglob("*.py"))
    for name in re.findall(r"KAIGENTS_[A-Z_]+", README):
        assert name in sources, name


def test_second_command_is_the_ci() -> None:
    """What the README says to run is what CI runs, and it is a program that bash can read."""
    assert "bash .ci/run" in README
    subprocess.run(["bash", "-n", str(ROOT / ".ci/run")], check=True)


def test_changelog_has_this_version_or_is_unreleased() -> None:
    """The changelog has a section for what is in the tree."""
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings and headings[0] in ("Unreleased", kg.__version__)
