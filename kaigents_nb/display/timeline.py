"""``Timeline``: who did what when in a run, as a picture, a table and a text."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cached_property
from typing import Final

import pandas as pd
from markupsafe import Markup

from kaigents_nb.display import blocks as b
from kaigents_nb.display import blocks_html, blocks_text, words
from kaigents_nb.display.timeline_bars import COLUMNS, bars_of
from kaigents_nb.display.timeline_lanes import Layout, lay_out
from kaigents_nb.display.timeline_svg import CHART, cursor_of, svg_of
from kaigents_nb.display.timeline_text import TEXT_WIDTH, chart_lines
from kaigents_nb.history.frames import frame
from kaigents_nb.history.view import RunView

ROWS: Final = 60
"""So many rows has the table below the picture; a longer run's table has its lanes instead."""


class Timeline:
    """Who did what when: steps, attempts, waits at gates, sleeps, called agents, and workers that died.

    Shown in a notebook it is a picture with its table; in a terminal, a chart of characters. ``run.timeline()``
    makes one; it does not change when the run goes on.

    Examples
    --------
    >>> timeline = run.timeline()  # doctest: +SKIP
    >>> timeline.frame.groupby("name")["duration_s"].sum()  # doctest: +SKIP
    """

    def __init__(self, view: RunView, *, now: datetime | None = None) -> None:
        self._view = view
        self._groups = bars_of(view)
        self._bars = [bar for group in self._groups for bar in group]
        self._layouts: dict[float, Layout] = {}
        starts = [bar.start for bar in self._bars]
        self._now = view.ended or now or datetime.now(UTC)
        # The clocks of workers and server may differ a little.
        self._start = min([view.started or self._now, *starts])
        self._now = max([self._now, *starts, *(bar.end for bar in self._bars if bar.end)])

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The bars, one row per bar: (n_bars, 11), by start; attempts follow their step.

        Columns: ``kind`` (str: ``step``, ``attempt``, ``parked``, ``wait at gate``, ``sleep``, ``child agent`` or
        ``worker death``), ``name`` (str: of the step or agent, a gate's question), ``call`` (int or NA: the call as in
        ``run.steps()``, the number of a gate), ``attempt`` (int or NA), ``start, end`` (datetime64, UTC; ``end`` is
        missing while it lasts), ``duration_s, waited_s`` (float; of a call as in ``run.steps()``: how long its last
        attempt worked, and what went before; of all else from ``start`` to ``end``), ``status, worker, detail`` (str).

        A step has rows for its attempts only where the first one did not simply succeed. The server dates the last
        attempt of a call; those before it are one row, with the number and the error of the last of them. A worker's
        death has the time when it was noticed; of several deaths in one call the history keeps the last. Empty case:
        the same columns, zero rows. ``frame.attrs["run_id"]`` is the run.
        """
        return frame((bar.row() for bar in self._bars), COLUMNS, self._view.run_id)

    def __repr__(self) -> str:
        head = blocks_text.lines(self._head(), b.line("run ", b.Code(self._view.run_id)))
        if not self._bars:
            return "\n".join([*head, _NOTHING])
        layout = self._layout(TEXT_WIDTH)
        return "\n".join([*head, *chart_lines(layout), *([f"({layout.note})"] if layout.note else [])])

    def _repr_html_(self) -> str:
        return str(blocks_html.root(self.blocks()))

    def blocks(self) -> b.Section:
        """Return it as blocks: the picture, and its table behind a click."""
        parts: b.Blocks = (b.line(_NOTHING),)
        if self._bars:
            layout = self._layout(CHART)
            note = (b.line(f"{layout.note} run.timeline().frame has each.", quiet=True),) if layout.note else ()
            parts = (b.Picture(self.picture()), *note, b.Fold(("As a table",), (self._table(layout),)))
        return b.Section(f"Timeline of run {self._view.run_id}", ((self._head(),), parts), width=960)

    def picture(self) -> Markup:
        """Return the picture alone, as SVG; empty where nothing has happened yet."""
        if not self._bars:
            return Markup("")
        layout = self._layout(CHART)
        return svg_of(layout, f"Timeline of run {self._view.run_id}", self._summary(layout))

    def cursor(self, time: datetime) -> Markup:
        """Return a mark that points at a time, to be shown just above the picture."""
        return cursor_of(self._layout(CHART), time) if self._bars else Markup("")

    def _head(self) -> b.Heading:
        view = self._view
        return b.Heading(view.agent, (b.State(words.state(view), b.tone_of(view.status)), self._when()))

    def _layout(self, width: float) -> Layout:
        if width not in self._layouts:
            self._layouts[width] = lay_out(self._groups, self._start, self._now, width)
        return self._layouts[width]

    def _when(self) -> str:
        lasted = words.duration((self._now - self._start).total_seconds())
        return f"started {words.clock(self._start, date=True)} · {'took' if self._view.closed else 'for'} {lasted}"

    def _summary(self, layout: Layout) -> str:
        """The picture in a few sentences, for a screen reader; the table below has the rest."""
        lanes = [f"{lane.name}: {lane.note}" for lane in layout.lanes[:12]]
        more = f" {len(layout.lanes) - 12} more are in the table." if len(layout.lanes) > 12 else ""
        deaths = " ".join(f"{title}." for _, title in layout.deaths[:5])
        return f"{words.state(self._view)}, {self._when()}. {'. '.join(lanes)}. {deaths}{more}"

    def _table(self, layout: Layout) -> b.Table:
        if len(self._bars) > ROWS:
            lanes = tuple((lane.kind, words.line(lane.name), lane.note) for lane in layout.lanes)
            note = f"{len(self._bars):,} bars by name; run.timeline().frame has each"
            return b.Table(("What", "Name", "How it went"), lanes, (False,) * 3, note)
        clock = "%H:%M:%S" if (self._now - self._start).days == 0 else "%Y-%m-%d %H:%M:%S"
        rows = tuple(
            (
                bar.kind,
                words.line(bar.name),
                str(bar.attempt or ""),
                bar.status,
                f"{bar.start:{clock}}",
                f"{bar.end:{clock}}" if bar.end else "",
                words.duration(bar.duration_s) if bar.duration_s is not None else "lasts",
                words.line(bar.worker),
                words.line(bar.detail),
            )
            for bar in self._bars
        )
        columns = ("What", "Name", "Attempt", "State", "Start (UTC)", "End (UTC)", "Time", "Worker", "Detail")
        return b.Table(columns, rows, (False, False, True, False, True, True, True, False, False))


_NOTHING = "Nothing has happened yet: no step, gate or sleep."
