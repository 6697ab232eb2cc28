"""A CSV file as rows that know their line, with errors that a person can act on."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Self

SHOWN = 10
"""Problems listed in one message; the rest are counted."""

_NO_TEXT = {
    b"PK": "this is a spreadsheet or zip file",
    b"\xff\xfe": "the text is UTF-16",
    b"\xfe\xff": "the text is UTF-16",
}


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


def read_lines(file: Path) -> list[tuple[int, list[str]]]:
    """Return the rows of a file, column names first, each with its line as an editor counts; blank ones are left out.

    ``pd.read_csv`` can't say in which line a row is, and stops at the first bad line or drops it.

    Raises
    ------
    BadTable
        When the file can't be read, is no UTF-8 text or no well-formed CSV, or has no line at all.
    """
    rows, begins = [], 1
    try:
        data = file.read_bytes()
        if said := next((said for sign, said in _NO_TEXT.items() if data.startswith(sign)), ""):
            raise BadTable.at(file, [f"{said} — save it as CSV UTF-8"])
        reader = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        for row in reader:
            if any(cells := [cell.strip() for cell in row]):
                rows.append((begins, cells))
            begins = reader.line_num + 1
    except FileNotFoundError:
        here = ", ".join(sorted(path.name for path in file.parent.glob("*.csv")))
        known = f"CSV files in that folder: {here}" if here else "no CSV file in that folder"
        raise BadTable.at(file, [f"no such file — {known}"]) from None
    except OSError as error:
        raise BadTable.at(file, [f"can't be read: {error.strerror or error}"]) from error
    except UnicodeDecodeError as error:
        line, byte = len((error.object[: error.start] + b"?").splitlines()), error.object[error.start]
        raise BadTable.at(file, [f"line {line}: byte {byte:#04x} is not UTF-8 — save it as CSV UTF-8"]) from None
    except csv.Error as error:
        problem = f"line {begins}: {error} — is a quotation mark open? Double it inside a cell."
        raise BadTable.at(file, [problem]) from None
    if not rows:
        raise BadTable.at(file, ["the file is empty — expected a line of column names and one line per row"])
    return rows
