"""The words of the card: what a state is called, what to do about it, and text made safe to show."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from kaigents_nb.gates.answer import APPROVE, VALUE, Answer
from kaigents_nb.gates.schema import short
from kaigents_nb.gates.visible import visible
from kaigents_nb.history.view import GateView, MessageView, Progress, RunView, StepView
from kaigents_nb.models.spent import Spent

STEP_WORDS: Final[Mapping[str, str]] = {"scheduled": "queued", "completed": "done"}
_LINEAGE_WORDS: Final = {"forked_from": "forked from", "forked_at": "at", "forked_edits": "changed"}

# Bounds of what is shown, in characters. The whole of it stays in the history.
LINE, PARAGRAPH, PAGE = 300, 4_000, 12_000
STEPS_SHOWN = 40
_WORTH_A_WORD_S = 1.0

_FRAME = re.compile(r"  \S.*, line \d+")
_ANSI = re.compile(r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[[0-?]*[ -/]*[@-~]|\x1b[@-Z\\-_]")
# Besides control signs: what reverses or hides text, so that a supplier's name can't pretend to be another.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


def clean(text: object, limit: int = PARAGRAPH, *, tail: bool = False) -> str:
    """Return text that any terminal, page and protocol can carry, at most about ``limit`` characters.

    Colour codes go, lines that were overwritten with a carriage return keep their last state, other control
    signs, lone surrogates and signs that reverse the reading direction become visible escapes.
    ``tail`` keeps the end instead of the beginning.
    """
    whole = text_of(text)
    # Cut before the regular expressions see it, so that a huge text costs nothing.
    kept = whole[-limit:] if tail else whole[:limit]
    cut = len(whole) - len(kept)
    kept = _ANSI.sub("", kept).replace("\r\n", "\n")
    if "\r" in kept:
        kept = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in kept.split("\n"))
    kept = _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", kept)
    if not cut:
        return kept
    return f"… ({cut:,} characters before this)\n{kept}" if tail else f"{kept} … ({cut:,} more characters)"


def line(text: object, limit: int = LINE) -> str:
    """Return ``text`` on one line, shortened with an ellipsis."""
    one = " ".join(clean(text_of(text)[: limit * 4]).split())
    return one if len(one) <= limit else one[: limit - 1] + "…"


def text_of(value: object) -> str:
    """Return a value's own text; where that can't be had, what it is."""
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001 - an analyst's own class must not take the card down
        return f"<{type(value).__name__}: its text can't be shown: {type(error).__name__}>"


def reason(error: Exception | None) -> str:
    """Return what an error says, or at least what it is; nothing for none."""
    return (str(error) or type(error).__name__) if error else ""


def headline(error: str) -> str:
    """Return the exception of a traceback and the beginning of its message: the line below the last frame."""
    lines = [text for text in error.splitlines() if text.strip() and not text.startswith("Traceback")]
    frames = [at for at, text in enumerate(lines) if _FRAME.match(text)]
    below = [text for text in lines[frames[-1] + 1 :] if not text.startswith("    ")] if frames else lines
    return line((below or lines)[0]) if lines else ""


def both_ends(lines: list[str], limit: int) -> list[str]:
    """Return at most so many lines: of more, the first third, the last ones, and how many are missing between."""
    hidden = len(lines) - limit
    if hidden <= 0:
        return lines
    first = limit // 3
    return [*lines[:first], f"… {hidden} lines left out …", *lines[first + hidden :]]


def clock(moment: datetime | None, *, date: bool = False) -> str:
    """Return a time of day in UTC, which reads the same in a notebook opened anywhere."""
    if moment is None:
        return ""
    utc = moment.astimezone(UTC) if moment.tzinfo else moment
    return utc.strftime("%Y-%m-%d %H:%M:%S UTC" if date else "%H:%M:%S UTC")


def duration(seconds: float) -> str:
    """Return ``0.25 s``, ``12.3 s``, ``4 min 05 s``, ``3 h 12 min`` or ``2 d 4 h``."""
    if seconds < 0.995:
        return f"{max(seconds, 0):.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def span(started: datetime | None, ended: datetime | None) -> str:
    """Return how long something took, or since when it has been running."""
    if started is None:
        return ""
    if ended is None:
        return f"since {clock(started)}"
    return duration((ended - started).total_seconds())


def state(view: RunView) -> str:
    """Return the run's state in words."""
    return "waiting for a decision" if view.status == "waiting" else view.status


def step_state(step: StepView) -> str:
    """Return the step's state in words; what a fork took over did not run in it."""
    told = STEP_WORDS.get(step.status, step.status)
    if not step.reused:
        return told
    return "taken over" if step.status == "completed" else f"{told}, taken over"


def step_time(step: StepView) -> str:
    """Return how long its last attempt took, or since when it runs; nothing where a fork took it over."""
    if step.duration_s is not None:
        return duration(step.duration_s)
    return f"since {clock(step.started)}" if step.started is not None and not step.reused else ""


def waited(waited_s: float | None) -> str:
    """Return how long a call waited until its last attempt began; nothing where that is not worth a word."""
    return f"waited {duration(waited_s)} before" if waited_s is not None and waited_s > _WORTH_A_WORD_S else ""


def lineage(view: RunView) -> list[tuple[str, str]]:
    """Return where a fork comes from: labels and texts, the run first."""
    return [(word, view.lineage[name]) for name, word in _LINEAGE_WORDS.items() if view.lineage.get(name)]


def spent(on_models: Spent) -> str:
    """Return what models have cost: requests, tokens and USD, and what is not known of that; nothing for nothing."""
    if on_models == Spent():
        return ""
    told = f"{_many(on_models.requests, 'request')}, {on_models.tokens:,} tokens, "
    if not on_models.unpriced:
        told += usd(on_models.usd)
    elif on_models.unpriced == on_models.requests:
        told += "price unknown"
    else:
        told += f"{usd(on_models.usd)} and {_many(on_models.unpriced, 'request')} of unknown price"
    lost = on_models.repeated
    return f"{told}; {_many(lost, 'request')} may have been paid twice" if lost else told


def usd(amount: float) -> str:
    """Return an amount with two decimal places, or with two digits that count."""
    places = 2 if amount >= 1 or not amount else min(1 - math.floor(math.log10(amount)), 9)
    return f"{amount:,.{places}f} USD"


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def conversation(said: Sequence[MessageView]) -> str:
    """Return messages as text: who, and indented what, so that no message can pretend to be another's."""
    lines: list[str] = []
    for message in said:
        lines.append(_who(message))
        lines += (f"  {part}" for part in message.text.splitlines())
    return "\n".join(lines)


def _who(message: MessageView) -> str:
    if message.kind == "function_call":
        return f"{line(message.role)} calls {line(message.tool)}"
    told = {"function_call_output": "the tool's answer", "reasoning": f"{line(message.role)}, reasoning"}
    return told.get(message.kind, line(message.role) if message.kind == "message" else line(message.kind))


def progress(now: Progress) -> str:
    """Return ``3 of 6 (50 %)``, or ``3 done`` where the total is not known."""
    if not now.total:
        return f"{now.done:g} done"
    return f"{now.done:g} of {now.total:g} ({round(100 * share(now))} %)"


def share(now: Progress) -> float:
    """Return how much is done, from 0 to 1."""
    return min(max(now.done / now.total, 0.0), 1.0) if now.total else 0.0


def shown_steps(view: RunView) -> tuple[tuple[StepView, ...], int]:
    """Return the latest steps and everything that is not done yet, and how many are left out."""
    if len(view.steps) <= STEPS_SHOWN:
        return view.steps, 0
    late = view.steps[-STEPS_SHOWN:]
    undone = [step for step in view.steps[:-STEPS_SHOWN] if step.status != "completed"][-STEPS_SHOWN:]
    shown = (*undone, *late)
    return shown, len(view.steps) - len(shown)


def next_steps(view: RunView) -> list[str]:
    """Return what a person can do now, one sentence each; nothing for a run that needs nobody."""
    todo: list[str] = []
    if view.problem:
        todo.append(view.problem)
    if view.closed:
        if view.status == "failed":
            todo.append(
                "Correct the cell, run it, then fork: "
                'run.fork(at="failed", code="current") takes over what was done before. '
                'run.at("failure") shows all variables.'
            )
        return todo
    for step in view.steps:
        if step.status == "parked":
            todo.append(
                f"Step {line(step.name)} has an error that no retry mends, or had the same one again and again. "
                "Correct its cell, run the cell, then run.mend(); if the agent has to change too, "
                'run.fork(at="failed", code="current").'
            )
        elif step.status == "retrying":
            when = f" at {clock(step.next_retry)}" if step.next_retry else ""
            todo.append(
                f"Step {line(step.name)} failed on attempt {step.attempt}; it is tried again{when} "
                "by itself. run.retry_now() tries at once; run.mend() puts a corrected cell in."
            )
    if view.status == "starting" and not view.problem:
        todo.append("Saved by the server; it begins when a worker takes it.")
    if view.status == "stuck" and not view.problem:
        todo.append("The worker can't execute the agent; run.events() shows what it tried.")
    return todo


def in_code(gate: GateView, *, run: str = "run", several: bool = False) -> str:
    """Return how to decide a gate in a cell; ``several`` gates of the run are open."""
    if gate.run_id and several:
        run = f"kg.run({gate.run_id!r})"
    which = f"{gate.gate!r}" if several else ""
    if gate.asked.form is not None:
        return f"{run}.answer({', '.join(filter(None, ('…', which)))}) or .reject({which})"
    choice = f"choice='{_quoted(gate.options[0])}'" if gate.options else ""
    approve = ", ".join(part for part in (which, choice) if part)
    reject = ", ".join(part for part in (which, 'comment="…"') if part)
    return f"{run}.approve({approve}) or .reject({reject})"


def _quoted(option: str) -> str:
    """Return an option as it is written between quotes: as it is shown."""
    return visible(option).replace("'", "\\'")


def asked_by(gate: GateView) -> str:
    """Return which called agent asks, nothing for the run itself."""
    return f"asked by the called agent {line(visible(gate.run_id))}" if gate.run_id else ""


def verdict(answer: Answer | None) -> str:
    """Return what was decided, by whom and when."""
    if answer is None:
        return "Not decided; the run no longer waits for it"
    told = "Approved" if answer.approved else "Rejected"
    if answer.is_value:
        told = f"Answered: {line(short(answer.values[VALUE]))}"
    elif answer.approved and answer.choice not in ("", APPROVE):
        told += f": {line(visible(answer.choice))}"
    if answer.by:
        told += f" by {line(visible(answer.by))}"
    if answer.at:
        told += f" on {clock(answer.at, date=True)}"
    return told
