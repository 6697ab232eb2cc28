"""What a long step has done so far, record by record, on the disk: its next attempt goes on from there."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from kaigents_nb.server import private_files


def read(path: Path) -> list[Any]:
    """Return the records, oldest first; a last one that was cut off by a crash is not there."""
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines if line.endswith(b"\n")]


class Journal:
    """Appends records; those that come while the disk is busy are written together."""

    def __init__(self, path: Path) -> None:
        complete = path.read_bytes() if path.exists() else b""
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT, private_files.FILE)
        # Behind the last whole record.
        whole = complete.rfind(b"\n") + 1
        os.ftruncate(self._file, whole)
        os.lseek(self._file, whole, os.SEEK_SET)
        self._lines: list[bytes] = []
        self._writing = asyncio.Lock()

    async def append(self, record: Any) -> None:
        """Save a record; when this returns it survives a power cut."""
        self._lines.append(json.dumps(record, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n")
        async with self._writing:
            lines, self._lines = self._lines, []
            if lines:  # else somebody has written mine along with his
                await asyncio.to_thread(self._write, b"".join(lines))

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._file, data) :]
        os.fsync(self._file)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)
