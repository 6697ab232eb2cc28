"""OpenAI's Responses API: a request's body, and the answer in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kaigents_nb.models.answer import FILTERED, LENGTH, MALFORMED, Answer, Usage, ended_with
from kaigents_nb.models.items import CHAT, Item

PATH = "/responses"
LONGEST_ANSWER = "max_output_tokens"


def body(
    name: str,
    items: Sequence[Item],
    tools: Sequence[Mapping[str, Any]],
    schema: Mapping[str, Any] | None,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the request; ``options`` are the API's own and go in whole."""
    sent: dict[str, Any] = {"model": name, "input": [_sent(item) for item in items], **options}
    if tools:
        sent["tools"] = [
            {"type": "function", "strict": False, **tool["function"]} if "function" in tool else dict(tool)
            for tool in tools
        ]
    if schema is not None:
        sent["text"] = {**sent.get("text", {}), "format": {"type": "json_schema", **schema}}
    return sent


STREAMS = True
"""Whether an answer is read as it comes, unless the request says otherwise."""
STREAM_OPTIONS: dict[str, Any] = {}


class Growing:
    """An answer that comes in parts: its text so far, and in the end the whole."""

    def __init__(self) -> None:
        self.text = ""
        self.thoughts = ""
        """Of its reasoning what the API tells."""
        self.whole: Any = None
        """What :func:`answer` reads; None until it is complete."""

    def add(self, event: Any) -> None:
        """Take one event."""
        kind = event.get("type", "") if isinstance(event, dict) else ""
        if kind == "response.output_text.delta":
            self.text += str(event.get("delta") or "")
        elif kind in ("response.reasoning_summary_text.delta", "response.reasoning_text.delta"):
            self.thoughts += str(event.get("delta") or "")
        elif kind in ("response.completed", "response.incomplete", "response.failed"):
            self.whole = event.get("response")


def answer(data: Any) -> Answer:
    """Read an answer; one that makes no sense is ``malformed``, with a note."""
    if not isinstance(data, dict) or not isinstance(data.get("output"), list):
        return Answer([], MALFORMED, note="what came is not a response: it has no list 'output'")
    items = [item for item in data["output"] if isinstance(item, dict)]
    usage = Usage.of(data, "input", "output")
    finish, note = _finish(data, items)
    return Answer(items, finish, usage, str(data.get("model") or ""), str(data.get("service_tier") or ""), note)


def _finish(data: Mapping[str, Any], items: Sequence[Item]) -> tuple[str, str]:
    if data.get("status") == "incomplete":
        reason = str((data.get("incomplete_details") or {}).get("reason") or "")
        if reason == FILTERED:
            return FILTERED, "the provider's content filter stopped it"
        return LENGTH, f"it was cut off ({reason or 'incomplete'})"
    if data.get("status") in ("failed", "cancelled"):
        error = data.get("error") or {}
        return MALFORMED, f"the provider says {data['status']}: {error.get('message') or error or 'no reason'}"
    return ended_with(items)


def _sent(item: Item) -> Item:
    return {key: value for key, value in item.items() if key != CHAT} if CHAT in item else item
