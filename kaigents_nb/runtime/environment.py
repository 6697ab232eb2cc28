"""Which server the environment asks for: a cluster, or the embedded one."""

from __future__ import annotations

import os

PROFILE_ENV = "KAIGENTS_PROFILE"
_CLUSTER = (PROFILE_ENV, "TEMPORAL_ADDRESS", "TEMPORAL_PROFILE", "TEMPORAL_CONFIG_FILE")


def names_cluster() -> bool:
    """Whether ``KAIGENTS_PROFILE`` or a ``TEMPORAL_*`` variable names a server that is not the embedded one."""
    return any(os.environ.get(name) for name in _CLUSTER)
