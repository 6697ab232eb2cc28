"""What steps have done so far, record by record, on the disk: the next attempt goes on from there."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from pathlib import Path
from typing import Any

from kaigents_nb.server import private_files


def read(path: Path) -> list[Any]:
    """Return the records, oldest first; one that was cut off by a crash is not there."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    records = []
    for line in lines:
        try:
            records.append(json.loads(line))
        except ValueError:  # cut off; or nothing, behind the last line
            continue
    return records


class Journal:
    """Appends records; those that come while the disk is busy are written together.

    A worker that was only stopped for a while may write to the same file as the one that has taken over.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, private_files.FILE)
        size = os.fstat(self._file).st_size
        # Behind what a crash has cut off, on a line of its own.
        whole = not size or os.pread(self._file, 1, size - 1) == b"\n"
        self._lines: list[bytes] = [] if whole else [b"\n"]
        self._writing = asyncio.Lock()
        self._open = threading.Lock()

    async def append(self, record: Any) -> None:
        """Save a record; when this returns it survives a power cut."""
        self._lines.append(json.dumps(record, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n")
        async with self._writing:
            lines, self._lines = self._lines, []
            if lines:  # else somebody has written mine along with his
                await asyncio.to_thread(self._write, b"".join(lines))

    def _write(self, data: bytes) -> None:
        with self._open:
            while data and self._file >= 0:
                data = data[os.write(self._file, data) :]
            if self._file >= 0:
                os.fsync(self._file)

    def close(self) -> None:
        """Let go of the file; what a cancelled task still writes comes before, or not at all."""
        with self._open:
            os.close(self._file)
            self._file = -1
