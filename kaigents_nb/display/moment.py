"""A moment of a run as static HTML: the code with the line marked, the variables beside it, what it waits for."""

from __future__ import annotations

import ast
import functools
from collections.abc import Mapping
from typing import Any, Final, Protocol

from kaigents_nb.display import words
from kaigents_nb.display.markup import (
    ASKS,
    BAD,
    BUSY,
    CALM,
    CELL,
    FRAME,
    MONO,
    QUIET,
    ROW,
    RULE,
    TABLE,
    base,
    callout,
    code,
    esc,
    grid_html,
)
from kaigents_nb.display.tables import as_grid
from kaigents_nb.replay.moment import Moment, StackFrame
from kaigents_nb.values.brief import brief

LINES: Final = 60
"""A longer function is cut to so many lines round the marked one."""
VARIABLES: Final = 30
"""So many variables of a function are shown, those that changed first."""
_VALUE_CHARS: Final = 400
_GRID_ROWS, _GRID_COLUMNS = 6, 7
_CODE_CHARS: Final = 160
_CHANGED = f"border-left: 3px solid {ASKS}"
_SAME = "border-left: 3px solid transparent"
_MARK = "background: rgba(255, 167, 38, 0.28); color: inherit; font-weight: 600"


def moment_html(moment: Moment, *, told: str = "") -> str:
    """Return a moment as one static HTML element; ``told`` says how to go on in code, where it is not called m."""
    label = esc(f"Moment {moment.number} of run {moment.run_id}, {place(moment)}", words.LINE)
    told = told or "In a cell, with this moment as m: m.variables, m.next(), m.prev(), m.next_step()"
    foot = f'<div style="{QUIET}; margin-top: 6px">{esc(told)}. To browse: run.explore()</div>'
    frame = FRAME.replace("max-width: 900px", "max-width: 1100px")
    return (
        f'<section aria-label="{label}" style="{frame}">{head_html(moment)}'
        f'<div style="display: flex; flex-wrap: wrap; gap: 10px 24px; margin-top: 8px; align-items: flex-start">'
        f'<div style="flex: 3 1 380px; min-width: 0">{code_html(moment)}</div>'
        f'<div style="flex: 2 1 300px; min-width: 0">{variables_html(moment)}</div></div>{foot}</section>'
    )


class Rewindable(Protocol):
    """A run that can be looked back at."""

    def at(self, moment: str) -> Moment:
        """Return a moment."""
        ...


def failure_html(run: Rewindable) -> str:
    """Return the moment at which a run failed, is parked or retries, or why it can't be shown."""
    try:
        return moment_html(run.at("failure"), told='In a cell: m = run.at("failure"), then m.variables, m.prev()')
    except Exception as error:  # noqa: BLE001 - the card shows what went wrong here, and goes on
        return base(callout(CALM, f"The moment can't be shown: {words.line(str(error) or type(error).__name__)}"))


def place(moment: Moment) -> str:
    """Return where a moment is, such as ``In [3], line 5``."""
    cell = moment.cell
    return f"{cell[0]}, line {cell[1]}" if cell else f"line {moment.line} of run.code()"


def head_html(moment: Moment) -> str:
    """Return where and when a moment is, what the line calls, raised, and what the run waited for."""
    about = [
        f"moment {moment.number:,} of {len(moment.trace) - 1:,}",
        place(moment),
        *([f"branch {moment.branch}"] if moment.branch else []),
        words.clock(moment.time, date=True),
        f"event {moment.event_id:,}",
    ]
    called = f' &nbsp;<span style="{QUIET}">calls</span> {code(moment.step)}' if moment.step else ""
    parts = [
        f'<div><strong style="font-size: 1.15em">{esc(moment.function, words.LINE)}()</strong>{called}</div>',
        f'<div style="{QUIET}">{esc(" · ".join(about))}</div>',
    ]
    if moment.raised is not None:
        raised = moment.raised
        text = raised if isinstance(raised, str) else f"{type(raised).__name__}: {raised}"
        parts.append(callout(BAD, f"This line raised {words.line(text, 600)}"))
    if moment.waiting_for:
        waits = moment.waiting_for
        names = ", ".join(words.line(name, 80) for name in waits[:8])
        more = f" and {len(waits) - 8:,} more" if len(waits) > 8 else ""
        parts.append(callout(BUSY, f"Waiting for {names}{more}"))
    return base("".join(parts))


def code_html(moment: Moment) -> str:
    """Return the function that the line is in, with the line marked by an arrow and a tint."""
    trace = moment.trace
    first, last = _function_at(trace.snapshot.source, moment.line)
    last = min(last, len(trace.source_lines))
    start = trace.statements.start(moment.line)
    cut_before, cut_after = 0, 0
    if last - first + 1 > LINES:
        begin = max(first, min(moment.line - LINES // 2, last - LINES + 1))
        cut_before, cut_after = begin - first, last - (begin + LINES - 1)
        first, last = begin, begin + LINES - 1
    texts = {number: words.clean(trace.source_lines[number - 1], _CODE_CHARS) for number in range(first, last + 1)}
    wide = min(max((len(text) for text in texts.values()), default=0), 100)
    cells = {number: trace.cell(number) for number in texts}
    shown = {number: str(cell[1] if (cell := cells[number]) else number) for number in texts}
    gutter = max((len(text) for text in shown.values()), default=1)
    lines = [_skipped(cut_before)] if cut_before else []
    for number, text in texts.items():
        # The arrow is a character and the lines end in newlines, for viewers that strip styles.
        if trace.statements.start(number) == start:
            sign = "→" if number == start else " "
            lines.append(f'<mark style="{_MARK}">{sign} {shown[number]:>{gutter}}  {esc(f"{text:{wide}}")}</mark>')
        else:
            lines.append(f'  <span style="opacity: 0.55">{shown[number]:>{gutter}}</span>  {esc(text)}')
    lines += [_skipped(cut_after)] if cut_after else []
    title = esc((cells.get(moment.line) or ("run.code()", 0))[0], words.LINE)
    pre = (
        f'<pre style="{MONO}; margin: 0; padding: 8px 10px; max-height: 34em; overflow: auto; white-space: pre; '
        f'line-height: 1.45; color: inherit; background: rgba(128, 128, 128, 0.1); border-radius: 3px">'
        f"{chr(10).join(lines)}</pre>"
    )
    return base(f'<div style="{QUIET}">{title}</div>{pre}')


def variables_html(moment: Moment) -> str:
    """Return the variables of the function and, closed, of those that called it; changes are marked in words."""
    changed = moment.changes
    inner, *outer = moment.frames
    parts = [_frame_html(inner, changed)]
    for frame in outer[:20]:
        summary = f"{code(f'{frame.function}()')} called it, {_at(frame)}"
        parts.append(
            f'<details style="margin-top: 6px"><summary style="cursor: pointer">{summary}</summary>'
            f"{_frame_html(frame, changed)}</details>"
        )
    if len(outer) > 20:
        parts.append(f'<div style="{QUIET}">and {len(outer) - 20:,} more functions</div>')
    return base("".join(parts))


def _frame_html(frame: StackFrame, changed: Mapping[str, Any]) -> str:
    title = f'<div style="{QUIET}">Variables of {code(f"{frame.function}()")}</div>'
    if not frame.variables:
        return f"{title}<div>none yet</div>"
    names = list(frame.variables)
    if len(names) > VARIABLES:
        names = sorted(names, key=lambda name: not _is_changed(frame, changed, name))[:VARIABLES]
    rows = "".join(_variable(frame, name, _is_changed(frame, changed, name)) for name in names)
    hidden = len(frame.variables) - len(names)
    more = f'<div style="{QUIET}">{hidden:,} more in m.variables</div>' if hidden else ""
    return f'{title}<div style="overflow-x: auto"><table style="{TABLE}"><tbody>{rows}</tbody></table></div>{more}'


def _is_changed(frame: StackFrame, changed: Mapping[str, Any], name: str) -> bool:
    # By identity: an outer function may have a variable of the same name.
    return name in changed and changed[name] is frame.variables[name]


def _variable(frame: StackFrame, name: str, changed: bool) -> str:
    badge = f'<div style="color: {ASKS}; font-size: 0.85em; font-weight: 600">changed</div>' if changed else ""
    short = f'<div style="{QUIET}">a short text: it could not be copied</div>' if name in frame.uncopied else ""
    edge = _CHANGED if changed else _SAME
    return (
        f'<tr style="{ROW}"><th scope="row" style="{CELL}; {edge}; padding-left: 8px; font-weight: 600; '
        f'border-bottom: 1px solid {RULE}">{code(name)}{badge}</th>'
        f'<td style="{CELL}; padding-right: 0; border-bottom: 1px solid {RULE}">'
        f"{_value(frame.variables[name], whole=name not in frame.uncopied)}{short}</td></tr>"
    )


def _value(value: Any, *, whole: bool) -> str:
    if not whole and isinstance(value, str):
        return _text(value)
    try:
        grid = as_grid(value, _GRID_ROWS, _GRID_COLUMNS)
    except Exception:  # noqa: BLE001 - an analyst's own class must not take the page down
        grid = None
    if grid is not None and grid.columns:
        return grid_html(grid)
    return _text(brief(value, _VALUE_CHARS))


def _text(text: str) -> str:
    style = f"{MONO}; padding: 0; background: none; color: inherit; overflow-wrap: anywhere; white-space: pre-wrap"
    return f'<code style="{style}">{esc(text, _VALUE_CHARS)}</code>'


def _at(frame: StackFrame) -> str:
    return esc(f"{frame.cell}, line {frame.cell_line}" if frame.cell else f"line {frame.line}")


def _skipped(count: int) -> str:
    return f'<span style="opacity: 0.55">  … {count:,} lines</span>'


@functools.lru_cache(maxsize=8)
def _functions(source: str) -> tuple[tuple[int, int], ...]:
    """First and last line of every function, the innermost last."""
    try:
        tree = ast.parse(source)
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
