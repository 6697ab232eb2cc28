"""``TakenBack``: tells the pages of a kernel that a question of ``input()`` needs no answer any more."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import anywidget
import traitlets

_SCRIPT: Final = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")


class TakenBack(anywidget.AnyWidget):
    """A model without a view, there before its question is asked: see ``taken_back.js``."""

    _esm = _SCRIPT
    question = traitlets.Unicode().tag(sync=True)
    """What only the prompt of that question contains."""
