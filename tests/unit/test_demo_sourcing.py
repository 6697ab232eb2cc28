"""The running example's steps, called as the plain functions that they are outside an agent."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from kaigents_nb.demo.ledger import noted, read_ledger
from kaigents_nb.demo.lines import BadTable
from kaigents_nb.demo.sourcing import (
    analyze_tariffs,
    check_inputs,
    contact_manufacturer,
    search_suppliers,
    sourcing_agent,
)
from kaigents_nb.demo.tables import read_suppliers


def test_tariffs_change_the_ranking() -> None:
    """The cheapest quote for solar panels is not the cheapest once duty is paid."""
    quotes = search_suppliers("solar panel")
    costs = analyze_tariffs(quotes)
    assert quotes["supplier"].iloc[0] == "Helian Photovoltaics"
    assert costs["supplier"].iloc[0] == "Mekong Solar Works"
    best = costs.iloc[0]
    assert best["landed_cost_usd"] == pytest.approx((68.9 + 4.4) * 1.06, abs=0.005)
    assert costs["landed_cost_usd"].is_monotonic_increasing


@pytest.mark.parametrize("product", sorted(read_suppliers()["product"].unique()))
def test_every_product_can_be_sourced(product: str) -> None:
    """Each shipped product goes through the steps before the gate."""
    costs = analyze_tariffs(search_suppliers(product.upper()))
    assert len(costs) >= 4
    assert (costs["landed_cost_usd"] >= costs["unit_price_usd"]).all()


def test_letter(tmp_path: Path) -> None:
    """The letter names supplier, address, quantity and price, and no draft is left beside it."""
    quote = search_suppliers("solar panel").to_dict("records")[0]
    sent = contact_manufacturer("solar panel", quote, str(tmp_path / "outbox"))
    (letter,) = (tmp_path / "outbox").iterdir()
    assert sent == {"supplier": quote["supplier"], "contact": quote["contact"], "letter": str(letter)}
    text = letter.read_text("utf-8")
    for part in (f"To: {quote['contact']}", "Helian Photovoltaics", "300 units", "61.50 USD"):
        assert part in text


def test_inputs_are_checked_and_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are found from any worker's folder, and fit the agent's signature."""
    monkeypatch.chdir(tmp_path)
    Path("mine.csv").write_text(
        "supplier,product,country,hs_heading,unit_price_usd,freight_usd,moq,lead_time_days,quality_rating,contact,source\n"
        "Acme,bolt,DE,8541,0.10,0.01,500,7,4.5,,sample\n"
    )
    inputs = check_inputs("bolt", "mine.csv")
    assert inputs["suppliers_csv"] == str(tmp_path / "mine.csv")
    assert inputs["duty_rates_csv"] is None
    assert inputs["outbox"] == str(tmp_path / "outbox")
    sourcing_agent.fn(**inputs).close()


def test_wrong_inputs_are_told_before_anything_starts(tmp_path: Path) -> None:
    """A wrong file, an unknown product and a missing duty rate are errors of check_inputs."""
    with pytest.raises(BadTable, match="no such file"):
        check_inputs("solar panel", tmp_path / "none.csv")
    with pytest.raises(ValueError, match="Known: LED lamp"):
        check_inputs("bolt")
    rates = tmp_path / "rates.csv"
    rates.write_text("country,hs_heading,duty_rate_pct,source\nCN,8541,1,sample\n")
    with pytest.raises(BadTable, match="5 problems"):
        check_inputs("solar panel", duty_rates_csv=rates)


def test_ledger_tells_a_step_that_did_not_end(tmp_path: Path) -> None:
    """A step that fails has a line for its begin and none for its end; without a file nothing is written."""
    path = tmp_path / "ledger.txt"
    assert read_ledger(path) == []
    with noted(path, "good"):
        pass
    with pytest.raises(KeyError), noted(path, "bad"):
        raise KeyError
    with noted(None, "silent"):
        pass
    assert [entry[1:3] for entry in read_ledger(path)] == [("good", "begins"), ("good", "ends"), ("bad", "begins")]
    assert pd.Timestamp(read_ledger(path)[0].time).tzinfo is not None
