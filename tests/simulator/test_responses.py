"""Responses: events and documents that OpenAI's own types accept."""

from typing import Any

import orjson
import pytest
from openai.types.responses import Response as ResponseDocument
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from gateway.simulator.refusals import REFUSALS, Refused
from gateway.simulator.rendering import Part
from tests.simulator.conversation import RESPONSES, Json, events_of, weather_tool
from tests.simulator.rendered import events, parts, render

EVENT: TypeAdapter[ResponseStreamEvent] = TypeAdapter(ResponseStreamEvent)


def stream(name: str, prompt: str = "hi", /, **fields: Any) -> list[Json]:
    """The events, each checked against the SDK's type and numbered without a gap."""
    heard = events(render(RESPONSES, name, prompt, stream=True, **fields)[0])
    for number, event in enumerate(heard):
        assert EVENT.validate_python(event).type == event["type"]
        assert event["sequence_number"] == number
    return heard


def kinds(heard: list[Json]) -> list[str]:
    """The types of the events, runs shortened to one, without their common prefix."""
    found: list[str] = []
    for event in heard:
        kind = event["type"].removeprefix("response.")
        if found[-1:] != [kind]:
            found.append(kind)
    return found


def test_the_order_of_a_stream() -> None:
    """In through item and part, deltas, and out again; the closing event is the whole response."""
    heard = stream("fast")
    assert kinds(heard) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    rendering, said = render(RESPONSES, "fast", stream=True)
    assert parts(rendering) == [Part.PREAMBLE, Part.CONTENT, Part.FINISH, Part.CLOSING]
    deltas = [event["delta"] for event in heard if event["type"] == "response.output_text.delta"]
    assert deltas == said.choices[0].pieces
    closing = heard[-1]["response"]
    assert closing["output"][0]["content"][0]["text"] == "".join(deltas)
    assert closing == orjson.loads(render(RESPONSES, "fast")[0].document())


def test_usage_stands_in_the_closing_event_only() -> None:
    """It is null before, and counts the pieces; `no-usage` leaves it null."""
    heard = stream("fast", "[cached] " + "x" * 99)
    _, said = render(RESPONSES, "fast", "[cached] " + "x" * 99)
    assert heard[0]["response"]["usage"] is None
    usage = heard[-1]["response"]["usage"]
    assert usage["output_tokens"] == said.pieces
    assert usage["input_tokens_details"]["cached_tokens"] == said.usage.prompt // 2
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert stream("no-usage")[-1]["response"]["usage"] is None


def test_a_tool_call_in_fragments() -> None:
    """A call is an item whose arguments come in fragments."""
    tools: Json = {"tools": [{**weather_tool(RESPONSES), "strict": False}], "tool_choice": "required"}
    heard = stream("fast", **tools)
    assert kinds(heard) == [
        "created",
        "in_progress",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    fragments = [e["delta"] for e in heard if e["type"].endswith("arguments.delta")]
    assert len(fragments) > 3
    item = heard[-1]["response"]["output"][0]
    assert (item["type"], item["name"], item["arguments"]) == ("function_call", "get_weather", "".join(fragments))
    assert item["call_id"].startswith("call_")
    assert heard[-1]["response"]["tools"] == tools["tools"]


def test_thinking_is_an_item_of_its_own() -> None:
    """A reasoning item comes first, and its tokens are part of the output."""
    heard = stream("think")
    _, said = render(RESPONSES, "think")
    assert [item["type"] for item in heard[-1]["response"]["output"]] == ["reasoning", "message"]
    usage = heard[-1]["response"]["usage"]
    assert usage["output_tokens"] == said.pieces + said.usage.reasoning
    assert usage["output_tokens_details"]["reasoning_tokens"] == said.usage.reasoning > 0


@pytest.mark.parametrize(("name", "items"), [("fast", ["message"]), ("think", ["reasoning"])])
def test_a_limit_ends_incomplete(name: str, items: list[str]) -> None:
    """`max_output_tokens` ends with `response.incomplete`, which names the reason."""
    closing = stream(name, max_output_tokens=3)[-1]
    assert closing["type"] == "response.incomplete"
    response = ResponseDocument.model_validate(closing["response"])
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"
    assert [item.type for item in response.output] == items
    assert response.usage is not None
    assert response.usage.output_tokens == 3


@pytest.mark.parametrize(("first", "kind"), [(True, "error"), (False, "response.failed")])
def test_error_events(first: bool, kind: str) -> None:
    """Before anything an `error` event, later a response that failed; both are the SDK's types."""
    rendering, _ = render(RESPONSES, "fast", stream=True)
    ((name, data),) = events_of(rendering.error_event(Refused(REFUSALS["500"]), first=first))
    assert name.decode() == kind
    assert EVENT.validate_python(orjson.loads(data)).type == kind
