"""A run as static HTML: what a saved notebook keeps, and what the live card's widgets hold.

No scripts, no style sheets, nothing fetched. Colours come from ``currentColor`` and JupyterLab's CSS
variables with a fallback, so that light and dark both read well; where a viewer strips styles, tables and
words are left. Colour is never the only sign of a state. All text goes through :func:`esc`.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from kaigents_nb.display import words
from kaigents_nb.display.tables import ITEMS, ROWS, Grid, as_grid, as_pairs, cell
from kaigents_nb.history.view import GateView, RunView, StepView

_GOOD = "var(--jp-success-color1, #388e3c)"
_BUSY = "var(--jp-brand-color1, #1976d2)"
_ASKS = "var(--jp-warn-color1, #ef8a00)"
_BAD = "var(--jp-error-color1, #d32f2f)"
_CALM = "var(--jp-ui-font-color3, #8a8a8a)"
_COLOURS: Final[Mapping[str, str]] = {
    "running": _BUSY,
    "waiting": _ASKS,
    "retrying": _ASKS,
    "parked": _BAD,
    "stuck": _BAD,
    "completed": _GOOD,
    "failed": _BAD,
    "timed out": _BAD,
}

RULE: Final = "var(--jp-border-color2, rgba(128, 128, 128, 0.35))"
_TINT = "var(--jp-layout-color2, rgba(128, 128, 128, 0.12))"
_MONO = "font-family: var(--jp-code-font-family, ui-monospace, monospace); font-size: 0.92em"
_BASE = (
    "font-family: var(--jp-ui-font-family, system-ui, sans-serif); font-size: var(--jp-ui-font-size1, 13px); "
    "line-height: 1.5; color: var(--jp-ui-font-color1, currentColor); text-align: left"
)
_FRAME = f"{_BASE}; border: 1px solid {RULE}; border-radius: 4px; padding: 10px 14px; max-width: 900px"
_QUIET = "opacity: 0.75"
# Said in full, because notebooks style tables of their own accord.
_INHERIT = "font-size: inherit; color: inherit"
_TABLE = f"border-collapse: collapse; border: none; margin: 0; table-layout: auto; {_INHERIT}"
_ROW = "background: none; border: none"
_CELL = "padding: 2px 14px 2px 0; text-align: left; vertical-align: top; line-height: 1.5; border: none"


def esc(text: object, limit: int = words.PARAGRAPH, *, tail: bool = False) -> str:
    """Return ``text`` cleaned, bounded and escaped for an element or a quoted attribute."""
    return html.escape(words.clean(text, limit, tail=tail), quote=True)


def colour(status: str) -> str:
    """Return the CSS colour that goes with a state's word."""
    return _COLOURS.get(status, _CALM)


def run_html(view: RunView) -> str:
    """Return the whole card of a run as one static HTML element."""
    parts = [
        head_html(view),
        *(
            gate_html(
                gate,
                how=words.in_code(gate, several=len(view.open_gates) > 1),
                heading=words.asked_by(gate),
                options=True,
            )
            for gate in words.open_gates(view)
        ),
        end_html(view),
        decided_html(view),
        steps_html(view),
        *(output_html(step) for step in steps_with_output(view)),
        foot_html(view),
    ]
    inner = "".join(f'<div style="margin: 0 0 8px">{part}</div>' for part in parts if part)
    label = esc(f"Run {view.run_id} of {view.agent}: {words.state(view)}", words.LINE)
    edge = f"border-left: 4px solid {colour(view.status)}"
    return f'<section aria-label="{label}" style="{_FRAME}; {edge}">{inner}</section>'


def pending_html(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return the open gates of all runs as a static table; ``rows`` are those of ``kg.pending()``."""
    table = [
        (
            esc(row["agent"], words.LINE),
            esc(row["question"]),
            esc(words.moment(row["opened"])),
            _code(f"kg.run({str(row['run_id'])!r}).approve() or .reject()"),
        )
        for row in rows
    ]
    if not table:
        return f'<div style="{_FRAME}">No decision is waiting.</div>'
    columns = ("Agent", "Question", "Asked", "In a cell")
    return f'<section aria-label="Open decisions" style="{_FRAME}">{_table(columns, table)}</section>'


def inbox_title_html(count: int, shown: int) -> str:
    """Return how many decisions wait."""
    waiting = {0: "No decision is waiting", 1: "One decision is waiting"}.get(count, f"{count:,} decisions are waiting")
    more = f"; the longest waiting {shown} are shown" if shown < count else ""
    return _base(f"<strong>{waiting}{more}</strong> &nbsp;")


def head_html(view: RunView) -> str:
    """Return the agent, the state in words, and what to do next."""
    about = [f"run {_code(view.run_id)}"]
    if view.started:
        about.append(f"started {esc(words.clock(view.started, date=True))}")
    if view.started and view.ended:
        about.append(f"took {esc(words.span(view.started, view.ended))}")
    if view.arguments:
        about.append(f"with {_code(words.line(view.arguments, 160))}")
    about += [f"{esc(name, words.LINE)} {_code(origin)}" for name, origin in view.lineage.items()]
    name = f'<strong style="font-size: 1.15em">{esc(view.agent, words.LINE)}</strong>'
    parts = [
        f"<div>{name} &nbsp;{_state(view.status, words.state(view))}</div>",
        f'<div style="{_QUIET}">{" · ".join(about)}</div>',
        *(_callout(colour(view.status), text) for text in words.next_steps(view)),
        *(f'<div style="{_QUIET}">Note: {esc(words.line(notice))}</div>' for notice in view.notices[-5:]),
    ]
    return _base("".join(parts))


def gate_html(gate: GateView, *, how: str, heading: str = "", options: bool = False) -> str:
    """Return an open gate's question and details; ``how`` says how to decide it in code.

    ``options`` lists them too, where no buttons do.
    """
    parts = []
    if heading:
        parts.append(f'<div style="{_QUIET}">{esc(heading, words.LINE)}</div>')
    parts.append(f'<strong style="white-space: pre-wrap">{esc(gate.question)}</strong>')
    if gate.opened:
        parts.append(f'<div style="{_QUIET}">asked {esc(words.clock(gate.opened, date=True))}</div>')
    if gate.details is not None:
        parts.append(f'<div style="margin: 4px 0; overflow-x: auto">{details_html(gate.details)}</div>')
    if options and gate.options:
        parts.append(f"<div>Options: {esc(', '.join(words.line(name) for name in gate.options))}</div>")
    parts.append(f'<div style="{_QUIET}">In a cell: {_code(how)}</div>')
    return _base(_bar(_ASKS, "".join(parts)))


def details_html(details: Any, depth: int = 0) -> str:
    """Return a gate's details: text as written, mappings and DataFrames as tables."""
    if isinstance(details, str):
        return f'<div style="white-space: pre-wrap">{esc(details)}</div>'
    if (grid := as_grid(details)) is not None:
        return _grid(grid)
    if (pairs := as_pairs(details)) is not None and depth < 2:
        rows = "".join(
            f'<tr style="{_ROW}"><th scope="row" style="{_CELL}; font-weight: 600">{esc(name)}</th>'
            f'<td style="{_CELL}">{details_html(value, depth + 1)}</td></tr>'
            for name, value in pairs[:ITEMS]
        )
        more = f'<div style="{_QUIET}">{len(pairs) - ITEMS} more</div>' if len(pairs) > ITEMS else ""
        return f'<table style="{_TABLE}"><tbody>{rows}</tbody></table>{more}'
    if isinstance(details, list | tuple | set | frozenset) and details:
        items = list(details)
        listed = "".join(f"<li>{esc(cell(item))}</li>" for item in items[:ROWS])
        more = f"<li>{len(items) - ROWS} more</li>" if len(items) > ROWS else ""
        return f'<ul style="margin: 0; padding-left: 1.4em">{listed}{more}</ul>'
    return esc(cell(details))


def steps_html(view: RunView) -> str:
    """Return the steps as a table: state, duration, attempts, and what each is at."""
    if not view.steps:
        return ""
    steps, hidden = words.shown_steps(view)
    rows = [
        [
            esc(step.name, words.LINE),
            _state(step.status, words.step_state(step)),
            f'<span style="white-space: nowrap">{esc(words.span(step.started, step.ended))}</span>',
            str(step.attempt or ""),
            _note(step),
        ]
        for step in steps
    ]
    columns = ["Step", "State", "Time", "Attempt", "Note"]
    if not any(row[-1] for row in rows):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    note = f"{hidden:,} earlier steps are done and not shown; run.steps() has them all" if hidden else ""
    return _base(_table(columns, rows, note=note))


def steps_with_output(view: RunView) -> list[StepView]:
    """Return the shown steps that have printed something or hold an error."""
    return [step for step in words.shown_steps(view)[0] if step.output.strip() or step.error.strip()]


def output_html(step: StepView) -> str:
    """Return a step's last error and what it printed; open where somebody has to act or may want to watch."""
    parts = []
    if step.error.strip():
        title = f"{esc(step.name, words.LINE)}: {esc(words.last_line(step.error))}"
        parts.append(_details(title, step.error, opened=step.status == "parked", edge=_BAD))
    if step.output.strip():
        title = f"Printed by {esc(step.name, words.LINE)}"
        parts.append(_details(title, step.output, opened=step.status == "running"))
    return _base("".join(parts))


def decided_html(view: RunView) -> str:
    """Return the decisions taken: what, who and when, with comment."""
    parts = []
    for gate in words.past_gates(view):
        decision = gate.decision or {}
        told = f'<div style="{_QUIET}">{esc(words.asked_by(gate))}</div>' if gate.run_id else ""
        told += f"{esc(words.line(gate.question))}<br><strong>{esc(words.verdict(gate.decision))}</strong>"
        if comment := decision.get("comment"):
            told += f'<div style="white-space: pre-wrap">“{esc(comment)}”</div>'
        if extra := words.values(decision):
            told += details_html(extra)
        edge = _CALM if gate.decision is None else _GOOD if decision.get("approved") else _BAD
        parts.append(_bar(edge, told))
    return _base("".join(parts)) if parts else ""


def end_html(view: RunView) -> str:
    """Return the result, or why the run failed."""
    parts = []
    if view.error:
        parts.append(_details(esc(words.last_line(view.error)), view.error, opened=True, edge=_BAD))
    if view.result:
        parts.append(f"<strong>Result</strong>{_pre(esc(view.result))}")
    return _base("".join(parts)) if parts else ""


def foot_html(view: RunView) -> str:
    """Return the link to the run in Temporal's own page."""
    url = view.url.strip()
    if not url.lower().startswith(("http://", "https://")):
        return ""
    link = f'<a href="{esc(url, 2_000)}" target="_blank" rel="noopener noreferrer" style="color: inherit">'
    return _base(f'<div style="{_QUIET}">{link}Open in Temporal UI</a></div>')


def message_html(text: str, *, bad: bool = False) -> str:
    """Return one sentence about a click: sent, taken or refused."""
    if not text:
        return ""
    return _base(_callout(_BAD if bad else _CALM, text, role="alert" if bad else "status"))


def _base(inner: str) -> str:
    return f'<div style="{_BASE}">{inner}</div>'


def _state(status: str, said: str) -> str:
    dot = f'<span aria-hidden="true" style="color: {colour(status)}">●</span>'
    return f'<span style="white-space: nowrap">{dot} {esc(said)}</span>'


def _bar(edge: str, inner: str, more: str = "") -> str:
    return f'<div{more} style="border-left: 2px solid {edge}; padding: 0 10px; margin: 4px 0">{inner}</div>'


def _callout(edge: str, text: str, role: str = "note") -> str:
    return _bar(edge, f'<span style="white-space: pre-wrap">{esc(text)}</span>', f' role="{role}"')


def _code(text: object) -> str:
    return f'<code style="{_MONO}; padding: 0; background: none; color: inherit">{esc(text, words.LINE)}</code>'


def _pre(escaped: str) -> str:
    return (
        f'<pre style="{_MONO}; margin: 4px 0; padding: 6px 10px; max-height: 22em; overflow: auto; '
        f'white-space: pre-wrap; line-height: 1.35; color: inherit; background: {_TINT}">{escaped}</pre>'
    )


def _details(title: str, text: str, *, opened: bool = False, edge: str = RULE) -> str:
    """Return a part that opens and closes; ``title`` is HTML already."""
    style = f"border-left: 2px solid {edge}; padding: 0 10px; margin: 4px 0"
    inner = _pre(esc(text.rstrip(), words.PAGE, tail=True))
    summary = f'<summary style="cursor: pointer">{title}</summary>'
    return f'<details{" open" if opened else ""} style="{style}">{summary}{inner}</details>'


def _note(step: StepView) -> str:
    notes = []
    if step.progress is not None and step.ended is None:
        told = bar = esc(words.progress(step.progress))
        if step.progress.total:
            style = f"width: 9em; vertical-align: middle; accent-color: {_BUSY}"
            value = f"{words.share(step.progress):.3f}"
            bar = f'<progress max="1" value="{value}" aria-label="{told}" style="{style}"></progress> {told}'
        notes.append(f'<span style="white-space: nowrap">{bar}</span>')
        if step.progress.note:
            notes.append(esc(words.line(step.progress.note)))
    if step.status == "retrying" and step.next_retry:
        notes.append(f"next try at {esc(words.clock(step.next_retry))}")
    if step.child_run:
        notes.append(_code(f"kg.run({step.child_run!r})"))
    return "<br>".join(notes)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, sides: Sequence[str] = (), note: str = "") -> str:
    """Return a table of column names and of cells that are HTML already."""
    aligned = sides or ["left"] * len(columns)
    under = f"font-weight: 600; border-bottom: 1px solid {RULE}"
    head = "".join(
        f'<th scope="col" style="{_CELL}; text-align: {side}; {under}">{esc(name)}</th>'
        for name, side in zip(columns, aligned, strict=True)
    )
    body = "".join(f'<tr style="{_ROW}">{_cells(row, aligned)}</tr>' for row in rows)
    table = f'<thead><tr style="{_ROW}">{head}</tr></thead><tbody>{body}</tbody>'
    more = f'<div style="{_QUIET}">{esc(note)}</div>' if note else ""
    return f'<table style="{_TABLE}">{table}</table>{more}'


def _cells(row: Sequence[str], sides: Sequence[str]) -> str:
    return "".join(
        f'<td style="{_CELL}; text-align: {side}">{item}</td>' for item, side in zip(row, sides, strict=True)
    )


def _grid(grid: Grid) -> str:
    rows = [[esc(item) for item in row] for row in grid.rows]
    sides = ["right" if number else "left" for number in grid.numeric]
    return _table(grid.columns, rows, sides=sides, note=grid.note)
