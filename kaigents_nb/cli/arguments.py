"""Arguments and options that several commands share, and what a shell completes them with."""

from __future__ import annotations

from typing import Annotated

import typer

from kaigents_nb.runtime.environment import names_cluster
from kaigents_nb.server import datadir
from kaigents_nb.server import http as server_http
from kaigents_nb.server import process as server_process

_COMPLETED = 50


def complete_run(incomplete: str) -> list[str]:
    """Return the newest run ids that begin so; nothing, and never an error, when the server can't say."""
    # The embedded server is asked over HTTP, and not started: the SDK alone takes longer to import than one types.
    try:
        if names_cluster():
            return []
        process = server_process.current(datadir.chosen().resolve())
        facts = process and process.facts
        known = server_http.newest_runs(facts.http_port, _COMPLETED) if facts else []
        return [run_id for run_id in known if run_id.startswith(incomplete)]
    except Exception:  # noqa: BLE001 - a shell has no place for an error while somebody types
        return []


RunId = Annotated[
    str,
    typer.Argument(metavar="RUN", help="Its id, as `kaigents-nb runs` shows it.", autocompletion=complete_run),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
Gate = Annotated[
    str | None,
    typer.Option(
        "--gate",
        metavar="GATE",
        help="Token, number or question of the gate, as in the inbox; without it you see the gate and are asked.",
    ),
]
Comment = Annotated[str, typer.Option("--comment", "-m", metavar="TEXT", help="Why; kept with the decision.")]
By = Annotated[
    str | None, typer.Option("--by", metavar="NAME", help="Who decides; default: the JupyterHub or system user.")
]
