"""Where the data directory is, and who may read it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import platformdirs
import pytest

from kaigents_nb.errors import DatabaseError
from kaigents_nb.server import datadir


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_argument_wins_over_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory given by the caller is used whatever the environment says."""
    monkeypatch.setenv("KAIGENTS_DATA_DIR", str(tmp_path / "environment"))
    assert datadir.data_dir(tmp_path / "argument") == tmp_path / "argument"
    assert not (tmp_path / "environment").exists()


def test_environment_wins_over_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """KAIGENTS_DATA_DIR is used where no argument is given."""
    monkeypatch.setenv("KAIGENTS_DATA_DIR", str(tmp_path / "environment"))
    assert datadir.data_dir() == tmp_path / "environment"


def test_default_is_the_user_data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without argument and environment it is the user data directory of this platform."""
    monkeypatch.delenv("KAIGENTS_DATA_DIR")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    assert datadir.data_dir() == Path(platformdirs.user_data_dir("kaigents_nb", False))
    assert datadir.data_dir().is_relative_to(tmp_path)


def test_new_directory_is_private_whatever_the_umask(tmp_path: Path) -> None:
    """A directory made here, below parents that are made too, is for its owner only."""
    before = os.umask(0)
    try:
        assert mode(datadir.data_dir(tmp_path / "a" / "b")) == 0o700
    finally:
        os.umask(before)


def test_existing_directory_keeps_its_mode(tmp_path: Path) -> None:
    """A directory of the user's is not changed by being used."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o755)
    assert mode(datadir.data_dir(shared)) == 0o755


def test_home_and_links_are_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two spellings of one directory are one data directory."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert datadir.data_dir("~/link") == datadir.data_dir(tmp_path / "real" / ".." / "real")


def test_path_through_a_file_is_refused(tmp_path: Path) -> None:
    """A directory that can't exist gives the path, the reason and the way out."""
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(DatabaseError, match=r"file.*KAIGENTS_DATA_DIR"):
            datadir.data_dir(path)
    assert (tmp_path / "file").read_text() == "mine"
