"""What a replayed agent does, line by line: a trace function for the frames of a run's own code.

It sees only code whose file is the snapshot's, so neither the interpreter's frames nor a library's. Nothing of it
runs while the real run runs.
"""

from __future__ import annotations

import asyncio
import dis
import inspect
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from types import CodeType, FrameType
from typing import Any

from temporalio.bridge.proto.workflow_commands import WorkflowCommand

from kaigents_nb.replay.changes import CODE_TYPES, KEPT_BYTES, ChangeLog, Slot
from kaigents_nb.replay.comparison import Comparison
from kaigents_nb.replay.copies import Copier
from kaigents_nb.replay.records import CallSite, Frame, Raised, Row, Wait
from kaigents_nb.replay.statements import Inlined, Statements
from kaigents_nb.runtime.forbidden import in_words

_RETURNED = {dis.opmap[name] for name in ("RETURN_VALUE", "RETURN_CONST") if name in dis.opmap}
_SUSPENDED = {dis.opmap[name] for name in ("YIELD_VALUE", "RESUME")}
_ITERATION = {dis.opmap[name] for name in ("FOR_ITER", "SEND", "END_ASYNC_FOR", "END_SEND") if name in dis.opmap}
"""Where ``StopIteration`` is how Python ends a loop or an await, and no error."""
_RAISE = dis.opmap["RAISE_VARARGS"]
_GENERATORS = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR
_HIDDEN_FUNCTIONS = frozenset({"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>", "<lambda>"})
"""Parts of a statement; their work counts as that of its line."""
_ASYNCIO_SLEEP = asyncio.sleep.__code__

KEPT_LINES = 1_000_000
"""The longest trace; an agent that goes round and round without end is stopped there."""

Tracer = Callable[[FrameType, str, Any], Any]


class Enough(BaseException):
    """Ends a replay; no ``except Exception`` of an agent catches it."""


@dataclass(slots=True, frozen=True)
class _Function:
    """What is known of a function's code."""

    line: int
    head: int
    ops: bytes
    inlined: Inlined
    is_generator: bool


class Recorder:
    """Collects rows and changes while its trace function is set."""

    def __init__(
        self,
        filename: str,
        statements: Statements,
        max_bytes: int = KEPT_BYTES,
        max_lines: int = KEPT_LINES,
        comparison: Comparison | None = None,
    ) -> None:
        self.rows: list[Row] = []
        self.frames: list[Frame] = []
        self.calls: list[CallSite] = []
        self.waits: list[Wait] = []
        self.log = ChangeLog(self.rows, max_bytes)
        self.problem: BaseException | None = None
        """Why recording stopped: :class:`Enough`, or an error of this library."""
        self._filename = filename
        self._statements = statements
        self._max_lines = max_lines
        self.open: dict[FrameType, _Watched] = {}
        self._functions: dict[CodeType, Any] = {}
        self._branches: dict[Any, int] = {}
        self._errors: dict[int, tuple[BaseException, Raised]] = {}
        self._event_id = 0
        self._time: Any = None
        self._finished = False
        self._comparison = comparison

    def asks(self, commands: Iterable[WorkflowCommand]) -> None:
        """See :class:`Watcher`."""
        if self._comparison is not None:
            self._comparison.take(commands, len(self.rows) - 1)

    def at(self, event_id: int, time: datetime) -> None:
        """Say at which event what follows is executed, and when."""
        self._event_id, self._time = event_id, time
        self.log.at(event_id, time)

    @property
    def trace_function(self) -> Tracer | None:
        """What ``sys.settrace`` takes while the agent's code is executed."""
        return None if self._finished or self.problem is not None else self._on_call

    def finish(self) -> None:
        """Note what waiting frames have changed since their last line, and let go of everything live."""
        self._finished = True
        for watched in list(self.open.values()):
            watched.look(amid=True)
            watched.live = None
        self.open.clear()
        self._branches.clear()
        self._errors.clear()
        self._functions.clear()
        self.log.forget()

    # Which frames.

    def _on_call(self, frame: FrameType, event: str, arg: Any) -> Tracer | None:
        """A function begins, or goes on after it was suspended."""
        code = frame.f_code
        function = self._functions.get(code)
        if function is None:
            function = self._functions[code] = self._function(code)
        if function is _IGNORED:
            return None
        try:
            tracer = frame.f_trace
            if isinstance(tracer, _Watched) and tracer.recorder is self:
                self.open[frame] = tracer
                tracer.live = frame
                return tracer
            if function is _SLEEP:
                return tracer or self._sleeping(frame)
            return self._begin(frame, function)
        except Exception as error:  # noqa: BLE001 - an error here would be thrown into the agent
            self.give_up(error)
            return None

    def _function(self, code: CodeType) -> Any:
        if code.co_filename != self._filename:
            return _SLEEP if code is _ASYNCIO_SLEEP else _IGNORED
        if not code.co_flags & inspect.CO_OPTIMIZED or code.co_name in _HIDDEN_FUNCTIONS:
            return _IGNORED  # a module or class body, or a part of a statement
        statements = self._statements
        return _Function(
            statements.start(code.co_firstlineno),
            statements.head(code),
            code.co_code[::2],
            statements.inlined(code),
            bool(code.co_flags & _GENERATORS),
        )

    def _begin(self, live: FrameType, function: _Function) -> Tracer | None:
        parent = self._nearest(live.f_back)
        if parent is None and self._loading(live):
            return None
        if parent is not None:
            above, branch = parent.frame.number, parent.frame.branch
        else:
            above, branch = -1, self._branches.setdefault(asyncio.current_task(), len(self._branches))
        frame = Frame(len(self.frames), live.f_code.co_name, branch, above, function.line, len(self.rows))
        self.frames.append(frame)
        watched = self.open[live] = _Watched(self, frame, live, function)
        watched.look()
        return watched

    def _nearest(self, frame: FrameType | None) -> _Watched | None:
        """The frame of the run's code that is executing, seen from a frame above it."""
        while frame is not None:
            watched = self.open.get(frame)
            if watched is not None:
                return watched
            frame = frame.f_back
        return None

    def _loading(self, frame: FrameType | None) -> bool:
        """Whether the code is being loaded: a module-level call, not the agent's."""
        while frame is not None:
            if frame.f_code.co_filename == self._filename and frame.f_code.co_name == "<module>":
                return True
            frame = frame.f_back
        return False

    def line(self, frame: Frame, line: int) -> None:
        """Add a row."""
        if len(self.rows) >= self._max_lines:
            self.problem = Enough(f"it has more than {self._max_lines:,} lines, and no more are kept")
            raise self.problem
        frame.last_row = len(self.rows)
        self.rows.append(Row(self._event_id, self._time, frame.number, line))

    def raised(self, error: BaseException, row: int) -> Raised:
        """Return the record of an exception: the same one wherever it passes."""
        known = self._errors.get(id(error))
        if known is None:
            copier = Copier()
            said = in_words(error)
            copied = copier.copy(said)
            record = Raised(len(self._errors), _text(said), copied if copier.whole else None, row)
            known = self._errors[id(error)] = (error, record)
        return known[1]

    def give_up(self, error: Exception) -> None:
        """Stop recording: what was seen until now still counts."""
        self.problem = error
        sys.settrace(None)

    # Steps, agents, gates, sleeps: told by the workflow that is replayed.

    def called(self, kind: str, name: str, number: str) -> None:
        """Note that the line being executed has called a step or agent, or opened a gate."""
        inner: dict[str, Any] = {}
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame not in self.open:
            if frame.f_code.co_filename == self._filename:
                inner = {**frame.f_locals, **inner}
            frame = frame.f_back
        # A gate in a task of its own has no caller; the line before it created the task.
        row = len(self.rows) - 1
        if frame is not None:
            watched = self.open[frame]
            row = watched.frame.last_row
            if frame.f_lasti in watched.function.inlined.offsets:
                present = frame.f_locals
                inner = {**{n: present[n] for n in watched.function.inlined.targets if n in present}, **inner}
        kept = {n: Copier().copy(v) for n, v in inner.items() if n[0] != "." and not isinstance(v, CODE_TYPES)}
        self.calls.append(CallSite(kind, name, number, row, self._event_id, self._time, kept))

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
            return trace

        return trace


class _Watched:
    """The trace function of one frame."""

    def __init__(self, recorder: Recorder, frame: Frame, live: FrameType, function: _Function) -> None:
        self.recorder = recorder
        self.frame = frame
        self.function = function
        self.live: FrameType | None = live
        self._slots: dict[str, Slot] = {}
        self._started: dict[int, int] = {}  # line of a statement → the offset at which it was seen
        self._offset = -1
        self._current = -1  # line of the statement that is being executed
        self._unwinding = False
        self._error: Raised | None = None  # the last one seen here

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Tracer | None:
        try:
            if event == "line":
                self._on_line(frame)
            elif event == "exception":
                self._on_exception(frame, arg[1])
            elif event == "return":
                self._on_return(frame)
        except Exception as error:  # noqa: BLE001 - an error here would be thrown into the agent
            self.recorder.give_up(error)
            return None
        return self

    def look(self, *, amid: bool = False) -> None:
        """Note which variables differ from what they were when we last looked.

        ``amid`` a statement, names that a comprehension borrows may not have their own values back yet.
        """
        live, inlined = self.live, self.function.inlined
        if live is not None:
            borrowed = amid and live.f_lasti in inlined.offsets
            self.recorder.log.look(
                self._slots, self.frame, live.f_locals, inlined.targets if borrowed else inlined.hidden
            )

    def _on_line(self, frame: FrameType) -> None:
        self._unwinding = False
        statements, offset = self.recorder._statements, frame.f_lasti
        line = statements.start(frame.f_lineno)
        if line == self.function.head:
            return
        same_statement = line == self._current
        if same_statement and offset in self.function.inlined.offsets:
            return
        jumped_back = offset <= self._offset
        self._offset = offset
        if jumped_back:
            # A new round of a loop: what comes after its start will be executed afresh.
            self._started = {key: seen for key, seen in self._started.items() if seen < offset}
        if same_statement:
            new = jumped_back or line in statements.one_liners
        else:
            # A statement that was started before, and not in an earlier round, comes to its end: a `with` block.
            new = line in statements.loops or line not in self._started
        self._current = line
        if new:
            self._started[line] = offset
            self.look()
            self.recorder.line(self.frame, line)

    def _on_exception(self, frame: FrameType, error: BaseException) -> None:
        if isinstance(error, GeneratorExit):
            self._unwinding = True
            return
        op = self.function.ops[frame.f_lasti // 2]
        if isinstance(error, (StopIteration, StopAsyncIteration)) and op in _ITERATION:
            return
        row = self.frame.last_row
        self._unwinding = True
        self._error = self.recorder.raised(error, row)
        if row >= 0 and self.recorder.rows[row].raised is None:
            self.recorder.rows[row].raised = self._error

    def _on_return(self, frame: FrameType) -> None:
        op = self.function.ops[frame.f_lasti // 2]
        if op in _SUSPENDED and not self._unwinding:
            if self.function.is_generator:
                # It may be dropped without a word, so it is not held meanwhile.
                self.recorder.open.pop(frame, None)
                self.live = None
            return
        self.look(amid=True)
        if self._error is not None and op not in _RETURNED:
            self.frame.failure = self._error.number
            row = self.frame.last_row
            if op == _RAISE and row >= 0 and self.recorder.rows[row].raised is None:
                self.recorder.rows[row].raised = self._error  # raised again: Python reports an exception only once
        self.recorder.open.pop(frame, None)


def _text(error: BaseException) -> str:
    name = type(error).__name__
    try:
        said = str(error)
    except Exception:  # noqa: BLE001 - the analyst's own __str__
        return name
    return f"{name}: {said}"[:2_000] if said else name


_IGNORED, _SLEEP = object(), object()
