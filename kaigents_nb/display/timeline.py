"""``Timeline``: who did what when in a run, as a picture, a table and a text."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cached_property
from typing import Final

import pandas as pd

from kaigents_nb.display import words
from kaigents_nb.display.markup import FRAME, QUIET, esc, state, table
from kaigents_nb.display.timeline_bars import COLUMNS, Bar, bars_of
from kaigents_nb.display.timeline_lanes import Layout, lay_out
from kaigents_nb.display.timeline_svg import CHART, cursor_of, svg_of
from kaigents_nb.display.timeline_text import TEXT_WIDTH, chart_lines
from kaigents_nb.history.tables import frame
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
        self._bars: list[Bar] = bars_of(view)
        self._layouts: dict[float, Layout] = {}
        starts = [bar.start for bar in self._bars]
        self._now = view.ended or now or datetime.now(UTC)
        # The clocks of workers and server may differ a little.
        self._start = min([view.started or self._now, *starts])
        self._now = max([self._now, *starts, *(bar.end for bar in self._bars if bar.end)])

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The bars, one row per bar: (n_bars, 10), by start; attempts follow their step.

        Columns: ``kind`` (str: ``step``, ``attempt``, ``parked``, ``wait at gate``, ``sleep``, ``child agent`` or
        ``worker death``), ``name`` (str: of the step or agent, a gate's question), ``call`` (int or NA: the call as in
        ``run.steps()``, the number of a gate), ``attempt`` (int or NA), ``start, end`` (datetime64, UTC; ``end`` is
        missing while it lasts), ``duration_s`` (float), ``status, worker, detail`` (str).

        A step has rows for its attempts only where the first one did not simply succeed. The server dates the last
        attempt of a call; those before it are one row, with the number and the error of the last of them. A worker's
        death has the time when it was noticed; of several deaths in one call the history keeps the last. Empty case:
        the same columns, zero rows. ``frame.attrs["run_id"]`` is the run.
        """
        return frame((bar.row() for bar in self._bars), COLUMNS, self._view.run_id)

    def __repr__(self) -> str:
        view = self._view
        lines = [f"{words.line(view.agent)} · {words.state(view)} · {self._when()}", f"run {words.line(view.run_id)}"]
        if not self._bars:
            return "\n".join([*lines, _NOTHING])
        layout = self._layout(TEXT_WIDTH)
        return "\n".join([*lines, *chart_lines(layout), *([f"({layout.note})"] if layout.note else [])])

    def _repr_html_(self) -> str:
        view = self._view
        head = (
            f'<div><strong style="font-size: 1.15em">{esc(view.agent, words.LINE)}</strong> &nbsp;'
            f'{state(view.status, words.state(view))} <span style="{QUIET}">&nbsp;{esc(self._when())}</span></div>'
        )
        frame_style = FRAME.replace("max-width: 900px", "max-width: 960px")
        label = esc(f"Timeline of run {view.run_id}", words.LINE)
        if not self._bars:
            return f'<section aria-label="{label}" style="{frame_style}">{head}{_NOTHING}</section>'
        layout = self._layout(CHART)
        drawn = self.picture()
        note = f'<div style="{QUIET}">{esc(layout.note)} run.timeline().frame has each.</div>' if layout.note else ""
        summary = '<summary style="cursor: pointer">As a table</summary>'
        return (
            f'<section aria-label="{label}" style="{frame_style}">{head}'
            f'<div style="overflow-x: auto; margin: 8px 0">{drawn}</div>{note}'
            f'<details>{summary}<div style="overflow-x: auto">{self._table(layout)}</div></details></section>'
        )

    def picture(self) -> str:
        """Return the picture alone, as SVG; empty where nothing has happened yet."""
        if not self._bars:
            return ""
        layout = self._layout(CHART)
        return svg_of(layout, f"Timeline of run {self._view.run_id}", self._summary(layout))

    def cursor(self, time: datetime) -> str:
        """Return a mark that points at a time, to be shown just above the picture."""
        return cursor_of(self._layout(CHART), time) if self._bars else ""

    def _layout(self, width: float) -> Layout:
        if width not in self._layouts:
            self._layouts[width] = self._lay_out(width)
        return self._layouts[width]

    def _lay_out(self, width: float) -> Layout:
        return lay_out(self._bars, self._start, self._now, width)

    def _when(self) -> str:
        lasted = words.duration((self._now - self._start).total_seconds())
        return f"started {words.clock(self._start, date=True)} · {'took' if self._view.closed else 'for'} {lasted}"

    def _summary(self, layout: Layout) -> str:
        """The picture in a few sentences, for a screen reader; the table below has the rest."""
        lanes = [f"{lane.name}: {lane.note}" for lane in layout.lanes[:12]]
        more = f" {len(layout.lanes) - 12} more are in the table." if len(layout.lanes) > 12 else ""
        deaths = " ".join(f"{told}." for _, told in layout.deaths[:5])
        return f"{words.state(self._view)}, {self._when()}. {'. '.join(lanes)}. {deaths}{more}"

    def _table(self, layout: Layout) -> str:
        if len(self._bars) > ROWS:
            lanes = [(esc(lane.kind), esc(words.line(lane.name)), esc(lane.note)) for lane in layout.lanes]
            note = f"{len(self._bars):,} bars by name; run.timeline().frame has each"
            return table(("What", "Name", "How it went"), lanes, note=note)
        clock = "%H:%M:%S" if (self._now - self._start).days == 0 else "%Y-%m-%d %H:%M:%S"
        rows = [
            (
                _whole(bar.kind),
                esc(words.line(bar.name)),
                str(bar.attempt or ""),
                esc(bar.status),
                _whole(f"{bar.start:{clock}}"),
                _whole(f"{bar.end:{clock}}" if bar.end else ""),
                _whole(words.duration((bar.end - bar.start).total_seconds()) if bar.end else "lasts"),
                esc(bar.worker, words.LINE),
                esc(bar.detail, words.LINE),
            )
            for bar in self._bars
        ]
        columns = ("What", "Name", "Attempt", "State", "Start (UTC)", "End (UTC)", "Time", "Worker", "Detail")
        return table(columns, rows, sides=["left", "left", "right", *["left"] * 6])


def _whole(text: str) -> str:
    return f'<span style="white-space: nowrap">{esc(text)}</span>'


_NOTHING = "Nothing has happened yet: no step, gate or sleep."
