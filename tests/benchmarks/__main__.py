"""Run the benchmarks and print one table; asserts nothing and exits 0 unless something breaks."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from tests.benchmarks import (
    forks,
    gates,
    history,
    imports,
    memory,
    models,
    notebooks,
    servers,
    starting,
    steps,
    values,
    watching,
)
from tests.benchmarks.bench import Bench
from tests.benchmarks.rows import Row, table

TOPICS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "steps": steps.measure,
    "starting": starting.measure,
    "gates": gates.measure,
    "forks": forks.measure,
    "memory": memory.measure,
    "models": models.measure,
    "imports": imports.measure,
    "notebooks": notebooks.measure,
    "servers": servers.measure,
    "values": values.measure,
    "history": history.measure,
    "watching": watching.measure,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, shorter histories")
    parser.add_argument("--only", action="append", choices=TOPICS, metavar="NAME", help=f"one of: {', '.join(TOPICS)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows as JSON")
    options = parser.parse_args()
    rows: list[Row] = []
    console = Console()
    with Bench.open(quick=options.quick) as bench:
        for name in options.only or TOPICS:
            began = time.monotonic()
            console.print(f"[dim]{name} …[/]", end="")
            rows += TOPICS[name](bench)
            console.print(f"[dim] {time.monotonic() - began:.0f} s[/]")
    # In a file or pipe a line is as long as it has to be.
    (console if console.is_terminal else Console(width=150)).print(table(rows))
    if options.json:
        options.json.write_text(json.dumps([asdict(row) | {"met": row.met} for row in rows], indent=1))


if __name__ == "__main__":
    sys.exit(main())
