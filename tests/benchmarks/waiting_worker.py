"""A worker process for ``memory.py``: ``ours|raw QUEUE ADDRESS``; ends when its input does."""

from __future__ import annotations

import sys

import kaigents_nb as kg
from kaigents_nb.runtime.loop import LoopThread
from tests.benchmarks.bench import connect_raw, serving_raw


def main(side: str, queue: str, address: str) -> None:
    if side == "ours":
        kg.connect().serve(queue, explicit=True)
        sys.stdin.read()
        return
    loop = LoopThread("raw SDK")
    with serving_raw(loop, loop.run(connect_raw(address)), queue):
        sys.stdin.read()
    loop.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
