"""``kaigents-nb inbox, approve, answer, reject``: decide from a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

import kaigents_nb as kg
from kaigents_nb.cli import printing
from kaigents_nb.cli.arguments import AsJson, By, Comment, Gate, RunId
from kaigents_nb.errors import GateError, InvalidAnswer
from kaigents_nb.gates.answer import APPROVE, REJECT, VALUE, Answer
from kaigents_nb.gates.question import Question
from kaigents_nb.gates.schema import short
from kaigents_nb.gates.visible import visible


def inbox(as_json: AsJson = False) -> None:
    """List what waits for a decision, over all runs, longest waiting first."""
    gates = kg.pending()
    if as_json:
        return printing.as_json(printing.records(gates))
    if gates.empty:
        return printing.say("No decision is waiting.")
    columns = ["run_id", "gate", "token", "opened", "question", "options"]
    printing.table(gates[columns].itertuples(index=False), columns)
    return printing.say(
        f"{printing.program()} show RUN has the details; approve, answer or reject RUN --gate TOKEN decides."
    )


def approve(
    run_id: RunId,
    choice: Annotated[
        str | None, typer.Option("--choice", metavar="OPTION", help="One of the gate's options, where it has some.")
    ] = None,
    gate: Gate = None,
    comment: Comment = "",
    by: By = None,
) -> None:
    """Approve at the gate where a run waits; the run goes on.

    Without --gate the question is shown with its options and details, and a person is asked whether to go ahead: the
    decision is on what was shown, and on nothing that the run asks by then.
    """
    _decide(run_id, gate, lambda asked: asked.answer(True, choice=choice, comment=comment, by=by or ""))


def answer(
    run_id: RunId,
    value: Annotated[
        str,
        typer.Argument(
            metavar="VALUE", help="Text, a number, yes or no, a date; JSON for several fields; @FILE reads it."
        ),
    ],
    gate: Gate = None,
    comment: Comment = "",
    by: By = None,
) -> None:
    """Give the value that a gate asks for; what does not fit is refused, with the field, and the gate stays open.

    Without --gate it is shown first, as for approve. A value that begins with @ is written @@.
    """
    text = _text_of(value)

    def given(asked: Question) -> Answer:
        return asked.answered(text if asked.form is None else asked.form.read(text), comment=comment, by=by or "")

    _decide(run_id, gate, given)


def _text_of(value: str) -> str:
    """Return what was typed, or stands in the file that was named."""
    if not value.startswith("@") or value.startswith("@@"):
        return value[1:] if value.startswith("@@") else value
    try:
        return Path(value[1:]).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise printing.fail(f"Nothing was decided: {value[1:]!r} can't be read ({error}).") from None


def reject(run_id: RunId, gate: Gate = None, comment: Comment = "", by: By = None) -> None:
    """Reject at the gate where a run waits; the agent goes on as it was written for that.

    Without --gate it is shown first, as for approve.
    """
    _decide(run_id, gate, lambda asked: asked.answer(False, comment=comment, by=by or ""))


def _decide(run_id: str, gate: str | None, answer: Callable[[Question], Answer]) -> None:
    from kaigents_nb.control.approval import look, submit, take, told

    connection = kg.connect()
    kept = partial(printing.say, "The server keeps the decision; whether it counts is known when a worker answers.")
    gates = look(connection, run_id) if gate is None else ()
    try:
        if len(gates) != 1:
            _tell(run_id, take(connection, run_id, gate, answer, kept))
            return
        asked = gates[0].asked
        given = answer(asked)
        printing.say(told(gates))
        if not gates[0].complete:
            raise printing.fail(f"\nNothing was decided: the details can't be seen here. Blindly: --gate {asked.token}")
        _confirm(run_id, asked, given)
        _tell(run_id, submit(connection, asked, given, kept))
    except InvalidAnswer:
        raise
    except GateError as error:
        # What is asked now is shown, so that nobody decides on it unseen the next time.
        if open_now := look(connection, run_id):
            printing.say(f"\nThe run asks now:\n{told(open_now)}\nToken: {open_now[0].asked.token}", stderr=True)
        raise error from None


def _confirm(run_id: str, asked: Question, given: Answer) -> None:
    """Ask whether to decide on what was just shown; without a terminal say how to name it."""
    verb = "reject" if not given.approved else "answer" if given.is_value else "approve"
    value = " VALUE" if given.is_value else ""
    if not (sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()):
        raise printing.fail(
            "\nNothing was decided: this is no terminal, so nobody can be asked whether this is what is meant. Say so: "
            f"{printing.program()} {verb} {run_id}{value} --gate {asked.token}"
        )
    what = verb if given.choice in (APPROVE, REJECT) else f"{verb} with {visible(given.choice)}"
    if given.is_value:
        what = f"answer {short(given.values[VALUE])}"
    if input(f"{what[0].upper()}{what[1:]}? [y/N] ").strip().casefold() not in ("y", "yes"):
        raise printing.fail("Nothing was decided.")


def _tell(run_id: str, decision: Answer) -> None:
    if not decision.approved:
        told = "Rejected"
    elif decision.is_value:
        told = f"Answered: {short(decision.values[VALUE])}"
    else:
        told = "Approved" if decision.choice == APPROVE else f"Approved: {visible(decision.choice)}"
    printing.say(f"{told}, by {visible(decision.by)}.")
    from kaigents_nb.control.orphans import adoptable_queue

    connection = kg.connect()
    if queue := connection.run(lambda: adoptable_queue(connection, run_id)):
        printing.say(
            "The decision is saved. No worker serves the run now; it goes on when its notebook is opened, or with: "
            f"{printing.program()} worker --queue {queue}"
        )
