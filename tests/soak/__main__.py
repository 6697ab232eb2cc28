"""Soak the library in seeded chaos and print what became of its promises; exits with 1 unless all were kept."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType

from tests.soak.conductor import Soak, soak

_SHOWN = 10
_OVERHEAD_S = 180.0
"""For starting, reading the evidence and ending."""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak",
        description=__doc__,
        epilog="The same seed plans the same faults at the same times; what they meet differs each time.",
    )
    parser.add_argument("--seed", type=int, default=1, help="the first seed (default: 1)")
    parser.add_argument("--seeds", type=int, default=1, metavar="K", help="so many seeds, one after the other")
    parser.add_argument("--minutes", type=float, default=3.0, help="of chaos, for each seed (default: 3)")
    parser.add_argument(
        "--patience", type=float, default=150.0, metavar="S", help="a run open so long after the chaos is stuck"
    )
    parser.add_argument("--sabotage", action="store_true", help="break every promise, to see that it is noticed")
    options = parser.parse_args()
    clean = True
    for seed in range(options.seed, options.seed + options.seeds):
        place = Path(tempfile.mkdtemp(prefix=f"kaigents-soak-{seed}-"))
        _end_after(60 * options.minutes + options.patience + _OVERHEAD_S)
        try:
            done = soak(seed, 60 * options.minutes, place, patience_s=options.patience, sabotaged=options.sabotage)
        except BaseException:
            print(f"seed {seed}: broken off; kept: {place}", flush=True)
            raise
        finally:
            signal.alarm(0)
        report(seed, done)
        if done.clean:
            shutil.rmtree(place)
        else:
            print(f"  kept: {place}", flush=True)
        clean &= done.clean
    return 0 if clean else 1


def report(seed: int, done: Soak) -> None:
    """Print one seed's line, and what is wrong."""
    found = done.findings
    faults = ", ".join(f"{what} {count}" for what, count in sorted(done.done.items()))
    away = f"; after a kill no server for {max(done.away_s):.1f} s at most" if done.away_s else ""
    print(
        f"seed {seed}: lost {len(found.lost)}, begun again after it was recorded {len(found.begun_again)}, done again "
        f"with the result at hand {len(found.done_again)}, falsely won {len(found.falsely_won)}, stuck "
        f"{len(found.stuck)}, server left dead {done.left_dead}, processes that fell over {done.fell.total()}\n"
        f"  {done.runs} runs, {done.steps} steps ({found.ended_twice} ended twice), {done.decisions} decisions; "
        f"{faults}{away}",
        flush=True,
    )
    if done.retried:
        print(f"  {done.retried} times a step had lost its worker three times at the same place, and was started again")
    for text, count in done.trouble.most_common(_SHOWN):
        print(f"  told of trouble {count} times: {text}")
    for name, texts in vars(found).items():
        if isinstance(texts, list):
            for text in texts[:_SHOWN]:
                print(f"  {name}: {text}")
            if len(texts) > _SHOWN:
                print(f"  {name}: … and {len(texts) - _SHOWN} more")
    for state in done.states:
        print(f"  {state}")


def _end_after(seconds: float) -> None:
    def give_up(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"The soak itself has not ended within {seconds:.0f} s.")

    def leave(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)  # through all `finally`

    signal.signal(signal.SIGALRM, give_up)
    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.alarm(round(seconds))


if __name__ == "__main__":
    sys.exit(main())
