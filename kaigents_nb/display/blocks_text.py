"""Blocks as plain text, without colour codes: for terminals, and where neither HTML nor widgets are shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kaigents_nb.display import blocks as b
from kaigents_nb.display import words
from kaigents_nb.values.brief import without_middle

_CELL_CHARS = 40
"""Plain text in a table is cut to so many characters."""


def text(*blocks: b.Block) -> str:
    """Return blocks as text."""
    return "\n".join(lines(*blocks))


def lines(*blocks: b.Block) -> list[str]:
    """Return the lines of blocks."""
    return [line for block in blocks for line in _lines(block)]


def _lines(block: b.Block) -> list[str]:
    match block:
        case b.Heading():
            return [" · ".join([words.line(block.title), *map(_inline, block.after)])]
        case b.Line():
            return "".join(map(_inline, block.parts)).splitlines()
        case b.Aside():
            first, *rest = lines(*block.blocks) or [""]
            return [block.sign + first, *_indented(rest)]
        case b.Pre():
            return _indented(_printed(block))
        case b.Fold():
            return ["".join(map(_inline, block.title)), *lines(*block.blocks)]
        case b.Table():
            return _table(block)
        case b.Pairs():
            return [line for pair in block.pairs for line in _pair(pair)]
        case b.Items():
            return [f"- {words.clean(item)}" for item in block.items]
        case b.Listing():
            gutter = max((len(line.number) for line in block.lines), default=1)
            code = (f"{line.mark or ' '} {line.number:>{gutter}}  {words.clean(line.text)}" for line in block.lines)
            return [words.line(block.title), *map(str.rstrip, code)]
        case b.Picture():
            return []
        case b.Beside():
            return lines(*block.first, *block.second)
        case b.Section():
            return "\n\n".join(filter(None, (text(*part) for part in block.parts))).splitlines()


def _inline(part: b.Inline) -> str:
    match part:
        case str():
            return words.clean(part)
        case b.Meter():
            done = round(part.share * 10)
            return f"[{'#' * done}{'.' * (10 - done)}] {words.line(part.text)}"
        case b.Link():
            return f"{words.line(part.text)}: {words.line(part.url)}"
        case _:
            return words.clean(part.text)


def _indented(found: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in found]


def _printed(block: b.Pre) -> list[str]:
    limit = words.PAGE if block.tail else words.PARAGRAPH
    whole = without_middle(block.text, limit) if block.both_ends else block.text
    found = words.clean(whole, limit, tail=block.tail).rstrip().splitlines()
    if block.both_ends and block.lines:
        return words.both_ends(found, block.lines)
    hidden = 0 if block.lines is None else len(found) - block.lines
    if hidden <= 0:
        return found
    return [f"… {hidden} lines before this", *found[hidden:]] if block.lines else []


def _pair(pair: b.Pair) -> list[str]:
    name = f"{_inline(pair.name)} (changed)" if pair.changed else _inline(pair.name)
    inner = lines(*pair.blocks)
    return [f"{name}:", *_indented(inner)] if len(inner) > 1 else [f"{name}: {''.join(inner)}"]


def _table(table: b.Table) -> list[str]:
    """A table in aligned columns, or with a line per cell."""
    rows = [[_cell(cell, table) for cell in row] for row in table.rows]
    if table.listed:
        found = [line for first, *rest in rows for line in (first, *_indented(filter(None, rest)))]
    else:
        found = aligned([*([] if table.caption else [list(table.columns)]), *rows], table.numeric)
    head = len(found) - len(rows)
    for at, folds in reversed(list(enumerate(table.under, head + 1))):
        found[at:at] = [f"  │ {line}" for fold in folds for pre in fold.blocks for line in _bare(pre)]
    found += [f"({words.line(table.note)})"] if table.note else []
    return [words.line(table.caption), *_indented(found)] if table.caption else found


def _bare(block: b.Block) -> list[str]:
    return _printed(block) if isinstance(block, b.Pre) else _lines(block)


def _cell(cell: b.Cell, table: b.Table) -> str:
    if isinstance(cell, tuple):
        return " · ".join(words.line(_inline(part)) for part in cell)
    short = isinstance(cell, str) and not table.listed
    return words.line(cell, _CELL_CHARS) if short else words.line(_inline(cell))


def aligned(rows: Sequence[Sequence[str]], numeric: Sequence[bool]) -> list[str]:
    """Return rows as lines with aligned columns, numbers to the right."""
    widths = [max((len(row[at]) for row in rows), default=0) for at in range(len(numeric))]
    return [
        "  ".join(
            item.rjust(width) if number else item.ljust(width)
            for item, width, number in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in rows
    ]
