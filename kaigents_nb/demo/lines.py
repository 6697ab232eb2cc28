"""A CSV file as rows that know their line, with errors that a person can act on."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Self

SHOWN = 10
"""Problems listed in one message; the rest are counted."""


class BadTable(ValueError):
    """A file can't be used as a table; the message names file, line and column of each problem.

    ``path`` is the file and ``problems`` all that was found, one text each.
    """

    path: Path | None = None
    problems: tuple[str, ...] = ()

    @classmethod
    def at(cls, path: Path, problems: Sequence[str], advice: str = "") -> Self:
        """Return the error for one file."""
        count = len(problems)
        lines = [f"{path.name} can't be used: {'1 problem' if count == 1 else f'{count} problems'}."]
        lines += [f"  {problem}" for problem in problems[:SHOWN]]
        if count > SHOWN:
            lines.append(f"  … and {count - SHOWN} more")
        lines.append(f"File: {path}")
        error = cls("\n".join([*lines, advice] if advice else lines))
        error.path, error.problems = path, tuple(problems)
        return error


def read_lines(path: Path) -> list[tuple[int, list[str]]]:
    """Return the rows of a CSV file, each with its line as an editor counts them; blank ones are left out.

    Raises
    ------
    BadTable
        When the file can't be read, is no UTF-8 text or no well-formed CSV, or has no line at all.
    """
    text = _text(path)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[tuple[int, list[str]]] = []
    begins = 1
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                rows.append((begins, cells))
            begins = reader.line_num + 1
    except csv.Error as error:
        raise BadTable.at(
            path, [f"line {begins}: {error} — is a quotation mark open? Double it inside a cell."]
        ) from None
    if not rows:
        raise BadTable.at(path, ["the file is empty — expected a line of column names and one line per row"])
    return rows


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        here = sorted(p.name for p in path.parent.glob("*.csv")) if path.parent.is_dir() else []
        known = f"CSV files in that folder: {', '.join(here)}" if here else "no CSV file in that folder"
        raise BadTable.at(path, [f"no such file — {known}"]) from None
    except OSError as error:
        raise BadTable.at(path, [f"can't be read: {error.strerror or error}"]) from error
    if data.startswith(b"PK"):
        raise BadTable.at(path, ["this is a spreadsheet or zip file — save it as CSV UTF-8"])
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise BadTable.at(path, ["the text is UTF-16 — save it as CSV UTF-8"])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = error.object[: error.start]  # without the byte order mark, which holds no line break
        line = 1 + before.replace(b"\r\n", b"\n").replace(b"\r", b"\n").count(b"\n")
        byte = f"{error.object[error.start]:#04x}"
        raise BadTable.at(path, [f"line {line}: byte {byte} is not UTF-8 — save the file as CSV UTF-8"]) from None
