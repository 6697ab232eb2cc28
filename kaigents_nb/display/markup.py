"""The parts that every static HTML form is made of: text made safe, tables, boxes, and colours of light and dark.

No scripts, no style sheets, nothing fetched. Colours come from ``currentColor`` and JupyterLab's CSS
variables with a fallback, so that light and dark both read well; where a viewer strips styles, tables and
words are left. All text goes through :func:`esc`.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from kaigents_nb.display import words
from kaigents_nb.display.tables import ITEMS, ROWS, Grid, as_grid, as_pairs, cell

GOOD: Final = "var(--jp-success-color1, #388e3c)"
BUSY: Final = "var(--jp-brand-color1, #1976d2)"
ASKS: Final = "var(--jp-warn-color1, #ef8a00)"
BAD: Final = "var(--jp-error-color1, #d32f2f)"
CALM: Final = "var(--jp-ui-font-color3, #8a8a8a)"
_COLOURS: Final[Mapping[str, str]] = {
    "running": BUSY,
    "waiting": ASKS,
    "retrying": ASKS,
    "parked": BAD,
    "stuck": BAD,
    "completed": GOOD,
    "failed": BAD,
    "timed out": BAD,
}

RULE: Final = "var(--jp-border-color2, rgba(128, 128, 128, 0.35))"
TINT: Final = "var(--jp-layout-color2, rgba(128, 128, 128, 0.12))"
MONO: Final = "font-family: var(--jp-code-font-family, ui-monospace, monospace); font-size: 0.92em"
BASE: Final = (
    "font-family: var(--jp-ui-font-family, system-ui, sans-serif); font-size: var(--jp-ui-font-size1, 13px); "
    "line-height: 1.5; color: var(--jp-ui-font-color1, currentColor); text-align: left"
)
FRAME: Final = f"{BASE}; border: 1px solid {RULE}; border-radius: 4px; padding: 10px 14px; max-width: 900px"
QUIET: Final = "opacity: 0.75"
# Said in full, because notebooks style tables of their own accord.
_INHERIT = "font-size: inherit; color: inherit"
TABLE: Final = f"border-collapse: collapse; border: none; margin: 0; table-layout: auto; {_INHERIT}"
ROW: Final = "background: none; border: none"
CELL: Final = "padding: 2px 14px 2px 0; text-align: left; vertical-align: top; line-height: 1.5; border: none"


def esc(text: object, limit: int = words.PARAGRAPH, *, tail: bool = False) -> str:
    """Return ``text`` cleaned, bounded and escaped for an element or a quoted attribute."""
    return html.escape(words.clean(text, limit, tail=tail), quote=True)


def colour(status: str) -> str:
    """Return the CSS colour that goes with a state's word."""
    return _COLOURS.get(status, CALM)


def details_html(details: Any, depth: int = 0) -> str:
    """Return a gate's details: text as written, mappings and DataFrames as tables."""
    if isinstance(details, str):
        return f'<div style="white-space: pre-wrap">{esc(details)}</div>'
    if (grid := as_grid(details)) is not None:
        return grid_html(grid)
    if (pairs := as_pairs(details)) is not None and depth < 2:
        rows = "".join(
            f'<tr style="{ROW}"><th scope="row" style="{CELL}; font-weight: 600">{esc(name)}</th>'
            f'<td style="{CELL}">{details_html(value, depth + 1)}</td></tr>'
            for name, value in pairs[:ITEMS]
        )
        more = f'<div style="{QUIET}">{len(pairs) - ITEMS} more</div>' if len(pairs) > ITEMS else ""
        return f'<table style="{TABLE}"><tbody>{rows}</tbody></table>{more}'
    if isinstance(details, list | tuple | set | frozenset) and details:
        items = list(details)
        listed = "".join(f"<li>{esc(cell(item))}</li>" for item in items[:ROWS])
        more = f"<li>{len(items) - ROWS} more</li>" if len(items) > ROWS else ""
        return f'<ul style="margin: 0; padding-left: 1.4em">{listed}{more}</ul>'
    return esc(cell(details))


def base(inner: str) -> str:
    """Return a part with the notebook's font and colour."""
    return f'<div style="{BASE}">{inner}</div>'


def state(status: str, said: str) -> str:
    """Return a state's word with a dot of its colour."""
    dot = f'<span aria-hidden="true" style="color: {colour(status)}">●</span>'
    return f'<span style="white-space: nowrap">{dot} {esc(said)}</span>'


def bar(edge: str, inner: str, more: str = "") -> str:
    """Return a part with a coloured edge."""
    return f'<div{more} style="border-left: 2px solid {edge}; padding: 0 10px; margin: 4px 0">{inner}</div>'


def callout(edge: str, text: str, role: str = "note") -> str:
    """Return one sentence with a coloured edge."""
    return bar(edge, f'<span style="white-space: pre-wrap">{esc(text)}</span>', f' role="{role}"')


def code(text: object) -> str:
    """Return one line of code."""
    return f'<code style="{MONO}; padding: 0; background: none; color: inherit">{esc(text, words.LINE)}</code>'


def pre(escaped: str) -> str:
    """Return text as it was printed; it is HTML already."""
    return (
        f'<pre style="{MONO}; margin: 4px 0; padding: 6px 10px; max-height: 22em; overflow: auto; '
        f'white-space: pre-wrap; line-height: 1.35; color: inherit; background: {TINT}">{escaped}</pre>'
    )


def details(title: str, text: str, *, opened: bool = False, edge: str = RULE) -> str:
    """Return a part that opens and closes; ``title`` is HTML already."""
    style = f"border-left: 2px solid {edge}; padding: 0 10px; margin: 4px 0"
    inner = pre(esc(text.rstrip(), words.PAGE, tail=True))
    summary = f'<summary style="cursor: pointer">{title}</summary>'
    return f'<details{" open" if opened else ""} style="{style}">{summary}{inner}</details>'


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, sides: Sequence[str] = (), note: str = "") -> str:
    """Return a table of column names and of cells that are HTML already."""
    aligned = sides or ["left"] * len(columns)
    under = f"font-weight: 600; border-bottom: 1px solid {RULE}"
    head = "".join(
        f'<th scope="col" style="{CELL}; text-align: {side}; {under}">{_breakable(esc(name))}</th>'
        for name, side in zip(columns, aligned, strict=True)
    )
    body = "".join(f'<tr style="{ROW}">{_cells(row, aligned)}</tr>' for row in rows)
    inner = f'<thead><tr style="{ROW}">{head}</tr></thead><tbody>{body}</tbody>'
    more = f'<div style="{QUIET}">{esc(note)}</div>' if note else ""
    return f'<table style="{TABLE}">{inner}</table>{more}'


def _breakable(name: str) -> str:
    """Return a column's name so that a narrow column breaks it after an underscore."""
    return name.replace("_", "_<wbr>")


def _cells(row: Sequence[str], sides: Sequence[str]) -> str:
    return "".join(f'<td style="{CELL}; text-align: {side}">{item}</td>' for item, side in zip(row, sides, strict=True))


def grid_html(grid: Grid) -> str:
    """Return a small table."""
    rows = [[esc(item) for item in row] for row in grid.rows]
    sides = ["right" if number else "left" for number in grid.numeric]
    return table(grid.columns, rows, sides=sides, note=grid.note)
