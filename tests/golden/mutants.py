"""Which other interpreters the golden histories notice: ``python -m tests.golden.mutants [WORD …]``.

``mutants.toml`` lists them. Each is applied to a copy of the package, and a process of its own replays the histories
with that until one notices: the newest first, the long ones last. A mutant that none notices must say why it is
harmless. The command exits with 1 where one survives without a reason, or has one and is noticed. Words choose those
that have one of them in their names or files.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import kaigents_nb
from tests.golden.histories import BLOBS, read, recorded, replay
from tests.support import ROOT

PACKAGE = Path(kaigents_nb.__file__).parent
_TABLE = Path(__file__).with_suffix(".toml")
_NOTICED = 3
_LONGEST_S = 120
"""A replay that takes so long hangs, as its run would."""


@dataclass(frozen=True)
class Mutant:
    """The package with one change: of ``file``, ``old`` is ``new``."""

    name: str
    file: str
    old: str
    new: str
    harmless: str = ""
    """Why runs in flight go on with it as they would have done."""


def mutants() -> list[Mutant]:
    """Return the table."""
    return [Mutant(**row) for row in tomllib.loads(_TABLE.read_text())["mutant"]]


@contextmanager
def copied() -> Iterator[Path]:
    """Have a copy of the package, beside these tests, in which it can be changed."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        shutil.copytree(PACKAGE, place / PACKAGE.name)
        (place / "tests").symlink_to(ROOT / "tests")
        yield place


def noticed(mutant: Mutant, place: Path) -> str:
    """Return which history notices a mutant in a copy, and by what; ``""`` where none does."""
    file = place / PACKAGE.name / mutant.file
    text = file.read_text()
    file.write_text(text.replace(mutant.old, mutant.new))
    command = [sys.executable, "-m", "tests.golden.mutants", "--replay"]
    # No file of bytecode: it would be taken for that of the next mutant, which may be as long and of the same second.
    environment = os.environ | {"PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=place, env=environment, capture_output=True, text=True, timeout=_LONGEST_S, check=False
        )
    except subprocess.TimeoutExpired:
        return "a replay never ends"
    finally:
        file.write_text(text)
    if done.returncode not in (0, _NOTICED):
        raise RuntimeError(f"The mutant {mutant.name!r} can't be tried: {done.stderr[-2000:]}")
    return done.stdout.splitlines()[-1] if done.returncode else ""  # the SDK's core writes there, too


def _replay_all() -> int:
    """Replay the histories with the package of this process until one fails."""
    assert PACKAGE.parent == Path.cwd(), f"{PACKAGE} is not the copy"
    with tempfile.TemporaryDirectory() as blobs:
        shutil.copytree(BLOBS, blobs, dirs_exist_ok=True)
        newest_first = list(reversed(recorded()))
        for path in sorted(newest_first, key=_is_long):
            try:
                asyncio.run(replay(read(path), Path(blobs)))
            except Exception as error:  # whatever a run would fail with
                said = " ".join(str(error).split())
                print(f"{path.parent.name}/{path.name.split('.')[0]}: {type(error).__name__}: {said}")
                return _NOTICED
    return 0


def _is_long(path: Path) -> bool:
    return path.suffix == ".gz"


def _try_all(words: list[str]) -> int:
    wrong = 0
    with copied() as place:
        for mutant in mutants():
            if words and not any(word in f"{mutant.file} {mutant.name}" for word in words):
                continue
            by = noticed(mutant, place)
            reason = " ".join(mutant.harmless.split())
            wrong += bool(by) == bool(reason)
            said = f"noticed by {by[:200]}" if by else f"survives: {reason or 'AND NOBODY SAYS WHY'}"
            print(f"{mutant.file}: {mutant.name}\n    {said}", flush=True)
    print(f"{wrong} survive without a reason, or have one and are noticed.")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(_replay_all() if sys.argv[1:] == ["--replay"] else _try_all(sys.argv[1:]))
