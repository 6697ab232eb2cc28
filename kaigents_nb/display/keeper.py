"""``Keeper``: what a page does for a card that its kernel can't: keep its record, and see that the kernel is gone."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import anywidget
import traitlets

_SCRIPT: Final = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")


class Keeper(anywidget.AnyWidget):
    """A model without a view, in each page that is open: see ``keeper.js``."""

    _esm = _SCRIPT
    card = traitlets.Unicode().tag(sync=True)
    """The model whose view is the card."""
    kept = traitlets.Dict().tag(sync=True)
    """The static form's mime bundle, as it is now."""
    ended = traitlets.Bool().tag(sync=True)
    """Whether it is the record of a run that has ended, so that the card is of no use any more."""
