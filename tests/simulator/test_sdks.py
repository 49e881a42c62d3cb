"""The real SDKs of both providers, synchronous and asynchronous, straight against the simulator."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import openai
import orjson
import pytest

from gateway.simulator import Simulator
from tests.simulator.conversation import CHAT, MESSAGES, RESPONSES, weather_tool

QUESTION: Any = [{"role": "user", "content": "Tell me about streams."}]
CHAT_TOOLS: Any = [weather_tool(CHAT)]
RESPONSES_TOOLS: Any = [{**weather_tool(RESPONSES), "strict": False}]
MESSAGES_TOOLS: Any = [weather_tool(MESSAGES)]


@pytest.fixture
async def aopenai(simulator: Simulator) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=simulator.openai_base_url, api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture
async def aanthropic(simulator: Simulator) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=simulator.base_url, api_key="any", max_retries=0) as client:
        yield client


async def test_openai_async_stream(aopenai: openai.AsyncOpenAI) -> None:
    """A stream read to its end: role, text, finish, usage that counts the pieces."""
    stream = await aopenai.chat.completions.create(
        model="sim-chat", messages=QUESTION, stream=True, stream_options={"include_usage": True}
    )
    pieces, finishes, usages = [], [], []
    async for chunk in stream:
        for choice in chunk.choices:
            pieces += [choice.delta.content] if choice.delta.content else []
            finishes += [choice.finish_reason] if choice.finish_reason else []
        usages += [chunk.usage] if chunk.usage else []
    assert finishes == ["stop"]
    (usage,) = usages
    assert usage.completion_tokens == len(pieces)
    plain = await aopenai.chat.completions.create(model="sim-chat", messages=QUESTION)
    assert plain.choices[0].message.content == "".join(pieces)
    assert plain.usage == usage


async def test_openai_sync(simulator: Simulator) -> None:
    """The synchronous client: a stream, an answer, the models."""

    def converse() -> None:
        with openai.OpenAI(base_url=simulator.openai_base_url, api_key="any", max_retries=0) as client:
            chunks = list(client.chat.completions.create(model="sim-fast", messages=QUESTION, stream=True))
            text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
            plain = client.chat.completions.create(model="sim-fast", messages=QUESTION)
            assert plain.choices[0].message.content == text
            assert plain.usage is not None
            assert plain.usage.completion_tokens == len(chunks) - 2
            legacy = client.completions.create(model="sim-fast", prompt="hi", max_tokens=4, stream=True)
            assert len([chunk for chunk in legacy if chunk.choices[0].text]) == 4
            assert "sim-fast" in [model.id for model in client.models.list()]

    await asyncio.to_thread(converse)


async def test_openai_tools(aopenai: openai.AsyncOpenAI) -> None:
    """The SDK's own accumulation of a streamed call gives the arguments of the plain one."""
    async with aopenai.chat.completions.stream(model="sim-tools", messages=QUESTION, tools=CHAT_TOOLS) as stream:
        final = await stream.get_final_completion()
    plain = await aopenai.chat.completions.create(model="sim-tools", messages=QUESTION, tools=CHAT_TOOLS)
    (streamed_call,) = final.choices[0].message.tool_calls or []
    (plain_call,) = plain.choices[0].message.tool_calls or []
    assert plain_call.type == "function"
    assert streamed_call.function.arguments == plain_call.function.arguments
    assert "city" in orjson.loads(plain_call.function.arguments)
    assert final.choices[0].finish_reason == "tool_calls"


async def test_openai_embeddings(aopenai: openai.AsyncOpenAI) -> None:
    """The SDK asks for base64 by itself and hands out floats."""
    answer = await aopenai.embeddings.create(model="sim-fast", input=["one", "two"], dimensions=64)
    floats = await aopenai.embeddings.create(
        model="sim-fast", input=["one", "two"], dimensions=64, encoding_format="float"
    )
    assert [entry.embedding for entry in answer.data] == [entry.embedding for entry in floats.data]
    assert answer.usage.prompt_tokens == 2


@pytest.mark.parametrize("model", ["sim-fast", "sim-think", "sim-tools"])
async def test_openai_responses(aopenai: openai.AsyncOpenAI, model: str) -> None:
    """The SDK follows a Responses stream to its final response, which is the plain one's output."""
    deltas = 0
    async with aopenai.responses.stream(model=model, input="hi", tools=RESPONSES_TOOLS) as stream:
        async for event in stream:
            deltas += event.type.endswith(".delta")
        final = await stream.get_final_response()
    plain = await aopenai.responses.create(model=model, input="hi", tools=RESPONSES_TOOLS)
    assert final.status == plain.status == "completed"
    assert final.output_text == plain.output_text
    assert [item.type for item in final.output] == [item.type for item in plain.output]
    assert final.usage == plain.usage
    assert final.usage is not None
    assert final.usage.output_tokens == deltas + final.usage.output_tokens_details.reasoning_tokens


async def test_openai_responses_sync(simulator: Simulator) -> None:
    """The synchronous client reads the same events."""

    def converse() -> None:
        with openai.OpenAI(base_url=simulator.openai_base_url, api_key="any", max_retries=0) as client:
            stream = client.responses.create(model="sim-fast", input="hi", stream=True)
            kinds = [event.type for event in stream]
        assert kinds[0] == "response.created"
        assert kinds[-1] == "response.completed"

    await asyncio.to_thread(converse)


@pytest.mark.parametrize(
    ("model", "error"),
    [
        ("sim-400", openai.BadRequestError),
        ("sim-401", openai.AuthenticationError),
        ("sim-404", openai.NotFoundError),
        ("sim-429", openai.RateLimitError),
        ("sim-429-quota", openai.RateLimitError),
        ("sim-500", openai.InternalServerError),
        ("sim-503", openai.InternalServerError),
        ("sim-reset-before-headers", openai.APIConnectionError),
        ("sim-reset-mid-stream", openai.APIConnectionError),
        ("sim-error-event-first", openai.APIError),
        ("sim-error-mid-stream", openai.APIError),
    ],
)
async def test_openai_errors(aopenai: openai.AsyncOpenAI, model: str, error: type[Exception]) -> None:
    """Every failure arrives as the exception that the SDK has for it."""
    with pytest.raises(error):
        async for _ in await aopenai.chat.completions.create(model=model, messages=QUESTION, stream=True):
            pass


async def test_openai_retries_by_itself(simulator: Simulator) -> None:
    """With its own two retries the SDK survives a model that fails twice."""
    async with openai.AsyncOpenAI(base_url=simulator.openai_base_url, api_key="any", max_retries=2) as client:
        answer = await client.chat.completions.create(model="sim-fail-first-2", messages=QUESTION)
    assert answer.choices[0].message.content
    assert [entry.status for entry in simulator.journal.entries] == [500, 500, 200]


async def test_anthropic_async_stream(aanthropic: anthropic.AsyncAnthropic) -> None:
    """The SDK's stream of text and its final message, equal to the plain one."""
    pieces = []
    async with aanthropic.messages.stream(model="claude-sim-chat", max_tokens=4096, messages=QUESTION) as stream:
        async for text in stream.text_stream:
            pieces.append(text)
        final = await stream.get_final_message()
    plain = await aanthropic.messages.create(model="claude-sim-chat", max_tokens=4096, messages=QUESTION)
    (block,) = plain.content
    assert block.type == "text"
    assert block.text == "".join(pieces)
    assert final.stop_reason == plain.stop_reason == "end_turn"
    assert final.usage.output_tokens == plain.usage.output_tokens == len(pieces)
    assert final.usage.input_tokens == plain.usage.input_tokens
    counted = await aanthropic.messages.count_tokens(model="claude-sim-chat", messages=QUESTION)
    assert counted.input_tokens == plain.usage.input_tokens


async def test_anthropic_sync(simulator: Simulator) -> None:
    """The synchronous client: a stream, an answer, a count, the models."""

    def converse() -> None:
        with anthropic.Anthropic(base_url=simulator.base_url, api_key="any", max_retries=0) as client:
            asked: Any = {"model": "claude-sim-fast", "max_tokens": 4096, "messages": QUESTION}
            with client.messages.stream(**asked) as stream:
                text = "".join(stream.text_stream)
                final = stream.get_final_message()
            plain = client.messages.create(**asked)
            assert plain.content[0].to_dict()["text"] == text
            assert plain.usage.output_tokens == final.usage.output_tokens
            raw = [event.type for event in client.messages.create(**asked, stream=True)]
            assert raw.count("content_block_delta") == plain.usage.output_tokens
            counted = client.messages.count_tokens(model="claude-sim-fast", messages=QUESTION)
            assert counted.input_tokens == plain.usage.input_tokens
            assert "claude-sim-fast" in [model.id for model in client.models.list()]

    await asyncio.to_thread(converse)


async def test_anthropic_tools(aanthropic: anthropic.AsyncAnthropic) -> None:
    """The SDK's own accumulation of a streamed call gives the input of the plain one."""
    asked: Any = {
        "model": "claude-sim-fast",
        "max_tokens": 4096,
        "messages": QUESTION,
        "tools": MESSAGES_TOOLS,
        "tool_choice": {"type": "tool", "name": "get_weather"},
    }
    async with aanthropic.messages.stream(**asked) as stream:
        final = await stream.get_final_message()
    plain = await aanthropic.messages.create(**asked)
    assert final.content[0].type == plain.content[0].type == "tool_use"
    assert final.content[0].input == plain.content[0].input
    assert "city" in plain.content[0].input
    assert final.stop_reason == "tool_use"


async def test_anthropic_thinking(aanthropic: anthropic.AsyncAnthropic) -> None:
    """The SDK accepts a thinking block that has a signature only."""
    async with aanthropic.messages.stream(model="claude-sim-think", max_tokens=4096, messages=QUESTION) as stream:
        final = await stream.get_final_message()
    assert [block.type for block in final.content] == ["thinking", "text"]
    assert final.usage.output_tokens_details is not None
    assert 64 <= final.usage.output_tokens_details.thinking_tokens < final.usage.output_tokens


@pytest.mark.parametrize(
    ("model", "error"),
    [
        ("claude-sim-400", anthropic.BadRequestError),
        ("claude-sim-401", anthropic.AuthenticationError),
        ("claude-sim-404", anthropic.NotFoundError),
        ("claude-sim-429", anthropic.RateLimitError),
        ("claude-sim-500", anthropic.InternalServerError),
        ("claude-sim-529", anthropic.APIStatusError),
        ("claude-sim-reset-before-headers", anthropic.APIConnectionError),
        ("claude-sim-error-event-first", anthropic.APIStatusError),
        ("claude-sim-error-mid-stream", anthropic.APIStatusError),
    ],
)
async def test_anthropic_errors(aanthropic: anthropic.AsyncAnthropic, model: str, error: type[Exception]) -> None:
    """Every failure arrives as the exception that the SDK has for it."""
    with pytest.raises(error):
        async for _ in await aanthropic.messages.create(model=model, max_tokens=4096, messages=QUESTION, stream=True):
            pass
