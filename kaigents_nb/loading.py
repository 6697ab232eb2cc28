"""The heavy rooms are loaded at first use, by one thread at a time."""

from __future__ import annotations

import threading

one_at_a_time = threading.RLock()
"""Hold it to import what imports the SDK: its packages import each other, and two threads that enter that circle at
different places get half of it, or a deadlock that Python notices."""
