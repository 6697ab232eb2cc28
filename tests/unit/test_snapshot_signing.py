"""A worker executes only code that was signed with its key."""

# ruff: noqa: E501 - a cell or program is one line of text here
from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from kaigents_nb.errors import SnapshotError, UntrustedCode
from kaigents_nb.server.datadir import SIGNING_KEY
from kaigents_nb.snapshot.module import UNPACKED_LIMIT_BYTES, Definition, Part, Snapshot
from kaigents_nb.snapshot.signing import KEY_VARIABLE, sign, signing_key
from kaigents_nb.values.encoded import Encoded

KEY, OTHER = b"a" * 32, b"b" * 32
SNAPSHOT = Snapshot(
    root="run",
    root_name="run",
    title="Run",
    python="3.11.7",
    definitions=(
        Definition(("K",), (Part("K = ...", "In [1]", 1),), value=Encoded("binary/plain", b"\x00\xff", {"a": "b"})),
        Definition(("run",), (Part("def run():\n    return K", "In [2]", 3),), needs_later=("K",), flags=0x100000),
    ),
    steps={"run": {"global": "run", "timeout_s": None, "retry": {}}},
)


@pytest.fixture(autouse=True)
def no_shared_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)


def test_packed_code_comes_back_whole() -> None:
    """Every field survives, and so does the digest."""
    back = Snapshot.unpack(SNAPSHOT.pack(KEY), KEY)
    assert back.digest == SNAPSHOT.digest
    assert back.source == SNAPSHOT.source
    for one, other in zip(back.definitions, SNAPSHOT.definitions, strict=True):
        assert vars(one) == vars(other)


def test_every_altered_byte_is_noticed() -> None:
    """No single changed, lost or added byte gets through."""
    packed = SNAPSHOT.pack(KEY)
    for position in range(len(packed)):
        altered = bytearray(packed)
        altered[position] ^= 1
        with pytest.raises(UntrustedCode):
            Snapshot.unpack(bytes(altered), KEY)
    for cut in (0, 1, 15, 40, 56, len(packed) - 1):
        with pytest.raises(UntrustedCode):
            Snapshot.unpack(packed[:cut], KEY)
    with pytest.raises(UntrustedCode):
        Snapshot.unpack(packed + b"\x00", KEY)


def test_the_message_tells_what_is_wrong() -> None:
    """Unsigned, altered and signed by somebody else have different remedies."""
    packed = SNAPSHOT.pack(KEY)
    with pytest.raises(UntrustedCode, match="has no signature"):
        Snapshot.unpack(zlib.compress(b"{}"), KEY)
    with pytest.raises(UntrustedCode, match=r"signed with another key.*KAIGENTS_SIGNING_KEY"):
        Snapshot.unpack(packed, OTHER)
    with pytest.raises(UntrustedCode, match="altered after it was signed"):
        Snapshot.unpack(packed[:-1] + b"x", KEY)


def test_a_bomb_is_not_unpacked() -> None:
    """Even signed content is unpacked up to a limit only."""
    with pytest.raises(UntrustedCode, match="larger than 64 MB"):
        Snapshot.unpack(sign(zlib.compress(b" " * (UNPACKED_LIMIT_BYTES + 1)), KEY), KEY)
    with pytest.raises(UntrustedCode, match="can't be unpacked"):
        Snapshot.unpack(sign(b"no zlib", KEY), KEY)


def test_code_of_a_newer_version_says_so() -> None:
    """A worker that is too old names what to update."""
    content = json.loads(SNAPSHOT._content)
    newer = sign(zlib.compress(json.dumps({**content, "format": 99}).encode()), KEY)
    with pytest.raises(SnapshotError, match="Update kaigents-nb"):
        Snapshot.unpack(newer, KEY)


def test_the_key_is_made_once_and_private(tmp_path: Path) -> None:
    """The file is its owner's only, and stays the same."""
    directory = tmp_path / "new" / "data"
    key = signing_key(directory)
    assert len(key) == 32
    assert signing_key(directory) == key
    path = directory / SIGNING_KEY
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(directory.iterdir()) == [path]
    path.chmod(0o644)
    assert signing_key(directory) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_ten_starters_get_one_key(tmp_path: Path) -> None:
    """Processes that make the key at the same time agree on it."""
    program = "import sys, pathlib; from kaigents_nb.snapshot.signing import signing_key; input(); print(signing_key(pathlib.Path(sys.argv[1])).hex())"
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(10)
    ]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("\n")
        racer.stdin.flush()
    keys = {racer.communicate(timeout=60)[0].strip() for racer in racers}
    assert len(keys) == 1
    assert len(keys.pop()) == 64
    assert [path.name for path in tmp_path.iterdir()] == [SIGNING_KEY]


def test_a_file_system_without_links_works_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where hard links are not allowed, the key is made in place."""

    def refused(*_: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refused)
    key = signing_key(tmp_path)
    assert signing_key(tmp_path) == key
    assert stat.S_IMODE((tmp_path / SIGNING_KEY).stat().st_mode) == 0o600


def test_the_environment_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shared key is used as it is; one that can be guessed is refused."""
    monkeypatch.setenv(KEY_VARIABLE, "0123456789abcdef")
    assert signing_key(tmp_path) == b"0123456789abcdef"
    assert not (tmp_path / SIGNING_KEY).exists()
    monkeypatch.setenv(KEY_VARIABLE, "short")
    with pytest.raises(SnapshotError, match="has 5 characters"):
        signing_key(tmp_path)


def test_a_damaged_key_file_is_not_replaced(tmp_path: Path) -> None:
    """A truncated key is reported; making a new one would orphan open runs."""
    (tmp_path / SIGNING_KEY).write_bytes(b"half")
    with pytest.raises(SnapshotError, match="4 bytes, not 32"):
        signing_key(tmp_path)
    assert (tmp_path / SIGNING_KEY).read_bytes() == b"half"
