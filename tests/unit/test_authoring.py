"""What cells are written with: decorators, options, gates, progress and resources, outside of any run."""

from __future__ import annotations

import asyncio
import copy
import datetime as dt
import inspect
import random
import threading
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import FrozenInstanceError, dataclass, field
from functools import partial
from typing import Any

import pytest

import kaigents_nb as kg
from kaigents_nb.authoring.awaited import Begin, NotAwaited
from kaigents_nb.authoring.context import agent_context, step_context
from kaigents_nb.authoring.options import StepOptions
from kaigents_nb.errors import ForbiddenInAgent, ForbiddenInStep
from kaigents_nb.gates.question import Question


@kg.step(timeout="5 min", retry=kg.Retry(max_attempts=3))
def double(x: int, *, plus: int = 0) -> int:
    """Return twice as much."""
    return 2 * x + plus


@kg.step
async def triple(x: int) -> int:
    return 3 * x


@kg.agent
async def sums(x: int) -> int:
    """Add up."""
    tripled: int = await triple(x)
    return tripled + 1


@dataclass
class Attempt:
    """A step's attempt that notes what it is told."""

    tracked: int = 0
    idempotency_key: str = "the key"
    reports: list[tuple[Any, ...]] = field(default_factory=list)

    def report(self, done: float, total: float | None, note: str, *, tracked: int | None = None) -> None:
        self.reports.append((done, total, note, tracked))


class Interpreter:
    """An agent's interpreter that notes what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.own_random = random.Random(1)

        self.unawaited: dict[int, NotAwaited[Any]] = {}

    @property
    def replaying(self) -> bool:
        return False

    def place(self, filename: str, line: int) -> str:
        return f"line {line}"

    async def _answer(self, *asked: Any) -> Any:
        self.asked.append(asked)
        return "answer"

    def call_step(self, step: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Begin[Any]:
        return partial(self._answer, step.name, args, kwargs)

    def call_agent(self, agent: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Begin[Any]:
        return partial(self._answer, agent.name, args, kwargs)

    def open_gate(self, question: Question, details: object) -> Begin[kg.Decision]:
        return partial(self._decide, question, details)

    async def _decide(self, question: Question, details: object) -> kg.Decision:
        self.asked.append((question, details))
        return kg.Decision(approved=True, choice="approve")

    def sleep(self, delay_s: float) -> Begin[None]:
        return partial(self._answer, "sleep", delay_s)

    def now(self) -> dt.datetime:
        return dt.datetime(2030, 1, 1, tzinfo=dt.UTC)

    def random(self) -> random.Random:
        return self.own_random

    def uuid4(self) -> uuid.UUID:
        return uuid.UUID(int=1)


@pytest.fixture
def attempt() -> Iterator[Attempt]:
    """Be in a step's attempt."""
    made = Attempt()
    token = step_context.set(made)
    yield made
    step_context.reset(token)


@pytest.fixture
def interpreter() -> Iterator[Interpreter]:
    """Be in an agent."""
    made = Interpreter()
    token = agent_context.set(made)
    yield made
    agent_context.reset(token)


# Steps and agents.


def test_a_step_is_its_function_outside_an_agent() -> None:
    """Called in a cell, a step is the plain function, with its name, docstring and signature."""
    assert double(4, plus=1) == 9
    assert asyncio.run(triple(4)) == 12
    assert (double.name, double.__doc__) == ("double", "Return twice as much.")
    assert str(inspect.signature(double)) == "(x: 'int', *, plus: 'int' = 0) -> 'int'"
    assert repr(double) == "<step double>"


def test_options_of_a_step() -> None:
    """Options are kept as they were written; without any, a step is retried for ever."""
    assert double.options == StepOptions(timeout="5 min", retry=kg.Retry(max_attempts=3))
    assert triple.options == StepOptions()
    assert triple.options.retry.max_attempts is None
    with pytest.raises(FrozenInstanceError):
        double.options.timeout = 3  # type: ignore[misc]


def test_a_step_in_an_agent_is_asked_of_the_interpreter(interpreter: Interpreter) -> None:
    """Awaited in an agent, a step is not executed here."""
    assert asyncio.run(triple(4)) == "answer"
    asyncio.run(double(1, plus=2))
    assert asyncio.run(sums(5)) == "answer"
    assert interpreter.asked == [("triple", (4,), {}), ("double", (1,), {"plus": 2}), ("sums", (5,), {})]


@pytest.mark.parametrize("what", [3, "5 min", None.__class__, kg.Retry()])
def test_step_goes_on_a_function(what: Any) -> None:
    """Options given without their names are explained."""
    if isinstance(what, type):
        assert kg.step(what).name == "NoneType"  # a class can be called as well
        return
    with pytest.raises(TypeError, match=r"With options, name them: @step\(timeout='5 min'\)"):
        kg.step(what)


def test_a_step_has_a_name() -> None:
    """A lambda has none that a history could show."""
    with pytest.raises(TypeError, match="Write it with def, not lambda"):
        kg.step(lambda x: x)


def test_a_step_known_by_name_only() -> None:
    """A step without its function can't be called outside an agent."""
    with pytest.raises(RuntimeError, match="only known by name here; await it in an agent"):
        kg.Step(None, StepOptions(), "elsewhere")()


def test_an_agent_is_started_not_called() -> None:
    """Called in a cell, it says what to write; its function is still at hand."""
    with pytest.raises(RuntimeError, match=r"Write sums\.start\(…\)"):
        sums(2)
    assert asyncio.run(sums.fn(2)) == 7
    assert (sums.name, sums.__doc__, repr(sums)) == ("sums", "Add up.", "<agent sums>")


def test_an_agent_is_an_async_def() -> None:
    """A plain function as agent is refused with what to write."""

    def plain() -> None: ...

    with pytest.raises(TypeError, match=r"Write: async def plain\(\.\.\.\)"):
        kg.agent(plain)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Write: async def 3"):
        kg.agent(3)  # type: ignore[arg-type]


def test_wrong_arguments_are_found_before_anything_starts() -> None:
    """start() and dry_run() check the arguments against the signature at once."""
    with pytest.raises(TypeError, match="missing a required argument: 'x'"):
        sums.start()
    with pytest.raises(TypeError, match="unexpected keyword argument 'y'"):
        sums.start(1, y=2)
    with pytest.raises(TypeError, match="too many positional arguments"):
        sums.dry_run(1, 2)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"max_attempts": 0}, ValueError, "at least 1, or None for no end, not 0"),
        ({"max_attempts": -1}, ValueError, "at least 1"),
        ({"max_attempts": 2.5}, ValueError, "not 2.5"),
        ({"max_attempts": "3"}, ValueError, "not '3'"),
        ({"backoff": 0.5}, ValueError, "backoff is at least 1, not 0.5"),
        ({"backoff": float("nan")}, ValueError, "backoff is at least 1"),
        ({"first_wait": "2 min"}, ValueError, "first_wait '2 min' is longer than max_wait 60"),
        ({"max_wait": "1 fortnight"}, ValueError, "Unknown unit 'fortnight'"),
        ({"first_wait": -1}, ValueError, "can't be negative"),
        ({"first_wait": None}, TypeError, "A duration is"),
        ({"give_up_on": KeyError}, TypeError, r"several classes, such as \(KeyError,\), not"),
        ({"give_up_on": ("KeyError",)}, TypeError, "takes exception classes, not 'KeyError'"),
        ({"give_up_on": (int,)}, TypeError, "takes exception classes"),
    ],
)
def test_wrong_retries(options: dict[str, Any], error: type[Exception], message: str) -> None:
    """A retry that can't be meant is refused where it is written."""
    with pytest.raises(error, match=message):
        kg.Retry(**options)


@pytest.mark.parametrize(
    ("timeout", "error", "message"),
    [
        (0, ValueError, "must be longer than 0; None means no end"),
        ("0 s", ValueError, "longer than 0"),
        (-1, ValueError, "can't be negative"),
        ("a while", ValueError, "Can't read the duration"),
        ([], TypeError, "A duration is"),
    ],
)
def test_wrong_timeouts(timeout: Any, error: type[Exception], message: str) -> None:
    """A timeout that can't be meant is refused where the step is written."""
    with pytest.raises(error, match=message):
        kg.step(timeout=timeout)


# Gates.


@pytest.mark.parametrize(
    ("question", "options", "error", "message"),
    [
        ("", None, ValueError, "asks a question in words, not ''"),
        ("  ", None, ValueError, "asks a question in words"),
        (7, None, ValueError, "not 7"),
        ("Which?", "AB", TypeError, r"a list of choices, not one text: \['AB'\]"),
        ("Which?", ["A", "B", "A"], ValueError, r"must differ: \['A', 'B', 'A'\]"),
        ("Which?", ["1", 1], ValueError, "must differ"),
        ("Which?", ["A", "reject"], ValueError, "can be rejected already"),
        ("x" * 9000, None, ValueError, "8,000 is the most"),
    ],
)
def test_wrong_gates(question: Any, options: Any, error: type[Exception], message: str) -> None:
    """A gate that nobody could decide is refused before it opens."""
    with pytest.raises(error, match=message):
        asyncio.run(kg.approve(question, options=options))


def test_a_gate_needs_an_agent(attempt: Attempt) -> None:
    """In a step nobody can be waited for: the error says where to ask."""
    with pytest.raises(ForbiddenInStep, match=r"in the agent, with await kg\.approve"):
        asyncio.run(kg.approve("Go on?"))
    step_context.set(None)
    with pytest.raises(RuntimeError, match=r"into an async def with @kg\.agent"):
        asyncio.run(kg.approve("Go on?"))


def test_a_gate_in_an_agent(interpreter: Interpreter) -> None:
    """The interpreter gets the question, and its decision is true in an ``if``."""
    decision = asyncio.run(kg.approve("Which?", details={"n": 1}, options=("A", "B")))
    assert interpreter.asked == [(Question("Which?", ("A", "B")), {"n": 1})]
    assert decision
    assert not kg.Decision(approved=False, choice="reject")


# Time and chance.


def test_clock_outside_an_agent() -> None:
    """In plain Python time and chance are Python's own."""
    assert abs(kg.now() - dt.datetime.now(dt.UTC)) < dt.timedelta(seconds=5)
    assert kg.now().tzinfo is dt.UTC
    assert 0 <= kg.random().random() < 1
    assert kg.uuid4() != kg.uuid4()
    asyncio.run(kg.sleep("1 ms"))
    with pytest.raises(ValueError, match="Can't read"):
        asyncio.run(kg.sleep("a bit"))


def test_clock_in_an_agent(interpreter: Interpreter) -> None:
    """In an agent time and chance are the run's; the parts of a sleep add up."""
    assert kg.now().year == 2030
    assert kg.random() is interpreter.own_random
    assert kg.uuid4() == uuid.UUID(int=1)
    asyncio.run(kg.sleep("1 min", days=1, hours=1, minutes=1, seconds_=1))
    assert interpreter.asked == [("sleep", 90_121.0)]


# In a step.


def test_progress_is_reported(attempt: Attempt) -> None:
    """A step's progress goes to its attempt."""
    kg.progress(3, 10, "supplier 3")
    kg.progress(0.5)
    assert attempt.reports == [(3, 10, "supplier 3", None), (0.5, None, "", None)]


def test_progress_outside_a_step() -> None:
    """Outside a step progress is nothing to speak of, and track is the plain loop."""
    kg.progress(1, 2)
    assert list(kg.track("abc")) == ["a", "b", "c"]
    assert list(kg.track(iter([1, 2]))) == [1, 2]
    assert kg.idempotency_key() != kg.idempotency_key()


def test_track_counts_what_is_finished(attempt: Attempt) -> None:
    """An item is finished when the loop asks for the next one, or ends."""
    loop = kg.track(["a", "b", "c"], note="letters")
    assert next(loop) == "a"
    assert attempt.reports == []
    assert next(loop) == "b"
    assert attempt.reports == [(1, 3, "letters", 1)]
    assert list(loop) == ["c"]
    assert attempt.reports[-1] == (3, 3, "letters", 3)


def test_track_skips_what_an_earlier_attempt_finished(attempt: Attempt) -> None:
    """A second attempt goes on with the item that failed."""
    for item in kg.track(range(5)):
        if item == 3:
            break  # the attempt fails here
    [*_, last] = attempt.reports
    assert last == (3, 5, "", 3)
    attempt.tracked = 3
    assert list(kg.track(range(5))) == [3, 4]
    assert attempt.reports[-1] == (5, 5, "", 5)
    attempt.tracked = 5
    assert list(kg.track(range(5))) == []


def test_track_of_unknown_length(attempt: Attempt) -> None:
    """A generator has no length; its total may be told."""
    assert list(kg.track((x for x in "ab"), note="n")) == ["a", "b"]
    assert list(kg.track((x for x in "ab"), total=2)) == ["a", "b"]
    assert [report[1] for report in attempt.reports] == [None, None, 2, 2]


def test_the_idempotency_key_is_the_calls(attempt: Attempt) -> None:
    """In a step the key is that of its call, however often it is asked for."""
    assert (kg.idempotency_key(), kg.idempotency_key()) == ("the key", "the key")


# Resources.


def test_a_resource_is_built_once_on_first_use() -> None:
    """Nothing is built before it is used, and ten threads build one object."""
    built = []
    at_once = threading.Barrier(10)

    @kg.resource
    def client() -> Any:
        """Our client."""
        built.append(object())
        return built[-1]

    assert (client.__doc__, repr(client), built) == ("Our client.", "<resource client>", [])

    def use() -> None:
        at_once.wait()
        client()

    threads = [threading.Thread(target=use) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1
    assert client() is built[0]


def test_attributes_of_a_resource() -> None:
    """The object's attributes can be used directly; looking at the resource builds nothing."""

    class Client:
        rate = 3

    client = kg.resource(Client)
    assert not hasattr(client, "__array__")
    assert copy.copy(client) is not client
    assert not client._built
    assert client.rate == client().rate == 3
    with pytest.raises(AttributeError, match="nothing"):
        client.nothing


def test_a_resource_that_fails_is_built_again() -> None:
    """An error while building is the caller's, and the next use tries again."""
    tries = []

    @kg.resource
    def database() -> str:
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionError("not yet")
        return "open"

    with pytest.raises(ConnectionError):
        database()
    assert database() == "open"


def test_a_resource_is_made_by_a_function() -> None:
    """The object itself is refused: it could not travel."""
    with pytest.raises(TypeError, match="on a function that makes the object, not on the object: 3"):
        kg.resource(3)  # type: ignore[arg-type]


def test_a_task_of_a_durable_call_can_be_shown(interpreter: Interpreter) -> None:
    """Debuggers and asyncio print tasks; what is not awaited has a name there, and still refuses the analyst."""

    async def show() -> str:
        task = asyncio.create_task(triple(4))
        shown = repr(task)
        await task
        return shown

    assert "Task" in asyncio.run(show())
    kept = triple(4)
    with pytest.raises(ForbiddenInAgent, match="is not awaited"):
        bool(kept)
    kept.close()
