"""What was measured, as rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from rich.table import Table


@dataclass(frozen=True)
class Row:
    """One metric: ours, the raw SDK's where there is one, and the aim."""

    metric: str
    unit: str
    ours: float
    raw: float | None = None
    ratio: float | None = None
    at_most: float | None = None
    """Aim for ``ours``."""
    ratio_at_most: float | None = None
    """Aim for ``ratio``."""
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the aim is reached; None where there is none."""
        if self.ratio_at_most is not None and self.ratio is not None:
            return self.ratio <= self.ratio_at_most
        return None if self.at_most is None else self.ours <= self.at_most

    @property
    def aim(self) -> str:
        """The aim in words."""
        if self.ratio_at_most is not None:
            return f"≤ {self.ratio_at_most:g} × raw"
        return "" if self.at_most is None else f"≤ {self.at_most:,.4g} {self.unit}"


def paired(
    metric: str,
    unit: str,
    ours: Sequence[float],
    raw: Sequence[float],
    ratio_at_most: float | None = None,
    note: str = "",
) -> Row:
    """Return the row of interleaved rounds: medians, and the median of the rounds' ratios.

    Neighbours in time had the same machine, so their ratio says more than that of the medians while others use it.
    """
    ratio = median(a / b for a, b in zip(ours, raw, strict=True))
    return Row(metric, unit, median(ours), median(raw), ratio, ratio_at_most=ratio_at_most, note=note)


def table(rows: Sequence[Row]) -> Table:
    """Return the rows as a table for the terminal."""
    out = Table(
        caption="Medians; a ratio is the median over interleaved rounds.", title="kaigents_nb beside the raw SDK"
    )
    for name in ("metric", "ours", "raw SDK", "ratio", "aim", "met", "note"):
        out.add_column(name, justify="right" if name in ("ours", "raw SDK", "ratio") else "left")
    for row in rows:
        met = {True: "[green]yes[/]", False: "[red]no[/]", None: ""}[row.met]
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        out.add_row(row.metric, _number(row.ours, row.unit), _number(row.raw, row.unit), ratio, row.aim, met, row.note)
    return out


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    return f"{value:,.0f} {unit}" if abs(value) >= 1000 else f"{value:.3g} {unit}"
