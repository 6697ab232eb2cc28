"""What each column means and which values it takes: ``data/columns.json`` says so, and nothing else does."""

from __future__ import annotations

import csv
import difflib
import functools
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

DATA = Path(__file__).parent / "data"

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Column:
    """One column; the fields are those of ``columns.json``."""

    name: str
    type: str
    about: str
    unit: str = ""
    min: float | None = None
    max: float | None = None
    above: float | None = None
    may_be_empty: bool = False

    @property
    def expected(self) -> str:
        """What a cell holds, in words, for error messages and descriptions."""
        match self.type:
            case "country":
                text = "an ISO 3166 two-letter code such as VN"
            case "hs_heading":
                text = "four digits such as 8541 or 0901"
            case "number" | "integer":
                text = "a whole number" if self.type == "integer" else "a number"
                if self.min is not None and self.max is not None:
                    text += f" from {self.min:g} to {self.max:g}"
                elif self.min is not None:
                    text += f", at least {self.min:g}"
                elif self.above is not None:
                    text += f" above {self.above:g}"
            case _:
                text = "text"
        return text + (", or nothing" if self.may_be_empty else "")

    def value(self, cell: str) -> str | float | int:
        """Return the value of a cell.

        Raises
        ------
        ValueError
            With a hint (perhaps an empty one) at what is wrong.
        """
        if not cell:
            if not self.may_be_empty:
                raise ValueError("the cell is empty")
            return "" if self.type == "text" else math.nan
        match self.type:
            case "country":
                return _country(cell)
            case "hs_heading":
                return _hs_heading(cell)
            case "number" | "integer":
                return self._number(cell)
        return cell

    def _number(self, cell: str) -> float | int:
        if not _NUMBER.fullmatch(cell):
            digits = any(sign.isdigit() for sign in cell)
            raise ValueError("digits and a decimal point only, no unit or thousands separator" if digits else "")
        number = float(cell)
        if (
            not math.isfinite(number)
            or (self.min is not None and number < self.min)
            or (self.max is not None and number > self.max)
            or (self.above is not None and number <= self.above)
        ):
            raise ValueError("")
        if self.type == "number":
            return number
        # Above 2^53 a float no longer tells whole numbers apart.
        if not number.is_integer() or abs(number) > 2**53:
            raise ValueError("")
        return int(number)


@dataclass(frozen=True)
class Table:
    """One kind of file: its columns, and which of them together name a row."""

    name: str
    about: str
    file: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    @property
    def path(self) -> Path:
        """The file that ships with the package."""
        return DATA / self.file


@functools.cache
def table(name: str) -> Table:
    """Return the description of ``"suppliers"`` or ``"duty_rates"``."""
    known = json.loads((DATA / "columns.json").read_text(encoding="utf-8"))
    if name not in known:
        raise ValueError(f"No table {name!r}. Known: {', '.join(known)}.")
    entry = known[name]
    return Table(
        name=name,
        about=entry["about"],
        file=entry["file"],
        key=tuple(entry["key"]),
        columns=tuple(Column(**column) for column in entry["columns"]),
    )


@functools.cache
def countries() -> dict[str, str]:
    """Return the countries of ISO 3166-1: code → English short name."""
    with (DATA / "countries.csv").open(encoding="utf-8", newline="") as file:
        return {row["code"]: row["name"] for row in csv.DictReader(file)}


def _country(cell: str) -> str:
    known = countries()
    if cell.upper() in known:
        return cell.upper()
    names = {name.casefold(): code for code, name in known.items()}
    # Names as people write them, and two codes that are often taken for ISO ones.
    names |= {"uk": "GB", "united kingdom": "GB", "el": "GR", "usa": "US", "south korea": "KR"}
    close = [cell.casefold()] if cell.casefold() in names else difflib.get_close_matches(cell.casefold(), names)
    raise ValueError(f"did you mean {names[close[0]]} ({known[names[close[0]]]})?" if close else "")


def _hs_heading(cell: str) -> str:
    if re.fullmatch(r"\d{4}", cell, re.ASCII):
        return cell
    if re.fullmatch(r"\d{3}", cell, re.ASCII):
        raise ValueError(f"did a spreadsheet drop the leading zero of 0{cell}?")
    if re.fullmatch(r"\d{4}[.\s]?\d{2}.*", cell, re.ASCII):
        raise ValueError(f"the heading of {cell} is {cell[:4]}")
    raise ValueError("")
