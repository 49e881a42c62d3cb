"""Messages: events and documents that Anthropic's own types accept."""

from typing import Any

import orjson
import pytest
from anthropic.types import Message as MessageDocument
from anthropic.types import RawMessageStreamEvent
from pydantic import TypeAdapter

from gateway.simulator.refusals import REFUSALS, Refused
from gateway.simulator.rendering import Part
from tests.simulator.conversation import MESSAGES, Json, events_of, weather_tool
from tests.simulator.rendered import events, parts, render

EVENT: TypeAdapter[RawMessageStreamEvent] = TypeAdapter(RawMessageStreamEvent)


def stream(name: str, prompt: str = "hi", /, **fields: Any) -> list[Json]:
    """The events, each checked against the SDK's type (``ping`` has none)."""
    heard = events(render(MESSAGES, name, prompt, stream=True, **fields)[0])
    for event in heard:
        if event["type"] != "ping":
            EVENT.validate_python(event)
    return heard


def kinds(heard: list[Json]) -> list[str]:
    """The types of the events, runs shortened to one."""
    found: list[str] = []
    for event in heard:
        if found[-1:] != [event["type"]]:
            found.append(event["type"])
    return found


def test_the_order_of_a_stream() -> None:
    """Start, block, ping, deltas, and back out again."""
    assert kinds(stream("fast")) == [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    rendering, _ = render(MESSAGES, "fast", stream=True)
    assert parts(rendering) == [Part.PREAMBLE, Part.CONTENT, Part.FINISH, Part.CLOSING]
    for step in rendering.stream():
        for name, data in events_of(step.data):
            assert orjson.loads(data)["type"] == name.decode()


def test_usage_begins_and_ends_the_stream() -> None:
    """Input is known at the start, output at the end; cached and written tokens are apart from the rest."""
    prompt = "[cached] [cache-write] [cache-write-1h] " + "x" * 400
    heard = stream("fast", prompt)
    _, said = render(MESSAGES, "fast", prompt)
    start, end = heard[0]["message"]["usage"], heard[-2]["usage"]
    assert start["output_tokens"] == 1
    assert end["output_tokens"] == said.pieces
    for usage in (start, end):
        assert usage["cache_read_input_tokens"] == said.usage.prompt // 2
        assert usage["cache_creation_input_tokens"] == 2 * (said.usage.prompt // 4)
        kinds_of_input = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
        assert sum(usage[kind] for kind in kinds_of_input) == said.usage.prompt
    assert start["cache_creation"]["ephemeral_1h_input_tokens"] == said.usage.prompt // 4


def test_odd_places_of_usage() -> None:
    """`usage-in-finish` begins with zeros, `no-usage` has none at all."""
    heard = events(render(MESSAGES, "usage-in-finish", stream=True)[0])
    _, said = render(MESSAGES, "usage-in-finish")
    assert heard[0]["message"]["usage"] == {"input_tokens": 0, "output_tokens": 0}
    assert heard[-2]["usage"]["input_tokens"] == said.usage.prompt
    assert heard[-2]["usage"]["output_tokens"] == said.pieces
    rendering, _ = render(MESSAGES, "no-usage", stream=True)
    assert b'"usage"' not in b"".join(step.data for step in rendering.stream())
    assert b'"usage"' not in rendering.document()


def test_a_tool_call_in_fragments() -> None:
    """The block has name and identifier and an empty input; the fragments join to the input of the document."""
    tools = {"tools": [weather_tool(MESSAGES)], "tool_choice": {"type": "any"}}
    heard = stream("fast", **tools)
    block = heard[1]["content_block"]
    assert (block["type"], block["name"], block["input"]) == ("tool_use", "get_weather", {})
    fragments = [e["delta"]["partial_json"] for e in heard if e["type"] == "content_block_delta"]
    assert len(fragments) > 3
    document = MessageDocument.model_validate(orjson.loads(render(MESSAGES, "fast", **tools)[0].document()))
    (called,) = document.content
    assert called.type == "tool_use"
    assert called.input == orjson.loads("".join(fragments))
    assert heard[-2]["delta"]["stop_reason"] == document.stop_reason == "tool_use"


def test_arguments_cut_by_the_limit() -> None:
    """A call that `max_tokens` cuts has half a JSON in its stream and an empty input in its document."""
    tools = {"tools": [weather_tool(MESSAGES)], "tool_choice": {"type": "any"}, "max_tokens": 2}
    assert stream("fast", **tools)[-2]["delta"]["stop_reason"] == "max_tokens"
    document = orjson.loads(render(MESSAGES, "fast", **tools)[0].document())
    assert document["content"][0]["input"] == {}


def test_thinking_is_a_block_of_its_own() -> None:
    """The thought is a block without text but with a signature; its tokens are part of the output."""
    heard = stream("think")
    _, said = render(MESSAGES, "think")
    starts = [event["content_block"]["type"] for event in heard if event["type"] == "content_block_start"]
    assert starts == ["thinking", "text"]
    first = next(event for event in heard if event["type"] == "content_block_delta")
    assert first["delta"]["type"] == "signature_delta"
    assert {event["index"] for event in heard if "index" in event} == {0, 1}
    usage = heard[-2]["usage"]
    assert usage["output_tokens"] == said.pieces + said.usage.reasoning
    assert usage["output_tokens_details"]["thinking_tokens"] == said.usage.reasoning
    document = MessageDocument.model_validate(orjson.loads(render(MESSAGES, "think")[0].document()))
    assert [block.type for block in document.content] == ["thinking", "text"]


def test_thinking_may_use_up_the_limit() -> None:
    """With a small limit there is a thought and nothing else."""
    heard = stream("think", max_tokens=5)
    assert [e["content_block"]["type"] for e in heard if e["type"] == "content_block_start"] == ["thinking"]
    assert heard[-2]["delta"]["stop_reason"] == "max_tokens"
    assert heard[-2]["usage"]["output_tokens"] == 5


@pytest.mark.parametrize(
    ("fields", "reason", "sequence"),
    [
        ({}, "end_turn", None),
        ({"max_tokens": 3}, "max_tokens", None),
        ({"stop_sequences": ["zzz", " "]}, "stop_sequence", " "),
    ],
)
def test_why_it_stopped(fields: Json, reason: str, sequence: str | None) -> None:
    """Stream and document name the same reason."""
    end = stream("fast", **fields)[-2]["delta"]
    document = orjson.loads(render(MESSAGES, "fast", **fields)[0].document())
    for said in (end, document):
        assert (said["stop_reason"], said["stop_sequence"]) == (reason, sequence)


def test_an_error_event() -> None:
    """An error in a stream is an event named so, with the request's identifier."""
    rendering, _ = render(MESSAGES, "fast", stream=True)
    ((name, data),) = events_of(rendering.error_event(Refused(REFUSALS["529"]), first=False))
    assert name == b"error"
    assert orjson.loads(data) == {
        "type": "error",
        "error": {"type": "overloaded_error", "message": "Overloaded"},
        "request_id": "req_1",
    }
