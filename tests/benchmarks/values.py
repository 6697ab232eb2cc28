"""Big values: a 50 MB DataFrame to bytes, back, and through two steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import numpy as np
import pandas as pd

from kaigents_nb.values.decode import decode
from kaigents_nb.values.encode import encode
from tests.benchmarks import agents
from tests.benchmarks.bench import Bench
from tests.benchmarks.rows import Row

_ROWS = 1_000_000


def measure(bench: Bench) -> Iterator[Row]:
    table = _table()
    size_mb = table.memory_usage(deep=True).sum() / 1e6
    encoded = encode(table)
    rounds = bench.rounds(2, 5)
    yield Row(f"encode a frame of {size_mb:.0f} MB", "ms", _timed(lambda: encode(table), rounds))
    yield Row("decode it", "ms", _timed(lambda: decode(encoded), rounds))
    seconds = _timed(lambda: agents.hands_on.start(table).result(120), rounds) / 1e3
    yield Row("start → result of two steps with it", "s", seconds, note="files of the data directory")


def _table() -> pd.DataFrame:
    chance = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "when": pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(np.arange(_ROWS), unit="s"),
            "country": np.array(["DE", "FR", "CN", "US"])[chance.integers(0, 4, _ROWS)],
            "price": chance.normal(size=_ROWS),
            "count": chance.integers(0, 1000, _ROWS),
            "duty": chance.normal(size=_ROWS),
            "weight": chance.normal(size=_ROWS),
        }
    )


def _timed(work: Callable[[], Any], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        times.append((time.perf_counter() - began) * 1e3)
    return median(times)
