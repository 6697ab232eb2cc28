"""The demo's tables: the files that ship are sound, and a bad file is told line by line."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from kaigents_nb.demo.lines import BadTable
from kaigents_nb.demo.tables import (
    DATA,
    countries,
    describe,
    duty_rates_for,
    quotes_for,
    read_duty_rates,
    read_suppliers,
)

HEADER = (
    "supplier,product,country,hs_heading,unit_price_usd,freight_usd,moq,lead_time_days,quality_rating,contact,source"
)
GOOD = "Acme,bolt,DE,7318,0.10,0.01,500,7,4.5,sales@acme.example,sample"

Write = Callable[..., Path]


@pytest.fixture
def suppliers(tmp_path: Path) -> Write:
    """Return a writer of suppliers files: one text per line, below the usual header."""

    def write(*lines: str, header: str = HEADER, encoding: str = "utf-8", newline: str = "\n") -> Path:
        path = tmp_path / "my suppliers.csv"
        path.write_bytes(newline.join([header, *lines, ""]).encode(encoding))
        return path

    return write


def problems(path: Path) -> list[str]:
    """Return what read_suppliers() says about a file."""
    with pytest.raises(BadTable) as caught:
        read_suppliers(path)
    assert path.name in str(caught.value)
    assert str(path) in str(caught.value)
    return list(caught.value.problems)


def test_shipped_tables_are_sound() -> None:
    """Every product that ships has at least four suppliers, and every quote a duty rate."""
    quotes, rates = read_suppliers(), read_duty_rates()
    assert quotes.groupby("product").size().between(4, 8).all()
    for product in quotes["product"].unique():
        found = quotes_for(product, quotes)
        duty = duty_rates_for(found, rates)
        assert list(duty.index) == list(found.index)
        assert duty.between(0, 100).all()


@pytest.mark.parametrize("read", [read_suppliers, read_duty_rates])
def test_every_shipped_figure_is_marked(read: Callable[[], pd.DataFrame]) -> None:
    """Invented figures say so in every row."""
    assert set(read()["source"]) == {"sample"}


@pytest.mark.parametrize("name", ["suppliers", "duty_rates"])
def test_every_shipped_column_is_described(name: str) -> None:
    """The description has the file's columns, in the file's order, each with words."""
    described = describe(name)
    assert list(described["column"]) == (DATA / f"{name}.csv").read_text("utf-8").splitlines()[0].split(",")
    assert described[["expected", "about"]].map(bool).all(axis=None)


def test_unknown_table() -> None:
    """An unknown table name lists the known ones."""
    with pytest.raises(ValueError, match=r"No table 'prices'. Known: suppliers, duty_rates"):
        describe("prices")


def test_all_countries_are_known() -> None:
    """ISO 3166-1 has 249 countries."""
    assert len(countries()) == 249
    assert countries()["VN"] == "Vietnam"


def test_reads_own_file(suppliers: Write) -> None:
    """Spaces round cells, a byte order mark, CRLF, capitals, blank lines and more columns do no harm."""
    path = suppliers(
        "",
        " Acme , Bolt ,de,7318,.5,0,500, 7 ,,,sample,new",
        "",
        '"Bolts, Inc.",bolt,FR,7318,1e0,0.2,1,0,5,,sample,',
        header=HEADER.upper() + ",Remark",
        encoding="utf-8-sig",
        newline="\r\n",
    )
    frame = read_suppliers(path)
    assert list(frame.columns) == HEADER.split(",")
    assert list(frame.index) == [3, 5]
    assert frame.loc[3, "country"] == "DE"
    assert frame["unit_price_usd"].dtype == float
    assert frame["moq"].dtype == int
    assert frame["quality_rating"].isna().tolist() == [True, False]
    assert list(quotes_for("  BOLT ", frame)["supplier"]) == ["Acme", "Bolts, Inc."]


def test_all_problems_are_told_at_once(suppliers: Write) -> None:
    """Each problem names line, column, value and what is expected."""
    path = suppliers(
        GOOD,
        "Bolt,bolt,DE,7318,-3,0.01,500,7,4.5,,sample",
        "Coil,bolt,DE,7318,cheap,0.01,2.5,7,6,,sample",
        ",bolt,DE,7318,1,nan,1_000,7,4,,sample",
    )
    assert problems(path) == [
        "line 3, unit_price_usd: '-3' — expected a number above 0",
        "line 4, unit_price_usd: 'cheap' — expected a number above 0",
        "line 4, moq: '2.5' — expected a whole number, at least 1",
        "line 4, quality_rating: '6' — expected a number from 0 to 5, or nothing",
        "line 5, supplier: '' — expected text; the cell is empty",
        "line 5, freight_usd: 'nan' — expected a number, at least 0",
        "line 5, moq: '1_000' — expected a whole number, at least 1;"
        " digits and a decimal point only, no unit or thousands separator",
    ]


@pytest.mark.parametrize("cell", ["1,234.50", "12,50", "$12", "12 USD", "١٢"])
def test_number_with_more_than_digits(suppliers: Write, cell: str) -> None:
    """Signs of money, units and thousands are no part of a number; they are never guessed away."""
    path = suppliers(f'Acme,bolt,DE,7318,"{cell}",0,500,7,4.5,,sample')
    (problem,) = problems(path)
    assert problem.startswith(f"line 2, unit_price_usd: {cell!r} — expected a number above 0; digits")


@pytest.mark.parametrize(
    ("cell", "hint"),
    [
        ("UK", "did you mean GB (Britain (UK))?"),
        ("vietnam", "did you mean VN (Vietnam)?"),
        ("Germny", "did you mean DE (Germany)?"),
        ("XX", "two-letter code such as VN"),
    ],
)
def test_unknown_country(suppliers: Write, cell: str, hint: str) -> None:
    """A country that is no ISO code gets a suggestion where there is one."""
    (problem,) = problems(suppliers(f"Acme,bolt,{cell},7318,1,0,500,7,4.5,,sample"))
    assert problem.startswith(f"line 2, country: {cell!r} — expected an ISO 3166 two-letter code")
    assert problem.endswith(hint)


@pytest.mark.parametrize(
    ("cell", "hint"),
    [
        ("901", "did a spreadsheet drop the leading zero of 0901?"),
        ("8541.43", "the heading of 8541.43 is 8541"),
        ("steel", "four digits such as 8541 or 0901"),
    ],
)
def test_wrong_heading(suppliers: Write, cell: str, hint: str) -> None:
    """An HS heading has four digits; the usual mistakes are recognised."""
    (problem,) = problems(suppliers(f"Acme,bolt,DE,{cell},1,0,500,7,4.5,,sample"))
    assert problem.endswith(hint)


def test_many_problems_are_cut(suppliers: Write) -> None:
    """The message shows ten problems and counts the rest; the error object has them all."""
    path = suppliers(*(GOOD.replace("0.10", "x").replace("Acme", f"Acme {n}") for n in range(25)))
    with pytest.raises(BadTable, match="25 problems") as caught:
        read_suppliers(path)
    assert str(caught.value).count("unit_price_usd") == 10
    assert "… and 15 more" in str(caught.value)
    assert len(caught.value.problems) == 25


def test_duplicates(suppliers: Write) -> None:
    """A supplier quotes a product once; the message names both lines."""
    assert problems(suppliers(GOOD, "", GOOD.replace("Acme", "ACME"))) == [
        "line 4: the same supplier and product as line 2 — keep one of the two"
    ]


def test_rows_of_another_length(suppliers: Write) -> None:
    """A row with a cell too many or too few is told, with the usual reason."""
    assert problems(suppliers(GOOD + ",", "Bolt,bolt", GOOD)) == [
        "line 2: 12 cells, expected 11 — quote a cell that holds a comma",
        "line 3: 2 cells, expected 11",
    ]


def test_lines_after_a_cell_of_several_lines(suppliers: Write) -> None:
    """Line numbers are the editor's, also below a cell that spans lines."""
    path = suppliers(GOOD.replace("Acme", '"Acme\nWorks"'), GOOD.replace("0.10", "x"))
    assert problems(path)[0].startswith("line 4, unit_price_usd: 'x'")


def test_missing_columns(suppliers: Write) -> None:
    """A missing column gets the spare one that looks like it, else what was found."""
    found = problems(suppliers(GOOD, header=HEADER.replace("unit_price_usd", "unit price usd").replace("moq", "x")))
    assert found[0] == "line 1: column unit_price_usd is missing — is it 'unit price usd'?"
    assert found[1].startswith("line 1: column moq is missing — found: supplier, product")


def test_column_twice(suppliers: Write) -> None:
    """Which of two columns of one name counts is not guessed."""
    assert problems(suppliers(header=HEADER + ",moq")) == ["line 1: column moq is there twice"]


def test_other_separator(suppliers: Write) -> None:
    """A file with semicolons is recognised."""
    (problem,) = problems(suppliers(GOOD.replace(",", ";"), header=HEADER.replace(",", ";")))
    assert problem == "line 1: the columns are separated by ';' — expected commas; save it as CSV UTF-8"


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "the file is empty"),
        (b"\xef\xbb\xbf\r\n\r\n", "the file is empty"),
        (HEADER.encode(), "there are column names but no rows"),
        (HEADER.encode("utf-16"), "UTF-16"),
        (b"PK\x03\x04", "a spreadsheet or zip file"),
        (f"{HEADER}\r\n{GOOD}\r\nM\u00fcller".encode("latin-1"), "line 3: byte 0xfc is not UTF-8"),
        (f'{HEADER}\n{GOOD}\n"Open,bolt\n{GOOD}\n'.encode(), "line 3: unexpected end of data"),
    ],
)
def test_unreadable_content(tmp_path: Path, data: bytes, problem: str) -> None:
    """What is no table at all is named for what it is."""
    path = tmp_path / "quotes.csv"
    path.write_bytes(data)
    assert problem in problems(path)[0]


def test_no_such_file(tmp_path: Path) -> None:
    """A wrong path lists the CSV files that are there; a folder is no file."""
    (tmp_path / "quotes.csv").touch()
    assert problems(tmp_path / "qoutes.csv") == ["no such file — CSV files in that folder: quotes.csv"]
    assert "no CSV file in that folder" in problems(tmp_path / "nowhere" / "quotes.csv")[0]
    assert "can't be read" in problems(tmp_path)[0]


def test_unknown_product() -> None:
    """A product that nobody quotes lists the known ones."""
    with pytest.raises(ValueError, match=r"Did you mean 'solar panel'\? Known: LED lamp, .*, solar panel\.") as caught:
        quotes_for("solar pannel", read_suppliers())
    assert "No supplier quotes 'solar pannel' in suppliers.csv" in str(caught.value)


def test_no_duty_rate(suppliers: Write) -> None:
    """A quote without a duty rate is named by line and supplier, with the countries that are known."""
    path = suppliers(
        GOOD.replace("7318", "8541"),
        GOOD.replace("Acme", "Kiwi").replace("DE,7318", "NZ,8541"),
        GOOD.replace("bolt", "nut"),
    )
    with pytest.raises(BadTable) as caught:
        duty_rates_for(read_suppliers(path), read_duty_rates())
    assert caught.value.problems == (
        "country NZ, hs_heading 8541: no duty rate (line 3 of my suppliers.csv, Kiwi)"
        " — countries known for 8541: CN, DE, IN, JP, KR, MX, MY, TR, VN",
        "country DE, hs_heading 7318: no duty rate (line 4 of my suppliers.csv, Acme) — countries known for 7318: none",
    )
    assert "duty_rates.csv" in str(caught.value)


def test_error_travels(suppliers: Write) -> None:
    """The error is a ValueError that keeps message and problems when it crosses processes."""
    with pytest.raises(ValueError, match="1 problem") as caught:
        read_suppliers(suppliers(GOOD.replace("0.10", "x")))
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.problems) == (str(caught.value), caught.value.problems)
