"""The data directory: the embedded server's database, big values and the signing key, for their owner only.

===================  ==================================================================
``temporal.db``      the server's SQLite database (``-wal`` and ``-shm`` beside it)
``blobs/``           values too big for the history, named after their content
``signing.key``      signs the code that runs carry
``server.log``       what the server says; the one before it is ``server.log.1``
``server.leaving``   there while the server is being ended
``server.stopped``   there since somebody asked for a stop, until the next start: nobody revives such a server
``server.lock``      held by the server for as long as it lives; says its process, address and other facts (JSON)
``start.lock``       held while somebody starts or stops the server
``ports.json``       the ports chosen once and used again
``first-start/``     the database while it is being made
``rates/``           what was used of rates and limits in their time, by all workers
``downloads/``       a server binary fetched by the SDK, where no other was found
===================  ==================================================================
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import platformdirs

from kaigents_nb.errors import DatabaseError
from kaigents_nb.server import private_files

ENVIRONMENT_VARIABLE = "KAIGENTS_DATA_DIR"

DATABASE = "temporal.db"
BLOBS = "blobs"
SIGNING_KEY = "signing.key"
LOG = "server.log"
LEAVING = "server.leaving"
STOPPED = "server.stopped"
SERVER_LOCK = "server.lock"
START_LOCK = "start.lock"
PORTS = "ports.json"
FIRST_START = "first-start"
RATES = "rates"
DOWNLOADS = "downloads"


def chosen(path: str | Path | None = None) -> Path:
    """Return where the data directory is, or would be made, as `data_dir` chooses it; changes nothing."""
    place = path or os.environ.get(ENVIRONMENT_VARIABLE) or platformdirs.user_data_dir("kaigents_nb", False)
    return Path(place).expanduser()


def rate_file(directory: Path, name: str) -> Path:
    """Return the file of a data directory for what was used of a rate, by a name that all workers know it by."""
    return private_files.make_directory(directory / RATES) / hashlib.sha256(name.encode()).hexdigest()[:32]


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
