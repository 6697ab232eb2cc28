"""What the demo shows: progress, and the question of a gate, answered in the terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from kaigents_nb.cli import printing
from kaigents_nb.display import blocks_text, words
from kaigents_nb.display.blocks import Table
from kaigents_nb.display.details import as_table, details_blocks
from kaigents_nb.gates.answer import APPROVE, REJECT, Answer
from kaigents_nb.gates.visible import visible
from kaigents_nb.history.view import GateView, RunView, StepView

if TYPE_CHECKING:
    from rich.live import Live

_SIGNS = {"completed": "✓", "failed": "✗", "parked": "✗", "retrying": "!", "running": "…", "cancelled": "✗"}


def can_ask() -> bool:
    """Whether a person sits at both ends."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()


class Screen:
    """Says what is new about a run; on a terminal, what goes on is redrawn in place below."""

    def __init__(self) -> None:
        self._console = printing.console()
        self._live: Live | None = None
        self._told: set[tuple[str, str, int]] = set()

    def show(self, view: RunView) -> None:
        """Show the state of the run."""
        for step in view.steps:
            moving = step.status in ("scheduled", "running")
            fact = (step.call, step.status, step.attempt)
            if fact not in self._told and step.status != "scheduled" and not (moving and self._console.is_terminal):
                self._told.add(fact)
                self.say(_told(step))
        if self._console.is_terminal:
            self._draw([step for step in view.steps if step.ended is None])

    def say(self, text: str) -> None:
        """Print something that stays."""
        if self._live is not None:
            self._console.print(text, markup=False)
        else:
            printing.say(text)

    def pause(self) -> None:
        """Leave the terminal to whoever prints next."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _draw(self, steps: list[StepView]) -> None:
        from rich.live import Live
        from rich.text import Text

        if self._live is None:
            self._live = Live(console=self._console, refresh_per_second=8, transient=True)
            self._live.start()
        self._live.update(Text("\n".join(_moving(step) for step in steps)))

    def ask(self, gate: GateView) -> Answer:
        """Ask for a decision; ``EOFError`` or ``KeyboardInterrupt`` where nobody answers."""
        self.pause()
        show_gate(gate)
        allowed = f"1-{len(gate.options)}, a name" if gate.options else "approve"
        choice = None
        while choice is None:
            choice = _read(input(f"Your choice ({allowed}, or reject): "), gate.options)
        comment = input("Comment (Enter for none): ").strip()
        printing.say()
        return gate.asked.answer(choice != REJECT, choice=choice, comment=comment)


def show_gate(gate: GateView) -> None:
    """Print what the person should see, with the options numbered where a column lists them."""
    printing.say(f"\n? {words.clean(gate.question)}\n")
    table = as_table(gate.details)
    numbered = table is not None and _option_column(table, gate.options)
    if table is not None:
        numbers = [name for name, number in zip(table.columns, table.numeric, strict=True) if number]
        rows = [(str(at), *row) for at, row in enumerate(table.rows, 1)] if numbered else table.rows
        columns = ("#", *table.columns) if numbered else table.columns
        printing.table(rows, columns, numbers=("#", *numbers))
        if table.note:
            printing.say(f"({table.note})")
    elif gate.details is not None:
        printing.say(blocks_text.text(*details_blocks(gate.details)))
    if not numbered:
        for at, option in enumerate(gate.options, 1):
            printing.say(f"  {at}  {words.line(visible(option))}")


def _read(typed: str, options: tuple[str, ...]) -> str | None:
    """Return the option that was meant, ``"approve"`` where there are none, ``"reject"``, or None."""
    said = typed.strip().casefold()
    if said in (REJECT, "r"):
        return REJECT
    if said.isascii() and said.isdigit() and 1 <= int(said) <= len(options):
        return options[int(said) - 1]
    known = options or (APPROVE,)
    meant = [option for option in known if said and option.casefold().startswith(said)]
    exact = [option for option in meant if option.casefold() == said]
    if len(exact or meant) == 1:
        return (exact or meant)[0]
    printing.say(f"{typed.strip()!r} is none of: {', '.join(words.line(visible(option)) for option in known)}, reject.")
    return None


def _option_column(table: Table, options: tuple[str, ...]) -> bool:
    wanted = [words.line(visible(option)) for option in options]
    return bool(wanted) and any([row[at] for row in table.rows] == wanted for at in range(len(table.columns)))


def _told(step: StepView) -> str:
    text = f"{_SIGNS.get(step.status, '·')} {words.line(step.name)}"
    if step.status == "completed":
        text += f"  {words.step_time(step)}"
    elif step.status != "running":
        text += f"  {words.step_state(step)}"
    if step.attempt > 1:
        text += f"  attempt {step.attempt}"
    if step.error and step.status not in ("completed", "running"):
        text += f"  {words.headline(step.error)}"
    if step.status == "completed" and step.output:
        text += "".join(f"\n    {line}" for line in words.clean(step.output, tail=True).rstrip().splitlines())
    return text


def _moving(step: StepView) -> str:
    text = f"{_SIGNS['running']} {words.line(step.name)}"
    if step.attempt > 1:
        text += f"  attempt {step.attempt}"
    if step.progress is not None:
        done = round(words.share(step.progress) * 20)
        text += f"  {'━' * done}{'╌' * (20 - done)} {words.progress(step.progress)}"
    return text
