"""What runs cost that wait on display while nothing happens."""

from __future__ import annotations

import json
from collections.abc import Iterator

from tests.benchmarks.bench import Bench, python
from tests.benchmarks.rows import Row

_RUNS = 20
_AIM_PERCENT = 2.0


def measure(bench: Bench) -> Iterator[Row]:
    with python("-m", "tests.benchmarks.watching_kernel", str(_RUNS), str(bench.rounds(20, 60))) as kernel:
        assert kernel.stdout is not None
        alone, watching = json.loads(kernel.stdout.readline())
    yield Row(
        f"CPU of {_RUNS} waiting runs on display",
        "% of a core",
        watching - alone,
        at_most=_AIM_PERCENT,
        note=f"the process takes {alone:.2g} % without them",
    )
