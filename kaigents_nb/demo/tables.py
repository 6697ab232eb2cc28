"""Suppliers and duty rates as checked DataFrames, from the files that ship or any others of the same form.

What each column means and which values it takes: ``data/columns.json`` says so, and nothing else does.
"""

from __future__ import annotations

import difflib
import functools
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kaigents_nb.demo.lines import BadTable, read_lines

DATA = Path(__file__).parent / "data"
_KINDS = {
    "country": "an ISO 3166 two-letter code such as VN",
    "hs_heading": "four digits such as 8541 or 0901",
    "number": "a number",
    "integer": "a whole number",
    "text": "text",
}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_MAX_INTEGER = 2**53
"""Above it a float no longer tells whole numbers apart."""
# Names as people write them, and two codes that are often taken for ISO ones.
_ALSO_CALLED = {"uk": "GB", "united kingdom": "GB", "el": "GR", "usa": "US", "south korea": "KR"}


def read_suppliers(path: str | os.PathLike[str] | None = None) -> pd.DataFrame:
    """Quotes, one row per supplier and product; the index is the line in the file.

    Columns as ``describe("suppliers")`` lists them; others in the file are left out.

    Parameters
    ----------
    path
        A CSV file of the same form; ``None`` means the sample that ships with the package.

    Raises
    ------
    BadTable
        A ``ValueError`` that names file, line and column of each problem.

    Examples
    --------
    >>> read_suppliers().loc[2, ["supplier", "country"]].to_list()
    ['Helian Photovoltaics', 'CN']
    """
    return _read("suppliers", path)


def read_duty_rates(path: str | os.PathLike[str] | None = None) -> pd.DataFrame:
    """Import duties, one row per country of origin and HS heading; the index is the line in the file.

    Columns as ``describe("duty_rates")`` lists them. ``path`` and errors as in :func:`read_suppliers`.

    Examples
    --------
    >>> float(read_duty_rates().query("country == 'CN' and hs_heading == '8541'")["duty_rate_pct"].iloc[0])
    25.0
    """
    return _read("duty_rates", path)


def describe(name: str) -> pd.DataFrame:
    """Columns of ``"suppliers"`` or ``"duty_rates"``, one row each: ``column, expected, unit, about``."""
    rows = [(c["name"], _expected(c), c.get("unit", ""), c["about"]) for c in _form(name)["columns"]]
    return pd.DataFrame(rows, columns=["column", "expected", "unit", "about"])


def quotes_for(product: str, suppliers: pd.DataFrame) -> pd.DataFrame:
    """Quotes for one product, cheapest unit price first.

    Raises
    ------
    ValueError
        When nobody quotes it; the message lists the known products.
    """
    wanted = " ".join(str(product).split()).casefold()
    quotes = suppliers[suppliers["product"].str.casefold() == wanted]
    if quotes.empty:
        known = {name.casefold(): name for name in sorted(suppliers["product"].unique())}
        close = difflib.get_close_matches(wanted, known, n=1)
        hint = f" Did you mean {known[close[0]]!r}?" if close else ""
        raise ValueError(
            f"No supplier quotes {product!r} in {_file(suppliers)}.{hint} Known: {', '.join(known.values())}."
        )
    return quotes.sort_values(["unit_price_usd", "supplier"])


def duty_rates_for(quotes: pd.DataFrame, rates: pd.DataFrame) -> pd.Series[float]:
    """Duty of each quote in percent, with the index of ``quotes``.

    Raises
    ------
    BadTable
        When the rates lack a quote's country and HS heading; the message says which are known.
    """
    key = ["country", "hs_heading"]
    known = rates.set_index(key)["duty_rate_pct"]
    found = known.reindex(pd.MultiIndex.from_frame(quotes[key])).set_axis(quotes.index)
    problems = []
    for line, quote in quotes[found.isna()].iterrows():
        country, heading = quote[key]
        there = ", ".join(sorted(rates.loc[rates["hs_heading"] == heading, "country"])) or "none"
        problems.append(
            f"country {country}, hs_heading {heading}: no duty rate"
            f" (line {line} of {_file(quotes)}, {quote['supplier']}) — countries known for {heading}: {there}"
        )
    if problems:
        path = Path(rates.attrs.get("path", "duty rates"))
        raise BadTable.at(path, problems, "Add a row for each to the duty rates.")
    return found


@functools.cache
def countries() -> dict[str, str]:
    """Return the countries of ISO 3166-1: code → English short name."""
    known = pd.read_csv(DATA / "countries.csv", keep_default_na=False)  # NA is Namibia
    return dict(zip(known["code"], known["name"], strict=True))


@functools.cache
def _form(name: str) -> dict[str, Any]:
    known: dict[str, dict[str, Any]] = json.loads((DATA / "columns.json").read_text(encoding="utf-8"))
    if name not in known:
        raise ValueError(f"No table {name!r}. Known: {', '.join(known)}.")
    return known[name]


def _expected(column: dict[str, Any]) -> str:
    """What a cell holds, in words."""
    text = _KINDS[column["type"]]
    if "max" in column:
        text += f" from {column['min']:g} to {column['max']:g}"
    elif "min" in column:
        text += f", at least {column['min']:g}"
    elif "above" in column:
        text += f" above {column['above']:g}"
    return text + (", or nothing" if column.get("may_be_empty") else "")


def _file(frame: pd.DataFrame) -> str:
    """Return the name of the file a table was read from, as long as pandas has kept ``attrs``."""
    return Path(frame.attrs.get("path", "the table")).name


def _read(name: str, path: str | os.PathLike[str] | None) -> pd.DataFrame:
    form = _form(name)
    file = DATA / form["file"] if path is None else Path(path).expanduser().absolute()
    advice = f"The columns are described in {DATA / 'columns.json'} under {name!r}."
    (header_line, header), *rows = read_lines(file)
    names = [name.casefold() for name in header]
    if problems := _header_problems(form, header_line, names):
        raise BadTable.at(file, problems, advice)
    if not rows:
        raise BadTable.at(file, ["there are column names but no rows"], advice)

    index = pd.Index([line for line, row in rows if len(row) == len(names)], name="line")
    cells = pd.DataFrame([row for _, row in rows if len(row) == len(names)], index, names, dtype=object)
    frame = pd.DataFrame(index=index)
    found = []  # by line, then column
    for line, row in rows:
        if len(row) != len(names):
            hint = " — quote a cell that holds a comma" if len(row) > len(names) else ""
            found.append((line, 0, f": {len(row)} cells, expected {len(names)}{hint}"))
    for number, column in enumerate(form["columns"]):
        frame[column["name"]], wrong = _values(column, cells[column["name"]])
        for line, cell in wrong.items():
            hint = _hint(column["type"], cell)
            found.append((line, number, f", {column['name']}: {cell!r} — expected {_expected(column)}{hint}"))
    keys = cells[form["key"]].map(str.casefold)
    keys = keys[(keys != "").all(axis=1)]
    first = keys.index.to_series().groupby([keys[part] for part in keys]).transform("min")
    for line, before in first[first != first.index].items():
        found.append((line, len(names), f": the same {' and '.join(keys)} as line {before} — keep one of the two"))
    if found:
        raise BadTable.at(file, [f"line {line}{problem}" for line, _, problem in sorted(found)], advice)
    frame.attrs["path"] = str(file)
    return frame


def _header_problems(form: dict[str, Any], line: int, names: list[str]) -> list[str]:
    needed = [column["name"] for column in form["columns"]]
    if len(names) == 1 and (other := next((sign for sign in ";\t|" if sign in names[0]), None)):
        return [f"line {line}: the columns are separated by {other!r} — expected commas; save it as CSV UTF-8"]
    problems = [f"line {line}: column {name} is there twice" for name in needed if names.count(name) > 1]
    spare = [name for name in names if name not in needed]
    for name in needed:
        if name not in names:
            close = difflib.get_close_matches(name, spare, n=1)
            hint = f"is it {close[0]!r}?" if close else f"found: {', '.join(names)}"
            problems.append(f"line {line}: column {name} is missing — {hint}")
    return problems


def _values(column: dict[str, Any], cells: Any) -> tuple[Any, Any]:
    """Return the values of a column's cells, and those cells that hold none."""
    values, good = cells, cells != ""
    match column["type"]:
        case "country":
            values = cells.str.upper()
            good = values.isin(countries())
        case "hs_heading":
            good = cells.str.fullmatch("[0-9]{4}")
        case "number" | "integer" as kind:
            values = cells.where(cells.str.fullmatch(_NUMBER), "nan").astype(float)
            good = values.between(column.get("min", -np.inf), column.get("max", np.inf)) & np.isfinite(values)
            good &= values > column.get("above", -np.inf)
            if kind == "integer":
                good &= (values % 1 == 0) & (values.abs() <= _MAX_INTEGER)
                values = values.where(good, 0).astype(int)
    if column.get("may_be_empty"):
        good |= cells == ""
    return values.infer_objects(), cells[~good]


def _hint(kind: str, cell: str) -> str:
    """What may be wrong with a cell, where there is a usual mistake."""
    if not cell:
        return "; the cell is empty"
    if kind == "country":
        names = {name.casefold(): code for code, name in countries().items()} | _ALSO_CALLED
        if close := difflib.get_close_matches(cell.casefold(), names, n=1):
            return f"; did you mean {names[close[0]]} ({countries()[names[close[0]]]})?"
    elif kind == "hs_heading":
        if re.fullmatch("[0-9]{3}", cell):
            return f"; did a spreadsheet drop the leading zero of 0{cell}?"
        if re.match(r"[0-9]{4}[.\s]?[0-9]{2}", cell):
            return f"; the heading of {cell} is {cell[:4]}"
    elif any(sign.isdigit() for sign in cell) and not _NUMBER.fullmatch(cell):
        return "; digits and a decimal point only, no unit or thousands separator"
    return ""
