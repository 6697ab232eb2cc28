"""Suppliers and duty rates as checked DataFrames, from the files that ship or any others of the same form."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from kaigents_nb.demo.columns import Table, table
from kaigents_nb.demo.lines import BadTable, read_lines

__all__ = ["BadTable", "describe", "duty_rates_for", "quotes_for", "read_duty_rates", "read_suppliers"]


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
    return _read(table("suppliers"), path)


def read_duty_rates(path: str | os.PathLike[str] | None = None) -> pd.DataFrame:
    """Import duties, one row per country of origin and HS heading; the index is the line in the file.

    Columns as ``describe("duty_rates")`` lists them. ``path`` and errors as in :func:`read_suppliers`.

    Examples
    --------
    >>> float(read_duty_rates().query("country == 'CN' and hs_heading == '8541'")["duty_rate_pct"].iloc[0])
    25.0
    """
    return _read(table("duty_rates"), path)


def describe(name: str) -> pd.DataFrame:
    """Columns of ``"suppliers"`` or ``"duty_rates"``, one row each: ``column, expected, unit, about``."""
    rows = [(c.name, c.expected, c.unit, c.about) for c in table(name).columns]
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
    known = {(country, heading): rate for country, heading, rate in _cells(rates, "duty_rate_pct")}
    problems = []
    for line, (country, heading, supplier) in zip(quotes.index, _cells(quotes, "supplier"), strict=True):
        if (country, heading) not in known:
            there = ", ".join(sorted(c for c, h in known if h == heading)) or "none"
            problems.append(
                f"country {country}, hs_heading {heading}: no duty rate"
                f" (line {line} of {_file(quotes)}, {supplier}) — countries known for {heading}: {there}"
            )
    if problems:
        advice = "Add a row for each to the duty rates."
        raise BadTable.at(Path(rates.attrs.get("path", "duty rates")), problems, advice)
    found = [known[country, heading] for country, heading, _ in _cells(quotes, "supplier")]
    return pd.Series(found, index=quotes.index, dtype=float, name="duty_rate_pct")


def _cells(frame: pd.DataFrame, column: str) -> Iterable[tuple[str, str, object]]:
    return zip(frame["country"], frame["hs_heading"], frame[column], strict=True)


def _file(frame: pd.DataFrame) -> str:
    """Return the name of the file a table was read from, as long as pandas has kept ``attrs``."""
    return Path(frame.attrs.get("path", "the table")).name


def _read(form: Table, path: str | os.PathLike[str] | None) -> pd.DataFrame:
    file = form.path if path is None else Path(path).expanduser().absolute()
    advice = f"The columns are described in {form.path.parent / 'columns.json'} under {form.name!r}."
    (header_line, header), *rows = read_lines(file)
    names = [name.casefold() for name in header]
    if problems := _header_problems(form, header_line, names):
        raise BadTable.at(file, problems, advice)
    if not rows:
        raise BadTable.at(file, ["there are column names but no rows"], advice)

    values: dict[str, list[str | float | int]] = {column.name: [] for column in form.columns}
    first_line: dict[tuple[str, ...], int] = {}
    for line, cells in rows:
        if len(cells) != len(names):
            hint = " — quote a cell that holds a comma" if len(cells) > len(names) else ""
            problems.append(f"line {line}: {len(cells)} cells, expected {len(names)}{hint}")
            continue
        row = dict(zip(names, cells, strict=True))
        for column in form.columns:
            try:
                values[column.name].append(column.value(row[column.name]))
            except ValueError as error:
                hint = f"; {error}" if str(error) else ""
                problems.append(f"line {line}, {column.name}: {row[column.name]!r} — expected {column.expected}{hint}")
        key = tuple(row[name].casefold() for name in form.key)
        if all(key) and (before := first_line.setdefault(key, line)) != line:
            problems.append(f"line {line}: the same {' and '.join(form.key)} as line {before} — keep one of the two")
    if problems:
        raise BadTable.at(file, problems, advice)
    frame = pd.DataFrame(values, index=pd.Index([line for line, _ in rows], name="line"))
    frame.attrs["path"] = str(file)
    return frame


def _header_problems(form: Table, line: int, names: list[str]) -> list[str]:
    needed = [column.name for column in form.columns]
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
