"""A moment of a run as blocks: the code with the line marked, the variables beside it, what it waits for."""

from __future__ import annotations

import ast
import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from kaigents_nb.display import blocks as b
from kaigents_nb.display import blocks_html, words
from kaigents_nb.display.details import as_table
from kaigents_nb.replay.moment import Moment, StackFrame
from kaigents_nb.snapshot.cells import parse_once
from kaigents_nb.values.brief import brief

if TYPE_CHECKING:
    from kaigents_nb.control.run import Run

LINES: Final = 60
"""A longer function is cut to so many lines round the marked one."""
VARIABLES: Final = 30
"""So many variables of a function are shown, those that changed first."""
_VALUE_CHARS: Final = 400
_TABLE_ROWS, _TABLE_COLUMNS = 6, 7
_CODE_CHARS: Final = 160
_UNLIKE_CHARS: Final = 900


def moment_html(moment: Moment) -> str:
    """Return a moment as one static HTML element."""
    return str(blocks_html.root(moment_blocks(moment)))


def moment_blocks(moment: Moment, *, hint: str = "") -> b.Section:
    """Return a moment; ``hint`` tells how to go on in code, where it is not called m."""
    hint = hint or "In a cell, with this moment as m: m.variables, m.next(), m.prev(), m.next_step()"
    beside = b.Beside(code_blocks(moment), variables_blocks(moment))
    foot = b.line(f"{hint}. To browse: run.explore()", quiet=True)
    label = f"Moment {moment.number} of run {moment.run_id}, {place(moment)}"
    return b.Section(label, (head_blocks(moment), (beside,), (foot,)), width=1100)


def failure_blocks(run: Run) -> b.Blocks:
    """Return the moment at which a run failed, is parked or retries, or why it can't be shown."""
    try:
        return (moment_blocks(run.at("failure"), hint='In a cell: m = run.at("failure"), then m.variables, m.prev()'),)
    except Exception as error:  # noqa: BLE001 - the card shows what went wrong here, and goes on
        return (b.callout(f"The moment can't be shown: {words.line(words.reason(error))}", "muted"),)


def place(moment: Moment) -> str:
    """Return where a moment is, such as ``In [3], line 5``."""
    cell = moment.cell
    return f"{cell[0]}, line {cell[1]}" if cell else f"line {moment.line} of run.code()"


def head_blocks(moment: Moment) -> b.Blocks:
    """Return where and when a moment is, what the line calls, raised, and what the run waited for."""
    about = [
        f"moment {moment.number:,} of {len(moment.trace) - 1:,}",
        place(moment),
        *([f"branch {moment.branch}"] if moment.branch else []),
        words.clock(moment.time, date=True),
        f"event {moment.event_id:,}",
    ]
    called = (f"calls {words.line(moment.step)}",) if moment.step else ()
    parts: list[b.Block] = [b.Heading(f"{moment.function}()", called), b.line(" · ".join(about), quiet=True)]
    if moment.trace.unlike:
        parts.append(b.callout(words.line(moment.trace.unlike, _UNLIKE_CHARS), "warning"))
    if moment.raised is not None:
        raised = moment.raised
        text = raised if isinstance(raised, str) else f"{type(raised).__name__}: {raised}"
        parts.append(b.callout(f"This line raised {words.line(text, 600)}", "error"))
    if moment.waiting_for:
        waits = moment.waiting_for
        names = ", ".join(words.line(name, 80) for name in waits[:8])
        more = f" and {len(waits) - 8:,} more" if len(waits) > 8 else ""
        parts.append(b.callout(f"Waiting for {names}{more}", "active"))
    return tuple(parts)


def code_blocks(moment: Moment) -> b.Blocks:
    """Return the function that the line is in, with the line's statement marked."""
    trace = moment.trace
    top, bottom = _function_at(trace.snapshot.source, moment.code_line)
    bottom = min(bottom, len(trace.source_lines))
    first = max(top, min(moment.code_line - LINES // 2, bottom - LINES + 1))
    last = min(bottom, first + LINES - 1)
    start = trace.statements.start(moment.code_line)
    lines = [b.CodeLine("", f"… {first - top:,} lines")] if first > top else []
    for number in range(first, last + 1):
        mark = ("→" if number == start else " ") if trace.statements.start(number) == start else ""
        text = words.clean(trace.source_lines[number - 1], _CODE_CHARS)
        lines.append(b.CodeLine(str(trace.place(number)[1]), text, mark))
    lines += [b.CodeLine("", f"… {bottom - last:,} lines")] if bottom > last else []
    return (b.Listing(trace.place(moment.code_line)[0] or "run.code()", tuple(lines)),)


def variables_blocks(moment: Moment) -> b.Blocks:
    """Return the variables of the function and, closed, of those that called it; what changed says so."""
    changed = moment.changes
    inner, *outer = moment.frames
    callers = (
        b.Fold((b.Code(f"{frame.function}()"), f" called it, {_at(frame)}"), _variables(frame, changed))
        for frame in outer[:20]
    )
    return *_variables(inner, changed), *callers, *b.more(len(outer) - 20, " functions")


def _variables(frame: StackFrame, changes: Mapping[str, Any]) -> b.Blocks:
    title = b.line("Variables of ", b.Code(f"{frame.function}()"), quiet=True)
    if not frame.variables:
        return title, b.line("none yet")
    # By identity: an outer function may have a variable of the same name.
    changed = {name for name, value in frame.variables.items() if name in changes and changes[name] is value}
    names = list(frame.variables)
    if len(names) > VARIABLES:
        names = sorted(names, key=lambda name: name not in changed)[:VARIABLES]
    pairs = tuple(b.Pair(b.Code(name), _value(frame, name), name in changed) for name in names)
    return title, b.Pairs(pairs), *b.more(len(frame.variables) - len(names), " in m.variables")


def _value(frame: StackFrame, name: str) -> b.Blocks:
    value = frame.variables[name]
    if name in frame.uncopied:
        short = b.Code(words.clean(value, _VALUE_CHARS))
        return b.line(short), b.line("a short text: it could not be copied", quiet=True)
    try:
        table = as_table(value, _TABLE_ROWS, _TABLE_COLUMNS)
    except Exception:  # noqa: BLE001 - an analyst's own class must not take the page down
        table = None
    if table is not None and table.columns:
        return (table,)
    return (b.line(b.Code(words.clean(brief(value, _VALUE_CHARS), _VALUE_CHARS))),)


def _at(frame: StackFrame) -> str:
    return f"{frame.cell}, line {frame.line}" if frame.cell else f"line {frame.line} of run.code()"


@functools.lru_cache(maxsize=8)
def _functions(source: str) -> tuple[tuple[int, int], ...]:
    """First and last line of every function, the innermost last."""
    try:
        tree = parse_once(source)
    except SyntaxError:
        return ()  # written for a newer Python
    found = [
        (min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]), node.end_lineno or node.lineno)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return tuple(sorted(found, key=lambda span: span[0] - span[1]))


def _function_at(source: str, line: int) -> tuple[int, int]:
    """First and last line of the innermost function that a line is in; all of the code where it is in none."""
    around = [span for span in _functions(source) if span[0] <= line <= span[1]]
    return around[-1] if around else (1, source.count("\n") + 1)
