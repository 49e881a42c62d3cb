"""The real Anthropic SDK through the gateway: messages streamed and not, tools, counting, models."""

import asyncio
from typing import Any

import anthropic

from gateway.config import DEMO_KEY
from tests.sdk.conftest import Demo

MODEL = "claude-sim-chat"
QUESTION: Any = [{"role": "user", "content": "Tell me about streams."}]
TOOLS: Any = [
    {
        "name": "get_weather",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }
]


async def test_stream(aanthropic: anthropic.AsyncAnthropic, served: Demo) -> None:
    """Text by text, and the SDK's own final message with the usage that the log has too."""
    async with aanthropic.messages.stream(model=MODEL, max_tokens=500, messages=QUESTION) as stream:
        text = "".join([piece async for piece in stream.text_stream])
        final = await stream.get_final_message()
    assert final.content[0].type == "text"
    assert final.content[0].text == text
    assert final.stop_reason == "end_turn"
    (line,) = served.access_log()
    assert (line["input_tokens"], line["output_tokens"]) == (final.usage.input_tokens, final.usage.output_tokens)
    assert (line["usage"], line["outcome"]) == ("reported", "success")


async def test_answer(aanthropic: anthropic.AsyncAnthropic) -> None:
    """The same text as the stream's, and the gateway's headers beside it."""
    raw = await aanthropic.messages.with_raw_response.create(model=MODEL, max_tokens=500, messages=QUESTION)
    message: Any = await raw.parse()
    events = await aanthropic.messages.create(model=MODEL, max_tokens=500, messages=QUESTION, stream=True)
    deltas: list[Any] = [event.delta async for event in events if event.type == "content_block_delta"]
    assert message.content[0].text == "".join(delta.text for delta in deltas)
    assert raw.headers["x-gateway-provider"] == "demo-anthropic"
    assert raw.headers["request-id"] == raw.headers["x-request-id"] == message._request_id


async def test_tools(aanthropic: anthropic.AsyncAnthropic) -> None:
    """A tool call, streamed: the SDK reads its input."""
    async with aanthropic.messages.stream(
        model="claude-sim-tools", max_tokens=500, messages=QUESTION, tools=TOOLS
    ) as stream:
        final = await stream.get_final_message()
    (call,) = [block for block in final.content if block.type == "tool_use"]
    assert "city" in call.input
    assert final.stop_reason == "tool_use"


async def test_counting(aanthropic: anthropic.AsyncAnthropic, served: Demo) -> None:
    """The provider's figure, free of charge."""
    counted = await aanthropic.messages.count_tokens(model=MODEL, messages=QUESTION)
    message = await aanthropic.messages.create(model=MODEL, max_tokens=5, messages=QUESTION)
    assert counted.input_tokens == message.usage.input_tokens
    first, second = served.access_log()
    assert (first["operation"], first["cost_nanousd"]) == ("count_tokens", 0)
    assert second["cost_nanousd"] > 0


async def test_models(aanthropic: anthropic.AsyncAnthropic) -> None:
    """The list in their shape, and one of it."""
    names = [model.id async for model in await aanthropic.models.list()]
    assert MODEL in names
    assert (await aanthropic.models.retrieve(MODEL)).display_name == MODEL


async def test_bearer_token_is_as_good_as_a_key(served: Demo) -> None:
    """The SDK's `auth_token` goes out as `Authorization: Bearer`."""
    async with anthropic.AsyncAnthropic(
        base_url=served.anthropic_base, auth_token=DEMO_KEY, api_key=None, max_retries=0
    ) as client:
        assert (await client.messages.create(model=MODEL, max_tokens=5, messages=QUESTION)).content


async def test_synchronous_client(served: Demo) -> None:
    """The first lines of every tutorial, as they are written there."""

    def tutorial() -> None:
        with anthropic.Anthropic(base_url=served.anthropic_base, api_key=DEMO_KEY) as client:
            with client.messages.stream(model=MODEL, max_tokens=500, messages=QUESTION) as stream:
                said = "".join(stream.text_stream)
            message = client.messages.create(model=MODEL, max_tokens=500, messages=QUESTION)
            assert message.content[0].type == "text"
            assert message.content[0].text == said
            assert MODEL in [model.id for model in client.models.list()]

    await asyncio.to_thread(tutorial)
