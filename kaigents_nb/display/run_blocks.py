"""A run, its gates and what waits for a decision, as blocks: what the card, a saved notebook and the CLI show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from kaigents_nb.display import blocks as b
from kaigents_nb.display import words
from kaigents_nb.display.details import details_blocks
from kaigents_nb.gates.answer import VALUE
from kaigents_nb.gates.form import Form
from kaigents_nb.gates.question import Question
from kaigents_nb.gates.schema import Node, in_short, resolved, short
from kaigents_nb.gates.visible import visible
from kaigents_nb.history.view import GateView, RunView, StepView
from kaigents_nb.values.in_json import from_json

_QUESTION_PARTS = 16
_OUTPUT_LINES, _ERROR_LINES, _SAID_LINES, _NOTICES = 10, 40, 12, 20


def run_blocks(view: RunView, failure: b.Blocks = (), *, run: str = "run") -> b.Section:
    """Return the whole card of a run; ``failure`` is the moment at which it failed, ``run`` its name in code."""
    gates = ((gate,) for gate in gates_blocks(view.open_gates, run=run))
    looked = (b.Fold((b.Strong("Look at the moment of failure"),), failure),) if failure else ()
    decided = ((gate,) for gate in decided_blocks(view))
    steps = steps_blocks(view, printed_blocks(view))
    parts = (head_blocks(view), *gates, end_blocks(view), looked, *decided, steps, foot_blocks(view))
    return b.Section(f"Run {view.run_id} of {view.agent}: {words.state(view)}", parts, b.tone_of(view.status))


def kept_blocks(view: RunView, at: datetime) -> b.Section:
    """Return what a notebook keeps of a card that is live: what is asked, as of when, and how it comes to life."""
    again = f"kg.run({view.run_id!r})"
    asked: list[b.Block] = [b.line(*_whole(gate.question)) for gate in view.open_gates]
    head = b.Heading(view.agent, (b.State(words.state(view), b.tone_of(view.status)),))
    whole = b.Fold(("All that was known then",), (run_blocks(view, run=again),))
    parts = ((head, b.line("run ", b.Code(view.run_id), quiet=True), *asked, kept_note(again, at)), (whole,))
    return b.Section(f"Run {view.run_id} of {view.agent}, as kept", parts, b.tone_of(view.status))


def kept_note(again: str, at: datetime | None = None) -> b.Aside:
    """Return what to know of a static form that is seen in a live one's place; ``again`` gives a live one."""
    when = (b.line(f"This is how it stood on {words.clock(at, date=True)}."),) if at else ()
    gone = "With no buttons below, it is not live: its kernel is gone. In a cell, "
    return b.Aside((*when, b.line(gone, b.Code(again), " shows what it is now, with buttons.")), "info")


def gates_blocks(gates: Sequence[GateView], *, run: str = "run") -> b.Blocks:
    """Return the open gates of a run, each with its options, where no buttons are."""
    several = len(gates) > 1
    found = (
        gate_blocks(gate, how=words.in_code(gate, run=run, several=several), heading=words.asked_by(gate), options=True)
        for gate in gates
    )
    return tuple(block for blocks in found for block in blocks)


def _whole(question: str) -> tuple[b.Strong, ...]:
    """Return a question to its last sign: who decides must see all of it, and a part that is too long is cut.

    A gate of ours is far below the limit; what another program put into a memo may be of any length.
    """
    parts = [b.Strong(question[at : at + words.PARAGRAPH]) for at in range(0, len(question), words.PARAGRAPH)]
    return tuple(parts) if len(parts) <= _QUESTION_PARTS else (b.Strong(question),)  # cut, and counted


def gate_blocks(gate: GateView, *, how: str, heading: str = "", options: bool = False) -> b.Blocks:
    """Return an open gate's question and details; ``how`` says how to decide it in code.

    ``options`` lists them too, where no buttons do.
    """
    about = [words.line(heading)] if heading else []
    about += [f"asked {words.clock(gate.opened, date=True)}"] if gate.opened else []
    parts: list[b.Block] = [b.line(*_whole(gate.question))]
    parts += [b.line(" · ".join(about), quiet=True)] if about else []
    parts += details_blocks(gate.details) if gate.details is not None else ()
    if options and gate.asked.form is not None:
        parts += form_blocks(gate.asked.form)
    elif options and gate.options:
        parts.append(b.line("Options: ", ", ".join(words.line(visible(name)) for name in gate.options)))
    if gate.refused:
        parts.append(b.callout(f"An answer was not taken: {words.line(gate.refused)}", "error"))
    parts.append(b.line("Decide: ", b.Code(how), quiet=True))
    return (b.Aside(tuple(parts), "warning", "? "),)


def form_blocks(form: Form) -> b.Blocks:
    """Return what is asked for, field by field, where no form can be filled in."""
    asked = resolved(form.schema, form.schema)
    fields = asked.get("properties")
    first = asked.get("default")
    initial = (b.line("It begins with: ", short(first), quiet=True),) if first is not None else ()
    if not isinstance(fields, Mapping):
        return b.line("Asked for: ", form.told()), *initial
    pairs = (
        b.Pair(words.line(visible(name)), (b.line(_about_field(resolved(part, form.schema), form)),))
        for name, part in fields.items()
    )
    return b.line("Asked for, as JSON:"), b.Pairs(tuple(pairs)), *initial


def _about_field(part: Node, form: Form) -> str:
    told = [visible(str(part[name])) for name in ("title", "description") if part.get(name)]
    return words.line("; ".join([*told, in_short(part, form.schema)]))


def pending_blocks(questions: Iterable[Question]) -> b.Section:
    """Return the open gates of all runs."""
    cells = tuple(
        (
            words.line(visible(asked.agent)),
            words.line(visible(asked.question)),
            words.clock(asked.opened, date=True),
            b.Code(f"kg.run({asked.run_id!r}).{'approve()' if asked.form is None else 'answer(…)'} or .reject()"),
        )
        for asked in questions
    )
    if not cells:
        return b.Section("Open decisions", ((b.line("No decision is waiting."),),))
    caption = f"{len(cells)} {'decision' if len(cells) == 1 else 'decisions'} open"
    columns = ("Agent", "Question", "Asked", "In a cell")
    numeric = (False, False, True, False)
    return b.Section("Open decisions", ((b.Table(columns, cells, numeric, caption=caption, listed=True),),))


def message_blocks(text: str, *, bad: bool = False) -> b.Blocks:
    """Return one sentence about a click: sent, taken or refused."""
    if not text:
        return ()
    return (b.callout(text, "error", "alert") if bad else b.callout(text, "muted", "status"),)


def head_blocks(view: RunView) -> b.Blocks:
    """Return the agent, the state in words, and what to do next."""
    tone = b.tone_of(view.status)
    about = f" · started {words.clock(view.started, date=True)}" if view.started else ""
    about += f" · took {words.span(view.started, view.ended)}" if view.started and view.ended else ""
    about += f" · executed by {view.executor}" if view.executor else ""
    parts: list[b.Block] = [
        b.Heading(view.agent, (b.State(words.state(view), tone),)),
        b.line("run ", b.Code(view.run_id), about, quiet=True),
    ]
    if view.arguments:
        parts.append(b.line("arguments: ", b.Code(words.line(view.arguments)), quiet=True))
    if origins := words.lineage(view):
        named = [(" · ", f"{name} ", b.Code(words.line(origin))) for name, origin in origins]
        parts.append(b.line(*[part for origin in named for part in origin][1:], quiet=True))
    if spent := words.spent(view.spent):
        parts.append(b.line(f"models: {spent} · ", b.Code("run.calls()"), quiet=True))
    for name, value in view.published.items():
        parts.append(b.line(b.Strong(words.line(name)), ": ", words.line(value)))
    parts += (b.callout(todo, tone) for todo in words.next_steps(view))
    parts += (b.line(f"Note: {words.line(notice)}", quiet=True) for notice in view.notices[-_NOTICES:])
    return tuple(parts)


def end_blocks(view: RunView) -> b.Blocks:
    """Return the result, or why the run failed."""
    if view.error:
        title = words.headline(view.error)
        return (b.Fold((title,), (b.Pre(view.error, both_ends=True, lines=_ERROR_LINES),), opened=True, tone="error"),)
    return (b.line(b.Strong("Result")), b.Pre(view.result, tail=False)) if view.result else ()


def foot_blocks(view: RunView) -> b.Blocks:
    """Return the link to the run in Temporal's own page."""
    return (b.line(b.Link("Temporal UI", view.url.strip()), quiet=True),) if view.url.strip() else ()


def decided_blocks(view: RunView) -> tuple[b.Aside, ...]:
    """Return the decisions taken, and the gates that the run has left behind."""
    return tuple(_decided(gate) for gate in view.gates if view.closed or not gate.is_open)


def _decided(gate: GateView) -> b.Aside:
    """The decision taken at a gate: what, who and when, with comment and values."""
    answer = gate.answer
    parts: list[b.Block] = [b.line(words.line(gate.question))]
    parts += [b.line(words.asked_by(gate), quiet=True)] if gate.run_id else []
    parts.append(b.line(b.Strong(words.verdict(answer))))
    if answer is None:
        return b.Aside(tuple(parts), "muted")
    if answer.comment:
        parts.append(b.line("“", visible(answer.comment), "”"))
    if answer.is_value:
        value = answer.values[VALUE]
        parts += details_blocks(value) if isinstance(value, dict | list) else ()
    elif answer.values:
        parts += details_blocks(from_json(dict(answer.values)))
    return b.Aside(tuple(parts), "success" if answer.approved else "error")


def steps_blocks(view: RunView, printed: Mapping[str, tuple[b.Fold, ...]] | None = None) -> b.Blocks:
    """Return the steps: state, time and what each is at, and what each has ``printed``."""
    steps, hidden = words.shown_steps(view)
    if not steps:
        return ()
    notes = [tuple(_notes(step)) for step in steps]
    rows = [
        (words.line(step.name), b.State(words.step_state(step), b.tone_of(step.status)), words.step_time(step), noted)
        for step, noted in zip(steps, notes, strict=True)
    ]
    wide = 4 if any(notes) else 3
    table = b.Table(
        ("Step", "State", "Time", "Note")[:wide],
        tuple(row[:wide] for row in rows),
        (False, False, True, False)[:wide],
        f"{hidden:,} earlier steps are done and not shown; run.steps() has them all" if hidden else "",
        f"Steps ({len(view.steps):,})",
        under=tuple((printed or {}).get(step.call, ()) for step in steps),
    )
    return (table,)


def _notes(step: StepView) -> Iterable[b.Inline]:
    if step.attempt > 1:
        yield f"attempt {step.attempt}"
    if waited := words.waited(step.waited_s):
        yield waited
    if step.progress is not None and step.ended is None:
        done = words.progress(step.progress)
        yield b.Meter(words.share(step.progress), done) if step.progress.total else done
        if step.progress.note:
            yield words.line(step.progress.note)
    if step.status == "retrying" and step.next_retry:
        yield f"next try at {words.clock(step.next_retry)}"
    if step.note:
        yield words.line(step.note)
    if step.child_run:
        yield b.Code(f"kg.run({step.child_run!r})")


def printed_blocks(view: RunView) -> dict[str, tuple[b.Fold, ...]]:
    """Return by call what steps printed, said to models, and their last errors.

    Open where somebody has to act or may want to watch.
    """
    steps = words.shown_steps(view)[0]
    failing = [step for step in steps if step.status in ("retrying", "parked")]
    lines = {step.call: 1 for step in failing} | {step.call: _ERROR_LINES for step in failing[-3:]}
    talked = {step.call: _SAID_LINES for step in [step for step in steps if step.said][-3:]}
    found = {
        step.call: (*_printed(step, lines.get(step.call, 0)), *_said(step, talked.get(step.call, 0))) for step in steps
    }
    return {call: folds for call, folds in found.items() if folds}


def _printed(step: StepView, error_lines: int) -> Iterable[b.Fold]:
    name = words.line(step.name)
    if step.error.strip():
        error = b.Pre(step.error, both_ends=True, lines=error_lines)
        yield b.Fold((f"{name}: {words.headline(step.error)}",), (error,), step.status == "parked", "error")
    if step.output.strip():
        output = b.Pre(step.output, lines=_OUTPUT_LINES)
        yield b.Fold((f"Printed by {name}",), (output,), step.status == "running", "border")


def _said(step: StepView, lines: int) -> Iterable[b.Fold]:
    """Yield an answer while it comes, then what was said."""
    name = words.line(step.name)
    if step.status == "running" and step.progress is not None and step.progress.text:
        yield b.Fold(
            (f"{name}, so far",), (b.Pre(step.progress.text, lines=_OUTPUT_LINES),), opened=True, tone="active"
        )
    if step.said:
        said = b.Pre(words.conversation(step.said), lines=lines, both_ends=True)
        yield b.Fold((f"Said in {name}, call {step.call}",), (said,), tone="border")
