"""``kaigents-nb demo``: the sourcing agent from start to end, with a person in between, and a crash if wanted."""

from __future__ import annotations

import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

import kaigents_nb as kg
from kaigents_nb.cli import printing
from kaigents_nb.cli.runs import print_steps
from kaigents_nb.demo.ledger import Entry, read_ledger
from kaigents_nb.demo.own_worker import OwnWorker
from kaigents_nb.demo.screen import Screen, can_ask, show_gate
from kaigents_nb.display.blocks_text import lines
from kaigents_nb.display.details import details_blocks
from kaigents_nb.errors import GateError, KaigentsError
from kaigents_nb.gates.answer import Answer
from kaigents_nb.history.view import GateView, RunView
from kaigents_nb.runtime.queue import task_queue

_PACE_S = 0.15
"""How long the analysis takes over a supplier, so that there is something to watch, or to kill."""
_CRASH_PACE_S = 0.3
_LOOK_EVERY_S = 0.15
_KILLED_STEP = "analyze_tariffs"
_INTERRUPTED = 130
_VARIABLE_CHARS = 100


class Verdict(StrEnum):
    """What ``--decide`` takes."""

    approve = "approve"
    reject = "reject"


def demo(
    decide: Annotated[
        Verdict | None, typer.Option("--decide", help="Decide at the gate without asking; needs no terminal.")
    ] = None,
    crash: Annotated[
        bool, typer.Option("--crash", help="Kill the worker in the middle of a step, and go on with another.")
    ] = False,
    product: Annotated[str, typer.Option("--product", metavar="NAME", help="What to buy.")] = "solar panel",
    suppliers: Annotated[
        Path | None, typer.Option("--suppliers", metavar="FILE", help="A CSV of quotes instead of the sample.")
    ] = None,
    duties: Annotated[
        Path | None, typer.Option("--duties", metavar="FILE", help="A CSV of duty rates instead of the sample.")
    ] = None,
    choice: Annotated[
        str | None,
        typer.Option("--choice", metavar="SUPPLIER", help="Approve this supplier; without it the cheapest."),
    ] = None,
    outbox: Annotated[
        Path, typer.Option("--outbox", metavar="DIR", help="Where the letter to the manufacturer goes.")
    ] = Path("outbox"),
) -> None:
    """Run the sourcing agent: search suppliers, analyze tariffs, wait for a person, contact the manufacturer.

    It runs on a real Temporal server, which is started if there is none, and stops at the gate to ask you.
    """
    if choice is not None and decide is Verdict.reject:
        raise typer.BadParameter("--choice approves a supplier, --decide reject does not.")
    # The agent brings pandas along: it is loaded when it is run, not when somebody asks for help.
    from kaigents_nb.demo.sourcing import check_inputs, sourcing_agent

    inputs = check_inputs(product, suppliers, duties, outbox)
    if choice is not None:
        _check_choice(choice, inputs)
    verdict = decide or (Verdict.approve if choice else None)
    ledger = Path(tempfile.gettempdir()) / f"kaigents-demo-{uuid.uuid4().hex[:12]}.txt" if crash else None

    for number in (signal.SIGTERM, *([signal.SIGHUP] if sys.platform != "win32" else [])):
        signal.signal(number, signal.default_int_handler)  # so that our worker is ended, too
    with OwnWorker(task_queue()) as worker:  # gets ready while the server starts
        connection = kg.connect()
        printing.say(f"Server at {connection.address}" + (f", web UI {connection.ui_url}" if connection.ui_url else ""))
        pace_s = _CRASH_PACE_S if crash else _PACE_S
        run: kg.Run = sourcing_agent.start(**inputs, pace_s=pace_s, ledger=str(ledger) if ledger else None)
        printing.say(f"Run {run.id}, executed by worker process {worker.pid}\n")
        screen = Screen()
        try:
            _execute(run, worker, screen, verdict, choice, ledger)
        except (KeyboardInterrupt, EOFError):
            screen.pause()
            printing.say("\nThis demo is over; the run is not. " + _come_back(run.id), stderr=True)
            raise typer.Exit(_INTERRUPTED) from None
        finally:
            screen.pause()
    if ledger is not None:
        _prove(run, ledger)
    if connection.embedded:
        printing.say(f"\nThe server stays, so that you can look back; `{printing.program()} server stop` ends it.")


def _execute(
    run: kg.Run, worker: OwnWorker, screen: Screen, verdict: Verdict | None, choice: str | None, ledger: Path | None
) -> None:
    """Follow the run to its end, through the crash and the gate."""
    if ledger is not None:
        _crash(run, worker, screen, ledger)
    decided: list[GateView] = []
    while not (view := _until(run, worker, screen, lambda view: bool(_undecided(view, decided)))).closed:
        gate = _undecided(view, decided)[0]
        screen.pause()
        if verdict is not None:
            show_gate(gate)
            answer = gate.asked.answer(verdict is Verdict.approve, choice=choice or next(iter(gate.options), None))
        elif can_ask():
            answer = screen.ask(gate)
        else:
            show_gate(gate)
            raise printing.fail(
                "\nNobody can be asked here: this is no terminal. Give --decide approve or --decide reject. "
                + _come_back(run.id, gate),
                code=2,
            )
        _decide(run, gate, answer)
        decided.append(gate)
    screen.pause()
    result = run.result()  # raises what went wrong
    printing.say("\nResult")
    for line in lines(*details_blocks(result)):
        printing.say(f"  {line}")
    printing.say("\nSteps: run.steps()")
    print_steps(run)
    for gate in decided:
        _look_back(run, gate)


def _until(run: kg.Run, worker: OwnWorker, screen: Screen, reached: Callable[[RunView], bool]) -> RunView:
    """Show the run until something is reached, or it has ended."""
    while True:
        worker.check()
        view = run.view()
        screen.show(view)
        if view.closed or reached(view):
            return view
        time.sleep(_LOOK_EVERY_S)


def _undecided(view: RunView, decided: list[GateView]) -> list[GateView]:
    known = {gate.gate for gate in decided}
    return [gate for gate in view.open_gates if gate.gate not in known]


def _look_back(run: kg.Run, gate: GateView) -> None:
    """Show what the agent knew when it asked."""
    from kaigents_nb.values.brief import brief

    moment = run.at(step=gate.question)
    printing.say(f"\nVariables at the gate: run.at(event_id={moment.event_id}).variables")
    for name, value in moment.variables.items():
        printing.say(f"  {name} = {brief(value, _VARIABLE_CHARS)}")


def _decide(run: kg.Run, gate: GateView, answer: Answer) -> None:
    try:
        taken = run.submit_answer(gate.asked, answer)
    except GateError as error:  # somebody else was quicker: from a notebook, or another terminal
        printing.say(str(error))
    else:
        printing.say(f"\n{'Approved: ' + taken.choice if taken.approved else 'Rejected'}, by {taken.by}\n")


def _crash(run: kg.Run, worker: OwnWorker, screen: Screen, ledger: Path) -> None:
    """Kill the worker while it is half way through a step, and start another."""
    if _until(run, worker, screen, lambda _: any(it.step == _KILLED_STEP for it in read_ledger(ledger))).closed:
        return
    time.sleep(2 * _CRASH_PACE_S)
    pid = worker.kill()
    worker.start()
    screen.say(f"\nKilled worker process {pid} with SIGKILL in the middle of {_KILLED_STEP}.")
    screen.say(f"Worker process {worker.pid} goes on when the server has noticed, which takes some seconds.\n")


def _prove(run: kg.Run, ledger: Path) -> None:
    """Show from the ledger, which the steps wrote outside Temporal, that no finished step ran twice."""
    entries = read_ledger(ledger)
    ledger.unlink(missing_ok=True)
    printing.say("\nLedger that the steps wrote themselves")
    printing.table(entries, Entry._fields)
    ends = [entry.step for entry in entries if entry.event == "ends"]
    twice = sorted({step for step in ends if ends.count(step) > 1})
    if twice:
        raise KaigentsError(f"Finished steps of run {run.id} ran twice: {', '.join(twice)}.")
    again = sum(entry.event == "begins" for entry in entries) - len(ends)
    printing.say(f"No finished step ran twice. {again} attempt was killed with its worker and made again.")


def _check_choice(choice: str, inputs: dict[str, Any]) -> None:
    from kaigents_nb.demo.tables import quotes_for, read_suppliers

    known = list(quotes_for(inputs["product"], read_suppliers(inputs["suppliers_csv"]))["supplier"])
    if choice not in known:
        raise typer.BadParameter(f"No quote of {choice!r} for {inputs['product']}. Known: {', '.join(known)}.")


def _come_back(run_id: str, gate: GateView | None = None) -> str:
    choice = f" --choice '{gate.options[0]}'" if gate is not None and gate.options else ""
    named = f" --gate {gate.asked.token}" if gate is not None else ""
    program = printing.program()
    return (
        f"Run {run_id} goes on waiting, for as long as you like:\n"
        f"  {program} show {run_id}\n"
        f"  {program} approve {run_id}{choice}{named}    (or reject)\n"
        f"  {program} worker    (in this directory: executes what is left)"
    )
