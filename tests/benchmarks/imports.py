"""What ``import kaigents_nb`` costs."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from statistics import median

from tests.benchmarks.bench import Bench
from tests.benchmarks.rows import Row
from tests.support import ROOT

HEAVY = ("temporalio", "pandas", "numpy", "pyarrow", "ipywidgets", "IPython", "openai", "pydantic", "typer", "rich")
_SDK = "import temporalio.client, temporalio.worker, temporalio.workflow"


def measure(bench: Bench) -> Iterator[Row]:
    programs = ("pass", "import kaigents_nb", _SDK)
    times: dict[str, list[float]] = {program: [] for program in programs}
    for _ in range(bench.rounds(5, 10) + 1):
        for program in programs:
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
            times[program].append((time.perf_counter() - began) * 1e3)
    nothing, ours, sdk = (median(times[program][1:]) for program in programs)
    yield Row("import kaigents_nb", "ms", ours - nothing, sdk - nothing, at_most=100, note="raw: import temporalio")
    listing = f"import sys, kaigents_nb; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", listing], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    yield Row("heavy modules imported by it", "", len(found.split()), at_most=0, note=found.strip())
