"""What the scripted model does by itself: responses in the background, and batches."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, PlainTextResponse, Response

Answer = Callable[[str, dict[str, Any]], tuple[dict[str, Any], dict[str, Any] | None]]
_BATCH_S = 1.0
"""How long a batch takes."""


class Later:
    """Responses that are worked on."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, dict[str, Any]]] = {}

    def begin(self, whole: dict[str, Any], delay_s: float) -> dict[str, Any]:
        """Take a response and return what is there at first."""
        self._known[whole["id"]] = (time.time() + delay_s, whole)
        return {**whole, "status": "queued", "output": [], "usage": None}

    async def look(self, http: HttpRequest) -> Response:
        """Answer what became of one."""
        number = http.path_params["number"]
        if number not in self._known:
            return JSONResponse({"error": {"message": f"no response {number!r}"}}, 404)
        done_at, whole = self._known[number]
        if time.time() < done_at:
            return JSONResponse({**whole, "status": "in_progress", "output": [], "usage": None})
        return JSONResponse(whole)


class Batches:
    """Files, and batches of requests; a rule with ``fault: {drop: true}`` leaves its request to expire."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._files: dict[str, str] = {}
        self._batches: dict[str, dict[str, Any]] = {}
        self._done_at: dict[str, float] = {}

    async def upload(self, http: HttpRequest) -> Response:
        """Keep a file."""
        async with http.form() as form:
            given: Any = form["file"]
            text = (await given.read()).decode()
        number = self._keep(text)
        return JSONResponse(
            {
                "id": number,
                "object": "file",
                "bytes": len(text),
                "created_at": 0,
                "filename": "rows.jsonl",
                "purpose": "batch",
                "status": "processed",
            }
        )

    async def download(self, http: HttpRequest) -> Response:
        """Give a file back."""
        return PlainTextResponse(self._files[http.path_params["number"]])

    async def submit(self, http: HttpRequest) -> Response:
        """Take a batch."""
        asked = await http.json()
        number = f"batch_{len(self._batches) + 1}"
        self._batches[number] = {**asked, "id": number, "object": "batch", "status": "in_progress"}
        self._done_at[number] = time.time() + _BATCH_S
        return JSONResponse(self._batches[number])

    async def listed(self, _: HttpRequest) -> Response:
        """List all batches."""
        return JSONResponse({"object": "list", "data": list(self._batches.values()), "has_more": False})

    async def look(self, http: HttpRequest) -> Response:
        """Answer how far a batch is."""
        batch = self._batches[http.path_params["number"]]
        if batch["status"] == "in_progress" and time.time() >= self._done_at[batch["id"]]:
            self._finish(batch)
        return JSONResponse(batch)

    def _finish(self, batch: dict[str, Any]) -> None:
        answered, left = [], []
        for line in self._files[batch["input_file_id"]].splitlines():
            asked = json.loads(line)
            api = "responses" if asked["url"].endswith("/responses") else "chat"
            rule, whole = self._answer(api, asked["body"])
            row: dict[str, Any] = {"id": f"req_{asked['custom_id']}", "custom_id": asked["custom_id"], "error": None}
            if whole is not None:
                answered.append({**row, "response": {"status_code": 200, "body": whole}})
            elif rule["fault"].get("drop"):
                left.append({**row, "response": None, "error": {"code": "batch_expired", "message": "expired"}})
            else:
                error = {"message": rule["fault"].get("message", "scripted fault")}
                response = {"status_code": rule["fault"].get("status", 500), "body": {"error": error}}
                left.append({**row, "response": response})
        batch["status"] = "completed"
        for key, rows in (("output_file_id", answered), ("error_file_id", left)):
            batch[key] = self._keep("\n".join(map(json.dumps, rows))) if rows else None

    def _keep(self, text: str) -> str:
        number = f"file-{len(self._files) + 1}"
        self._files[number] = text
        return number
