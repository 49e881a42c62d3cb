"""Chat Completions and Completions: chunks and documents that OpenAI's own types accept."""

from typing import Any

import orjson
import pytest
from openai.types import Completion
from openai.types.chat import ChatCompletion as ChatDocument
from openai.types.chat import ChatCompletionChunk

from gateway.simulator.refusals import REFUSALS, Refused
from gateway.simulator.rendering import Part, Pause
from tests.simulator.conversation import CHAT, COMPLETIONS, weather_tool
from tests.simulator.rendered import events, parts, render

USAGE: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}


def chunks(name: str, **fields: Any) -> list[ChatCompletionChunk]:
    rendering, _ = render(CHAT, name, **{"stream": True, **fields})
    return [ChatCompletionChunk.model_validate(event) for event in events(rendering)]


def test_the_order_of_a_stream() -> None:
    """Role, pieces, finish; one identifier and one date throughout; `[DONE]` at the end."""
    rendering, said = render(CHAT, "fast", stream=True)
    first, *middle, last = (ChatCompletionChunk.model_validate(event) for event in events(rendering))
    assert (first.choices[0].delta.role, first.choices[0].delta.content) == ("assistant", "")
    assert [chunk.choices[0].delta.content for chunk in middle] == said.choices[0].pieces
    assert all(chunk.choices[0].finish_reason is None for chunk in [first, *middle])
    assert (last.choices[0].delta.content, last.choices[0].finish_reason) == (None, "stop")
    assert {(chunk.id, chunk.created, chunk.model) for chunk in [first, *middle, last]} == {
        ("chatcmpl-0", 1_700_000_000, "sim-fast")
    }
    *_, done = rendering.stream()
    assert (done.part, done.data) == (Part.CLOSING, b"data: [DONE]\n\n")


def test_usage_where_it_is_asked_for() -> None:
    """Asked for, `usage` is null in every chunk and real in a last one without choices; else it is not there."""
    rendering, said = render(CHAT, "fast", "[cached] " + "x" * 99, **USAGE)
    *before, last = events(rendering)
    assert all(event["usage"] is None for event in before)
    assert last["choices"] == []
    usage = ChatCompletionChunk.model_validate(last).usage
    assert usage is not None
    assert usage.prompt_tokens_details is not None
    assert usage.completion_tokens == said.pieces
    assert usage.prompt_tokens_details.cached_tokens == said.usage.prompt // 2 > 0
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert all("usage" not in event for event in events(render(CHAT, "fast", stream=True)[0]))


@pytest.mark.parametrize("fields", [{"stream": True}, USAGE])
def test_odd_places_of_usage(fields: dict[str, Any]) -> None:
    """`usage-in-finish` reports in the finishing chunk whether asked or not, `no-usage` nowhere."""
    rendering, said = render(CHAT, "usage-in-finish", **fields)
    *before, last = events(rendering)
    assert all("usage" not in event for event in before)
    assert last["choices"][0]["finish_reason"] == "stop"
    assert last["usage"]["completion_tokens"] == said.pieces
    rendering, _ = render(CHAT, "no-usage", **fields)
    assert all("usage" not in event for event in events(rendering))
    assert "usage" not in orjson.loads(rendering.document())


def test_a_tool_call_in_fragments() -> None:
    """Name and identifier first, then the arguments in fragments that join to the JSON of the document."""
    tools = {"tools": [weather_tool(CHAT)], "tool_choice": "required"}
    first, *middle, last = chunks("fast", **tools)
    (call,) = first.choices[0].delta.tool_calls or []
    assert call.function is not None
    assert (call.id, call.type, call.function.name, call.function.arguments) == (
        "call_1",
        "function",
        "get_weather",
        "",
    )
    fragments = [(chunk.choices[0].delta.tool_calls or [])[0] for chunk in middle]
    joined = "".join((fragment.function and fragment.function.arguments) or "" for fragment in fragments)
    assert len(fragments) > 3
    assert "city" in orjson.loads(joined)
    assert last.choices[0].finish_reason == "tool_calls"

    rendering, said = render(CHAT, "fast", **tools)
    message = ChatDocument.model_validate(orjson.loads(rendering.document())).choices[0]
    assert message.finish_reason == "tool_calls"
    assert message.message.content is None
    assert said.choices[0].text == joined


def test_several_choices_take_turns() -> None:
    """With `n` every choice has its role, its pieces in order, and its finish; only the first of a turn waits."""
    rendering, said = render(CHAT, "fast", n=3, **USAGE)
    heard = [ChatCompletionChunk.model_validate(event) for event in events(rendering)]
    for index, choice in enumerate(said.choices):
        own = [chunk.choices[0] for chunk in heard if chunk.choices and chunk.choices[0].index == index]
        assert own[0].delta.role == "assistant"
        assert [entry.delta.content for entry in own[1:-1]] == choice.pieces
        assert own[-1].finish_reason == "stop"
    waits = [step.pause for step in rendering.stream()].count(Pause.TOKEN)
    assert waits == max(len(choice.pieces) for choice in said.choices)
    assert heard[-1].usage is not None
    assert heard[-1].usage.completion_tokens == said.pieces


@pytest.mark.parametrize("limit", [1, 5, 4000])
def test_thinking_is_one_silence(limit: int) -> None:
    """The thought comes once, after the role, also where it leaves no token for an answer."""
    rendering, said = render(CHAT, "think", max_completion_tokens=limit, **USAGE)
    pauses = [step.pause for step in rendering.stream()]
    assert pauses.count(Pause.THOUGHT) == 1
    assert pauses.index(Pause.THOUGHT) == 1
    usage = events(rendering)[-1]["usage"]
    assert usage["completion_tokens"] == min(limit, said.usage.output)
    assert usage["completion_tokens_details"]["reasoning_tokens"] == said.usage.reasoning > 0


def test_a_limit_ends_with_length() -> None:
    """`max_tokens` pieces, then the finish reason `length`."""
    heard = chunks("fast", max_tokens=3)
    assert len(heard) == 5
    assert heard[-1].choices[0].finish_reason == "length"


@pytest.mark.parametrize("name", ["fast", "think", "no-usage"])
def test_the_document_says_what_the_stream_says(name: str) -> None:
    """Text and finish are the same."""
    rendering, said = render(CHAT, name, n=2)
    document = ChatDocument.model_validate(orjson.loads(rendering.document()))
    assert [choice.message.content for choice in document.choices] == [c.text for c in said.choices]
    assert (document.usage is None) == (name == "no-usage")


def test_completions_have_one_shape() -> None:
    """Chunks and document of the older route are the same object; the finish comes apart."""
    rendering, said = render(COMPLETIONS, "fast", **USAGE)
    *middle, last, with_usage = events(rendering)
    # the SDK's type knows no null as a finish reason, although the API sends it
    assert [chunk["choices"][0]["text"] for chunk in middle] == said.choices[0].pieces
    assert all(chunk["choices"][0]["finish_reason"] is None for chunk in middle)
    finish, usage = Completion.model_validate(last), Completion.model_validate(with_usage)
    assert (finish.choices[0].text, finish.choices[0].finish_reason) == ("", "stop")
    assert usage.usage is not None
    assert usage.usage.completion_tokens == said.pieces
    document = Completion.model_validate(orjson.loads(rendering.document()))
    assert document.choices[0].text == said.choices[0].text
    assert parts(rendering) == [Part.CONTENT, Part.FINISH, Part.CLOSING]


def test_a_model_name_like_a_piece() -> None:
    """Whatever the model is called, every chunk carries its own piece."""
    rendering, said = render(CHAT, "fast", stream=True, model='chatcmpl-0:piece"content":""')
    assert [event["choices"][0]["delta"].get("content") for event in events(rendering)][1:-1] == (
        said.choices[0].pieces
    )


def test_an_error_event() -> None:
    """An error in a stream is an unnamed event with OpenAI's error object."""
    rendering, _ = render(CHAT, "fast", stream=True)
    event = rendering.error_event(Refused(REFUSALS["500"]), first=False)
    assert event.startswith(b'data: {"error":{"message":')
