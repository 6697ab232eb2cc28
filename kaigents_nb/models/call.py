"""The library's own steps for models: one request, and the place where an answer that can't be used waits."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

from kaigents_nb.authoring.agent import Agent
from kaigents_nb.authoring.context import step_context
from kaigents_nb.authoring.library_steps import library_step
from kaigents_nb.authoring.step import Step
from kaigents_nb.errors import AnswerNotAccepted, Fatal, ModelUnreachable
from kaigents_nb.models import completions, responses, tools, transcript
from kaigents_nb.models import items as conversation
from kaigents_nb.models.answer import Answer, Usage
from kaigents_nb.models.client import post, stream
from kaigents_nb.models.items import Item
from kaigents_nb.models.ledger import Ledger
from kaigents_nb.models.limits import paced
from kaigents_nb.models.model import Model
from kaigents_nb.models.prices import cost, told
from kaigents_nb.models.spent import Spent, spent

Tool = Step[..., Any] | Agent[..., Any, Any]
tools_at_hand: ContextVar[Mapping[str, Tool] | None] = ContextVar("kaigents_tools", default=None)
"""The tools themselves, where no run carries them: in a dry run, or outside."""

_MANY = 1_000
_APIS: dict[str, Any] = {"responses": responses, "chat": completions}


@dataclass(frozen=True)
class Request:
    """What is asked: everything but the conversation."""

    model: Model
    tools: tuple[str | dict[str, Any], ...] = ()
    """Names of steps and agents of the run's code; a dict is a tool that the API itself has."""
    schema: dict[str, Any] | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """What one request gave, as it is recorded."""

    items: list[Item]
    finish: str
    usage: Usage
    cost_usd: float | None
    price_basis: str
    model: str
    api: str
    note: str = ""
    head: str = ""
    """The conversation up to here, in the store; empty where there is none."""
    arguments: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By call of a tool: the values that the tool is given."""
    faults: dict[str, str] = field(default_factory=dict)
    """By call of a tool: what is wrong with it, for the model to read."""

    @property
    def spent(self) -> Spent:
        """What it has cost."""
        return spent(1, self.usage, self.cost_usd)


@library_step("kg.chat")
async def ask(request: Request, before: str, items: list[Item]) -> Asked:
    """Ask once: the conversation that is kept as ``before``, and these items after it."""
    body, callables = prepared(request, before, items)
    with Ledger() as ledger:
        asked = await _sent(request.model, request.model.speaks, body, ledger)
        await ledger.recorded(1)
    return _with_calls(request, before, items, asked, callables)


def prepared(request: Request, before: str, items: list[Item]) -> tuple[dict[str, Any], dict[str, Callable[..., Any]]]:
    """Return the body of a request, and the tools that it names."""
    step = step_context.get()
    known = transcript.items(step.kept, before) if step is not None and before else []
    callables = _callables(request)
    described = [
        tools.specification(tool, callables[tool]) if isinstance(tool, str) else tool for tool in request.tools
    ]
    api = _APIS[request.model.speaks]
    return api.body(request.model.name, [*known, *items], described, request.schema, request.options), callables


def completed(request: Request, before: str, items: list[Item], data: Any) -> Asked:
    """Return the answer of a request that was handed in before."""
    callables = _callables(request)
    return _with_calls(request, before, items, answered(request.model, data), callables)


def _callables(request: Request) -> dict[str, Callable[..., Any]]:
    """Return the functions of the tools that are the run's own."""
    return {name: _function(name) for name in request.tools if isinstance(name, str)}


def _with_calls(
    request: Request, before: str, items: list[Item], asked: Asked, callables: Mapping[str, Callable[..., Any]]
) -> Asked:
    """Return an answer with what its calls of tools are given, and with the conversation saved."""
    step = step_context.get()
    foreign = {tool["function"]["name"] for tool in request.tools if isinstance(tool, dict) and "function" in tool}
    arguments, faults = _read(asked.items, callables, foreign)
    head = transcript.add(step.keep, before, [*items, *asked.items]) if step is not None else ""
    return replace(asked, head=head, arguments=arguments, faults=faults)


def body_of(request: Request, items: list[Item]) -> tuple[str, dict[str, Any]]:
    """Return path and body of a request without a conversation before it, and without tools of ours."""
    model, api = request.model, _APIS[request.model.speaks]
    tools_of_api = [tool for tool in request.tools if not isinstance(tool, str)]
    return api.PATH, api.body(model.name, items, tools_of_api, request.schema, request.options)


async def request_once(request: Request, items: list[Item], ledger: Ledger) -> Asked:
    """Ask once, with no conversation before, no tools of ours, and nothing saved or shown."""
    _, body = body_of(request, items)
    return await _sent(request.model, request.model.speaks, {"stream": False, **body}, ledger)


async def _sent(model: Model, api: str, body: dict[str, Any], ledger: Ledger) -> Asked:
    async with paced(model, body) as used:
        async with ledger.request():
            data = await _data(model, _APIS[api], body)
        asked = answered(model, data)
        used(asked.usage.total)
    return asked


async def _data(model: Model, api: Any, body: dict[str, Any]) -> Any:
    """Return what the server answers; where it comes in parts, its text is shown while it grows."""
    step = step_context.get()
    if not body.pop("stream", api.STREAMS and step is not None):
        return await post(model, api.PATH, body)
    growing = api.Growing()
    async for event in stream(model, api.PATH, {**api.STREAM_OPTIONS, **body}):
        growing.add(event)
        if step is not None and growing.text:
            step.report(len(growing.text), None, "characters", text=growing.text)
        elif step is not None and growing.thoughts:
            step.report(len(growing.thoughts), None, "characters of its reasoning", text=growing.thoughts)
    if growing.whole is None:
        raise ModelUnreachable(f"The answer of {model.address} broke off.")
    return growing.whole


def answered(model: Model, data: Any, *, batch: bool = False) -> Asked:
    """Return what the model's server answered, and what it cost."""
    api = model.speaks
    answer: Answer = _APIS[api].answer(data)
    name, usd, basis = told(model, answer, batch=batch)
    return Asked(answer.items, answer.finish, answer.usage, usd, basis, name, api, answer.note)


@library_step("kg.read_arguments")
def read_arguments(tool: str, arguments: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Return arguments that a person has changed as the tool wants them, and what is wrong with them."""
    try:
        return tools.read(tool, _function(tool), arguments), ""
    except ValueError as error:
        return {}, str(error)


@library_step("kg.price")
def price(model: Model, tier: str = "") -> tuple[float, float]:
    """Return the USD of a token in and of one out; recorded, for published prices change.

    Raises
    ------
    Fatal
        When no price of the model is known.
    """
    each = [cost(model, usage, tier=tier) for usage in (Usage(input=_MANY), Usage(output=_MANY))]
    if any(usd is None for usd, _ in each):
        raise Fatal(f"A budget in USD needs a price, and that of {model.name!r} is {each[0][1]}.")
    usd_in, usd_out = ((usd or 0.0) / _MANY for usd, _ in each)
    return usd_in, usd_out


@library_step("kg.accept")
def accept(reason: str) -> None:
    """Park until a person starts it again: the model has answered, and not with what was asked for.

    Raises
    ------
    AnswerNotAccepted
        Until then.
    """
    step = step_context.get()
    if step is None or not step.renewed:
        raise AnswerNotAccepted(f"{reason} run.retry_now() asks again; run.fork() from here asks something else.")


async def maybe(value: Any) -> Any:
    """Return a value, awaited where it is to be: in an agent a call is, in a cell it is done."""
    return await value if inspect.isawaitable(value) else value


def _read(
    items: Sequence[Item], callables: Mapping[str, Callable[..., Any]], foreign: Collection[str]
) -> tuple[dict[str, Any], dict[str, str]]:
    arguments: dict[str, Any] = {}
    faults: dict[str, str] = {}
    for call in conversation.calls(items):
        name, number = str(call.get("name")), str(call.get("call_id"))
        if name not in callables and name not in foreign:
            faults[number] = (
                f"There is no tool {name!r}. There are: {', '.join(sorted({*callables, *foreign})) or 'none'}."
            )
            continue
        written = call.get("arguments") or ""
        try:
            # A tool of another program knows itself whether they fit.
            arguments[number] = tools.parsed(written) if name in foreign else tools.read(name, callables[name], written)
        except ValueError as error:
            faults[number] = str(error)
    return arguments, faults


def _function(name: str) -> Callable[..., Any]:
    step, known = step_context.get(), tools_at_hand.get()
    tool = step.named(name) if step is not None and known is None else (known or {})[name]
    fn: Callable[..., Any] | None = tool.fn
    assert fn is not None
    return fn
