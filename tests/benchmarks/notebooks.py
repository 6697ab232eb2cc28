"""Freezing the code of a big notebook."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from statistics import median

from kaigents_nb.snapshot.freeze import freeze
from kaigents_nb.snapshot.lint import lint
from tests.benchmarks.bench import Bench
from tests.benchmarks.rows import Row
from tests.unit.snapshot_cells import KEY, notebook

_CELLS = 100


def measure(bench: Bench) -> Iterator[Row]:
    with notebook() as book:
        with redirect_stdout(io.StringIO()):
            book.cells(*_cells())

        def once() -> float:
            began = time.perf_counter()
            snapshot = freeze(book["survey"])
            lint(snapshot)
            snapshot.pack(KEY)
            return (time.perf_counter() - began) * 1e3

        first = once()
        later = median(once() for _ in range(bench.rounds(5, 15)))
    yield Row(f"freeze a {_CELLS}-cell notebook, first", "ms", first, note="with lint, compression and signature")
    yield Row(f"freeze a {_CELLS}-cell notebook, again", "ms", later)


def _cells() -> Iterator[str]:
    """Yield cells as analysts write them: imports, constants, helpers, classes, steps, looks at results."""
    yield "import json, math\nimport pandas as pd\nfrom dataclasses import dataclass"
    kinds = (
        "RATE_{n} = {n} / 100\nNAMES_{n} = ['a', 'b', 'c']",
        "def helper_{n}(x):\n    return math.sqrt(x) * RATE_{c} + len(NAMES_{c})",
        "@dataclass\nclass Quote_{n}:\n    supplier: str\n    price: float\n    def total(self, count):\n"
        "        return self.price * count + helper_{h}(count)",
        "@kg.step\ndef step_{n}(x):\n    quote = Quote_{q}('s', x)\n    print(json.dumps([quote.supplier]))\n"
        "    return quote.total(x)",
        "table_{n} = pd.DataFrame({{'a': range(5)}})\ntable_{n}.describe()",
    )
    steps = []
    for n in range(_CELLS - 2):
        kind, base = n % len(kinds), n - n % len(kinds)
        if kind == 3:
            steps.append(f"step_{n}")
        yield kinds[kind].format(n=n, c=base, h=base + 1, q=base + 2)
    calls = "".join(f"    total += await {name}(x)\n" for name in steps)
    yield f"@kg.agent\nasync def survey(x):\n    total = 0\n{calls}    return total"
