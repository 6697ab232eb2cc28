"""The part of ``Run`` that looks back: its trace, its variables, and any moment of it."""

from __future__ import annotations

from datetime import datetime

import pandas as pd

from kaigents_nb.replay.addressing import find_moment
from kaigents_nb.replay.moment import Moment
from kaigents_nb.replay.trace import trace_of
from kaigents_nb.runtime.connection import Connection


class LookingBack:
    """What a run did, seen by replaying its history; works for open and ended runs, started anywhere."""

    id: str
    _connection: Connection

    def trace(self, *, max_bytes: int | None = None) -> pd.DataFrame:
        """Return every line that the agent executed, one row per executed statement: (n_lines, 11), in order.

        Columns: ``event_id`` (int, the event at which the line began), ``time`` (datetime64, UTC), ``function`` (str),
        ``line`` (int, as Jupyter numbers it in its cell), ``source`` (str), ``changed`` (dict: the variables that
        executing the line changed, with their values then), ``raised`` (str, the exception that the line raised or let
        through), ``branch`` (int: 0 is the agent itself, every branch of a ``gather`` has its own), ``cell`` (str, such
        as ``"In [3]"`` or a file's name; ``""`` for a line that no cell has, whose ``line`` is that of ``run.code()``),
        ``code_line`` (int, of ``run.code()``), ``moment`` (int, for ``run.at()``).

        A statement over several lines is one row, with its first line; a comprehension or lambda counts as part of
        its statement. A change made by other code while a line waits, such as by another branch, counts as that
        line's. Values are copies. What can't be copied, such as a client, is a short text; a deleted variable has the
        value ``<deleted>``. Functions, classes and modules are no variables. Steps are not executed, so their own
        lines are not here: ``run.steps()``.

        Source: a replay of the server's history with the code that the run carries; kept, and replayed again only
        when the run has gone on. Empty case: the same columns, zero rows, when no worker has executed a line.
        ``df.attrs["run_id"]`` is the run; ``df.attrs["notice"]`` says what is missing, if anything is.

        Parameters
        ----------
        max_bytes
            How much memory values may take, by default 256 MB; values beyond it become short texts.

        Raises
        ------
        HistoryGone
            When the server has no history of the run (any more).
        UntrustedCode
            When its code is not signed with this data directory's key.
        ReplayDiverged
            When replaying does not even give the first line. When it parts from the history later, a warning says
            at which event, and the lines up to there are returned.

        Examples
        --------
        >>> lines = run.trace()  # doctest: +SKIP
        >>> lines[lines.raised != ""]  # doctest: +SKIP
        """
        return trace_of(self._connection, self.id, max_bytes).table()

    def variables(self, *, max_bytes: int | None = None) -> pd.DataFrame:
        """Return every change of every variable of the agent, one row per change: (n_changes, 10), in order.

        Columns: ``event_id`` (int, the event at which the change took effect: for ``x = await step()`` that at which
        the line went on) and its ``time`` (datetime64, UTC), ``function`` (str), ``line`` (int, in its cell: the line
        that made the change; for an argument that of the ``def``), ``variable`` (str), ``value`` (object, a
        copy), ``copied`` (bool, false where ``value`` is a short text of something that can't be copied),
        ``branch`` (int), ``cell`` (str) and ``moment`` (int) as in :meth:`trace`.

        Source, empty case, parameters and errors as in :meth:`trace`. When values take more memory than
        ``max_bytes``, a row with the variable ``"(limit)"`` says so where that happens.

        Examples
        --------
        >>> changes = run.variables()  # doctest: +SKIP
        >>> changes[changes.variable == "total"].set_index("time").value.plot()  # doctest: +SKIP
        """
        return trace_of(self._connection, self.id, max_bytes).variables_table()

    def at(
        self,
        moment: int | str | None = None,
        *,
        step: str | tuple[str, int] | None = None,
        occurrence: int | None = None,
        event_id: int | None = None,
        line: int | tuple[str, int] | None = None,
        time: datetime | str | None = None,
    ) -> Moment:
        """Return the run at one moment: the line, every variable, and what it waited for.

        Parameters
        ----------
        moment
            ``"last"``, ``"first"``, ``"failure"`` (the line that raised; in an open run the call that is parked or
            retries), ``"before failure"``, or a number of the column ``moment`` of :meth:`trace`.
        step
            Where a step or agent was called, or a gate opened (named by its question), before its result came:
            ``.after()`` is the same line with it. ``("load", 2)`` is the second call; -1 the last.
        occurrence
            Which call of the step, or which execution of the line; 1 by default.
        event_id
            The last line that had been executed when the event happened.
        line
            Where a line was executed, as Jupyter numbers it in its cell. Where several cells have such a line, say
            which: ``("In [3]", 5)``, or in which function: ``("compare", 5)``.
        time
            The last line that had been executed then; UTC where it has no zone.

        Raises
        ------
        NoSuchMoment
            The message lists the known ones.
        HistoryGone, UntrustedCode, ReplayDiverged
            As :meth:`trace`.

        Examples
        --------
        >>> run.at(step="analyze_tariffs").variables  # doctest: +SKIP
        >>> run.at("before failure")  # doctest: +SKIP
        """
        trace = trace_of(self._connection, self.id)
        return find_moment(trace, moment, step=step, occurrence=occurrence, event_id=event_id, line=line, time=time)
