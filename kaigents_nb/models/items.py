"""A conversation as one list of items, in the form of OpenAI's Responses API whatever the model speaks.

An item is a JSON object: a message, a call of a tool, its output, or something that only the provider knows (reasoning,
a built-in tool); the last goes back as it came. What only Chat Completions has lies in an item's ``"chat"``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

Item: TypeAlias = dict[str, Any]
CALL, OUTPUT, MESSAGE, REASONING = "function_call", "function_call_output", "message", "reasoning"
CHAT = "chat"
"""Key of what only Chat Completions knows of an item."""
_REASONING = ("reasoning_content", "reasoning")
"""What servers that speak Chat Completions call it."""


def conversation(prompt: object) -> list[Item]:
    """Return what ``chat`` was given as items.

    Parameters
    ----------
    prompt
        Text of the user; or messages: dicts with ``role`` and ``content``, items of the Responses API, messages of Chat
        Completions, all as their API documents them.

    Raises
    ------
    TypeError
        For anything else.
    ValueError
        For no message, or an empty text.
    """
    if isinstance(prompt, str):
        if not prompt.strip():
            raise ValueError("The prompt is empty: a model is asked in words.")
        return [user(prompt)]
    if isinstance(prompt, Mapping) or not isinstance(prompt, Sequence):
        raise TypeError(f"A prompt is text or a list of messages such as {{'role': 'user', …}}, not {prompt!r}.")
    if not prompt:
        raise ValueError("The list of messages is empty.")
    items: list[Item] = []
    for message in prompt:
        if not isinstance(message, Mapping) or not ("role" in message or "type" in message):
            raise TypeError(f"A message is a dict with 'role' and 'content', or an item with 'type', not {message!r}.")
        items += from_chat(message) if _is_of_chat(message) else [dict(message)]
    return items


def user(text: str) -> Item:
    """Return a message of the user."""
    return {"role": "user", "content": text}


def output(call_id: str, text: str) -> Item:
    """Return what a tool gave for a call."""
    return {"type": OUTPUT, "call_id": call_id, "output": text}


def calls(items: Iterable[Item]) -> list[Item]:
    """Return the calls of tools among items, in order."""
    return [item for item in items if item.get("type") == CALL]


def text(items: Iterable[Item]) -> str:
    """Return what the assistant says in these items; a refusal counts as what it says."""
    return "".join(
        part.get("text") or part.get("refusal") or "" for item in items if is_answer(item) for part in parts(item)
    )


def reasoning(item: Item) -> str:
    """Return what is told of the reasoning that led to an answer: a summary, or all of it; empty for nothing."""
    told = [item.get(key) for key in _REASONING] + [item.get(CHAT, {}).get(key) for key in _REASONING]
    summary = item.get("summary") or (item.get("content") if item.get("type") == REASONING else None)
    parts = summary if isinstance(summary, list) else []
    told += [part.get("text") for part in parts if isinstance(part, dict)]
    return "\n".join(text for text in told if isinstance(text, str) and text)


def refused(items: Iterable[Item]) -> bool:
    """Whether the assistant refuses to answer."""
    return any(part.get("type") == "refusal" for item in items if is_answer(item) for part in parts(item))


def is_answer(item: Item) -> bool:
    """Whether an item is a message of the assistant."""
    return item.get("role") == "assistant"


def parts(item: Item) -> list[dict[str, Any]]:
    """Return the parts of a message's content; text alone is one part."""
    content = item.get("content")
    if isinstance(content, str):
        return [{"type": "output_text" if is_answer(item) else "input_text", "text": content}] if content else []
    return [part for part in content or [] if isinstance(part, dict)]


def from_chat(message: Mapping[str, Any]) -> list[Item]:
    """Return a message of Chat Completions as items."""
    if message["role"] == "tool":
        return [output(message.get("tool_call_id", ""), _as_text(message.get("content")))]
    said: list[dict[str, Any]] = []
    content = message.get("content")
    if isinstance(content, str) and content:
        said.append({"type": "output_text", "text": content})
    elif isinstance(content, list):
        said += content
    if message.get("refusal"):
        said.append({"type": "refusal", "refusal": message["refusal"]})
    extra = {key: value for key, value in message.items() if key not in _CHAT_KNOWN and value is not None}
    items: list[Item] = []
    if said or extra:
        items.append({"type": MESSAGE, "role": "assistant", "content": said, **({CHAT: extra} if extra else {})})
    for call in message.get("tool_calls") or ():
        function = call.get("function") or {}
        more = {key: value for key, value in call.items() if key not in ("id", "type", "function", "index")}
        items.append(
            {
                "type": CALL,
                "call_id": call.get("id") or "",
                "name": function.get("name") or "",
                "arguments": function.get("arguments") or "",
                **({CHAT: more} if more else {}),
            }
        )
    return items


_CHAT_KNOWN = frozenset({"role", "content", "tool_calls", "refusal"})


def _is_of_chat(message: Mapping[str, Any]) -> bool:
    return message.get("role") == "tool" or "tool_calls" in message


def _as_text(content: object) -> str:
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content if isinstance(part, dict))
    return str(content or "")
