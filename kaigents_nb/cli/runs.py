"""``kaigents-nb runs, show, history, code, cancel``: look at runs from a terminal."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import kaigents_nb as kg
from kaigents_nb.cli import printing
from kaigents_nb.cli.arguments import AsJson, RunId
from kaigents_nb.display import blocks_text, words
from kaigents_nb.display.run_blocks import run_blocks


def runs(
    status: Annotated[
        str | None,
        typer.Option(help="running, waiting, parked, completed, failed, cancelled, terminated or timed out."),
    ] = None,
    agent: Annotated[str | None, typer.Option(help="Only runs of this agent.")] = None,
    since: Annotated[str | None, typer.Option(help="Started after a time, or how long ago: '2 days'.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many, newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the runs on the server, newest first."""
    found = kg.runs(agent, status=status, since=since, limit=limit)
    if as_json:
        return printing.as_json(printing.records(found))
    if found.empty:
        return printing.say("No runs." if status is agent is since is None else "No such runs.")
    rows = (
        (row.run_id, row.agent, row.status, row.started, printing.seconds(row.duration_s), row.waits_for)
        for row in found.itertuples()
    )
    return printing.table(
        rows, ("run_id", "agent", "status", "started", "duration", "waits_for"), numbers=("duration",)
    )


def show(run_id: RunId) -> None:
    """Show a run as its card: state, steps, output, errors, and the gate that is open."""
    view = kg.run(run_id).view()
    printing.say(blocks_text.text(run_blocks(view)))
    if view.open_gates:
        for gate in view.open_gates:
            asker = gate.run_id or run_id
            printing.say(f"\nIn a terminal: {printing.program()} approve {asker} --gate {gate.asked.token}, or reject")


def history(
    run_id: RunId,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV: the steps, or with --events the events.")] = False,
    only_steps: Annotated[bool, typer.Option("--steps", help="Only the steps.")] = False,
    only_events: Annotated[bool, typer.Option("--events", help="Only the server's events.")] = False,
) -> None:
    """Print the timeline of a run, its steps and the server's events."""
    if as_json and as_csv:
        raise typer.BadParameter("JSON or CSV, not both.")
    if only_steps and only_events:
        raise typer.BadParameter("Without --steps and --events you get both.")
    run = kg.run(run_id)
    if as_csv:
        table = run.events() if only_events else run.steps()
        return printing.say(table.to_csv(index=False).rstrip("\n"))
    if as_json:
        tables = {} if only_events else {"steps": printing.records(run.steps())}
        if not only_steps:
            tables["events"] = printing.records(run.events())
        return printing.as_json({"run_id": run_id, **tables})
    if not (only_steps or only_events):
        printing.say(f"{run.timeline()}\n")
    if not only_events:
        print_steps(run)
    if not only_steps:
        events = run.events()[["event_id", "time", "type", "step", "attempt", "detail"]]
        rows = events.itertuples(index=False)
        printing.table(rows, list(events.columns), numbers=("event_id", "attempt"))
    return None


def print_steps(run: kg.Run) -> None:
    """Print the steps of a run as a table."""
    rows = (
        (
            row.step,
            row.status,
            row.attempts,
            row.started,
            printing.seconds(row.duration_s),
            printing.seconds(row.waited_s),
            row.worker,
            words.headline(str(row.error)),
        )
        for row in run.steps().itertuples()
    )
    columns = ("step", "status", "attempts", "started", "duration", "waited", "worker", "error")
    printing.table(rows, columns, numbers=("attempts", "duration", "waited"))


def code(run_id: RunId) -> None:
    """Print the code that a run carries, as a readable module."""
    source = kg.run(run_id).code()
    if not sys.stdout.isatty():
        return printing.say(source.rstrip("\n"))
    from rich.syntax import Syntax

    return printing.console().print(Syntax(source, "python", background_color="default"))


def cancel(run_id: RunId) -> None:
    """Ask a run to stop; its agent can tidy up first."""
    run = kg.run(run_id)
    view = run.view()
    if view.closed:
        raise printing.fail(f"Run {run_id!r} has ended already: it is {view.status}.")
    run.cancel()
    printing.say(f"Asked {run_id} to stop.")
