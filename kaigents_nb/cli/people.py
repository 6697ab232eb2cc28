"""``kaigents-nb inbox, approve, reject``: decide from a terminal."""

from __future__ import annotations

from typing import Annotated

import typer

import kaigents_nb as kg
from kaigents_nb.cli import printing
from kaigents_nb.cli.arguments import AsJson, By, Comment, Gate, RunId


def inbox(as_json: AsJson = False) -> None:
    """List what waits for a decision, over all runs, longest waiting first."""
    gates = kg.pending()
    if as_json:
        return printing.as_json(printing.records(gates))
    if gates.empty:
        return printing.say("No decision is waiting.")
    rows = ((gate.run_id, gate.gate, gate.opened, gate.question, gate.options) for gate in gates.itertuples())
    printing.table(rows, ("run_id", "gate", "opened", "question", "options"))
    return printing.say(f"{printing.program()} show RUN has the details; approve RUN or reject RUN decides.")


def approve(
    run_id: RunId,
    choice: Annotated[
        str | None, typer.Option("--choice", metavar="OPTION", help="One of the gate's options, where it has some.")
    ] = None,
    gate: Gate = None,
    comment: Comment = "",
    by: By = None,
) -> None:
    """Approve at the gate where a run waits; the run goes on."""
    _tell(run_id, kg.run(run_id).approve(gate, choice=choice, comment=comment, by=by))


def reject(run_id: RunId, gate: Gate = None, comment: Comment = "", by: By = None) -> None:
    """Reject at the gate where a run waits; the agent goes on as it was written for that."""
    _tell(run_id, kg.run(run_id).reject(gate, comment=comment, by=by))


def _tell(run_id: str, decision: kg.Decision) -> None:
    if not decision.approved:
        told = "Rejected"
    else:
        told = "Approved" if decision.choice == "approve" else f"Approved: {decision.choice}"
    printing.say(f"{told}, by {decision.by}.")
    from kaigents_nb.control.orphans import adoptable_queue

    connection = kg.connect()
    if queue := connection.run(lambda: adoptable_queue(connection, run_id)):
        printing.say(
            "The decision is saved. No worker serves the run now; it goes on when its notebook is opened, or with: "
            f"{printing.program()} worker --queue {queue}"
        )
