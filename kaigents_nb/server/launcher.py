"""Become the server: a script run in a process of its own (``python -I -S``), never imported.

Usage: ``launcher.py LOCK FACTS BINARY TITLE [ARGUMENT…]``

It takes the lock, leaves the process that started it, writes its pid and the facts into the locked file (in
place: a new one would not be locked) and turns into ``BINARY``. The lock is inherited by the server and freed
by the system when the server dies, however it dies. So "the lock is held" is the one truth about a living server:
there is no moment at which a server runs and nobody knows, and no way to take another process, which was given
an old server's pid, for the server.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing takes longer to import than this script to run
    from typing import NoReturn

LOCK_IS_HELD = 75


def main(lock_path: str, facts: str, binary: str, *title_and_arguments: str) -> int:
    """Return ``LOCK_IS_HELD`` if a server lives already, 0 once the server is a process of its own."""
    os.umask(0o077)  # the server makes its database with it
    lock = os.open(lock_path, os.O_RDWR | os.O_CREAT, 0o600)
    for _ in range(50):  # whoever asks whether a server lives holds the lock for microseconds
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            time.sleep(0.005)
    else:
        return LOCK_IS_HELD
    if os.fork() == 0:
        _become(lock, facts, binary, title_and_arguments)
    return 0


def _become(lock: int, facts: str, binary: str, title_and_arguments: tuple[str, ...]) -> NoReturn:
    # What a kernel's thread ignores or blocks would be inherited, and a server that can't be stopped.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.fchmod(lock, 0o600)  # whoever could write it could lead every kernel to a server of theirs
    os.ftruncate(lock, os.pwrite(lock, f'{{"pid": {os.getpid()}, "facts": {facts}}}'.encode(), 0))
    os.set_inheritable(lock, True)
    os.execv(binary, title_and_arguments)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
