"""What ``run.result()`` does while the run waits for a person: say so, and ask here where that works.

A cell that blocks keeps most kernels from hearing a click on the card, so waiting in silence would be a trap.
"""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import CancelledError, Future
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from temporalio.service import RPCError

from kaigents_nb.errors import GateError, KaigentsError
from kaigents_nb.gates.question import Question
from kaigents_nb.gates.visible import visible
from kaigents_nb.history.following import Following
from kaigents_nb.history.observers import observed_with_called

if TYPE_CHECKING:
    from kaigents_nb.control.run import Run

_FIRST_LOOK_S = 1.0
_LOOK_EVERY_S = 0.4
"""Less than half of it: what one look has read is told at the next."""
_PATIENCE_S = 1.0
_SHORT_OUTAGE = timedelta(seconds=2)
"""A server that comes back at once is not worth a line."""
_CLICKS_WHILE_AWAITING = (7, 4)
"""From this ipykernel on, a click arrives while a cell awaits."""


class Prompter:
    """Looks now and then for an open gate while somebody waits for the result."""

    def __init__(self, run: Run, *, awaiting: bool = False) -> None:
        self._run = run
        self._awaiting = awaiting
        self._next_look = time.monotonic() + _FIRST_LOOK_S
        self._told: set[tuple[str, str]] = set()
        self._following: Following | None = None
        self._looking: Future[list[Question]] | None = None
        self._outage: datetime | None = None
        """Since when the server was away that was told of."""

    def tick(self, *, force: bool = False) -> None:
        """Look, if it is time; tell once per gate; ask where an answer can be given."""
        if time.monotonic() < self._next_look and not force:
            return
        self._next_look = time.monotonic() + _LOOK_EVERY_S
        if self._awaiting and not _in_old_kernel():
            return
        for gate in self._look():
            if (gate.run_id, gate.gate) not in self._told:
                self._told.add((gate.run_id, gate.gate))
                self._tell(gate)

    def _look(self) -> list[Question]:
        """Return the open gates if the server says so soon; whoever waits for the result is not held up."""
        connection = self._run._connection
        outage = connection.supervisor.outage
        if outage is not None:
            if outage.since != self._outage and datetime.now(UTC) - outage.since > _SHORT_OUTAGE:
                self._outage = outage.since
                print(f"{outage.told}\nWaiting for it; an interrupt ends the waiting, not the run.", flush=True)
            return []
        looking = self._looking = self._looking or connection.post(self._open_gates())
        try:
            gates = looking.result(_PATIENCE_S)
        except (RPCError, KaigentsError, TimeoutError, CancelledError):
            gates = []  # whoever waits for the result is told, or goes on waiting
        if looking.done():
            self._looking = None
        return gates

    async def _open_gates(self) -> list[Question]:
        """The first time ask the server, from then on the run itself says what happens."""
        if self._following is None or self._following.error is not None:
            self.close()
            observer = await observed_with_called(self._run._connection, self._run.id)
            if self._awaiting:
                return observer.open_gates()
            self._following = Following(observer)
            self._following.start()
        else:
            self._following.read_on()
        return self._following.observer.open_gates()

    def close(self) -> None:
        """Look no longer."""
        if self._following is not None:
            self._run._connection.soon(self._following.stop)

    def _tell(self, gate: Question) -> None:
        choices = f" Options: {', '.join(map(visible, gate.options))}." if gate.options else ""
        kernel = _kernel()
        lines = [f"Run {gate.run_id} waits for a decision: {visible(gate.question)}{choices}"]
        if kernel is not None:
            lines.append(
                "Buttons can't be heard while this cell waits: interrupt it (■; the run goes on), decide on the card, "
                "and execute the cell again. Or decide from another notebook (kg.inbox()) or a terminal "
                f"(kaigents-nb approve {gate.run_id})."
            )
        else:
            lines.append(f"Decide in a notebook (kg.inbox()) or a terminal: kaigents-nb approve {gate.run_id}")
        print("\n".join(lines), flush=True)
        if not self._awaiting and _can_ask(kernel):
            self._ask(gate)

    def _ask(self, gate: Question) -> None:
        allowed = [*gate.choices, "reject"]
        answer = input(f"Decide here ({' / '.join(allowed)}), or press Enter to go on waiting: ").strip()
        if not answer:
            return
        try:
            if answer == "reject":
                self._run.reject(gate.gate)
            elif answer in allowed:
                self._run.approve(gate.gate, choice=answer if gate.options else None)
            else:
                print(f"No option {answer!r}; the run goes on waiting.")
        except GateError as error:
            print(error)


def _kernel() -> Any:
    """The kernel this process is, or None for a plain interpreter."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None)


def _in_old_kernel() -> bool:
    if _kernel() is None:
        return False
    version: tuple[Any, ...] = sys.modules["ipykernel"].version_info
    return tuple(version[:2]) < _CLICKS_WHILE_AWAITING


def _can_ask(kernel: Any) -> bool:
    """Whether ``input()`` reaches a person, and may be called from here."""
    if threading.current_thread() is not threading.main_thread():
        return False
    if kernel is not None:
        return bool(getattr(kernel, "_allow_stdin", False))
    return sys.stdin is not None and sys.stdin.isatty()
