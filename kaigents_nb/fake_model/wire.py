"""A scripted answer in the form of either API, whole or as a stream."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from kaigents_nb.fake_model.script import Request, Rule
from kaigents_nb.models import items as conversation

SCRIPTED = "scripted/"
"""Before the name of the model, so that wherever an answer is shown it says what it is."""
_CHARS_PER_TOKEN = 4
_PIECE_CHARS = 40


def read(api: str, body: dict[str, Any], number: int) -> Request:
    """Return a request as a script sees it."""
    given = body.get("input" if api == "responses" else "messages")
    if isinstance(given, str):
        given = [conversation.user(given)]
    items: list[dict[str, Any]] = []
    for message in given or ():
        of_chat = api == "chat" and message.get("role") in ("assistant", "tool")
        items += conversation.from_chat(message) if of_chat else [message]
    last = items[-1] if items else {}
    after = ""
    if last.get("type") == conversation.OUTPUT:
        after = next((call["name"] for call in conversation.calls(items) if call["call_id"] == last["call_id"]), "")
        text = last["output"] if isinstance(last["output"], str) else json.dumps(last["output"])
    else:
        text = "".join(part.get("text") or "" for part in conversation.parts(last))
    tools = [tool.get("name") or (tool.get("function") or {}).get("name") or "" for tool in body.get("tools") or ()]
    form = (body.get("text") or {}).get("format") or (body.get("response_format") or {}).get("json_schema") or {}
    return Request(number, text, after, items, tools, form.get("schema"), body)


def answer(api: str, request: Request, rule: Rule) -> dict[str, Any]:
    """Return the whole answer."""
    said, calls = _said(rule), _calls(rule, request.number)
    usage = {
        "input": len(json.dumps(request.body)) // _CHARS_PER_TOKEN,
        "output": max(1, len(said + json.dumps(calls)) // _CHARS_PER_TOKEN),
        "cached": 0,
        "reasoning": 0,
        **rule.get("usage", {}),
    }
    model = SCRIPTED + str(request.body.get("model", ""))
    make = _response if api == "responses" else _completion
    return make(request.number, model, rule, said, calls, usage)


def stream(api: str, whole: dict[str, Any]) -> Iterator[str]:
    """Yield the answer as server-sent events."""
    events = _response_events(whole) if api == "responses" else _completion_chunks(whole)
    for event in events:
        name = f"event: {event['type']}\n" if api == "responses" else ""
        yield f"{name}data: {json.dumps(event)}\n\n"
    if api == "chat":
        yield "data: [DONE]\n\n"


def _said(rule: Rule) -> str:
    return json.dumps(rule["json"]) if "json" in rule else str(rule.get("say", ""))


def _calls(rule: Rule, number: int) -> list[dict[str, Any]]:
    given = rule.get("call") or []
    wanted = given if isinstance(given, list) else [given]
    pairs = [(name, arguments) for call in wanted for name, arguments in call.items()]
    return [
        {
            "call_id": f"call_{number}_{place}",
            "name": name,
            "arguments": arguments if isinstance(arguments, str) else json.dumps(arguments or {}),
        }
        for place, (name, arguments) in enumerate(pairs, 1)
    ]


def _response(
    number: int, model: str, rule: Rule, said: str, calls: list[dict[str, Any]], usage: dict[str, int]
) -> dict[str, Any]:
    output: list[dict[str, Any]] = []
    if "reasoning" in rule:
        output.append({"type": "reasoning", "id": f"rs_{number}", "summary": [], **rule["reasoning"]})
    content: list[dict[str, Any]] = []
    if said:
        content.append({"type": "output_text", "text": said, "annotations": []})
    if "refuse" in rule:
        content.append({"type": "refusal", "refusal": rule["refuse"]})
    if content:
        output.append(
            {"type": "message", "id": f"msg_{number}", "role": "assistant", "status": "completed", "content": content}
        )
    output += [{"type": "function_call", "id": f"fc_{c['call_id']}", "status": "completed", **c} for c in calls]
    reason = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(rule.get("finish", ""))
    return {
        "id": f"resp_{number}",
        "object": "response",
        "created_at": 0,
        "model": model,
        "status": "incomplete" if reason else "completed",
        "incomplete_details": {"reason": reason} if reason else None,
        "error": None,
        "output": output,
        "usage": {
            "input_tokens": usage["input"],
            "output_tokens": usage["output"],
            "total_tokens": usage["input"] + usage["output"],
            "input_tokens_details": {"cached_tokens": usage["cached"]},
            "output_tokens_details": {"reasoning_tokens": usage["reasoning"]},
        },
    }


def _completion(
    number: int, model: str, rule: Rule, said: str, calls: list[dict[str, Any]], usage: dict[str, int]
) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": said or None, "refusal": rule.get("refuse")}
    if calls:
        message["tool_calls"] = [
            {
                "id": call["call_id"],
                "type": "function",
                "function": {"name": call["name"], "arguments": call["arguments"]},
            }
            for call in calls
        ]
    if "reasoning" in rule:
        message.update(rule["reasoning"])
    finish = rule.get("finish") or ("tool_calls" if calls else "stop")
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": finish, "logprobs": None}],
        "usage": {
            "prompt_tokens": usage["input"],
            "completion_tokens": usage["output"],
            "total_tokens": usage["input"] + usage["output"],
            "prompt_tokens_details": {"cached_tokens": usage["cached"]},
            "completion_tokens_details": {"reasoning_tokens": usage["reasoning"]},
        },
    }


def _response_events(whole: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield {"type": "response.created", "response": {**whole, "status": "in_progress", "output": []}}
    for place, item in enumerate(whole["output"]):
        yield {"type": "response.output_item.added", "output_index": place, "item": item}
        for part in conversation.parts(item) if item.get("type") == "message" else ():
            for piece in _pieces(part.get("text", "")):
                yield {
                    "type": "response.output_text.delta",
                    "item_id": item["id"],
                    "output_index": place,
                    "content_index": 0,
                    "delta": piece,
                }
        yield {"type": "response.output_item.done", "output_index": place, "item": item}
    yield {"type": f"response.{whole['status']}", "response": whole}


def _completion_chunks(whole: dict[str, Any]) -> Iterator[dict[str, Any]]:
    choice = whole["choices"][0]
    head = {key: whole[key] for key in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    message = dict(choice["message"])
    text = message.pop("content") or ""
    calls = [{"index": place, **call} for place, call in enumerate(message.pop("tool_calls", ()))]

    def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    yield chunk({**message, "content": ""})
    for piece in _pieces(text):
        yield chunk({"content": piece})
    if calls:
        yield chunk({"tool_calls": calls})
    yield chunk({}, choice["finish_reason"])
    yield {**head, "choices": [], "usage": whole["usage"]}


def _pieces(text: str) -> list[str]:
    return [text[start : start + _PIECE_CHARS] for start in range(0, len(text), _PIECE_CHARS)]
