"""Files that are for their owner only, written whole or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from kaigents_nb.server import private_files


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    """A file is replaced in one step, readable by its owner only, with nothing left beside it."""
    path = tmp_path / "key"
    private_files.write(path, b"old")
    path.chmod(0o644)
    with path.open("rb") as reader:
        private_files.write(path, b"new")
        assert reader.read() == b"old"
    assert (path.read_bytes(), mode(path), list(tmp_path.iterdir())) == (b"new", 0o600, [path])


def test_a_file_that_is_there_is_not_created(tmp_path: Path) -> None:
    """What another made first is kept, whatever it is."""
    path = tmp_path / "key"
    private_files.create(path, b"first")
    private_files.create(path, b"second")
    assert (path.read_bytes(), mode(path), list(tmp_path.iterdir())) == (b"first", 0o600, [path])


@pytest.mark.parametrize("writer", [private_files.write, private_files.create])
def test_what_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: Callable[[Path, bytes], None]
) -> None:
    """A full disk leaves the file as it was, and no draft beside it."""
    path = tmp_path / "key"

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            writer(path, b"new")
    assert list(tmp_path.iterdir()) == []
    private_files.write(path, b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        writer(path, b"new")
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (b"old", [path])


def test_a_directory_is_private_whatever_the_umask(tmp_path: Path) -> None:
    """What is made is its owner's only; what is there keeps its mode."""
    before = os.umask(0)
    try:
        assert mode(private_files.make_directory(tmp_path / "made")) == 0o700
    finally:
        os.umask(before)
    (tmp_path / "made").chmod(0o755)
    assert mode(private_files.make_directory(tmp_path / "made")) == 0o755
    with pytest.raises(FileNotFoundError):
        private_files.make_directory(tmp_path / "absent" / "below")
