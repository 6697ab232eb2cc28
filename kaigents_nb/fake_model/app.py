"""The scripted model's HTTP server."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from kaigents_nb.fake_model import wire
from kaigents_nb.fake_model.later import Batches, Later
from kaigents_nb.fake_model.script import Rule, Script

_LABEL = {"x-scripted-by": "kaigents-nb fake-model"}
REQUESTS = "/_requests"
"""What was asked so far, as JSON: number, time, api, text, rule and how it ended."""


def application(script: Script) -> Starlette:
    """Return the server for a script."""
    return Starlette(routes=Scripted(script).routes())


class Scripted:
    """Both APIs, and a list of what was asked."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._asked: list[dict[str, Any]] = []
        self._later = Later()
        self._batches = Batches(self._scripted)

    def routes(self) -> list[Route]:
        """Return the addresses."""

        async def responses(http: HttpRequest) -> Response:
            return await self._answer("responses", http)

        async def completions(http: HttpRequest) -> Response:
            return await self._answer("chat", http)

        async def requests(_: HttpRequest) -> Response:
            return JSONResponse(self._asked, headers=_LABEL)

        return [
            Route("/v1/responses", responses, methods=["POST"]),
            Route("/v1/responses/{number}", self._later.look),
            Route("/v1/files", self._batches.upload, methods=["POST"]),
            Route("/v1/files/{number}/content", self._batches.download),
            Route("/v1/batches", self._batches.submit, methods=["POST"]),
            Route("/v1/batches", self._batches.listed),
            Route("/v1/batches/{number}", self._batches.look),
            Route("/v1/chat/completions", completions, methods=["POST"]),
            Route(REQUESTS, requests),
        ]

    async def _answer(self, api: str, http: HttpRequest) -> Response:
        body = await http.json()
        rule, whole = self._scripted(api, body)
        if body.get("background") and whole is not None:
            return JSONResponse(self._later.begin(whole, float(rule.get("delay_s", 0))), headers=_LABEL)
        await asyncio.sleep(float(rule.get("delay_s", 0)))
        if whole is None:
            return _fault(rule)
        if not body.get("stream"):
            return JSONResponse(whole, headers=_LABEL)

        async def events() -> AsyncIterator[str]:
            for place, event in enumerate(wire.stream(api, whole)):
                if place == rule.get("breaks_after"):
                    raise ConnectionResetError("as the script says")
                yield event
                await asyncio.sleep(float(rule.get("pace_s", 0)))

        return StreamingResponse(events(), media_type="text/event-stream", headers=_LABEL)

    def _scripted(self, api: str, body: dict[str, Any]) -> tuple[Rule, dict[str, Any] | None]:
        """Return the rule for a request, and the whole answer unless it is a fault."""
        request = wire.read(api, body, len(self._asked) + 1)
        seen = {"number": request.number, "at": time.time(), "api": api, "last": request.last, "body": body}
        self._asked.append(seen)
        rule = self._script(request)
        seen["ended"] = "fault" if "fault" in rule else "answered"
        return rule, None if "fault" in rule else wire.answer(api, request, rule)


def _fault(rule: Rule) -> Response:
    fault = rule["fault"]
    if fault.get("drop"):
        return StreamingResponse(_cut_off(), media_type="application/json")
    if fault.get("garbage"):
        return Response('{"id": "resp_', media_type="application/json", headers=_LABEL)
    error = {"message": fault.get("message", "scripted fault"), "type": "scripted", "code": fault.get("code")}
    status = int(fault.get("status", 500))
    return JSONResponse(
        {"error": error}, status, headers={**_LABEL, **{k: str(v) for k, v in fault.get("headers", {}).items()}}
    )


async def _cut_off() -> AsyncIterator[bytes]:
    yield json.dumps({"id": "resp_"})[:-2].encode()
    raise ConnectionResetError("as the script says")
