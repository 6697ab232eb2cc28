"""``kg.cassette``: what a model's server answers, recorded in a file, or played back from it without asking anybody."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import uuid
from collections import Counter
from collections.abc import Mapping
from contextvars import Token
from pathlib import Path
from types import TracebackType
from typing import Any

from kaigents_nb.authoring.context import PLAYS, RECORDS, Tape, agent_context, step_context, tape
from kaigents_nb.errors import NotRecorded

REDACTED = "[key]"
MARK = "kaigents_nb"
"""Key of a request's metadata that names the call which made it, another one in each run."""

_HEADERS = ("content-type", "retry-after", "retry-after-ms", "x-should-retry")
"""All that is recorded of a response's headers: others name accounts and sessions."""
_FIRST, _LAST = "interactions:\n", "version: 1\n"
"""The lines round the interactions in a file of vcrpy's; its order of keys is free, and so one can be appended."""
_NEW = _LAST + _FIRST
_LISTED = 5
_CHARS = 120

_Asked = tuple[str, str, str]
"""Method, path with query, and body of a request, as far as they are the same in another run."""


class Cassette:
    """What :func:`cassette` makes: a block of code whose runs are recorded, or played back."""

    def __init__(self, path: Path, *, plays: bool) -> None:
        self._path = path
        self._plays = plays
        self._outer: Token[Tape] | None = None

    def __enter__(self) -> Cassette:
        if agent_context.get() is not None:
            raise RuntimeError("kg.cassette stands round its start, `with kg.cassette(…): agent.start(…)`, not in it.")
        if not self._plays:
            self._path.write_text(_NEW, encoding="utf-8")
        self._outer = tape.set((str(self._path), PLAYS if self._plays else RECORDS, uuid.uuid4().hex))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._outer is not None
        tape.reset(self._outer)

    def __repr__(self) -> str:
        return f"<cassette {self._path}: {'plays back' if self._plays else 'records'}>"


def cassette(file: str | os.PathLike[str], *, record: bool | None = None) -> Cassette:
    """Record what models answer in a file, or play it back: ``with kg.cassette("calls.yaml"): run = agent.start(…)``.

    A file that is there is played back: without network and key, and with nothing to pay. Else it is recorded, as
    vcrpy writes them: keys are taken out, and of the headers only what says how to read the answer and when to ask
    again is kept. It holds for the runs that are started in the block, as long as they live and whichever worker of
    this machine executes them, for their forks and the runs that they start; and for what is asked in the block itself.

    A request is known by path and body, not by the server's address. The same request several times gets the answers in
    the order in which they came, then the last one again. What is played back is labelled: ``recorded/`` stands before
    the model's name, and the card says it.

    Parameters
    ----------
    file
        Where the recording is. Keep it beside the notebook.
    record
        ``True`` records anew, ``False`` only plays back.

    Raises
    ------
    FileNotFoundError
        When it is only to be played back, and is not there.
    ValueError
        For a file that is no cassette.
    ImportError
        Without the package vcrpy.

    Examples
    --------
    ``with kg.cassette("calls.yaml"): run = labels.start(news)``
    """
    _vcr()
    path = Path(file).expanduser().absolute()
    there = not record and path.exists() and bool(_loaded(path))
    if record is False and not there:
        raise FileNotFoundError(f"There is no cassette at {path}. kg.cassette({str(file)!r}) records one.")
    return Cassette(path, plays=there)


def plays() -> bool:
    """Whether models are not asked here, but played back."""
    return PLAYS in tape.get()


def on_tape() -> bool:
    """Whether what models are asked here is recorded or played back."""
    return bool(tape.get())


def http_client(key: str) -> Any:
    """Return what the openai package sends its requests with: it records them, or plays them back."""
    import httpx2
    import openai

    class Taped(openai.DefaultAsyncHttpxClient):
        async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
            file, what, session = tape.get()
            body = await request.aread()
            if what == PLAYS:
                saved = await _played(Path(file), session, request.method, request.url.raw_path.decode(), body)
                headers = [(name, value) for name, values in saved["headers"].items() for value in values]
                content = saved["body"]["string"]
                return httpx2.Response(saved["status"]["code"], headers=headers, content=content, request=request)
            response = await super().send(request, **options)
            content = await response.aread()
            line = _written(request, body, response, content, key)
            await asyncio.to_thread(_append, Path(file), line)
            return response

    return Taped()


def _written(request: Any, body: bytes, response: Any, content: bytes, key: str) -> bytes:
    """Return a request and its answer as they are in the file."""
    from vcr.request import Request
    from vcr.serialize import serialize
    from vcr.serializers import yamlserializer

    kind = request.headers.get("content-type")
    asked = Request(
        request.method, _without(key, str(request.url).encode()).decode(), _without(key, body), {"content-type": kind}
    )
    if kind is None:
        asked.headers = {}
    got = {
        "status": {"code": response.status_code, "message": response.reason_phrase},
        "headers": {name: [response.headers[name]] for name in _HEADERS if name in response.headers},
        "body": {"string": _without(key, content)},
    }
    text = serialize({"requests": [asked], "responses": [got]}, yamlserializer)
    return str(text).removeprefix(_FIRST).removesuffix(_LAST).encode()


def _without(key: str, text: bytes) -> bytes:
    """Return text without the key, as it is and as JSON writes it."""
    for form in (key, json.dumps(key)[1:-1], json.dumps(key, ensure_ascii=False)[1:-1]):
        text = text.replace(form.encode(), REDACTED.encode())
    return text


def _append(path: Path, interaction: bytes) -> None:
    """Add to a file in one piece: several workers may record, and one may be killed."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        new = b"" if os.fstat(file).st_size else _NEW.encode()
        os.write(file, new + interaction)
    finally:
        os.close(file)


async def _played(path: Path, session: str, method: str, address: str, body: bytes) -> Mapping[str, Any]:
    """Return the next answer to a request.

    Raises
    ------
    NotRecorded
        When there is none.
    """
    step = step_context.get()
    try:
        known = await asyncio.to_thread(_loaded, path)
    except (OSError, ValueError) as error:
        raise NotRecorded(f"{path} can't be played back by this worker: {error}") from None
    asked = _known_by(method, address, body)
    if asked not in known:
        raise NotRecorded(_not_there(path, asked, known))
    given = _counts(session, "" if step is None else step.this_run.id)
    answers = known[asked]
    given[asked] += 1
    answer: Mapping[str, Any] = answers[min(given[asked], len(answers)) - 1]
    return answer


@functools.lru_cache(maxsize=1_000)
def _counts(session: str, run_id: str) -> Counter[_Asked]:
    """Return how often each request was answered to a run, or in a block."""
    return Counter()


def _loaded(path: Path) -> Mapping[_Asked, list[Any]]:
    found = path.stat()
    return _read(path, found.st_mtime_ns, found.st_size)


@functools.lru_cache(maxsize=8)
def _read(path: Path, changed: int, size: int) -> Mapping[_Asked, list[Any]]:
    from vcr.serialize import deserialize
    from vcr.serializers import yamlserializer
    from yaml import YAMLError

    text = path.read_text(encoding="utf-8")
    if text in ("", _NEW):
        return {}
    found: dict[_Asked, list[Any]] = {}
    try:
        requests, responses, *_ = deserialize(text, yamlserializer)
        for request, response in zip(requests, responses, strict=True):
            target = request.path + (f"?{request.parsed_uri.query}" if request.parsed_uri.query else "")
            found.setdefault(_known_by(request.method, target, request.body or b""), []).append(response)
    except (YAMLError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{path} is no cassette: {error}. kg.cassette({path.name!r}, record=True) replaces it."
        ) from None
    return found


def _known_by(method: str, address: str, body: bytes) -> _Asked:
    """Return what a request is recognised by: JSON as values, and without what is of one run alone."""
    text = body.decode("utf-8", "replace")
    try:
        data = json.loads(text)
    except ValueError:
        boundary = text.partition("\r\n")[0]  # of a form with files, made up for each request
        return method, address, text.replace(boundary, "--") if boundary.startswith("--") else text
    if isinstance(data, dict) and isinstance(data.get("metadata"), dict):
        data["metadata"].pop(MARK, None)
    return method, address, json.dumps(data, sort_keys=True)


def _not_there(path: Path, asked: _Asked, known: Mapping[_Asked, list[Any]]) -> str:
    listed = [_in_words(one) for one in known][:_LISTED]
    more = f" and {len(known) - _LISTED} more" if len(known) > _LISTED else ""
    return (
        f"{path} has no answer to this request: {_in_words(asked)}. It has: {'; '.join(listed) or 'none'}{more}. "
        f"Start it as it was recorded, or record it anew: kg.cassette({path.name!r}, record=True)."
    )


def _in_words(asked: _Asked) -> str:
    """Return a request as a person knows it: the end of what it says."""
    method, address, body = asked
    said = body
    try:
        data = json.loads(body)
        last = (data.get("messages") or data.get("input") or [data])[-1]
        said = f"{data.get('model')}, {last.get('content') or last.get('output') or last}"
    except (ValueError, AttributeError, LookupError, TypeError):
        pass
    return f"{method} {address}" + (f" ({said if len(said) <= _CHARS else '…' + said[-_CHARS:]})" if said else "")


def _vcr() -> None:
    try:
        import vcr  # noqa: F401 - whether it is there
    except ImportError:
        raise ImportError("kg.cassette needs the vcrpy package: pip install 'kaigents-nb[cassette]'.") from None
