"""The command line: thin over the rooms below, and quick to start, for those load what they need when it is used."""

from __future__ import annotations

from typing import Annotated

import typer

from kaigents_nb import __version__
from kaigents_nb.cli import printing, server
from kaigents_nb.cli.doctor import doctor
from kaigents_nb.cli.people import answer, approve, inbox, reject
from kaigents_nb.cli.runs import cancel, code, history, runs, show
from kaigents_nb.cli.worker import worker

app = typer.Typer(
    name="kaigents-nb",
    help="Durable agents written in notebook cells, run on Temporal.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,  # __main__ says what went wrong
)

for command in (runs, show, history, inbox, approve, answer, reject, cancel, code, worker, doctor):
    app.command()(command)
app.add_typer(server.app, name="server")


def _version(wanted: bool) -> None:
    if wanted:
        printing.say(f"kaigents-nb {__version__}")
        raise typer.Exit


@app.callback()
def _before(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    # Both are read elsewhere: `--debug` by __main__, which an error reaches.
    del debug, version
