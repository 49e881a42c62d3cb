"""What a model reads, out of every nesting that a dialect knows."""

from typing import Any

import pytest

from gateway.simulator.prompt import Prompt
from gateway.simulator.refusals import Refused


@pytest.mark.parametrize(
    ("message", "texts", "images"),
    [
        ({"role": "user", "content": "a"}, ["a"], 0),
        ({"role": "assistant", "content": None}, [], 0),
        ({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, ["a", "b"], 0),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}, [], 1),
        ({"role": "user", "content": [{"type": "image", "source": {}}]}, [], 1),
        ({"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}]}, ["hm"], 0),
        ({"role": "assistant", "content": [{"type": "redacted_thinking", "data": "x"}]}, [], 0),
        ({"role": "assistant", "content": [{"type": "tool_use", "input": {"a": 1}}]}, ['{"a":1}'], 0),
        ({"role": "assistant", "tool_calls": [{"id": "x"}]}, ['[{"id":"x"}]'], 0),
        ({"type": "function_call", "name": "f", "arguments": "{}"}, ["{}"], 0),
        ({"type": "reasoning", "summary": []}, [], 0),
    ],
)
def test_texts_and_images(message: dict[str, Any], texts: list[str], images: int) -> None:
    """Every kind of part gives its text or counts as an image."""
    prompt = Prompt()
    prompt.read_message(message, "messages")
    assert (prompt.texts, prompt.images, prompt.messages) == (texts, images, 1)
    assert not prompt.ends_with_result


@pytest.mark.parametrize(
    "result",
    [
        {"role": "tool", "tool_call_id": "x", "content": "42"},
        {"type": "function_call_output", "call_id": "x", "output": "42"},
        {"role": "user", "content": [{"type": "tool_result", "content": "42"}]},
        {"role": "user", "content": [{"type": "tool_result", "content": [{"type": "text", "text": "42"}]}]},
    ],
)
def test_the_result_of_a_tool_is_known(result: dict[str, Any]) -> None:
    """The last message decides whether a tool has answered."""
    prompt = Prompt()
    prompt.read_message(result, "messages")
    assert prompt.ends_with_result
    assert prompt.texts == ["42"]
    prompt.read_message({"role": "user", "content": "thanks"}, "messages")
    assert not prompt.ends_with_result


def _nested(levels: int) -> object:
    content: object = "deep"
    for _ in range(levels):
        content = [{"type": "tool_result", "content": content}]
    return content


@pytest.mark.parametrize("content", [7, True, {"type": "text"}, ["text"], _nested(9)])
def test_what_is_no_content_is_refused(content: object) -> None:
    """Content of another type, or nested without end, is the client's mistake."""
    with pytest.raises(Refused, match="400"):
        Prompt().read_message({"role": "user", "content": content}, "messages")
    with pytest.raises(Refused, match="400"):
        Prompt().read_message(content if not isinstance(content, dict) else "text", "messages")
