"""One request of a model's server, by the openai package: never repeated here, for Temporal does that."""

from __future__ import annotations

import asyncio
import json
import weakref
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from kaigents_nb.errors import ModelError, ModelRefused, ModelUnreachable
from kaigents_nb.models.cassette import REDACTED, http_client, on_tape, plays
from kaigents_nb.models.model import NO_KEY, Model

_clients: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, str, bool], Any]]
_clients = weakref.WeakKeyDictionary()

_WAYS_OUT = {
    401: "The key is wrong or was withdrawn: put the right one where {key} says, then run.retry_now().",
    403: "The key has no right to this: give it, or another model, then run.retry_now().",
    404: "Check the model's name and base_url; mend the cell, then run.fork() from here.",
    400: "Change the request: run.fork() from here with a shorter conversation or other options.",
    422: "Change the request: run.fork() from here with other options.",
}
_CONTEXT = ("context_length_exceeded", "context length", "maximum context", "too many tokens", "prompt is too long")
_TOO_LONG = (
    "The conversation is longer than this model reads: run.fork() from here with less of it, or a model for more."
)
_FILTER = ("content_filter", "content_policy", "content management policy")
_FILTERED = "The provider's content filter refused it: run.fork() from here with other words."


async def post(model: Model, path: str, body: Mapping[str, Any]) -> Any:
    """Send a request and return what came back, as JSON gives it; ``None`` for what is no JSON.

    Raises
    ------
    ModelUnreachable
        When there was no answer: no connection, cut off, too late.
    ModelRefused
        When the answer is an HTTP error; with ``status_code`` and ``response.headers``.
    ModelKeyMissing
        When the key's reference leads nowhere.
    """
    with _client(model) as client:
        try:
            return await client.post(path, cast_to=object, body=dict(body))
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
            return None


async def stream(model: Model, path: str, body: Mapping[str, Any]) -> AsyncIterator[Any]:
    """Send a request and yield the events of its answer, as JSON gives them; raises as :func:`post` does."""
    openai = _openai()
    with _client(model) as client:
        events = await client.post(
            path, cast_to=object, body={**body, "stream": True}, stream=True, stream_cls=openai.AsyncStream[object]
        )
        try:
            async for event in events:
                yield event
        except openai.APIError:
            raise
        except ValueError as error:
            raise openai.APIConnectionError(message=f"garbled: {error}", request=events.response.request) from None
        except Exception as error:
            raise openai.APIConnectionError(request=events.response.request) from error


async def get(model: Model, path: str) -> Any:
    """Ask for what lies at an address of the server; raises as :func:`post` does."""
    with _client(model) as client:
        return await client.get(path, cast_to=object)


async def upload(model: Model, name: str, content: bytes) -> str:
    """Give the server a file for a batch and return its id; raises as :func:`post` does."""
    with _client(model) as client:
        made = await client.files.create(file=(name, content), purpose="batch")
        return str(made.id)


async def download(model: Model, file: str) -> str:
    """Return the text of a file that the server has; raises as :func:`post` does."""
    with _client(model) as client:
        return str((await client.files.content(file)).text)


async def send(
    model: Model, method: str, path: str, headers: Mapping[str, str], body: str
) -> tuple[int, Mapping[str, str], str]:
    """Send what another client has made, with the model's key, and return status, headers and text.

    Raises as :func:`post` does.
    """
    openai = _openai()
    with _client(model) as client:
        address = model.address.rstrip("/") + path
        headers = {**headers, "authorization": f"Bearer {client.api_key}"}
        asked = client._client.build_request(method, address, headers=headers, content=body.encode())
        try:
            got = await client._client.send(asked)
        except Exception as error:
            raise openai.APIConnectionError(request=asked) from error
        if got.is_error:
            raise client._make_status_error_from_response(got) from None
        return got.status_code, got.headers, got.text


@contextmanager
def _client(model: Model) -> Iterator[Any]:
    """Give the openai client for a model; what it raises is raised as ours: without the request, so without the key."""
    openai = _openai()
    key = NO_KEY if plays() else model.key()
    failure: ModelError
    try:
        yield _client_of(openai, model.address, key)
        return
    except openai.APIStatusError as error:
        message = _without_key(_message(error), key)
        failure = ModelRefused(
            f"{model.address} says {error.status_code}: {message} {_way_out(error.status_code, message, model)}".strip()
        )
        failure.status_code = error.status_code
        # Retry-After and its kin, as everywhere.
        failure.response = SimpleNamespace(headers=dict(error.response.headers))
    except openai.APIError as error:
        cause = error.__cause__ or error
        if isinstance(cause, ModelError):
            failure = cause
        else:
            failure = ModelUnreachable(
                _without_key(f"No answer of {model.address}: {type(cause).__name__}: {cause}", key)
            )
            failure.sent = not _never_left(cause)
    raise failure from None


def _never_left(cause: BaseException) -> bool:
    """Whether a request did not get to the server for sure."""
    import httpx2

    return isinstance(cause, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout | httpx2.ProxyError)


def _client_of(openai: Any, address: str, key: str) -> Any:
    """Return the client of this loop; connections are kept open between requests."""
    clients = _clients.setdefault(asyncio.get_running_loop(), {})
    kind = (address, key, on_tape())
    if kind not in clients:
        http = http_client(key) if on_tape() else None
        clients[kind] = openai.AsyncOpenAI(base_url=address, api_key=key, max_retries=0, http_client=http)
    return clients[kind]


def _openai() -> Any:
    try:
        import openai
    except ImportError:
        raise ImportError("Asking a model needs the openai package: pip install 'kaigents-nb[openai]'.") from None
    return openai


def _message(error: Any) -> str:
    body = error.body if isinstance(error.body, dict) else {}
    code = f" ({body['code']})" if body.get("code") else ""
    return f"{body.get('message') or error.message}{code}"


def _way_out(status: int, message: str, model: Model) -> str:
    lowered = message.lower()
    if status in (400, 413, 422) and any(sign in lowered for sign in _CONTEXT):
        return _TOO_LONG
    if status == 400 and any(sign in lowered for sign in _FILTER):
        return _FILTERED
    return _WAYS_OUT.get(status, "").format(key=repr(model.api_key or "env:OPENAI_API_KEY"))


def _without_key(text: str, key: str) -> str:
    return text.replace(key, REDACTED)
