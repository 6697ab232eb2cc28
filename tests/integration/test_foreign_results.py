"""What other libraries' models return from a step comes back as it was."""

from __future__ import annotations

import pydantic
import pytest
from langchain_core.messages import AIMessage, HumanMessage

import kaigents_nb as kg

pytestmark = pytest.mark.usefixtures("server")


class Usage(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")

    tokens: int
    details: dict[str, int] | None = None


@kg.step
def constructed():
    """As litellm makes its answers: unchecked, with fields that nobody declared."""
    return Usage.model_construct(_fields_set={"tokens"}, tokens="12", cached=3, choices=[{"text": "hi"}])


@kg.step
def answered():
    return [
        HumanMessage("What does a panel cost?", id="1"),
        AIMessage(
            content=[{"type": "text", "text": "I look"}],
            tool_calls=[{"name": "price", "args": {"product": "panel"}, "id": "c1", "type": "tool_call"}],
            usage_metadata={"input_tokens": 3, "output_tokens": 4, "total_tokens": 7},
            response_metadata={"model_name": "gpt-5"},
            additional_kwargs={"reasoning": "…"},
        ),
    ]


@kg.agent
async def returns_both():
    return await constructed(), await answered()


def test_nothing_of_it_is_lost():
    """Values, undeclared fields, and which fields were set; a message with its calls and what it took."""
    usage, messages = returns_both.start().result(40)
    before = constructed()
    assert type(usage) is Usage
    assert vars(usage) == vars(before)
    assert usage.model_extra == before.model_extra
    assert usage.model_fields_set == before.model_fields_set
    assert messages == answered()
    assert [type(message) for message in messages] == [HumanMessage, AIMessage]
    assert messages[1].tool_calls[0]["args"] == {"product": "panel"}
    assert messages[1].model_dump() == answered()[1].model_dump()
