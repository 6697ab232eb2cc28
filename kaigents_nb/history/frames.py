"""Histories as DataFrames: documented columns, UTC times, the same columns when empty."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import pandas as pd
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from kaigents_nb.errors import KaigentsError
from kaigents_nb.gates.question import Question
from kaigents_nb.gates.visible import visible
from kaigents_nb.history.assemble import view_of
from kaigents_nb.history.calls import Call, failure_text, utc
from kaigents_nb.history.decoding import Decoder
from kaigents_nb.history.fold import RunFold
from kaigents_nb.history.observe import Observer, describe
from kaigents_nb.runtime.connection import Connection
from kaigents_nb.runtime.payloads import plain, reference, shown
from kaigents_nb.runtime.protocol import StepCall, from_wire
from kaigents_nb.values.in_json import from_json

UTC_TIME = "datetime64[us, UTC]"
STEP_COLUMNS = {
    "step": "str",
    "call": "int64",
    "status": "str",
    "attempts": "int64",
    "scheduled": UTC_TIME,
    "started": UTC_TIME,
    "ended": UTC_TIME,
    "duration_s": "float64",
    "waited_s": "float64",
    "inputs": "object",
    "result": "object",
    "error": "str",
    "output": "str",
    "worker": "str",
    "child_run": "str",
}
EVENT_COLUMNS = {
    "event_id": "int64",
    "time": UTC_TIME,
    "type": "str",
    "step": "str",
    "call": "Int64",
    "attempt": "Int64",
    "detail": "str",
}
DECISION_COLUMNS = {
    "run_id": "str",
    "gate": "str",
    "question": "str",
    "approved": "bool",
    "choice": "str",
    "values": "object",
    "comment": "str",
    "by": "str",
    "at": UTC_TIME,
    "time": UTC_TIME,
    "counted": "bool",
    "event_id": "int64",
}
GATE_COLUMNS = {
    "run_id": "str",
    "agent": "str",
    "gate": "str",
    "question": "str",
    "options": "object",
    "opened": UTC_TIME,
    "token": "str",
}

_KEPT_HISTORIES = 8
_ended: OrderedDict[tuple[str, str], pd.DataFrame] = OrderedDict()
"""Events of ended runs, which can't change any more; the last few that were asked for."""


def frame(rows: Iterable[dict[str, Any]], columns: dict[str, str], run_id: str = "") -> pd.DataFrame:
    """Return rows as a DataFrame with exactly these columns and dtypes; what else is in a row is left out."""
    listed = list(rows)
    table = pd.DataFrame(
        {
            name: pd.Series([_cell(row.get(name), kind) for row in listed], dtype=_dtype(kind))
            for name, kind in columns.items()
        }
    )
    if run_id:
        table.attrs["run_id"] = run_id
    return table


def _cell(value: Any, kind: str) -> Any:
    # Half a character, which other programs may send in JSON, would take the whole table down.
    return value.encode("utf-8", "replace").decode() if kind == "str" and isinstance(value, str) else value


def _dtype(kind: str) -> Any:
    # Before pandas 3 there is no missing-free "str" dtype; object holds the same texts.
    return object if kind == "str" and pd.__version__ < "3" else kind


async def steps_frame(observer: Observer, *, full: bool) -> pd.DataFrame:
    """See :meth:`Run.steps`."""
    view = await view_of(observer)
    calls = observer.fold.snapshot().calls  # as the view was made: reading values, the run may go on
    rows = []
    for step in view.steps:
        call = calls[step.call]
        more = {
            "step": step.name,
            "call": int(step.call),
            "attempts": step.attempt,
            "duration_s": step.duration_s,
            "waited_s": step.waited_s,
            "inputs": await _inputs(observer.decoder, call, full=full),
            "result": None if call.result is None else await read(observer.decoder, call.result, full=full),
        }
        rows.append(vars(step) | more)
    return frame(rows, STEP_COLUMNS, observer.run_id)


async def _inputs(decoder: Decoder, call: Call, *, full: bool) -> dict[str, Any]:
    values = [await read(decoder, payload, full=full) for payload in call.arguments]
    names = await decoder.parameters(call.view.name)
    positional = values[: call.positional]
    # More values than names: the function takes *args, which are numbered.
    names += tuple(str(number) for number in range(len(names) + 1, len(positional) + 1))
    named = dict(zip(names, positional, strict=False))
    return {**named, **dict(zip(call.keywords, values[call.positional :], strict=False))}


async def read(decoder: Decoder, payload: Payload, *, full: bool) -> Any:
    """Return a recorded value; one that lies in a file, or can't be read here, as short text."""
    if reference(payload) is not None and not full:
        return shown(payload)
    try:
        return await decoder.value(payload)
    except KaigentsError as error:
        return f"<{shown(payload)}: {error}>"


async def events_frame(connection: Connection, run_id: str) -> pd.DataFrame:
    """See :meth:`Run.events`."""
    info = (await describe(connection, run_id)).workflow_execution_info
    key = (run_id, info.execution.run_id)
    if key in _ended:
        return _ended[key].copy(deep=False)
    handle = connection.client.get_workflow_handle(run_id, run_id=info.execution.run_id)
    events = [event async for event in handle.fetch_history_events(page_size=1000)]
    table = frame(_event_rows(events), EVENT_COLUMNS, run_id)
    if info.HasField("close_time"):
        _ended[key] = table
        if len(_ended) > _KEPT_HISTORIES:
            _ended.popitem(last=False)
    return table.copy(deep=False)


def _event_rows(events: Iterable[HistoryEvent]) -> Iterable[dict[str, Any]]:
    scheduled: dict[int, tuple[str, int]] = {}
    for event in events:
        name = EventType.Name(event.event_type).removeprefix("EVENT_TYPE_").lower()
        data: Any = getattr(event, event.WhichOneof("attributes") or "", None)
        step, call = "", None
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            header = from_wire(StepCall, plain(data.input.payloads[0]))
            step, call = scheduled[event.event_id] = (header.step, int(header.call))
        elif name.startswith("activity_task"):
            step, call = scheduled[data.scheduled_event_id]
        yield {
            "event_id": event.event_id,
            "time": utc(event.event_time),
            "type": name,
            "step": step,
            "call": call,
            "attempt": data.attempt if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED else None,
            "detail": _detail(data),
        }


def _detail(data: Any) -> str:
    """The one thing of an event that a reader wants to see."""
    fields = data.DESCRIPTOR.fields_by_name if data is not None else {}
    if "failure" in fields and data.HasField("failure"):
        return failure_text(data.failure)
    if "result" in fields and data.result.payloads:
        return shown(data.result.payloads[0])
    if "signal_name" in fields:
        return str(data.signal_name)
    if "upserted_memo" in fields:
        return ", ".join(data.upserted_memo.fields)
    return ""


def decision_rows(fold: RunFold) -> list[dict[str, Any]]:
    """Return the rows of :meth:`Run.decisions`."""
    more = {"run_id": fold.run_id}
    return [
        {**vars(it), **vars(it.answer), "values": from_json(dict(it.answer.values)), **more, "counted": it.counted}
        for it in fold.decisions
    ]


def gates_frame(gates: Iterable[Question]) -> pd.DataFrame:
    """See ``kg.pending()``."""
    rows = (
        {
            **vars(gate),
            "question": visible(gate.question),
            "options": [visible(option) for option in gate.options],
            "token": gate.token,
        }
        for gate in gates
    )
    return frame(rows, GATE_COLUMNS)
