"""The real OpenAI SDK through the gateway: every operation, streamed and not, asynchronous and synchronous."""

import asyncio
import json
from typing import Any

import openai

from gateway.config import DEMO_KEY
from tests.sdk.conftest import Demo

QUESTION: Any = [{"role": "user", "content": "Tell me about streams."}]
PARAMETERS: Any = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS: Any = [{"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}]
RESPONSES_TOOLS: Any = [{"type": "function", "name": "get_weather", "parameters": PARAMETERS, "strict": False}]


async def test_chat_stream_without_usage_asked(aopenai: openai.AsyncOpenAI, served: Demo) -> None:
    """Text and a finish reason; the usage event that the gateway asked for itself is not there, its figures are."""
    stream = await aopenai.chat.completions.create(model="sim-chat", messages=QUESTION, stream=True)
    chunks = [chunk async for chunk in stream]
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices[0].delta.content]
    assert chunks[-1].choices[0].finish_reason == "stop"
    (line,) = served.access_log()
    assert (line["usage"], line["output_tokens"], line["outcome"]) == ("reported", len(pieces), "success")
    assert line["cost_nanousd"] > 0


async def test_chat_stream_with_usage_asked(aopenai: openai.AsyncOpenAI, served: Demo) -> None:
    """The last chunk has no choices and the usage; the log has the same figures."""
    stream = await aopenai.chat.completions.create(
        model="sim-chat", messages=QUESTION, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert chunks[-1].choices == []
    usage = chunks[-1].usage
    assert usage is not None
    (line,) = served.access_log()
    assert (line["input_tokens"], line["output_tokens"]) == (usage.prompt_tokens, usage.completion_tokens)


async def test_chat_answer(aopenai: openai.AsyncOpenAI) -> None:
    """The same text as the stream's, and the gateway's headers beside it."""
    raw = await aopenai.chat.completions.with_raw_response.create(model="sim-chat", messages=QUESTION)
    answer = raw.parse()
    stream = await aopenai.chat.completions.create(model="sim-chat", messages=QUESTION, stream=True)
    text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert answer.choices[0].message.content == text
    assert raw.headers["x-gateway-provider"] == "demo"
    assert raw.headers["x-gateway-model"] == "sim-chat"
    assert answer._request_id == raw.headers["x-request-id"]


async def test_several_choices(aopenai: openai.AsyncOpenAI) -> None:
    """`n` of them, told apart by their index."""
    stream = await aopenai.chat.completions.create(model="sim-fast", messages=QUESTION, n=3, stream=True)
    assert {choice.index async for chunk in stream for choice in chunk.choices} == {0, 1, 2}


async def test_tools(aopenai: openai.AsyncOpenAI) -> None:
    """A streamed call, put together by the SDK, is the plain one; its result can be sent back."""
    async with aopenai.chat.completions.stream(model="sim-tools", messages=QUESTION, tools=TOOLS) as stream:
        final = await stream.get_final_completion()
    plain = await aopenai.chat.completions.create(model="sim-tools", messages=QUESTION, tools=TOOLS)
    (streamed,) = final.choices[0].message.tool_calls or []
    (call,) = plain.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert streamed.function.arguments == call.function.arguments
    assert "city" in json.loads(call.function.arguments)
    result: Any = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    messages: Any = [*QUESTION, plain.choices[0].message, result]
    after = await aopenai.chat.completions.create(model="sim-tools", messages=messages, tools=TOOLS)
    assert after.choices[0].message.content


async def test_completions(aopenai: openai.AsyncOpenAI) -> None:
    """The old endpoint, streamed and not."""
    stream = await aopenai.completions.create(model="sim-fast", prompt="Once", max_tokens=7, stream=True)
    text = "".join([chunk.choices[0].text async for chunk in stream])
    plain = await aopenai.completions.create(model="sim-fast", prompt="Once", max_tokens=7)
    assert plain.choices[0].text == text
    assert plain.usage is not None
    assert plain.usage.completion_tokens == 7


async def test_embeddings(aopenai: openai.AsyncOpenAI, served: Demo) -> None:
    """In the encoding that the SDK asks for by itself (base64), one vector for each input."""
    answer = await aopenai.embeddings.create(model="sim-fast", input=["a", "b", "a"])
    vectors = [item.embedding for item in answer.data]
    assert vectors[0] == vectors[2] != vectors[1]
    assert served.access_log()[0]["operation"] == "embeddings"


async def test_responses(aopenai: openai.AsyncOpenAI, served: Demo) -> None:
    """Streamed and not, and continued: the next answer finds the one before it."""
    stream = await aopenai.responses.create(model="sim-chat", input="Tell me.", stream=True)
    events = [event async for event in stream]
    assert events[-1].type == "response.completed"
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    plain = await aopenai.responses.create(model="sim-chat", input="Tell me.")
    assert plain.output_text == text
    for previous in (plain.id, events[-1].response.id):
        again = await aopenai.responses.create(model="sim-chat", input="More.", previous_response_id=previous)
        assert again.previous_response_id == previous
        assert again.output_text
    assert {(line["usage"], line["outcome"]) for line in served.access_log()} == {("reported", "success")}


async def test_responses_tools(aopenai: openai.AsyncOpenAI) -> None:
    """A function call as an output item."""
    answer = await aopenai.responses.create(model="sim-tools", input="Weather?", tools=RESPONSES_TOOLS)
    (call,) = [item for item in answer.output if item.type == "function_call"]
    assert "city" in json.loads(call.arguments)


async def test_models(aopenai: openai.AsyncOpenAI) -> None:
    """The list holds what can be called; one of them by its name."""
    names = [model.id async for model in aopenai.models.list()]
    assert {"sim-chat", "sim-fast", "claude-sim-chat"} <= set(names)
    assert (await aopenai.models.retrieve("sim-chat")).owned_by == "demo"


async def test_synchronous_client(served: Demo) -> None:
    """The first lines of every tutorial, as they are written there."""

    def tutorial() -> None:
        with openai.OpenAI(base_url=served.openai_base, api_key=DEMO_KEY) as client:
            said = ""
            for chunk in client.chat.completions.create(model="sim-chat", messages=QUESTION, stream=True):
                said += chunk.choices[0].delta.content or ""
            answer = client.chat.completions.create(model="sim-chat", messages=QUESTION)
            assert answer.choices[0].message.content == said
            with client.responses.stream(model="sim-chat", input="Tell me.") as events:
                for _ in events:
                    pass
                assert events.get_final_response().output_text
            assert client.embeddings.create(model="sim-fast", input="a").data[0].embedding
            assert "sim-chat" in [model.id for model in client.models.list()]

    await asyncio.to_thread(tutorial)
