"""Looking back: trace, moments and events of short and long runs."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator

from kaigents_nb.history import frames
from tests.benchmarks import agents, trace
from tests.benchmarks.bench import Bench
from tests.benchmarks.rows import Row

_EVENTS = 48_000
"""As many as fit into one history; the server ends a run at 51,200."""
_WIDTH = 500
_GENERATE_S = 220.0
_AIM_EVENTS = 50_000
_AIM_COLD_S, _AIM_CACHED_S = 4.0, 0.3


def measure(bench: Bench) -> Iterator[Row]:
    yield from trace.measure_short(bench.connection)
    yield from trace.measure_long(bench.connection, 340 if bench.quick else trace.LONG_STEPS)
    yield from _events(bench)


def _events(bench: Bench) -> Iterator[Row]:
    probe = agents.at_once.start(_WIDTH, _WIDTH)
    probe.result(120)
    took_s, per_step = bench.lasted(probe.id), len(probe.events()) / _WIDTH
    wanted = 5_000 if bench.quick else _EVENTS
    count = int(min(wanted / per_step, _GENERATE_S / took_s * _WIDTH))
    run = agents.at_once.start(count, _WIDTH)
    run.result(3 * _GENERATE_S)
    frames._ended.clear()
    began = time.perf_counter()
    number = len(run.events())
    cold_s = time.perf_counter() - began
    began = time.perf_counter()
    run.events()
    cached_s = time.perf_counter() - began
    scale = number / _AIM_EVENTS
    note = "" if scale > 0.9 else f"the aim is {_AIM_COLD_S:g} s for {_AIM_EVENTS:,}; scaled"
    yield Row(f"events() of {number:,} events", "s", cold_s, at_most=_AIM_COLD_S * scale, note=note)
    yield Row("the same again", "s", cached_s, at_most=_AIM_CACHED_S)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    yield Row("peak memory of this process", "MB", peak_mb, note="server not included")
