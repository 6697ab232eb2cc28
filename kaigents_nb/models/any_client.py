"""``kg.openai_client``: for code and runners that take an openai client; each of its requests is a step."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from kaigents_nb.authoring.context import agent_context
from kaigents_nb.authoring.library_steps import library_step
from kaigents_nb.models import completions, responses
from kaigents_nb.models.answer import Usage
from kaigents_nb.models.client import send
from kaigents_nb.models.items import Item
from kaigents_nb.models.ledger import Ledger
from kaigents_nb.models.model import Model, as_model
from kaigents_nb.models.prices import told
from kaigents_nb.models.spent import Spent, spent

_ASKED_HEADERS = ("content-type", "accept", "openai-beta")
_NOT_ASKED = "http://recorded.invalid/v1"
"""Where a client of ours believes to be: what is really asked, the step says."""


@dataclass(frozen=True)
class Sent:
    """One HTTP request, without where to and without the key."""

    method: str
    path: str
    headers: dict[str, str]
    body: str


@dataclass(frozen=True)
class Got:
    """What came back, and what it took; without a ``price_basis`` it was no request of a model."""

    status: int
    headers: dict[str, str]
    body: str
    model: str = ""
    api: str = ""
    finish: str = ""
    usage: Usage = field(default_factory=Usage)
    cost_usd: float | None = None
    price_basis: str = ""
    items: list[Item] = field(default_factory=list)
    """The answer in it."""

    @property
    def spent(self) -> Spent:
        """What it has cost."""
        return spent(1, self.usage, self.cost_usd) if self.price_basis else Spent()


@library_step("kg.request")
async def request(model: Model, sent: Sent) -> Got:
    """Send one request of a client; a server that is away or busy is asked again, a refusal parks."""
    if sent.method != "POST":
        status, headers, body = await send(model, sent.method, sent.path, sent.headers, sent.body)
        return Got(status, {"content-type": headers.get("content-type", "")}, body)
    with Ledger() as ledger:
        async with ledger.request():
            status, headers, body = await send(model, sent.method, sent.path, sent.headers, sent.body)
        await ledger.recorded(1)
    kind = headers.get("content-type", "")
    api = "responses" if sent.path.startswith(responses.PATH) else "chat"
    answer = (responses if api == "responses" else completions).answer(_data(api, kind, body))
    name, usd, basis = told(model, answer)
    return Got(
        status,
        {"content-type": kind},
        body,
        name,
        api,
        answer.finish,
        answer.usage,
        usd,
        basis,
        answer.items,
    )


def openai_client(model: Model | str) -> Any:
    """Return an ``openai.AsyncOpenAI`` whose requests, made in an agent, are steps: recorded, retried, never repeated.

    For code that is written for the openai package, and for runners built on it, such as OpenAI's Agents SDK or
    Pydantic AI: give it to them where they take a client. Make it in the agent. Outside an agent it is a plain client.

    What such a runner does between the requests is executed again at each look back, as all of an agent is: its tools
    should be ``async def`` and await steps. What can't run in an agent is refused with its line: what a runner does on
    threads (``run_sync``, plain functions as tools of Pydantic AI), in files (the sessions of the Agents SDK) or over a
    network of its own (traces, MCP servers). Such a runner belongs in a step, which is recorded as a whole.

    Parameters
    ----------
    model
        Where to ask and with which key; the name of the model is said by who uses the client.

    Raises
    ------
    ImportError
        Without the openai package.

    Examples
    --------
    ``client = kg.openai_client(kg.model("gpt-5"))``, then ``await client.responses.create(model="gpt-5", input="Hi")``
    """
    known = as_model(model)
    with _unrestricted():
        try:
            import anyio._backends._asyncio  # noqa: F401 - runners would import it when they first wait, guarded
            import httpx2
            import openai
            from openai._base_client import get_platform
        except ImportError:
            raise ImportError("kg.openai_client needs the openai package: pip install 'kaigents-nb[openai]'.") from None

        class Recorded(httpx2.AsyncBaseTransport):
            """Asks the interpreter where one is there, else the network."""

            async def handle_async_request(self, asked: httpx2.Request) -> httpx2.Response:
                path = asked.url.raw_path.decode().removeprefix(urlsplit(_NOT_ASKED).path)
                headers = {name: asked.headers[name] for name in _ASKED_HEADERS if name in asked.headers}
                got: Got = await request(known, Sent(asked.method, path, headers, (await asked.aread()).decode()))
                return httpx2.Response(got.status, headers=got.headers, text=got.body, request=asked)

        # Without a timeout, for that is a timer: the step has its own. Without proxies, for those are the step's too.
        http = httpx2.AsyncClient(transport=Recorded(), timeout=None, trust_env=False)
        client = openai.AsyncOpenAI(base_url=_NOT_ASKED, api_key="recorded", max_retries=0, http_client=http)
        # Found on a thread otherwise, which an agent has none of.
        client._platform = get_platform()
        client.platform_headers()
        return client


@contextmanager
def _unrestricted() -> Iterator[None]:
    """In an agent, import and make what is the same at each replay, without the sandbox's guards round it."""
    if agent_context.get() is None:
        yield
        return
    from temporalio import workflow

    with workflow.unsafe.sandbox_unrestricted() if workflow.in_workflow() else nullcontext():
        yield


def _data(api: str, kind: str, body: str) -> Any:
    """Return the answer in a body: of a stream what its events come to."""
    if "event-stream" not in kind:
        try:
            return json.loads(body)
        except ValueError:
            return None
    lines = [line for line in body.splitlines() if line.startswith("data: {")]
    events = [json.loads(line.removeprefix("data: ")) for line in lines]
    growing = (responses if api == "responses" else completions).Growing()
    for event in events:
        growing.add(event)
    return growing.whole
