"""The one way a lower room calls an upper one: by name, when it is called and not before.

``agent.start()`` is written where agents are written, and carried out four rooms above. Resolving the name at
the call keeps imports going down only, and keeps ``import kaigents_nb`` light.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


def upward(path: str) -> Any:
    """Return the object at ``"package.module:name"``, importing it now."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)
