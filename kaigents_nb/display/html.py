"""A run as static HTML: what a saved notebook keeps, and what the live card's widgets hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kaigents_nb.display import words
from kaigents_nb.display.markup import (
    ASKS,
    BAD,
    BUSY,
    CALM,
    FRAME,
    GOOD,
    QUIET,
    bar,
    base,
    callout,
    code,
    colour,
    details,
    details_html,
    esc,
    pre,
    state,
    table,
)
from kaigents_nb.history.view import GateView, RunView, StepView

LINK = "color: inherit; text-decoration: underline"


def run_html(view: RunView, failure: str = "") -> str:
    """Return the whole card of a run as one static HTML element; ``failure`` is HTML of the moment it failed."""
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
        _failure(failure),
        decided_html(view),
        steps_html(view),
        *(output_html(step) for step in steps_with_output(view)),
        foot_html(view),
    ]
    inner = "".join(f'<div style="margin: 0 0 8px">{part}</div>' for part in parts if part)
    label = esc(f"Run {view.run_id} of {view.agent}: {words.state(view)}", words.LINE)
    edge = f"border-left: 4px solid {colour(view.status)}"
    return f'<section aria-label="{label}" style="{FRAME}; {edge}">{inner}</section>'


def pending_html(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return the open gates of all runs as a static table; ``rows`` are those of ``kg.pending()``."""
    rows_html = [
        (
            esc(row["agent"], words.LINE),
            esc(row["question"]),
            esc(words.moment(row["opened"])),
            code(f"kg.run({str(row['run_id'])!r}).approve() or .reject()"),
        )
        for row in rows
    ]
    if not rows_html:
        return f'<div style="{FRAME}">No decision is waiting.</div>'
    columns = ("Agent", "Question", "Asked", "In a cell")
    return f'<section aria-label="Open decisions" style="{FRAME}">{table(columns, rows_html)}</section>'


def inbox_title_html(count: int, shown: int) -> str:
    """Return how many decisions wait."""
    waiting = {0: "No decision is waiting", 1: "One decision is waiting"}.get(count, f"{count:,} decisions are waiting")
    more = f"; the longest waiting {shown} are shown" if shown < count else ""
    return base(f"<strong>{waiting}{more}</strong> &nbsp;")


def head_html(view: RunView) -> str:
    """Return the agent, the state in words, and what to do next."""
    about = [f"run {code(view.run_id)}"]
    if view.started:
        about.append(f"started {esc(words.clock(view.started, date=True))}")
    if view.started and view.ended:
        about.append(f"took {esc(words.span(view.started, view.ended))}")
    if view.arguments:
        about.append(f"with {code(words.line(view.arguments, 160))}")
    about += [f"{esc(name, words.LINE)} {code(origin)}" for name, origin in words.lineage(view)]
    name = f'<strong style="font-size: 1.15em">{esc(view.agent, words.LINE)}</strong>'
    parts = [
        f"<div>{name} &nbsp;{state(view.status, words.state(view))}</div>",
        f'<div style="{QUIET}">{" · ".join(about)}</div>',
        *(callout(colour(view.status), text) for text in words.next_steps(view)),
        *(f'<div style="{QUIET}">Note: {esc(words.line(notice))}</div>' for notice in view.notices[-5:]),
    ]
    return base("".join(parts))


def gate_html(gate: GateView, *, how: str, heading: str = "", options: bool = False) -> str:
    """Return an open gate's question and details; ``how`` says how to decide it in code.

    ``options`` lists them too, where no buttons do.
    """
    parts = []
    if heading:
        parts.append(f'<div style="{QUIET}">{esc(heading, words.LINE)}</div>')
    parts.append(f'<strong style="white-space: pre-wrap">{esc(gate.question)}</strong>')
    if gate.opened:
        parts.append(f'<div style="{QUIET}">asked {esc(words.clock(gate.opened, date=True))}</div>')
    if gate.details is not None:
        # A wide table scrolls by itself: with no width of its own it can't make the card wider than the page.
        fit = "margin: 4px 0; overflow-x: auto; width: 0; min-width: 100%"
        parts.append(f'<div style="{fit}">{details_html(gate.details)}</div>')
    if options and gate.options:
        parts.append(f"<div>Options: {esc(', '.join(words.line(name) for name in gate.options))}</div>")
    parts.append(f'<div style="{QUIET}">In a cell: {code(how)}</div>')
    return base(bar(ASKS, "".join(parts)))


def steps_html(view: RunView) -> str:
    """Return the steps as a table: state, duration, attempts, and what each is at."""
    if not view.steps:
        return ""
    steps, hidden = words.shown_steps(view)
    rows = [
        [
            esc(step.name, words.LINE),
            state(step.status, words.step_state(step)),
            f'<span style="white-space: nowrap">{esc(words.step_time(step))}</span>',
            str(step.attempt or ""),
            _note(step),
        ]
        for step in steps
    ]
    columns = ["Step", "State", "Time", "Attempt", "Note"]
    if not any(row[-1] for row in rows):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    note = f"{hidden:,} earlier steps are done and not shown; run.steps() has them all" if hidden else ""
    return base(table(columns, rows, note=note))


def steps_with_output(view: RunView) -> list[StepView]:
    """Return the shown steps that have printed something or hold an error."""
    return [step for step in words.shown_steps(view)[0] if step.output.strip() or step.error.strip()]


def output_html(step: StepView) -> str:
    """Return a step's last error and what it printed; open where somebody has to act or may want to watch."""
    parts = []
    if step.error.strip():
        title = f"{esc(step.name, words.LINE)}: {esc(words.last_line(step.error))}"
        parts.append(details(title, step.error, opened=step.status == "parked", edge=BAD))
    if step.output.strip():
        title = f"Printed by {esc(step.name, words.LINE)}"
        parts.append(details(title, step.output, opened=step.status == "running"))
    return base("".join(parts))


def decided_html(view: RunView) -> str:
    """Return the decisions taken: what, who and when, with comment."""
    parts = []
    for gate in words.past_gates(view):
        answer = gate.answer
        told = f'<div style="{QUIET}">{esc(words.asked_by(gate))}</div>' if gate.run_id else ""
        told += f"{esc(words.line(gate.question))}<br><strong>{esc(words.verdict(answer))}</strong>"
        if answer is not None and answer.comment:
            told += f'<div style="white-space: pre-wrap">“{esc(answer.comment)}”</div>'
        if answer is not None and answer.values:
            told += details_html(dict(answer.values))
        edge = CALM if answer is None else GOOD if answer.approved else BAD
        parts.append(bar(edge, told))
    return base("".join(parts)) if parts else ""


def end_html(view: RunView) -> str:
    """Return the result, or why the run failed."""
    parts = []
    if view.error:
        parts.append(details(esc(words.last_line(view.error)), view.error, opened=True, edge=BAD))
    if view.result:
        parts.append(f"<strong>Result</strong>{pre(esc(view.result))}")
    return base("".join(parts)) if parts else ""


def _failure(moment: str) -> str:
    if not moment:
        return ""
    summary = '<summary style="cursor: pointer; font-weight: 600">Look at the moment of failure</summary>'
    return base(f'<details>{summary}<div style="margin-top: 6px">{moment}</div></details>')


def foot_html(view: RunView) -> str:
    """Return the link to the run in Temporal's own page."""
    url = view.url.strip()
    if not url.lower().startswith(("http://", "https://")):
        return ""
    link = f'<a href="{esc(url, 2_000)}" target="_blank" rel="noopener noreferrer" style="{LINK}">'
    return base(f'<div style="{QUIET}">{link}Open in Temporal UI</a></div>')


def message_html(text: str, *, bad: bool = False) -> str:
    """Return one sentence about a click: sent, taken or refused."""
    if not text:
        return ""
    return base(callout(BAD if bad else CALM, text, role="alert" if bad else "status"))


def _note(step: StepView) -> str:
    notes = []
    if step.progress is not None and step.ended is None:
        told = drawn = esc(words.progress(step.progress))
        if step.progress.total:
            style = f"width: 9em; vertical-align: middle; accent-color: {BUSY}"
            value = f"{words.share(step.progress):.3f}"
            drawn = f'<progress max="1" value="{value}" aria-label="{told}" style="{style}"></progress> {told}'
        notes.append(f'<span style="white-space: nowrap">{drawn}</span>')
        if step.progress.note:
            notes.append(esc(words.line(step.progress.note)))
    if step.status == "retrying" and step.next_retry:
        notes.append(f"next try at {esc(words.clock(step.next_retry))}")
    if step.child_run:
        notes.append(code(f"kg.run({step.child_run!r})"))
    return "<br>".join(notes)
