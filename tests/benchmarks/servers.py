"""From nothing to the first run that the embedded server accepts."""

from __future__ import annotations

import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from kaigents_nb.server import embedded
from tests.benchmarks import raw
from tests.benchmarks.bench import Bench, connect_raw
from tests.benchmarks.rows import Row


def measure(bench: Bench) -> Iterator[Row]:
    first, later, found = [], [], []
    for _ in range(bench.rounds(1, 3)):
        with tempfile.TemporaryDirectory(prefix="kaigents-bench-") as folder:
            try:
                first.append(_accepted(bench, Path(folder)))
                found.append(_accepted(bench, Path(folder)))
                embedded.stop(Path(folder))
                later.append(_accepted(bench, Path(folder)))
            finally:
                embedded.stop(Path(folder))
    yield Row("server start → first accepted run, new database", "s", median(first), at_most=2)
    yield Row("server start → first accepted run, later", "s", median(later), at_most=2)
    yield Row("server found running → accepted run", "s", median(found))


def _accepted(bench: Bench, data_dir: Path) -> float:
    began = time.perf_counter()
    info = embedded.ensure(data_dir)

    async def start() -> None:
        client = await connect_raw(info.address)
        await client.start_workflow(raw.RawClocked.run, id=f"raw-{uuid.uuid4()}", task_queue="nobody")

    bench.raw(start())
    return time.perf_counter() - began
