"""What ``run.result()`` does while the run waits for a person: say so, and ask here where that works.

A cell that blocks keeps its kernel from other cells and from clicks on the card, whatever it blocks with: waiting in
silence would be a trap. So it asks; the question goes away when somebody decides elsewhere or the time is over, and in
a notebook an empty answer ends the cell.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from temporalio.service import RPCError

from kaigents_nb.control.approval import look, submit, told_details, told_form
from kaigents_nb.control.asking import ask
from kaigents_nb.errors import GateError, InvalidAnswer, RunTimeout, ServerError
from kaigents_nb.gates.answer import REJECT, Answer
from kaigents_nb.gates.question import Question
from kaigents_nb.gates.visible import visible
from kaigents_nb.history.following import Following
from kaigents_nb.history.observers import observed_with_called
from kaigents_nb.history.view import GateView

if TYPE_CHECKING:
    from kaigents_nb.control.run import Run

_FIRST_LOOK_S = 1.0
_LOOK_EVERY_S = 0.4
"""Less than half of it: what one look has read is told at the next."""
_ANSWER_S = 2.0
"""So long may the server take to say what is open: the wait for the result may have an end."""
_SHORT_OUTAGE = timedelta(seconds=2)
"""A server that comes back at once is not worth a line."""
_CLICKS_WHILE_AWAITING = (7, 4)
"""From this ipykernel on, a click arrives while a cell awaits."""


class Prompter:
    """Looks now and then for an open gate while somebody waits for the result; ``over`` says that nobody does."""

    def __init__(self, run: Run, *, over: Callable[[], bool] = lambda: False, awaiting: bool = False) -> None:
        self._run = run
        self._over = over
        self._awaiting = awaiting
        self._next_look = time.monotonic() + _FIRST_LOOK_S
        self._told: set[tuple[str, str]] = set()
        self._following: Following | None = None
        self._outage: datetime | None = None
        """Since when the server was away that was told of."""

    def tick(self, *, force: bool = False) -> None:
        """Look, if it is time; tell once per gate; ask where an answer can be given."""
        if time.monotonic() < self._next_look and not force:
            return
        self._next_look = time.monotonic() + _LOOK_EVERY_S
        if self._awaiting and not _in_old_kernel():
            return
        if all((gate.run_id, gate.token) in self._told for gate in self._open() or ()):
            return
        try:
            gates = look(self._run._connection, self._run.id, _ANSWER_S)
        except (TimeoutError, ServerError, RPCError):
            return  # told when the server is back
        for gate in gates:
            key = (gate.asked.run_id, gate.asked.token)
            if key not in self._told and not self._over():
                self._told.add(key)
                self._tell(gate)

    def _open(self) -> list[Question] | None:
        """Return what is open; None where the server does not say."""
        if self.tell_outage():
            return None
        try:
            return self._run._connection.run(self._open_gates, _ANSWER_S)
        except (TimeoutError, ServerError, RPCError):
            return None

    def tell_outage(self) -> bool:
        """Say once that the server is away, unless it comes back at once; return whether it is."""
        outage = self._run._connection.supervisor.outage
        if outage is None:
            return False
        if outage.since != self._outage and datetime.now(UTC) - outage.since > _SHORT_OUTAGE:
            self._outage = outage.since
            print(f"{outage.told}\nWaiting for it; an interrupt ends the waiting, not the run.", flush=True)
        return True

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

    def _tell(self, gate: GateView) -> None:
        kernel, asked = _kernel(), gate.asked
        choices = f"Options: {', '.join(map(visible, gate.options))}." if gate.options else ""
        if asked.form is not None:
            choices = told_form(asked.form)
        lines = [f"Run {asked.run_id} waits for a decision: {gate.question}", told_details(gate), choices]
        verb, value = ("approve", "") if asked.form is None else ("answer", " VALUE")
        command = f"kaigents-nb {verb} {asked.run_id}{value} --gate {asked.token}"
        if kernel is not None:
            lines.append(
                "Neither buttons nor other cells can be heard while this cell waits: interrupt it (■; the run goes "
                "on), decide on the card, and execute the cell again. Or decide from another notebook (kg.inbox()) or "
                f"a terminal: {command}"
            )
        else:
            lines.append(f"Decide in a notebook (kg.inbox()) or a terminal: {command}")
        print("\n".join(filter(None, lines)), flush=True)
        if not self._awaiting and gate.complete and _can_ask(kernel):
            self._ask(asked, in_kernel=kernel is not None)

    def _ask(self, asked: Question, *, in_kernel: bool) -> None:
        """Ask until there is an answer to the question as it was shown, or none is needed any more."""
        known = [*map(visible, asked.choices), REJECT] if asked.form is None else [asked.form.told(), REJECT]
        leave = "end this cell, so that others can run" if in_kernel else "go on waiting"
        prompt = f"Decide here on {asked.token} ({' / '.join(known)}), or press Enter to {leave}: "
        take_back = _box_of(asked.token) if in_kernel else lambda: None
        said = ask(prompt, lambda: self._is_over(asked))
        while said and (wrong := _wrong(asked, said, known)):
            print(wrong)
            said = ask(prompt, lambda: self._is_over(asked))
        if said is None:
            take_back()
        if said:
            try:
                submit(
                    self._run._connection, asked, _answer(asked, said), lambda: print("The server keeps the decision.")
                )
            except InvalidAnswer as error:  # by the agent's own check
                print(error)
                self._ask(asked, in_kernel=in_kernel)
            except GateError as error:
                print(error)
        elif said == "" and in_kernel:
            raise RunTimeout(
                f"Run {self._run.id!r} goes on waiting for a decision: {visible(asked.question)} This cell has ended, "
                "so that others can run. Decide with run.approve() or .reject(), or on the card; then call result() "
                "again.",
                run_id=self._run.id,
            )
        elif said is None and not self._over():
            print("No answer is needed here any more: that was decided elsewhere.")

    def _is_over(self, asked: Question) -> bool:
        """Whether nobody needs the answer: somebody else has decided, or nobody waits any more."""
        if self._over():
            return True
        gates = self._open()
        return gates is not None and (asked.run_id, asked.token) not in {(gate.run_id, gate.token) for gate in gates}


def _answer(asked: Question, said: str) -> Answer:
    """Return the answer that somebody typed."""
    if asked.form is not None and said != REJECT:
        return asked.answered(asked.form.read(said))
    return asked.answer(said != REJECT, choice=said if asked.options and said != REJECT else None)


def _wrong(asked: Question, said: str, known: list[str]) -> str:
    """Return why what somebody typed is no answer; nothing where it is one."""
    if asked.form is None:
        return "" if said in known else f"{visible(said)!r} is none of: {', '.join(known)}."
    try:
        _answer(asked, said)
    except InvalidAnswer as error:
        return str(error)
    return ""


def _box_of(token: str) -> Callable[[], None]:
    """Return what closes the input box of a question on the pages of this kernel: open, it keeps cells from running."""
    from kaigents_nb.display.kernel import has_widgets
    from kaigents_nb.display.taken_back import TakenBack

    if not has_widgets():
        return lambda: None
    page = TakenBack()
    return lambda: page.set_trait("question", token)


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
