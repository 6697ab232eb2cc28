"""What a replayed agent does, line by line: a trace function for the frames of a run's own code.

It sees only code whose file is the snapshot's, so neither the interpreter's frames nor a library's. Nothing of it
runs while the real run runs.
"""

from __future__ import annotations

import asyncio
import dis
import marshal
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from types import CodeType, FrameType
from typing import Any

from kaigents_nb.authoring.agent import Agent
from kaigents_nb.authoring.step import Step
from kaigents_nb.history.keep import MISSING, Keeper, short
from kaigents_nb.history.records import DELETED, Call, Change, Frame, Raised, Row, Wait
from kaigents_nb.history.statements import Inlined, Statements

KEPT_BYTES = 256 * 2**20
"""How much memory the values of one trace may take; what comes later is kept as short text."""

_OPTIMIZED = 0x1  # a function, not a module or class body
_RETURNED = {dis.opmap[name] for name in ("RETURN_VALUE", "RETURN_CONST") if name in dis.opmap}
_SUSPENDED = {dis.opmap[name] for name in ("YIELD_VALUE", "RESUME")}
_ITERATION = {dis.opmap[name] for name in ("FOR_ITER", "SEND", "END_ASYNC_FOR", "END_SEND") if name in dis.opmap}
"""Where ``StopIteration`` is how Python ends a loop or an await, and no error."""
_RAISE = dis.opmap["RAISE_VARARGS"]
_HIDDEN_FUNCTIONS = frozenset({"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>", "<lambda>"})
"""Parts of a statement; their work counts as that of its line."""
_PLAIN_CONTAINERS = frozenset({list, dict, tuple, set, frozenset})
_LIST_HEAD = 5  # bytes of marshal before a list's items: its type and length
_CODE_TYPES: tuple[type, ...] = (
    types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType, type, Step, Agent,
)  # fmt: skip


@dataclass(slots=True)
class _Slot:
    live: Any
    fixed: bool
    """It can't change, so looking at its identity is enough."""
    copy: Any
    mark: bytes | None
    """The content of a container of plain values."""


class _Recorded:
    """What is needed of a frame while it runs."""

    __slots__ = (
        "current",
        "error",
        "frame",
        "head",
        "inlined",
        "live",
        "offset",
        "ops",
        "slots",
        "started",
        "unwinding",
    )

    def __init__(self, frame: Frame, live: FrameType, head: int, ops: bytes, inlined: Inlined) -> None:
        self.frame = frame
        self.live: FrameType | None = live
        self.head = head
        self.ops = ops
        self.inlined = inlined
        self.slots: dict[str, _Slot] = {}
        self.started: dict[int, int] = {}  # statement line → the offset it was seen at last
        self.offset = -1
        self.current = -1  # line of the statement that is being executed
        self.unwinding = False
        self.error: Raised | None = None  # the last one seen here


Tracer = Callable[[FrameType, str, Any], Any]
_ASYNCIO_SLEEP = asyncio.sleep.__code__


class Recorder:
    """Collects rows and changes while its trace function is set."""

    def __init__(self, filename: str, statements: Statements, max_bytes: int = KEPT_BYTES) -> None:
        self.rows: list[Row] = []
        self.frames: list[Frame] = []
        self.changes: list[Change] = []
        self.calls: list[Call] = []
        self.waits: list[Wait] = []
        self.limit_row = -1
        """The row at which the memory for values was used up; -1: it was enough."""
        self.problem: Exception | None = None
        self._filename = filename
        self._statements = statements
        self._max_bytes = max_bytes
        self._keeper = Keeper()
        self._open: dict[FrameType, _Recorded] = {}
        self._tracers: dict[FrameType, Tracer] = {}
        self._kinds: dict[CodeType, Any] = {}
        self._branches: dict[Any, int] = {}
        self._errors: dict[int, tuple[BaseException, Raised]] = {}
        self._event_id = 0
        self._time: Any = None
        self._finished = False

    @property
    def size_bytes(self) -> int:
        """How much memory the kept values take, roughly."""
        return self._keeper.size_bytes

    def at(self, event_id: int, time: datetime) -> None:
        """Say at which event what follows is executed, and when."""
        self._event_id, self._time = event_id, time

    @property
    def trace_function(self) -> Tracer | None:
        """What ``sys.settrace`` takes while the agent's code is executed."""
        return None if self._finished or self.problem is not None else self._on_call

    def finish(self) -> None:
        """Note what waiting frames have changed since their last line, and let go of everything live."""
        self._finished = True
        for recorded in list(self._open.values()):
            self._check(recorded, amid=True)
            recorded.live = None
        self._open.clear()
        self._tracers.clear()
        self._branches.clear()
        self._errors.clear()
        self._kinds.clear()
        self._keeper.forget()

    # Which frames.

    def _on_call(self, frame: FrameType, event: str, arg: Any) -> Tracer | None:
        code = frame.f_code
        kind = self._kinds.get(code)
        if kind is None:
            kind = self._kinds[code] = self._kind(code)
        if kind is _IGNORED:
            return None
        try:
            return self._tracers.get(frame) or self._begin(frame, kind)
        except Exception as error:  # noqa: BLE001 - an error here would be thrown into the agent
            self._give_up(error)
            return None

    def _kind(self, code: CodeType) -> Any:
        if code.co_filename == self._filename:
            is_function = code.co_flags & _OPTIMIZED and code.co_name not in _HIDDEN_FUNCTIONS
            return _RECORDED if is_function else _IGNORED
        return _SLEEP if code is _ASYNCIO_SLEEP else _IGNORED

    def _begin(self, frame: FrameType, kind: Any) -> Tracer | None:
        if kind is _RECORDED:
            return self._record(frame)
        tracer = self._tracers[frame] = self._sleeping(frame)
        return tracer

    def _record(self, live: FrameType) -> Tracer | None:
        parent = self._nearest(live.f_back)
        if parent is None and self._loading(live):
            return None
        code = live.f_code
        task = asyncio.current_task()
        branch = parent.frame.branch if parent else self._branches.setdefault(task, len(self._branches))
        above = parent.frame.number if parent else -1
        line = self._statements.start(code.co_firstlineno)
        frame = Frame(len(self.frames), code.co_name, branch, above, line, len(self.rows))
        self.frames.append(frame)
        head = self._statements.head(code)
        recorded = _Recorded(frame, live, head, code.co_code[::2], self._statements.inlined(code))
        self._open[live] = recorded
        self._check(recorded)
        tracer = self._tracers[live] = self._tracer(recorded)
        return tracer

    def _nearest(self, frame: FrameType | None) -> _Recorded | None:
        """The frame of the run's code that is executing, seen from a frame above it."""
        while frame is not None:
            recorded = self._open.get(frame)
            if recorded is not None:
                return recorded
            frame = frame.f_back
        return None

    def _loading(self, frame: FrameType | None) -> bool:
        """Whether the code is being loaded: a module-level call, not the agent's."""
        while frame is not None:
            if frame.f_code.co_filename == self._filename and frame.f_code.co_name == "<module>":
                return True
            frame = frame.f_back
        return False

    # Lines.

    def _tracer(self, recorded: _Recorded) -> Tracer:
        def trace(frame: FrameType, event: str, arg: Any) -> Tracer | None:
            try:
                if event == "line":
                    self._on_line(recorded, frame)
                elif event == "exception":
                    self._on_exception(recorded, frame, arg)
                elif event == "return":
                    self._on_return(recorded, frame)
            except Exception as error:  # noqa: BLE001 - an error here would be thrown into the agent
                self._give_up(error)
                return None
            return trace

        return trace

    def _on_line(self, recorded: _Recorded, frame: FrameType) -> None:
        recorded.unwinding = False
        recorded.unwinding = False
        statements, offset = self._statements, frame.f_lasti
        line = statements.start(frame.f_lineno)
        if line == recorded.head:
            return
        same_statement = line == recorded.current
        if same_statement and offset in recorded.inlined.offsets:
            return
        jumped_back = offset <= recorded.offset
        recorded.offset = offset
        if jumped_back:
            # A new round of a loop: what comes after its start will be executed afresh.
            recorded.started = {key: seen for key, seen in recorded.started.items() if seen < offset}
        if same_statement:
            new = jumped_back or statements.is_one_liner(line)
        else:
            # A statement that was started before, and not in an earlier round, comes to its end: a `with` block.
            new = statements.is_loop(line) or line not in recorded.started
        recorded.current = line
        if not new:
            return
        recorded.started[line] = offset
        self._check(recorded)
        recorded.frame.last_row = len(self.rows)
        self.rows.append(Row(self._event_id, self._time, recorded.frame.number, line))

    def _on_exception(self, recorded: _Recorded, frame: FrameType, arg: Any) -> None:
        error = arg[1]
        if isinstance(error, GeneratorExit):
            return
        if isinstance(error, (StopIteration, StopAsyncIteration)) and recorded.ops[frame.f_lasti // 2] in _ITERATION:
            return
        recorded.error = raised = self._raised(error, recorded.frame.last_row)
        recorded.unwinding = True
        row = recorded.frame.last_row
        if row >= 0 and self.rows[row].raised is None:
            self.rows[row].raised = raised

    def _raised(self, error: BaseException, row: int) -> Raised:
        known = self._errors.get(id(error))
        if known is None:
            keeper = Keeper()
            copied = keeper.copy(error)
            raised = Raised(len(self._errors), _text(error), copied if keeper.whole else None, row)
            known = self._errors[id(error)] = (error, raised)
        return known[1]

    def _on_return(self, recorded: _Recorded, frame: FrameType) -> None:
        op = recorded.ops[frame.f_lasti // 2]
        if op in _SUSPENDED and not recorded.unwinding:
            return
        self._check(recorded, amid=True)
        if recorded.error is not None and op not in _RETURNED:
            recorded.frame.failure = recorded.error.number
            row = recorded.frame.last_row
            if op == _RAISE and row >= 0 and self.rows[row].raised is None:
                self.rows[row].raised = recorded.error  # raised again: Python reports an exception only once
        recorded.live = None
        self._open.pop(frame, None)
        self._tracers.pop(frame, None)

    # Variables.

    def _check(self, recorded: _Recorded, *, amid: bool = False) -> None:
        """Note which variables of a frame differ from what they were when we last looked.

        ``amid`` a statement, names that a comprehension borrows may not have their own values back yet.
        """
        frame = recorded.live
        if frame is None:
            return
        slots, inlined, seen = recorded.slots, recorded.inlined, 0
        skipped = inlined.targets if amid and frame.f_lasti in inlined.offsets else inlined.hidden
        for name, value in frame.f_locals.items():
            slot = slots.get(name)
            if slot is None:
                if name in skipped or name[0] == ".":
                    continue
                seen += 1
                self._changed(recorded, name, value, None)
                continue
            seen += 1
            if slot.live is value and slot.fixed:
                continue
            if name not in skipped:
                self._changed(recorded, name, value, slot)
        if seen < len(slots):
            present = frame.f_locals
            for name in [name for name in slots if name not in present]:
                if slots.pop(name).copy is not _HIDDEN:
                    self._note(recorded, name, DELETED, True)

    def _changed(self, recorded: _Recorded, name: str, value: Any, slot: _Slot | None) -> None:
        cls = type(value)
        plain = cls in _PLAIN_CONTAINERS
        grown = 0
        if plain and slot is not None and slot.live is value and slot.mark is not None:
            mark = _mark(value)
            if mark == slot.mark:
                return
            appended = mark is not None and mark.startswith(slot.mark[_LIST_HEAD:], _LIST_HEAD)
            if cls is list and appended and type(slot.copy) is list:
                grown = len(slot.copy)
        if not plain and (issubclass(cls, _CODE_TYPES) or cls.__name__ == "_RestrictedProxy"):
            if slot is not None and slot.copy is not _HIDDEN:
                self._note(recorded, name, DELETED, True)
            recorded.slots[name] = _Slot(value, True, _HIDDEN, None)
            return
        old = MISSING if slot is None or slot.copy is _HIDDEN else slot.copy
        keeper = self._keeper
        kept_bytes = keeper.size_bytes
        copy, whole = keeper.copy(value, old, grown), keeper.whole
        mark = _mark(value) if plain and copy is not value and not keeper.shares else None
        if copy is not old and keeper.size_bytes > self._max_bytes and keeper.size_bytes > kept_bytes:
            keeper.size_bytes = kept_bytes
            if self.limit_row < 0:
                self.limit_row = max(recorded.frame.last_row, 0)
            copy, whole = short(value), False
            if type(old) is str and old == copy and (mark is None or (slot is not None and slot.mark == mark)):
                copy = old
        recorded.slots[name] = _Slot(value, copy is value, copy, mark)
        if copy is not old:
            self._note(recorded, name, copy, whole)

    def _note(self, recorded: _Recorded, name: str, value: Any, copied: bool) -> None:
        frame = recorded.frame
        self.changes.append(
            Change(frame.number, frame.last_row, len(self.rows), self._event_id, self._time, name, value, copied)
        )
        if frame.last_row >= 0:
            row = self.rows[frame.last_row]
            if row.changed is None:
                row.changed = {}
            row.changed[name] = value

    # Steps, agents, gates, sleeps: told by the workflow that is replayed.

    def called(self, kind: str, name: str, number: str) -> None:
        """Note that the line being executed has called a step or agent, or opened a gate."""
        inner: dict[str, Any] = {}
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame not in self._open:
            if frame.f_code.co_filename == self._filename:
                inner = {**frame.f_locals, **inner}
            frame = frame.f_back
        # A gate in a task of its own has no caller; the line before it created the task.
        row = len(self.rows) - 1
        if frame is not None:
            recorded = self._open[frame]
            row = recorded.frame.last_row
            if frame.f_lasti in recorded.inlined.offsets:
                present = frame.f_locals
                inner = {**{n: present[n] for n in recorded.inlined.targets if n in present}, **inner}
        kept = {n: Keeper().copy(v) for n, v in inner.items() if n[0] != "." and not isinstance(v, _CODE_TYPES)}
        self.calls.append(Call(kind, name, number, row, self._event_id, self._time, kept))

    def began(self, kind: str, name: str) -> Wait:
        """Note the start of something that the agent may have to wait for."""
        wait = Wait(kind, name, (len(self.rows) - 1, self._event_id))
        self.waits.append(wait)
        return wait

    def ended(self, wait: Wait) -> None:
        """Note its end; what still waits when the replay is over has none."""
        if not self._finished:
            wait.ended = (len(self.rows) - 1, self._event_id)

    def _sleeping(self, frame: FrameType) -> Tracer:
        """``asyncio.sleep``, which is the only wait that the workflow does not hear of."""
        wait = self.began("sleep", "sleep")
        ops = frame.f_code.co_code[::2]
        failed = False

        def trace(frame: FrameType, event: str, arg: Any) -> Tracer | None:
            nonlocal failed
            if event == "line":
                failed = False
            elif event == "exception":
                failed = not isinstance(arg[1], StopIteration)
            elif failed or ops[frame.f_lasti // 2] not in _SUSPENDED:
                self.ended(wait)
                self._tracers.pop(frame, None)
            return trace

        return trace

    def _give_up(self, error: Exception) -> None:
        """Stop recording: what was seen until now still counts."""
        self.problem = error
        sys.settrace(None)


def _mark(value: Any) -> bytes | None:
    """Return the content of a container of plain values; None for one that holds others."""
    try:
        # Version 2 of the format says the same of the same content, whoever else refers to it.
        return marshal.dumps(value, 2)
    except ValueError:
        return None


def _text(error: BaseException) -> str:
    name = type(error).__name__
    try:
        said = str(error)
    except Exception:  # noqa: BLE001 - the analyst's own __str__
        return name
    return f"{name}: {said}"[:2_000] if said else name


_IGNORED, _RECORDED, _SLEEP, _HIDDEN = object(), object(), object(), object()
