"""Blocks as HTML: the one place that says how a kind of block looks on a page.

Styles are said in full, because notebooks style tables of their own accord.
"""

from __future__ import annotations

from typing import Final

from markupsafe import Markup

from kaigents_nb.display import blocks as b
from kaigents_nb.display.markup import COLOURS, element, escaped, joined
from kaigents_nb.display.words import LINE, PAGE, PARAGRAPH, clean
from kaigents_nb.values.brief import without_middle

NO_MATH: Final = "mathjax_ignore tex2jax_ignore"
"""Without these JupyterLab takes ``$61.50 to $68.90`` for TeX."""

_RULE = f"1px solid {COLOURS['border']}"
_MONO = "font-family: var(--jp-code-font-family, ui-monospace, monospace); font-size: 0.92em"
_BASE = (
    "font-family: var(--jp-ui-font-family, system-ui, sans-serif); font-size: var(--jp-ui-font-size1, 13px); "
    "line-height: 1.5; color: var(--jp-ui-font-color1, currentColor); text-align: left"
)
_FRAME = f"{_BASE}; border: {_RULE}; border-radius: 4px; padding: 10px 14px; margin: 0 0 10px"
_QUIET = "opacity: 0.75"
_NOWRAP = "white-space: nowrap"
_TABLE = "border-collapse: collapse; border: none; margin: 0; table-layout: auto; font-size: inherit; color: inherit"
_ROW = "background: none; border: none"
_CELL = "padding: 2px 14px 2px 0; text-align: left; vertical-align: top; line-height: 1.5; border: none"
_CODE = f"{_MONO}; padding: 0; background: none; color: inherit; overflow-wrap: anywhere; white-space: pre-wrap"
_PRE = f"{_MONO}; overflow: auto; color: inherit; background: var(--jp-layout-color2, rgba(128, 128, 128, 0.12))"
# A wide table scrolls by itself: with no width of its own it can't make what it is in wider than the page.
_SCROLLS = "margin: 4px 0; overflow-x: auto; width: 0; min-width: 100%"
_MARK = "background: rgba(255, 167, 38, 0.28); color: inherit; font-weight: 600"


def root(*blocks: b.Block) -> Markup:
    """Return blocks as one element that can stand anywhere on a page; empty for none."""
    if len(blocks) == 1 and isinstance(blocks[0], b.Section):
        return _block(blocks[0])
    return element("div", _flow(blocks), class_=NO_MATH, style=_BASE) if blocks else Markup("")


def _flow(blocks: b.Blocks) -> Markup:
    wide = (b.Table, b.Pairs)
    drawn = ((block, _block(block)) for block in blocks)
    return joined(*(element("div", it, style=_SCROLLS) if isinstance(block, wide) else it for block, it in drawn))


def _block(block: b.Block) -> Markup:
    match block:
        case b.Heading():
            title = element("strong", escaped(block.title, LINE), style="font-size: 1.15em")
            return element("div", joined(title, *map(_inline, block.after), between=Markup(" &nbsp;")))
        case b.Line():
            style = f"white-space: pre-wrap; {_QUIET}" if block.quiet else "white-space: pre-wrap"
            return element("div", *map(_inline, block.parts), style=style)
        case b.Aside():
            return element("div", _flow(block.blocks), role=block.role, style=_edge(block))
        case b.Pre():
            style = f"{_PRE}; margin: 4px 0; padding: 6px 10px; max-height: 22em; white-space: pre-wrap"
            whole = without_middle(block.text, PAGE) if block.both_ends else block.text
            printed = escaped(whole.rstrip(), PAGE if block.tail else PARAGRAPH, tail=block.tail)
            return element("pre", printed, style=f"{style}; line-height: 1.35")
        case b.Fold():
            title = element("summary", *map(_inline, block.title), style="cursor: pointer")
            return element("details", title, _flow(block.blocks), open=block.opened, style=_edge(block))
        case b.Table():
            return joined(_table(block), *(_block(fold) for folds in block.under for fold in folds))
        case b.Pairs():
            return element("table", element("tbody", *map(_pair, block.pairs)), style=_TABLE)
        case b.Items():
            items = (element("li", escaped(item)) for item in block.items)
            return element("ul", *items, style="margin: 0; padding-left: 1.4em")
        case b.Listing():
            return _listing(block)
        case b.Picture():
            return element("div", block.drawn, style="line-height: 1")
        case b.Beside():
            first = element("div", _flow(block.first), style="flex: 3 1 380px; min-width: 0")
            second = element("div", _flow(block.second), style="flex: 2 1 300px; min-width: 0")
            wraps = "display: flex; flex-wrap: wrap; gap: 10px 24px; align-items: flex-start"
            return element("div", first, second, style=wraps)
        case b.Section():
            edge = f"; border-left: 4px solid {COLOURS[block.tone]}" if block.tone else ""
            parts = (
                element("div", _flow(part), style="margin: 0 0 8px; overflow-x: auto") for part in block.parts if part
            )
            style = f"{_FRAME}; max-width: {block.width}px{edge}"
            return element("section", *parts, class_=NO_MATH, aria_label=clean(block.label, LINE), style=style)


def _inline(part: b.Inline) -> Markup:
    match part:
        case b.Strong():
            return element("strong", escaped(part.text))
        case b.Code():
            return element("code", escaped(part.text), style=_CODE)
        case b.State():
            dot = element("span", "●", aria_hidden="true", style=f"color: {COLOURS[part.tone]}")
            return element("span", dot, " ", escaped(part.text), style=_NOWRAP)
        case b.Meter():
            style = f"width: 9em; vertical-align: middle; accent-color: {COLOURS['active']}"
            bar = element("progress", max="1", value=f"{part.share:.3f}", aria_label=part.text, style=style)
            return element("span", bar, " ", escaped(part.text), style=_NOWRAP)
        case b.Link():
            if not part.url.lower().startswith(("http://", "https://")):
                return escaped(f"{part.text}: {part.url}")
            style = "color: inherit; text-decoration: underline"
            label = escaped(f"Open in {part.text}")
            return element("a", label, href=part.url, target="_blank", rel="noopener noreferrer", style=style)
        case _:
            return escaped(part)


def _edge(block: b.Aside | b.Fold) -> str | None:
    if block.tone is None:
        return None
    return f"border-left: 2px solid {COLOURS[block.tone]}; padding: 0 10px; margin: 4px 0"


def _table(table: b.Table) -> Markup:
    sides = [f"text-align: right; {_NOWRAP}" if number else "text-align: left" for number in table.numeric]
    under = f"font-weight: 600; border-bottom: {_RULE}"
    # A narrow column breaks its name after an underscore.
    names = (joined(*map(escaped, name.split("_")), between=Markup("_<wbr>")) for name in table.columns)
    heads = (
        element("th", name, scope="col", style=f"{_CELL}; {side}; {under}")
        for name, side in zip(names, sides, strict=True)
    )
    cells = (
        (element("td", _cell(cell), style=f"{_CELL}; {side}") for cell, side in zip(row, sides, strict=True))
        for row in table.rows
    )
    rows = (element("tr", *row, style=_ROW) for row in cells)
    inner = element("thead", element("tr", *heads, style=_ROW)), element("tbody", *rows)
    caption = _if_any("caption", table.caption, "caption-side: top; text-align: left; color: inherit; padding: 0")
    return joined(element("table", caption, *inner, style=_TABLE), _if_any("div", table.note, _QUIET))


def _if_any(tag: str, text: str, style: str) -> Markup:
    return element(tag, escaped(text), style=style) if text else Markup("")


def _cell(cell: b.Cell) -> Markup:
    return joined(*map(_inline, cell), between=Markup("<br>")) if isinstance(cell, tuple) else _inline(cell)


def _pair(pair: b.Pair) -> Markup:
    """A row of names and values; those of code have rules between them, and say what changed."""
    name, value = f"{_CELL}; font-weight: 600", _CELL
    if isinstance(pair.name, b.Code):
        edge = COLOURS["warning"] if pair.changed else "transparent"
        name += f"; padding-left: 8px; border-left: 3px solid {edge}; border-bottom: {_RULE}"
        value += f"; padding-right: 0; border-bottom: {_RULE}"
    badge = _if_any("div", "changed" if pair.changed else "", f"color: {COLOURS['warning']}; font-size: 0.85em")
    head = element("th", _inline(pair.name), badge, scope="row", style=name)
    return element("tr", head, element("td", *map(_block, pair.blocks), style=value), style=_ROW)


def _listing(listing: b.Listing) -> Markup:
    # The arrow is a character and the lines end in newlines, for viewers that strip styles.
    gutter = max((len(line.number) for line in listing.lines), default=1)
    wide = min(max((len(line.text) for line in listing.lines), default=0), 100)

    def line(line: b.CodeLine) -> Markup:
        if line.mark:
            return element("mark", escaped(f"{line.mark} {line.number:>{gutter}}  {line.text:{wide}}"), style=_MARK)
        if not line.number:
            return element("span", escaped(f"  {line.text}"), style="opacity: 0.55")
        number = element("span", f"{line.number:>{gutter}}", style="opacity: 0.55")
        return joined("  ", number, "  ", escaped(line.text))

    style = f"{_PRE}; margin: 0; padding: 8px 10px; max-height: 34em; white-space: pre; line-height: 1.45"
    code = element("pre", joined(*map(line, listing.lines), between="\n"), style=style)
    return joined(element("div", escaped(listing.title, LINE), style=_QUIET), code)
