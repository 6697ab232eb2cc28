"""A decision in code is on what was shown: the question that is meant, and what is told where it is another by now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from kaigents_nb.errors import GateError, InvalidAnswer, KaigentsError, NotYetKnown
from kaigents_nb.gates.answer import Answer
from kaigents_nb.gates.form import Form
from kaigents_nb.gates.question import Question
from kaigents_nb.gates.shown import shown
from kaigents_nb.history.assemble import view_of
from kaigents_nb.history.observers import observed_with_called
from kaigents_nb.history.view import GateView
from kaigents_nb.people.decide import decide, find_question, identified
from kaigents_nb.runtime.connection import Connection


def take(
    connection: Connection,
    run_id: str,
    gate: str | None,
    answer: Callable[[Question], Answer],
    kept: Callable[[], None],
) -> Answer:
    """Decide on the gate that is named, without a name on the one that was shown; see :meth:`Run.approve`.

    Raises
    ------
    GateError
        When it is not what is asked now, or nothing was shown. The error shows what is asked now, so that who calls
        again decides on that.
    """
    try:
        question = connection.run(lambda: find_question(connection, run_id, gate, shown.of(run_id)))
        if question is not None:
            return submit(connection, question, answer(question), kept)
        raise GateError(f"Nothing was decided: what run {run_id!r} asks had not been shown here.")
    except InvalidAnswer:
        raise
    except GateError as error:
        with suppress(KaigentsError):
            if gates := look(connection, run_id):
                error.add_note(f"It asks now:\n\n{told(gates)}\n\nCall again to decide on this.")
        raise


def submit(connection: Connection, question: Question, answer: Answer, kept: Callable[[], None]) -> Answer:
    """Decide on a question as it was shown."""
    sent = identified(answer)  # here: where the server dies over it, it is sent again
    try:
        taken = connection.run(lambda: decide(connection, question, sent, kept))
    except (NotYetKnown, InvalidAnswer):
        raise
    except GateError:
        shown.forget(question)  # who decides is told that it is over
        raise
    shown.forget(question)
    return taken


def look(connection: Connection, run_id: str, timeout_s: float | None = None) -> tuple[GateView, ...]:
    """Return the open gates of a run and of the agents it called, with their details, for somebody to look at.

    Raises
    ------
    TimeoutError
        When the server takes longer than ``timeout_s``.
    """

    async def read() -> tuple[GateView, ...]:
        return (await view_of(await observed_with_called(connection, run_id))).open_gates

    gates = connection.run(read, timeout_s)
    shown.see(run_id, [gate.asked for gate in gates])
    return gates


def told_details(gate: GateView) -> str:
    """Return what a gate shows beside its question, as text."""
    from kaigents_nb.display.blocks_text import text
    from kaigents_nb.display.details import details_blocks

    return text(*details_blocks(gate.details)) if gate.details is not None else ""


def told_form(form: Form) -> str:
    """Return what a form asks for, as text."""
    from kaigents_nb.display.blocks_text import text
    from kaigents_nb.display.run_blocks import form_blocks

    return text(*form_blocks(form))


def told(gates: Sequence[GateView]) -> str:
    """Return open gates as text: questions, details, options, and how to decide."""
    from kaigents_nb.display.blocks_text import text
    from kaigents_nb.display.run_blocks import gates_blocks

    return text(*gates_blocks(gates))
