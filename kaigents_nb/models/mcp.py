"""Tools of other programs, by the Model Context Protocol: listed by a step, each call a step of its own."""

from __future__ import annotations

import os
import shlex
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from kaigents_nb.authoring.library_steps import library_step
from kaigents_nb.models.items import Item
from kaigents_nb.models.mcp_sessions import session


@dataclass(frozen=True)
class McpServer:
    """A server of tools as :func:`mcp` makes it; a plain value."""

    address: str
    allow: tuple[str, ...] | None = None
    env: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class McpResult:
    """What a call gave: text for the model, or what the server wants to know from a person first."""

    text: str = ""
    failed: bool = False
    asks: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By the server's own key: ``message`` and ``requested_schema``."""
    state: str | None = None


def mcp(server: str, *, allow: list[str] | None = None, env: Mapping[str, str] | None = None) -> McpServer:
    """Describe a server of tools for :func:`kaigents_nb.chat`: ``tools=[kg.mcp("uvx mcp-server-time")]``.

    What a tool asks back of a person opens a gate; the answer goes to the tool, days later too.

    Parameters
    ----------
    server
        A command that is started for each call, or the address of a server (``http://…``).
    allow
        Names of the tools that the model may call; without, all.
    env
        Environment variables of the command, each by reference: ``{"TOKEN": "env:MY_TOKEN"}``.

    Raises
    ------
    ValueError
        For an empty command, or a value in ``env`` that is no reference.

    Examples
    --------
    >>> mcp("https://example.com/mcp", allow=["search"]).allow
    ('search',)
    """
    if not isinstance(server, str) or not server.strip():
        raise ValueError(f"An MCP server is a command or an address, such as 'uvx mcp-server-time', not {server!r}.")
    for name, source in (env or {}).items():
        if not str(source).startswith("env:"):
            # Without the value: it may be a secret.
            raise ValueError(f"env[{name!r}] says where the value is, so that it is in no history: 'env:NAME'.")
    return McpServer(server, None if allow is None else tuple(allow), dict(env or {}))


@library_step("kg.mcp.tools")
async def list_tools(server: McpServer) -> list[Item]:
    """Return the server's tools as a model is told of them.

    Raises
    ------
    LookupError
        When it has none of those that are allowed.
    """
    async with _connected(server) as client:
        found, cursor = [], None
        while True:
            page = await client.list_tools(cursor=cursor)
            found += page.tools
            cursor = page.next_cursor
            if not cursor:
                break
    missing = sorted(set(server.allow or ()) - {tool.name for tool in found})
    if missing:
        raise TypeError(f"{server.address} has no tool {missing}. It has: {sorted(tool.name for tool in found)}.")
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description or "",
                "parameters": dict(tool.input_schema),
            },
        }
        for tool in found
        if server.allow is None or tool.name in server.allow
    ]


@library_step("kg.mcp.call")
async def call_tool(
    server: McpServer,
    tool: str,
    arguments: dict[str, Any],
    answers: dict[str, dict[str, Any]] | None = None,
    state: str | None = None,
) -> McpResult:
    """Call a tool once, with what a person has answered so far.

    Raises
    ------
    ConnectionError
        When the server can't be reached, or ends in the middle: the step is tried again.
    """
    async with _connected(server) as client:
        import mcp_types
        from mcp import MCPError

        responses = {key: mcp_types.ElicitResult(**answer) for key, answer in (answers or {}).items()}
        try:
            result = await client.session.call_tool(
                tool, arguments, input_responses=responses or None, request_state=state, allow_input_required=True
            )
        except MCPError as error:
            if error.code == mcp_types.CONNECTION_CLOSED:
                raise ConnectionError(f"{server.address} ended in the middle of {tool}.") from None
            if state is None:
                return McpResult(error.message, failed=True)
            # Another process of the server does not know what the first one asked: it asks again.
            result = await client.session.call_tool(tool, arguments, allow_input_required=True)
    if isinstance(result, mcp_types.InputRequiredResult):
        asked = result.input_requests or {}
        asks = {key: one.params.model_dump(mode="json") if one.params else {} for key, one in asked.items()}
        return McpResult(asks=asks, state=result.request_state)
    return McpResult("\n".join(_text(part) for part in result.content), bool(result.is_error))


@asynccontextmanager
async def _connected(server: McpServer) -> AsyncIterator[Any]:
    try:
        from mcp import Client, StdioServerParameters
    except ImportError:
        raise ImportError("kg.mcp needs the mcp package: pip install 'kaigents-nb[mcp]'.") from None
    if urlsplit(server.address).scheme in ("http", "https"):
        target: Any = server.address
    else:
        command, *arguments = shlex.split(server.address)
        env = {name: os.environ.get(source.removeprefix("env:"), "") for name, source in server.env.items()}
        target = StdioServerParameters(command=command, args=arguments, env=env)

    # Told that we can be asked; the asking itself comes back as a result.
    can_be_asked: Any = _never
    client = Client(target, elicitation_callback=can_be_asked)
    async with session((server.address, tuple(sorted(server.env.items()))), client) as entered:
        yield entered


async def _never(context: Any, asked: Any) -> Any:
    """Answer a server of an older protocol, which asks in the middle of a call: a person may take days."""
    import mcp_types

    return mcp_types.ElicitResult(action="decline")


def _text(part: Any) -> str:
    text = getattr(part, "text", None)
    return text if isinstance(text, str) else str(part.model_dump_json(exclude_none=True))
