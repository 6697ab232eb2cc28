"""The running example: search suppliers → analyze tariffs → a person approves → contact the manufacturer."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import Any

import pandas as pd

import kaigents_nb as kg
from kaigents_nb.demo.ledger import noted
from kaigents_nb.demo.tables import duty_rates_for, quotes_for, read_duty_rates, read_suppliers

# A wrong file or an unknown product is not mended by trying again.
_ONCE_IF_WRONG = kg.Retry(give_up_on=(ValueError,))

_SHOWN = [
    "supplier", "country", "unit_price_usd", "freight_usd", "duty_rate_pct", "landed_cost_usd",
    "moq", "lead_time_days", "quality_rating",
]  # fmt: skip
"""What the person who decides sees of each quote."""


@kg.step(retry=_ONCE_IF_WRONG)
def search_suppliers(product: str, suppliers_csv: str | None = None, ledger: str | None = None) -> pd.DataFrame:
    """Find the quotes for a product, cheapest unit price first."""
    with noted(ledger, "search_suppliers"):
        quotes = quotes_for(product, read_suppliers(suppliers_csv))
        low, high = quotes["unit_price_usd"].min(), quotes["unit_price_usd"].max()
        print(f"{len(quotes)} suppliers of {product}, {low:.2f} to {high:.2f} USD a unit")
        return quotes


@kg.step(retry=_ONCE_IF_WRONG)
def analyze_tariffs(
    quotes: pd.DataFrame, duty_rates_csv: str | None = None, pace_s: float = 0, ledger: str | None = None
) -> pd.DataFrame:
    """Add duty and landed cost to each quote, cheapest landed cost first.

    Duty is charged on price and freight. ``pace_s`` is how long to take over each supplier, in seconds: time
    to watch the step, or to kill it.
    """
    with noted(ledger, "analyze_tariffs"):
        rates = duty_rates_for(quotes, read_duty_rates(duty_rates_csv))
        value = quotes["unit_price_usd"] + quotes["freight_usd"]
        duty = (value * rates / 100).round(2)
        costs = quotes.assign(duty_rate_pct=rates, duty_usd=duty, landed_cost_usd=(value + duty).round(2))
        for number, quote in enumerate(costs.to_dict("records"), start=1):
            time.sleep(pace_s)
            print(
                f"{quote['country']} {quote['supplier']}: {quote['duty_rate_pct']:g} % duty,"
                f" landed {quote['landed_cost_usd']:.2f} USD"
            )
            kg.progress(number, len(costs), quote["supplier"])
        return costs.sort_values(["landed_cost_usd", "lead_time_days", "supplier"])


@kg.step
def contact_manufacturer(
    product: str, quote: dict[str, Any], outbox: str = "outbox", ledger: str | None = None
) -> dict[str, str]:
    """Write to the manufacturer: a letter in the folder ``outbox``, once, however often the step is tried."""
    with noted(ledger, "contact_manufacturer"):
        # The same call of the step has the same key at every attempt, so a retry finds its own letter.
        reference = hashlib.sha256(kg.idempotency_key().encode()).hexdigest()[:12]
        letter = Path(outbox) / f"letter-{reference}.txt"
        if letter.exists():
            print(f"{letter.name} was sent by an earlier attempt")
        else:
            letter.parent.mkdir(parents=True, exist_ok=True)
            # A letter is there whole or not at all, even if the process dies while writing.
            draft = letter.with_suffix(f".{os.getpid()}.tmp")
            draft.write_text(_letter(product, quote, reference), encoding="utf-8")
            draft.replace(letter)
            print(f"wrote to {quote['supplier']}: {letter}")
        return {"supplier": quote["supplier"], "contact": quote["contact"], "letter": str(letter)}


def _letter(product: str, quote: dict[str, Any], reference: str) -> str:
    return (
        f"To: {quote['contact'] or quote['supplier']}\n"
        f"Subject: Order enquiry {reference}: {product}\n\n"
        f"Dear {quote['supplier']} team,\n\n"
        f"you quoted {quote['unit_price_usd']:.2f} USD a unit for {product}. We would like to order"
        f" {quote['moq']:,} units.\nPlease confirm the price and your lead time of"
        f" {quote['lead_time_days']} days.\n\n"
        "Kind regards\nPurchasing\n"
    )


@kg.agent
async def sourcing_agent(
    product: str,
    suppliers_csv: str | None = None,
    duty_rates_csv: str | None = None,
    outbox: str = "outbox",
    pace_s: float = 0,
    ledger: str | None = None,
) -> dict[str, Any]:
    """Find the supplier with the lowest landed cost and, if a person approves, write to them.

    The files default to the samples that ship with the package. Give absolute paths, as :func:`check_inputs`
    makes them: a step may run in another process, with another working directory.
    """
    quotes = await search_suppliers(product, suppliers_csv, ledger)
    cheapest = quotes["supplier"].iloc[0]

    costs = await analyze_tariffs(quotes, duty_rates_csv, pace_s, ledger)
    ranking = costs.to_dict("records")
    best = ranking[0]
    remark = f"before duty and freight it was {cheapest}"
    if best["supplier"] == cheapest:
        remark = "it was so before duty and freight, too"

    decision = await kg.approve(
        f"Which supplier of {product} do we write to? {best['supplier']} is cheapest,"
        f" {best['landed_cost_usd']:.2f} USD landed; {remark}.",
        details=costs[_SHOWN],
        options=[row["supplier"] for row in ranking],
    )
    if not decision.approved:
        return {"status": "rejected", "product": product, "comment": decision.comment}

    chosen = next(row for row in ranking if row["supplier"] == decision.choice)
    sent = await contact_manufacturer(product, chosen, outbox, ledger)
    return {
        "status": "contacted",
        "product": product,
        "supplier": chosen["supplier"],
        "landed_cost_usd": chosen["landed_cost_usd"],
        "letter": sent["letter"],
    }


def check_inputs(
    product: str,
    suppliers_csv: str | os.PathLike[str] | None = None,
    duty_rates_csv: str | os.PathLike[str] | None = None,
    outbox: str | os.PathLike[str] = "outbox",
) -> dict[str, Any]:
    """Arguments for :func:`sourcing_agent`, checked before anything starts: ``start(**check_inputs(...))``.

    Paths come back absolute, so that any worker finds them.

    Raises
    ------
    BadTable
        When a file is wrong, or lacks the duty rate of a quote; names file, line and column.
    ValueError
        When nobody quotes the product; the message lists the known ones.
    """
    duty_rates_for(quotes_for(product, read_suppliers(suppliers_csv)), read_duty_rates(duty_rates_csv))
    return {
        "product": product,
        "suppliers_csv": _absolute(suppliers_csv),
        "duty_rates_csv": _absolute(duty_rates_csv),
        "outbox": _absolute(outbox),
    }


def _absolute(path: str | os.PathLike[str] | None) -> str | None:
    return None if path is None else str(Path(path).expanduser().absolute())
