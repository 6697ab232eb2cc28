"""``kaigents-nb server``: the embedded Temporal server of the data directory."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from kaigents_nb.cli import printing
from kaigents_nb.cli.arguments import AsJson
from kaigents_nb.display import words
from kaigents_nb.server import datadir
from kaigents_nb.server import embedded as server

app = typer.Typer(
    help="The embedded Temporal server: one per data directory (KAIGENTS_DATA_DIR).", no_args_is_help=True
)
_FOLLOW_S = 0.2


@app.command()
def start() -> None:
    """Start the server if it does not run; it stays when this terminal is closed."""
    _describe(server.ensure(datadir.data_dir()))


@app.command()
def stop() -> None:
    """Stop the server, and have nobody revive it. No run is lost: they go on when it is started again."""
    place = datadir.chosen()
    if server.stop(place):
        printing.say("Stopped. Runs go on when it is started again.")
    else:
        printing.say(f"No server runs for {place}.")


@app.command()
def status(as_json: AsJson = False) -> None:
    """Say whether the server runs, and where everything is. The exit code is 1 when it does not answer."""
    found = server.status(datadir.chosen())
    info: server.ServerInfo | None = found["info"]
    if as_json:
        parts = {name: asdict(found[name]) if found[name] else None for name in ("info", "binary")}
        printing.as_json(printing.plain({**found, **parts}))
    elif info is not None:
        _describe(info)
        printing.say(f"up for      {words.duration(found['uptime_s'])}")
        printing.say(f"database    {found['database']} ({(found['database_bytes'] or 0) / 2**20:.1f} MB)")
        printing.say(f"log         {found['log']}")
    else:
        printing.say(f"{'Runs, but does not answer' if found['running'] else 'Not running'}: {found['data_dir']}")
        printing.say(found["problem"] or "`kaigents-nb doctor` says more; `kaigents-nb server start` starts it.")
    if info is None:
        raise typer.Exit(1)


@app.command()
def log(
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the last lines.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written; Ctrl-C ends it.")] = False,
) -> None:
    """Show what the server says."""
    path = datadir.chosen() / datadir.LOG
    if not path.is_file():
        raise printing.fail(f"No log {path}: no server was started there yet.")
    with contextlib.suppress(KeyboardInterrupt):
        for line in _lines(path, lines, follow=follow):
            printing.say(line.rstrip("\n"))


@app.command()
def backup(
    target: Annotated[
        Path, typer.Argument(metavar="TARGET", help="A directory; the backup is a new directory in it.")
    ] = Path(),
) -> None:
    """Save the database, big values and the signing key while runs go on."""
    saved = server.backup(datadir.chosen(), target)
    printing.say(str(saved))
    printing.say("It can be used as KAIGENTS_DATA_DIR. It holds the signing key: keep it private.", stderr=True)


def _describe(info: server.ServerInfo) -> None:
    printing.say(f"server      Temporal {info.version} at {info.address}, process {info.pid}")
    printing.say(f"web UI      {info.ui_url}")
    printing.say(f"durability  {info.durability}")
    printing.say(f"data        {info.data_dir}")


def _lines(path: Path, last: int, *, follow: bool) -> Iterator[str]:
    while True:
        with path.open(encoding="utf-8", errors="replace") as file:
            yield from deque(file, maxlen=last)
            while follow and not _replaced(path, file.fileno()):
                yield from file
                time.sleep(_FOLLOW_S)
            yield from file
        if not follow:
            return
        last = sys.maxsize  # the server was started again and has begun a new log: all of it


def _replaced(path: Path, descriptor: int) -> bool:
    try:
        return path.stat().st_ino != os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False
