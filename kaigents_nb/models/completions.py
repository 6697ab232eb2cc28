"""Chat Completions, which most servers speak: a request's body, and the answer in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kaigents_nb.models import items as conversation
from kaigents_nb.models.answer import FILTERED, LENGTH, MALFORMED, Answer, Usage, ended_with
from kaigents_nb.models.items import CALL, CHAT, OUTPUT, Item

PATH = "/chat/completions"
LONGEST_ANSWER = "max_completion_tokens"

_FINISH = {"length": LENGTH, "content_filter": FILTERED}
_NOTES = {LENGTH: "it was cut off (length)", FILTERED: "the provider's content filter stopped it"}


def body(
    name: str,
    items: Sequence[Item],
    tools: Sequence[Mapping[str, Any]],
    schema: Mapping[str, Any] | None,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the request; ``options`` are the API's own and go in whole."""
    sent: dict[str, Any] = {"model": name, "messages": messages(items), **options}
    if tools:
        sent["tools"] = [dict(tool) for tool in tools]
    if schema is not None:
        sent["response_format"] = {"type": "json_schema", "json_schema": dict(schema)}
    return sent


def messages(items: Sequence[Item]) -> list[dict[str, Any]]:
    """Return a conversation as this API wants it.

    What an assistant said and the calls that it made are one message here; what only another API knows, such as
    encrypted reasoning, is left out.
    """
    found: list[dict[str, Any]] = []
    answering: dict[str, Any] | None = None
    for item in items:
        if item.get("type") == CALL or conversation.is_answer(item):
            if answering is None:
                answering = {"role": "assistant", "content": None}
                found.append(answering)
            _add(answering, item)
        elif item.get("type") == OUTPUT:
            answering = None
            given = item.get("output")
            content = given if isinstance(given, str) else "".join(part.get("text", "") for part in given or ())
            found.append({"role": "tool", "tool_call_id": item.get("call_id", ""), "content": content})
        elif "role" in item:
            answering = None
            found.append({**_without(item, "type", "id", "status"), "content": _content(item.get("content"))})
    return found


def _add(answering: dict[str, Any], item: Item) -> None:
    more = item.get(CHAT) or {}
    if item.get("type") == CALL:
        function = {"name": item.get("name", ""), "arguments": item.get("arguments", "")}
        call = {"id": item.get("call_id", ""), "type": "function", "function": function, **more}
        answering.setdefault("tool_calls", []).append(call)
        return
    answering.update(more)
    said = "".join(part.get("text") or part.get("refusal") or "" for part in conversation.parts(item))
    if said:
        answering["content"] = (answering["content"] or "") + said


def _content(content: Any) -> Any:
    """Return a user's content; its parts have other names here."""
    if not isinstance(content, list):
        return content
    return [_part(part) if isinstance(part, dict) else part for part in content]


def _part(part: dict[str, Any]) -> dict[str, Any]:
    kind = part.get("type")
    if kind in ("input_text", "output_text"):
        return {"type": "text", "text": part.get("text", "")}
    if kind == "input_image":
        address = {"url": part.get("image_url"), **({"detail": part["detail"]} if "detail" in part else {})}
        return {"type": "image_url", "image_url": address}
    if kind == "input_file":
        return {"type": "file", "file": _without(part, "type")}
    return part


def _without(item: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in item.items() if key not in keys}


STREAMS = False
"""Whether an answer is read as it comes, unless the request says otherwise: not every server that speaks this can."""
STREAM_OPTIONS: dict[str, Any] = {"stream_options": {"include_usage": True}}


class Growing:
    """An answer that comes in parts: its text so far, and in the end the whole."""

    def __init__(self) -> None:
        self.text = ""
        self.whole: Any = None
        """What :func:`answer` reads; None until it is complete."""
        self._message: dict[str, Any] = {}
        self._calls: dict[int, dict[str, Any]] = {}

    @property
    def thoughts(self) -> str:
        """Of its reasoning what the server tells."""
        return conversation.reasoning(self._message)

    def add(self, event: Any) -> None:
        """Take one chunk."""
        if not isinstance(event, dict):
            return
        for choice in event.get("choices") or ():
            self._add(choice.get("delta") or {})
            if choice.get("finish_reason"):
                message = {**self._message, "content": self.text or None}
                if self._calls:
                    message["tool_calls"] = [self._calls[place] for place in sorted(self._calls)]
                self.whole = {
                    "model": event.get("model"),
                    "service_tier": event.get("service_tier"),
                    "choices": [{"message": message, "finish_reason": choice["finish_reason"]}],
                }
        if self.whole is not None and event.get("usage"):
            self.whole["usage"] = event["usage"]

    def _add(self, delta: dict[str, Any]) -> None:
        self.text += delta.get("content") or ""
        for name, value in delta.items():
            if name not in ("content", "tool_calls", "role") and value is not None:
                before = self._message.get(name)
                self._message[name] = before + value if isinstance(before, str) and isinstance(value, str) else value
        for part in delta.get("tool_calls") or ():
            call = self._calls.setdefault(part.get("index", len(self._calls)), {"function": {"arguments": ""}})
            function = part.get("function") or {}
            call["function"]["arguments"] += function.get("arguments") or ""
            if function.get("name"):
                call["function"]["name"] = function["name"]
            call |= {key: value for key, value in part.items() if key not in ("index", "function") and value}


def answer(data: Any) -> Answer:
    """Read an answer; one that makes no sense is ``malformed``, with a note."""
    try:
        choice = data["choices"][0]
        message = choice["message"]
        items = conversation.from_chat({**message, "role": "assistant"})
    except (LookupError, TypeError, AttributeError):
        return Answer([], MALFORMED, note="what came is not a completion: it has no 'choices' with a message")
    usage = Usage.of(data, "prompt", "completion")
    finish, note = _finish(choice, items)
    return Answer(items, finish, usage, str(data.get("model") or ""), str(data.get("service_tier") or ""), note)


def _finish(choice: Mapping[str, Any], items: Sequence[Item]) -> tuple[str, str]:
    finish = _FINISH.get(str(choice.get("finish_reason")))
    if finish is not None:
        return finish, _NOTES[finish]
    return ended_with(items)
