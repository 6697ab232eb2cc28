"""Rows at half the price: handed in as a batch, waited for with nothing running, collected within a day."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from kaigents_nb.authoring.clock import sleep
from kaigents_nb.authoring.context import step_context
from kaigents_nb.authoring.library_steps import library_step
from kaigents_nb.models import client
from kaigents_nb.models import items as conversation
from kaigents_nb.models.call import Request, answered, body_of, maybe
from kaigents_nb.models.cassette import MARK
from kaigents_nb.models.model import Model
from kaigents_nb.models.output import Output
from kaigents_nb.models.row_call import FAILED, RowAnswer, judged, output_of

_ENDED = ("completed", "failed", "expired", "cancelled")
_FIRST_LOOK_S, _LONGEST_LOOK_S = 2.0, 15 * 60.0
_TRIES = 3
_OK = 200


async def in_batches(request: Request, prompts: list[str], wanted: Any) -> list[RowAnswer]:
    """Return an answer for each prompt; what a batch leaves unanswered goes into the next, three times."""
    answers: dict[int, RowAnswer] = {}
    for _ in range(_TRIES):
        left = [number for number in range(len(prompts)) if number not in answers]
        if not left:
            break
        batch = await maybe(submit(request, [(number, prompts[number]) for number in left]))
        wait_s = _FIRST_LOOK_S
        while await maybe(look(request.model, batch)) not in _ENDED:
            await sleep(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_LOOK_S)
        for answer in await maybe(collect(request, batch, wanted)):
            answers[answer.row] = answer
    error = f"No answer in {_TRIES} batches."
    return [answers.get(number) or RowAnswer(number, FAILED, error=error) for number in range(len(prompts))]


@library_step("kg.batch.submit")
async def submit(request: Request, prompts: list[tuple[int, str]]) -> str:
    """Hand in a batch and return its id; one that an attempt before this handed in is adopted by its mark."""
    step = step_context.get()
    mark = step.idempotency_key[-512:] if step is not None else ""
    if mark:
        known: Any = await client.get(request.model, "/batches?limit=100")
        for batch in known.get("data", ()):
            if (batch.get("metadata") or {}).get(MARK) == mark:
                return str(batch["id"])
    lines = []
    path = ""
    for number, prompt in prompts:
        path, body = body_of(request, [conversation.user(prompt)])
        lines.append(json.dumps({"custom_id": str(number), "method": "POST", "url": f"/v1{path}", "body": body}))
    file = await client.upload(request.model, "rows.jsonl", "\n".join(lines).encode())
    made: Any = await client.post(
        request.model,
        "/batches",
        {
            "input_file_id": file,
            "endpoint": f"/v1{path}",
            "completion_window": "24h",
            "metadata": {MARK: mark} if mark else {},
        },
    )
    return str(made["id"])


@library_step("kg.batch.look")
async def look(model: Model, batch: str) -> str:
    """Return how far a batch is, in the provider's word."""
    return str((await client.get(model, f"/batches/{batch}"))["status"])


@library_step("kg.batch.collect")
async def collect(request: Request, batch: str, wanted: Any) -> list[RowAnswer]:
    """Return the rows that a batch has answered, or has refused to."""
    output = output_of(wanted)
    made: Any = await client.get(request.model, f"/batches/{batch}")
    found = []
    for kind in ("output_file_id", "error_file_id"):
        if made.get(kind):
            text = await client.download(request.model, made[kind])
            found += list(_answers(request, text, output))
    return found


def _answers(request: Request, text: str, output: Output | None) -> Iterator[RowAnswer]:
    for line in text.splitlines():
        if not line.strip():
            continue
        row = json.loads(line)
        response = row.get("response") or {}
        number = int(row["custom_id"])
        if response.get("status_code") == _OK:
            asked = answered(request.model, response.get("body"), batch=True)
            yield judged(asked, output, RowAnswer(number, FAILED))
        elif response.get("status_code"):
            error = (response.get("body") or {}).get("error") or {}
            yield RowAnswer(number, FAILED, error=str(error.get("message") or f"HTTP {response['status_code']}"))
        # Else it expired, and goes into the next batch.
