"""The command line explains itself, and starts without loading what it does not need."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from kaigents_nb.__main__ import app
from kaigents_nb.cli.arguments import complete_run

RUNNER = CliRunner(env={"COLUMNS": "200", "TERMINAL_WIDTH": "200", "NO_COLOR": "1"})
COMMANDS = {
    "demo", "fake-model", "runs", "show", "history", "inbox", "approve", "answer", "reject", "cancel", "code", "worker",
    "doctor", "server start", "server stop", "server status", "server log", "server backup",
}  # fmt: skip


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """All commands below a group."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


FOUND = list(commands(typer.main.get_command(app)))


def test_commands_are_the_known_ones() -> None:
    """No command comes or goes unnoticed."""
    assert {" ".join(path) for path, _ in FOUND} == COMMANDS


@pytest.mark.parametrize(("path", "command"), FOUND, ids=[" ".join(path) for path, _ in FOUND])
def test_every_command_and_option_is_described(path: tuple[str, ...], command: Any) -> None:
    """The help of a command says what it does and lists each of its options with what it means."""
    shown = RUNNER.invoke(app, [*path, "--help"])
    assert shown.exit_code == 0
    assert command.help and command.help.splitlines()[0].rstrip(".") in " ".join(shown.output.split())
    for parameter in command.params:
        assert parameter.help, parameter.name
        names = [parameter.metavar] if parameter.param_type_name == "argument" else parameter.opts
        for name in names:
            assert name in shown.output
        assert parameter.help.split(":")[0] in " ".join(shown.output.split())


def test_help_loads_nothing_heavy() -> None:
    """Help is there at once: neither the SDK nor pandas is imported for it."""
    code = (
        "import sys; from kaigents_nb.__main__ import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "print([name for name in ('temporalio', 'pandas', 'pyarrow', 'ipywidgets', 'openai') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_wrong_usage_is_told() -> None:
    """An unknown command and options that contradict each other end with code 2, before anything starts."""
    for arguments, words in [
        (["dmeo"], "No such command"),
        (["demo", "--decide", "perhaps"], "perhaps"),
        (["demo", "--decide", "reject", "--choice", "X"], "--choice approves"),
        (["history", "some-run", "--json", "--csv"], "not both"),
        (["history", "some-run", "--steps", "--events"], "you get both"),
    ]:
        shown = RUNNER.invoke(app, arguments)
        assert shown.exit_code == 2
        assert words in " ".join(shown.output.replace("│", " ").split())


def test_completion_never_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Where no server runs, or another one is asked for, a run id is completed with nothing, and nothing starts."""
    monkeypatch.setenv("KAIGENTS_DATA_DIR", str(tmp_path / "nowhere"))
    assert complete_run("s") == []
    monkeypatch.setenv("TEMPORAL_ADDRESS", "temporal.invalid:7233")
    assert complete_run("s") == []
    assert not (tmp_path / "nowhere").exists()
