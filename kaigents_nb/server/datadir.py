"""The data directory: the embedded server's database, big values and the signing key, for their owner only.

===================  ==================================================================
``temporal.db``      the server's SQLite database (``-wal`` and ``-shm`` beside it)
``blobs/``           values too big for the history, named after their content
``signing.key``      signs the code that runs carry
``server.log``       what the server says; the one before it is ``server.log.1``
``server.leaving``   there while the server is being ended
``server.lock``      held by the server for as long as it lives; says its process, address and other facts (JSON)
``start.lock``       held while somebody starts or stops the server
``ports.json``       the ports chosen once and used again
``first-start/``     the database while it is being made
``downloads/``       a server binary fetched by the SDK, where no other was found
===================  ==================================================================
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from kaigents_nb.errors import DatabaseError
from kaigents_nb.server import private_files

ENVIRONMENT_VARIABLE = "KAIGENTS_DATA_DIR"


def chosen(path: str | Path | None = None) -> Path:
    """Return where the data directory is, or would be made, as `data_dir` chooses it; changes nothing."""
    place = path or os.environ.get(ENVIRONMENT_VARIABLE) or platformdirs.user_data_dir("kaigents_nb", False)
    return Path(place).expanduser()


def data_dir(path: str | Path | None = None) -> Path:
    """Return the data directory, absolute and with links resolved; created with mode 0700 if it is absent.

    ``path`` wins over ``KAIGENTS_DATA_DIR``, which wins over the user's own data directory. A directory
    that exists already keeps its mode: ``kaigents-nb doctor`` says when others can read it.

    Raises
    ------
    DatabaseError
        The directory can't be made, or is no directory.
    """
    directory = chosen(path)
    try:
        directory = directory.resolve()
        directory.parent.mkdir(parents=True, exist_ok=True)
        return private_files.make_directory(directory)
    except (OSError, RuntimeError) as error:
        raise DatabaseError(
            f"The data directory {directory} can't be used: {error}. "
            f"Choose a directory you can write to with {ENVIRONMENT_VARIABLE} or kg.connect(data_dir=…)."
        ) from error


def database_path(data_dir: Path) -> Path:
    """Return where the server's database is."""
    return data_dir / "temporal.db"


def blobs_path(data_dir: Path) -> Path:
    """Return where big values are."""
    return data_dir / "blobs"


def signing_key_path(data_dir: Path) -> Path:
    """Return where the key is that signs the code of runs."""
    return data_dir / "signing.key"


def log_path(data_dir: Path) -> Path:
    """Return where the server writes its log."""
    return data_dir / "server.log"


def leaving_path(data_dir: Path) -> Path:
    """Return the mark on a server that is being ended."""
    return data_dir / "server.leaving"


def first_start_path(data_dir: Path) -> Path:
    """Return where the database is made before it is moved to its place."""
    return data_dir / "first-start"


def server_lock_path(data_dir: Path) -> Path:
    """Return the file that a living server holds locked."""
    return data_dir / "server.lock"


def start_lock_path(data_dir: Path) -> Path:
    """Return the file that is locked while the server is being started or stopped."""
    return data_dir / "start.lock"


def ports_path(data_dir: Path) -> Path:
    """Return where the server's ports are remembered."""
    return data_dir / "ports.json"


def downloads_path(data_dir: Path) -> Path:
    """Return where a server binary fetched by the SDK is kept."""
    return data_dir / "downloads"
