"""``kg.chat``: the loop that an agent awaits, of requests of a model and calls of its tools."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from kaigents_nb.authoring.agent import Agent
from kaigents_nb.authoring.awaited import durable
from kaigents_nb.authoring.context import agent_context, step_context
from kaigents_nb.authoring.gate import approve as ask_a_person
from kaigents_nb.authoring.options import check_count
from kaigents_nb.authoring.step import Step
from kaigents_nb.errors import Fatal
from kaigents_nb.models import items as conversation
from kaigents_nb.models import tools as tool_forms
from kaigents_nb.models.answer import FILTERED, LENGTH, MALFORMED, REFUSAL, TOOLS, Usage
from kaigents_nb.models.background import ask_in_background
from kaigents_nb.models.budget import Budget
from kaigents_nb.models.call import Asked, Request, Tool, accept, ask, maybe, read_arguments, tools_at_hand
from kaigents_nb.models.items import Item
from kaigents_nb.models.mcp import McpResult, McpServer, call_tool, list_tools
from kaigents_nb.models.model import Model, as_model
from kaigents_nb.models.output import Output
from kaigents_nb.models.reply import BUDGET, FINISHED, REFUSED, ROUNDS, Reply, ToolCall

Approve = Iterable[Tool | str] | Callable[[str, dict[str, Any]], Any]
_TRIES = 3
"""So often in a row it is asked for an answer that can be used, before a person is."""
_UNUSABLE = (LENGTH, FILTERED, MALFORMED)


def chat(
    prompt: str | Sequence[Mapping[str, Any]],
    *,
    model: Model | str | None = None,
    tools: Iterable[Tool | McpServer | Mapping[str, Any]] = (),
    output: Any = None,
    check: Callable[[Reply], object] | None = None,
    after: Reply | None = None,
    approve: Approve = (),
    max_rounds: int = 50,
    budget_usd: float | None = None,
    budget_tokens: int | None = None,
    when: Literal["now", "background"] = "now",
    **api_options: Any,
) -> Coroutine[Any, Any, Reply]:
    """Ask a model, and let it call tools until it has an answer; each request and each tool call is a step of its own.

    What was answered is recorded: a run that goes on after a crash asks for nothing twice. A server that is away or
    busy is asked again for ever; a request that it refuses, or an answer that can't be used, parks the run. A request
    that was lost between the provider and our record is sent again, and so paid again: ``run.calls()`` counts it. A
    streamed answer is shown on the card while it comes: by the Responses API, or with ``stream=True``.

    Parameters
    ----------
    prompt
        Text, or a list of messages as either API documents them: images and files too.
    model
        A name, or :func:`kaigents_nb.model`. Without, that of ``after``.
    tools
        What the model may call: steps, agents (each call a run of its own), the tools of ``kg.mcp(…)``, and tools that
        the API itself has, as dicts.
    output
        The type of the answer: pydantic model, dataclass, TypedDict, Literal, Enum, ``list[…]``, ``int`` … The model is
        told what in its answer does not fit.
    check
        Is given the reply and raises ``ValueError`` for what the model should do better; it is told that.
    after
        A reply whose conversation this goes on with.
    approve
        Tools that wait for a person, with the exact arguments; or a function of the tool's name and arguments that says
        whether this call does. ``values`` of the decision replace arguments; the model is told.
    max_rounds
        Most requests in which the model may call tools; then ``reply.stopped`` is ``"max_rounds"``.
    budget_usd, budget_tokens
        Ends the loop before a request that could go over it: ``reply.stopped`` is ``"budget"``.
    when
        ``"background"`` has the provider work on it by itself (Responses API), and waits with nothing running.
    **api_options
        Options of the API, passed on whole: ``temperature=0``, ``reasoning={"effort": "low"}`` …

    Returns
    -------
    Reply
        ``text``, ``parsed``, ``messages``, ``calls``, ``usage``, ``cost_usd``, ``stopped``.

    Raises
    ------
    TypeError
        For a tool that is no step, agent or dict, or one that has no JSON schema.
    ValueError
        For no model, an empty prompt, two tools of one name, or a budget in USD of a model whose price is not known.

    Examples
    --------
    ``reply = await kg.chat("Which supplier?", model="gpt-5", tools=[search_suppliers], output=Supplier)``
    """
    asked = after.model if model is None and after is not None else model
    if asked is None:
        raise ValueError("Which model? Say model='gpt-5', or model=kg.model('name', base_url='http://…').")
    check_count("max_rounds", max_rounds)
    if when not in ("now", "background"):
        raise ValueError(f"when is 'now' or 'background', not {when!r}.")
    if check is not None and not callable(check):
        raise TypeError(f"check is a function that takes the reply, not {check!r}.")
    named, own, servers = _tools(tools)
    typed = None if output is None else Output(output)
    loop = _Loop(
        Request(as_model(asked), (*named, *own), None if typed is None else typed.schema(), api_options),
        named,
        servers,
        output=typed,
        check=check,
        approve=_approval(approve, named, known=not servers),
        max_rounds=max_rounds,
        budget=Budget(budget_usd, budget_tokens),
        background=when == "background",
        items=[*(after.messages if after is not None else ()), *conversation.conversation(prompt)],
        kept=(after.kept, after.head) if after is not None else (0, ""),
    )
    interpreter = agent_context.get()
    if interpreter is not None:
        return durable(interpreter, "kg.chat(…)", partial(loop.run))
    if step_context.get() is None:
        print("kg.chat outside a run: nothing is saved, and a failure is raised.")
    return loop.run()


class _Loop:
    """Executed in the workflow, so everything here replays."""

    def __init__(
        self,
        request: Request,
        tools: Mapping[str, Tool],
        servers: Sequence[McpServer],
        *,
        output: Output | None,
        check: Callable[[Reply], object] | None,
        approve: Callable[[str, dict[str, Any]], Any],
        max_rounds: int,
        budget: Budget,
        background: bool,
        items: list[Item],
        kept: tuple[int, str],
    ) -> None:
        self._request = request
        self._tools = tools
        self._servers = servers
        self._foreign: dict[str, McpServer] = {}  # by the name of the tool
        self._output = output
        self._check = check
        self._approve = approve
        self._max_rounds = max_rounds
        self._budget = budget
        self._background = background
        self._items = items
        self._kept, self._head = kept  # so many of the items are in the store, under this name
        self._calls: list[ToolCall] = []
        self._usage = Usage()
        self._cost_usd = 0.0

    async def run(self) -> Reply:
        """Ask until there is an answer, or a limit is reached."""
        # Not taken back: a coroutine that leaves the worker's memory must not act, and the next chat sets its own.
        tools_at_hand.set(self._tools if self._at_hand() else None)
        return await self._run()

    def _at_hand(self) -> bool:
        """Whether the tools' functions are here: not in an agent's interpreter, which knows them by name."""
        return all(tool.fn is not None for tool in self._tools.values()) and bool(self._tools)

    async def _run(self) -> Reply:
        await self._list_foreign()
        rounds = failed = 0
        last = ""
        while True:
            if not await self._budget.allows(self._request, self._items):
                return self._reply(last, BUDGET)
            asked = await self._ask()
            if asked.finish in _UNUSABLE:
                failed = await self._failed(failed, f"The answer can't be used: {asked.note}.")
                continue
            self._items += asked.items
            if asked.head:
                self._head, self._kept = asked.head, len(self._items)
            last = conversation.text(asked.items) or last
            if asked.finish == TOOLS:
                rounds += 1
                self._items += await self._answer_calls(asked)
                if rounds >= self._max_rounds:
                    return self._reply(last, ROUNDS)
                continue
            if asked.finish == REFUSAL:
                return self._reply(last, REFUSED)
            try:
                reply = self._accepted(conversation.text(asked.items))
            except ValueError as error:
                failed = await self._failed(failed, str(error))
                self._items.append(conversation.user(f"{error} Answer again."))
                continue
            return reply

    async def _ask(self) -> Asked:
        begin = ask_in_background if self._background else ask
        asked: Asked = await begin(self._request, self._head, self._items[self._kept :])
        self._usage += asked.usage
        self._cost_usd += math.nan if asked.cost_usd is None else asked.cost_usd
        self._budget.took(asked.usage, asked.cost_usd)
        return asked

    async def _failed(self, failed: int, reason: str) -> int:
        """Count an answer that can't be used; after several in a row a person says when to ask again."""
        if failed + 1 < _TRIES:
            return failed + 1
        await maybe(accept(f"{self._request.model.name} was asked {_TRIES} times. {reason}"))
        return 0

    def _accepted(self, text: str) -> Reply:
        parsed = None if self._output is None else self._output.parse(text)
        reply = self._reply(text, FINISHED, parsed)
        if self._check is not None:
            self._check(reply)
        return reply

    def _reply(self, text: str, stopped: str, parsed: Any = None) -> Reply:
        return Reply(
            text,
            parsed,
            list(self._items),
            list(self._calls),
            self._usage,
            self._cost_usd,
            stopped,
            self._request.model,
            self._head,
            self._kept,
        )

    # Tools.

    async def _list_foreign(self) -> None:
        """Find the tools of other programs."""
        for server in self._servers:
            for tool in await maybe(list_tools(server)):
                name = tool["function"]["name"]
                if name in self._tools or name in self._foreign:
                    raise ValueError(f"Two tools have the name {name!r}; leave one out with kg.mcp(…, allow=[…]).")
                self._foreign[name] = server
                self._request = replace(self._request, tools=(*self._request.tools, tool))

    async def _foreign_call(self, name: str, arguments: dict[str, Any]) -> str:
        """Call a tool of another program; what it asks of a person first is asked at gates."""
        result: McpResult = await maybe(call_tool(self._foreign[name], name, arguments))
        while result.asks or result.state is not None:
            answers: dict[str, Any] = {}
            for key, asked in result.asks.items():
                details = {"tool": name, "arguments": arguments, "wanted": asked.get("requested_schema")}
                decision = await ask_a_person(str(asked.get("message") or f"{name} asks"), details=details)
                accepted = {"action": "accept", "content": decision.values}
                answers[key] = accepted if decision.approved else {"action": "decline"}
            result = await maybe(call_tool(self._foreign[name], name, arguments, answers, result.state))
        return f"The tool failed: {result.text}" if result.failed else result.text

    async def _answer_calls(self, asked: Asked) -> list[Item]:
        """Call what the model wants called, all at once, and return the outputs in the order of the calls."""
        calls = conversation.calls(asked.items)
        made = await asyncio.gather(*(self._call(call, asked) for call in calls))
        self._calls += made
        return [
            conversation.output(str(call.get("call_id")), done.told) for call, done in zip(calls, made, strict=True)
        ]

    async def _call(self, call: Item, asked: Asked) -> ToolCall:
        name, number = str(call.get("name")), str(call.get("call_id"))
        if number not in asked.arguments:
            return ToolCall(name, {}, asked.faults.get(number, "This call can't be made."), ran=False)
        arguments, note = asked.arguments[number], ""
        if await maybe(self._approve(name, arguments)):
            allowed = await self._allowed(name, arguments)
            if isinstance(allowed, str):
                return ToolCall(name, arguments, allowed, ran=False)
            if allowed != arguments:
                arguments = allowed
                note = f"A person changed the arguments to {tool_forms.as_text(arguments)}. The result: "
        try:
            if name in self._foreign:
                return ToolCall(name, arguments, note + await self._foreign_call(name, arguments))
            result = await maybe(self._tools[name](**arguments))
        except Fatal:
            raise
        except Exception as error:  # noqa: BLE001 - the tool has given up: the model may find another way
            return ToolCall(name, arguments, f"{note}The tool failed: {type(error).__name__}: {error}")
        return ToolCall(name, arguments, note + tool_forms.as_text(result))

    async def _allowed(self, name: str, arguments: dict[str, Any]) -> dict[str, Any] | str:
        """Return the arguments that a person allows, or what the model is told."""
        question = f"Let the model call {name}?"
        while True:
            decision = await ask_a_person(question, details=arguments)
            if not decision.approved:
                because = f": {decision.comment}" if decision.comment else "."
                return f"A person rejected this call{because}"
            if not decision.values:
                return arguments
            if name in self._foreign:
                return {**arguments, **decision.values}
            changed, fault = await maybe(read_arguments(name, {**arguments, **decision.values}))
            if not fault:
                return dict(changed)
            question = f"Let the model call {name}? What was changed does not fit: {fault}"[:2_000]


def _tools(given: Any) -> tuple[dict[str, Tool], list[dict[str, Any]], list[McpServer]]:
    """Return the tools that are ours by name, those that the API itself has, and servers of more."""
    if isinstance(given, str | Mapping) or not isinstance(given, Iterable):
        raise TypeError(f"tools is a list of steps, agents and dicts, not {given!r}.")
    named: dict[str, Tool] = {}
    own: list[dict[str, Any]] = []
    servers: list[McpServer] = []
    for tool in given:
        if isinstance(tool, McpServer):
            servers.append(tool)
        elif isinstance(tool, Mapping):
            own.append(dict(tool))
        elif not isinstance(tool, Step | Agent):
            name = getattr(tool, "__name__", repr(tool))
            raise TypeError(f"{name} is no tool: put @kg.step before the function, so that each call is recorded.")
        elif named.setdefault(tool.name, tool) is not tool:
            raise ValueError(f"Two tools have the name {tool.name!r}; a model tells them apart by name.")
    return named, own, servers


def _approval(approve: Approve, tools: Mapping[str, Tool], *, known: bool) -> Callable[[str, dict[str, Any]], Any]:
    """Return what says whether a call of a tool waits for a person."""
    if not isinstance(approve, Iterable):
        return approve
    names = {tool if isinstance(tool, str) else tool.name for tool in approve}
    unknown = sorted(names - set(tools))
    if unknown and known:  # else a server may have it
        raise ValueError(f"approve= names {unknown}, which are not among the tools: {sorted(tools)}.")
    return lambda name, arguments: name in names
