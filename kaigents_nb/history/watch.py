"""Show a run to whoever listens in this process: at most four views a second each, none while nothing happens."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import replace
from functools import partial
from typing import Any

from temporalio.service import RPCError

from kaigents_nb.errors import KaigentsError, RunNotFound
from kaigents_nb.history.assemble import view_of
from kaigents_nb.history.attending import attended
from kaigents_nb.history.following import Following
from kaigents_nb.history.observe import Observer
from kaigents_nb.history.observers import observed_with_called
from kaigents_nb.history.view import RunView
from kaigents_nb.runtime.connection import Connection
from kaigents_nb.runtime.loop import in_thread

_log = logging.getLogger(__name__)

_SHORTEST_S = 0.25
_ACTIVE_S = 0.5
"""How often progress is looked at while this process executes a step of the run."""
_AT_WORK_S = 2.0
"""How often the server is asked while steps run elsewhere: attempts and heartbeats are not in the history; neither is
who serves a run, where this process does not."""
_IDLE_S = 15.0
"""How often what only this process knows is looked at, whether its worker still lives; no question to the server."""
_LOST_S = 2.0
_SETTLE_S = 1.0


class _Listeners(set[asyncio.Task[Any]]):
    """The tasks that serve a connection's listeners, named by their runs; touched on the library's loop only."""


def subscribe(
    connection: Connection, run_id: str, callback: Callable[[RunView], None], *, adopt: bool
) -> Callable[[], None]:
    """Call back with the view now and on every change, from a background thread; returns the way out.

    With ``adopt`` this process executes the run if nobody else does.
    """
    served = connection.post(_serve(connection, run_id, callback, adopt=adopt))

    def unsubscribe() -> None:
        served.cancel()

    return unsubscribe


async def settle(connection: Connection, run_id: str) -> None:
    """Wait, but not long, until those who listen have seen the end of the run."""
    if tasks := [task for task in connection.instance(_Listeners) if task.get_name() == run_id]:
        await asyncio.wait(tasks, timeout=_SETTLE_S)


async def _serve(connection: Connection, run_id: str, callback: Callable[[RunView], None], *, adopt: bool) -> None:
    """Show views to one listener at their own pace: whoever is slow gets the newest view next."""
    listeners, task = connection.instance(_Listeners), asyncio.current_task()
    assert task is not None
    task.set_name(run_id)
    listeners.add(task)
    try:
        async with aclosing(_views(connection, run_id)) as views, attended(connection, run_id, adopt=adopt):
            async for view in views:
                # In a thread of its own: a card that draws slowly must not hold up the worker.
                await in_thread(partial(callback, view), "kaigents view")
    except asyncio.CancelledError:
        pass  # not raised: with its traceback, who keeps the way out would keep all that was read
    except Exception:  # noqa: BLE001 - nobody awaits this: the log is told
        _log.exception("A listener of run %s failed and is not called again.", run_id)
    finally:
        listeners.discard(task)


async def _views(connection: Connection, run_id: str) -> AsyncGenerator[RunView]:
    """Give the view now and on every change until the run has ended, also that the server went away."""
    last: RunView | None = None
    supervisor = connection.supervisor
    while True:
        try:
            observer = await supervisor.while_there(observed_with_called(connection, run_id))
            async with Following(observer) as following:
                while True:
                    if (view := await supervisor.while_there(_look(observer))) != last:
                        yield (last := view)
                    if view.closed:
                        return
                    await asyncio.sleep(_SHORTEST_S)
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_patience(observer)):
                            await supervisor.while_there(following.change())
        except RunNotFound:
            return
        except (RPCError, KaigentsError) as error:
            away = isinstance(error, RPCError) and supervisor.noticed(error)
            if not away and supervisor.outage is None:
                text = f"The run can't be read: {error} Trying again; nothing is lost."
                if last is not None and last.problem != text:
                    yield (last := replace(last, problem=text, status="stuck"))
                await asyncio.sleep(_LOST_S)
        while (outage := supervisor.outage) is not None:
            changed = supervisor.changed
            if last is not None and last.problem != outage.told:
                yield (last := replace(last, problem=outage.told, status="stuck"))
            await changed.wait()


async def _look(observer: Observer) -> RunView:
    if observer.fold.at_work:
        await observer.catch_up()
    return await view_of(observer)


def _patience(observer: Observer) -> float:
    if observer.connection.attempts.of_run(observer.run_id):
        return _ACTIVE_S
    served_here = observer.fold.queue in observer.connection.queues
    return _IDLE_S if served_here and not observer.fold.at_work else _AT_WORK_S
