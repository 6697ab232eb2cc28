"""A run as plain text: terminals, ``text/plain``, and where neither HTML nor widgets are shown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kaigents_nb.display import words
from kaigents_nb.display.tables import ITEMS, ROWS, Grid, as_grid, as_pairs, cell
from kaigents_nb.history.view import GateView, RunView, StepView

_OUTPUT_LINES, _ERROR_LINES = 10, 40


def run_text(view: RunView) -> str:
    """Return the card of a run as plain text, without colour codes, at most 100 or so columns wide."""
    parts = [_head(view)]
    parts += [_gate(gate, view) for gate in words.open_gates(view)]
    if view.error:
        parts.append(_error("Error", view.error))
    if view.result:
        parts.append("Result\n" + _indent(words.clean(view.result).splitlines(), "  "))
    parts += [_decided(gate) for gate in words.past_gates(view)]
    if view.steps:
        parts.append(_steps(view))
    parts += [_error(f"{words.line(step.name)}, attempt {step.attempt}", step.error) for step in _failing(view)]
    if view.url:
        parts.append(f"Temporal UI: {words.line(view.url)}")
    return "\n\n".join(parts)


def pending_text(rows: Iterable[dict[str, Any]]) -> str:
    """Return the open gates of all runs as plain text; ``rows`` are those of ``kg.pending()``."""
    lines = [
        f"  {words.line(row['agent'])} · {words.line(row['run_id'])}\n"
        f"    {words.line(row['question'])}\n"
        f"    kg.run({str(row['run_id'])!r}).approve() or .reject()"
        for row in rows
    ]
    return "\n".join([f"{_count(len(lines), 'decision')} open", *lines]) if lines else "No decision is waiting."


def details_lines(details: Any, depth: int = 0) -> list[str]:
    """Return the details of a gate, one line each."""
    if details is None:
        return []
    if isinstance(details, str):
        return words.clean(details).splitlines()
    if (grid := as_grid(details)) is not None:
        return grid_lines(grid)
    if (pairs := as_pairs(details)) is not None and depth < 2:
        lines = []
        for name, value in pairs[:ITEMS]:
            inner = details_lines(value, depth + 1)
            if len(inner) > 1:
                lines += [f"{name}:", *(f"  {text}" for text in inner)]
            else:
                lines.append(f"{name}: {inner[0] if inner else cell(value)}")
        return lines + ([f"… {len(pairs) - ITEMS} more"] if len(pairs) > ITEMS else [])
    if isinstance(details, list | tuple | set | frozenset) and details:
        items = list(details)
        return [f"- {cell(item)}" for item in items[:ROWS]] + (
            [f"… {len(items) - ROWS} more"] if len(items) > ROWS else []
        )
    return [cell(details)]


def grid_lines(grid: Grid) -> list[str]:
    """Return a table in aligned columns."""
    table = [grid.columns, *grid.rows]
    table = [tuple(words.line(text, 40) for text in row) for row in table]
    widths = [max(len(row[at]) for row in table) for at in range(len(grid.columns))]
    lines = [
        "  ".join(
            text.rjust(width) if number else text.ljust(width)
            for text, width, number in zip(row, widths, grid.numeric, strict=True)
        ).rstrip()
        for row in table
    ]
    return lines + ([f"({grid.note})"] if grid.note else [])


def _head(view: RunView) -> str:
    lines = [f"{words.line(view.agent)} · {words.state(view)}"]
    about = [f"run {words.line(view.run_id)}"]
    if view.started:
        about.append(f"started {words.clock(view.started, date=True)}")
    if view.started and view.ended:
        about.append(f"took {words.span(view.started, view.ended)}")
    lines.append(" · ".join(about))
    if view.arguments:
        lines.append(f"arguments: {words.line(view.arguments)}")
    if origins := words.lineage(view):
        lines.append(" · ".join(f"{words.line(label)} {words.line(origin)}" for label, origin in origins))
    lines += [f"! {text}" for text in words.next_steps(view)]
    lines += [f"note: {words.line(notice)}" for notice in view.notices]
    return "\n".join(lines)


def _gate(gate: GateView, view: RunView) -> str:
    lines = [f"? {words.clean(gate.question)}"]
    lines += [f"  ({words.asked_by(gate)})"] if gate.run_id else []
    lines += [f"  {text}" for text in details_lines(gate.details)]
    if gate.options:
        lines.append("  Options: " + ", ".join(words.line(option) for option in gate.options))
    lines.append(f"  Decide: {words.in_code(gate, several=len(view.open_gates) > 1)}")
    return "\n".join(lines)


def _decided(gate: GateView) -> str:
    answer = gate.answer
    lines = [words.line(gate.question), f"  {words.verdict(answer)}"]
    if answer is not None:
        lines += [f"  {text}" for text in details_lines(dict(answer.values))]
        lines += [f"  “{words.line(answer.comment)}”"] if answer.comment else []
    return "\n".join(lines)


def _steps(view: RunView) -> str:
    steps, hidden = words.shown_steps(view)
    rows = [(words.line(step.name, 40), words.step_state(step), words.step_time(step), _note(step)) for step in steps]
    names, states, times = (max(len(row[at]) for row in rows) for at in range(3))
    lines = [f"Steps ({len(view.steps)})"]
    if hidden:
        lines.append(f"  … {hidden:,} earlier steps are done; run.steps() has them all")
    for step, (name, state, time, note) in zip(steps, rows, strict=True):
        lines.append(f"  {name:{names}}  {state:{states}}  {time:>{times}}  {note}".rstrip())
        if step.output:
            output = words.clean(step.output, tail=True).rstrip().splitlines()
            lines += [f"    │ {text}" for text in _last(output, _OUTPUT_LINES)]
    return "\n".join(lines)


def _note(step: StepView) -> str:
    notes = []
    if step.attempt > 1:
        notes.append(f"attempt {step.attempt}")
    if step.progress is not None and step.ended is None:
        done = round(words.share(step.progress) * 10)
        bar = f"[{'#' * done}{'.' * (10 - done)}] " if step.progress.total else ""
        notes.append(bar + words.progress(step.progress))
        if step.progress.note:
            notes.append(words.line(step.progress.note))
    if step.error and step.status in ("retrying", "parked"):
        notes.append(words.last_line(step.error))
    if step.child_run:
        notes.append(f"kg.run({words.line(step.child_run)!r})")
    return " · ".join(notes)


def _failing(view: RunView) -> list[StepView]:
    return [step for step in view.steps if step.error and step.status in ("retrying", "parked")][-3:]


def _error(title: str, error: str) -> str:
    lines = words.clean(error, words.PAGE, tail=True).splitlines()
    return f"{title}\n" + _indent(_last(lines, _ERROR_LINES), "  ")


def _last(lines: list[str], count: int) -> list[str]:
    hidden = len(lines) - count
    return lines if hidden <= 0 else [f"… {hidden} lines before this", *lines[-count:]]


def _indent(lines: Iterable[str], by: str) -> str:
    return "\n".join(by + text for text in lines)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
