"""``kaigents-nb worker``: execute runs in a process of its own."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

import kaigents_nb as kg
from kaigents_nb.cli import printing
from kaigents_nb.runtime.queue import task_queue

_LOOK_EVERY_S = 3.0


def worker(
    queue: Annotated[
        list[str] | None,
        typer.Option("--queue", "-q", metavar="QUEUE", help="Serve this task queue; may be given several times."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also adopt each queue with open runs that no other worker serves.")
    ] = False,
    until_eof: Annotated[
        bool, typer.Option("--until-eof", help="Leave when standard input ends: with the program that started this.")
    ] = False,
) -> None:
    """Execute runs until Ctrl-C or SIGTERM; without options those of this directory.

    Several workers may serve one queue. A step that is under way when this worker leaves is given to the next.
    """
    # Runs of before modules beside the notebook travelled look for them here, as in a notebook of this directory.
    if str(Path.cwd()) not in sys.path and "" not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    leave = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, *([signal.SIGHUP] if sys.platform != "win32" else [])):
        signal.signal(number, lambda *_: leave.set())
    if until_eof:
        threading.Thread(target=_read_to_end, args=(leave,), name="stdin", daemon=True).start()

    connection = kg.connect()
    queues = dict.fromkeys(queue or ([] if everything else [task_queue()]))
    for name in queues:
        _serve(connection, name)
    if everything:
        printing.say("Adopting queues that nobody serves.")
    told: dict[str, str] = {}
    while not leave.is_set():
        if everything:
            for name in _orphans(connection):
                queues[name] = None
                _serve(connection, name)
        leave.wait(_LOOK_EVERY_S)
        for name in queues:
            if (problem := connection.worker_problem(name)) != told.get(name, ""):
                told[name] = problem
                printing.say(problem or f"Serving {name} again.", stderr=True)
    printing.say("Leaving; what was under way goes to the next worker.")


def _serve(connection: kg.Connection, queue: str) -> None:
    connection.serve(queue, explicit=True)
    printing.say(f"Serving {queue} at {connection.address}.")


def _orphans(connection: kg.Connection) -> list[str]:
    from kaigents_nb.control.orphans import orphaned_queues

    try:
        return connection.run(lambda: orphaned_queues(connection))
    except kg.KaigentsError as error:
        printing.say(str(error), stderr=True)
        return []


def _read_to_end(leave: threading.Event) -> None:
    try:
        sys.stdin.buffer.read()
    finally:
        leave.set()
