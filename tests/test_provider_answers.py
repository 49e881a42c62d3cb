"""The builders of provider answers, judged by the providers' own SDKs."""

import json
from collections.abc import AsyncIterator

import anthropic
import openai
import pytest
from openai.types.responses import ResponseCompletedEvent, ResponseFailedEvent, ResponseIncompleteEvent

from tests.provider_answers import (
    OPENAI_USAGE,
    RESPONSES_USAGE,
    anthropic_answer,
    anthropic_error,
    anthropic_stream,
    completions_answer,
    completions_stream,
    embeddings_answer,
    event_stream,
    openai_answer,
    openai_error,
    openai_error_doc,
    openai_stream,
    responses_answer,
    responses_stream,
    words,
)
from tests.scripted_upstream import ScriptedUpstream
from tests.upstream_script import event

SAID = "".join(words(4))


@pytest.fixture
async def openai_sdk(upstream: ScriptedUpstream) -> AsyncIterator[openai.AsyncOpenAI]:
    """OpenAI's SDK, talking straight to the scripted upstream."""
    async with openai.AsyncOpenAI(api_key="k", base_url=upstream.openai_base, max_retries=0) as sdk:
        yield sdk


@pytest.fixture
async def anthropic_sdk(upstream: ScriptedUpstream) -> AsyncIterator[anthropic.AsyncAnthropic]:
    """Anthropic's SDK, talking straight to the scripted upstream."""
    async with anthropic.AsyncAnthropic(api_key="k", base_url=upstream.anthropic_base, max_retries=0) as sdk:
        yield sdk


@pytest.mark.parametrize("usage_in_finish", [False, True])
async def test_openai_chat_stream(
    upstream: ScriptedUpstream, openai_sdk: openai.AsyncOpenAI, usage_in_finish: bool
) -> None:
    """The SDK reads every delta, the finish reason and the usage in either place."""
    upstream.next(openai_stream(4, usage=OPENAI_USAGE, usage_in_finish=usage_in_finish))
    stream = await openai_sdk.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "hi"}], stream=True
    )
    parts = [part async for part in stream]
    choices = [part.choices[0] for part in parts if part.choices]
    assert "".join(choice.delta.content or "" for choice in choices) == SAID
    assert choices[-1].finish_reason == "stop"
    assert parts[-1].usage is not None
    assert parts[-1].usage.completion_tokens == OPENAI_USAGE["completion_tokens"]
    assert bool(parts[-1].choices) is usage_in_finish


async def test_openai_unary_answers(upstream: ScriptedUpstream, openai_sdk: openai.AsyncOpenAI) -> None:
    """Chat, completions and embeddings are what the SDK expects."""
    upstream.next(openai_answer("Hé"), completions_answer("Hé"), embeddings_answer([[0.5], [0.25]]))
    chat = await openai_sdk.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
    assert chat.choices[0].message.content == "Hé"
    assert chat.usage is not None
    assert chat.usage.total_tokens == 14
    completion = await openai_sdk.completions.create(model="m", prompt="hi")
    assert completion.choices[0].text == "Hé"
    vectors = await openai_sdk.embeddings.create(model="m", input=["a", "b"], encoding_format="float")
    assert [vector.embedding for vector in vectors.data] == [[0.5], [0.25]]


async def test_openai_completions_stream(upstream: ScriptedUpstream, openai_sdk: openai.AsyncOpenAI) -> None:
    """The legacy stream is read to its end."""
    upstream.next(completions_stream(4))
    stream = await openai_sdk.completions.create(model="m", prompt="hi", stream=True)
    assert "".join([part.choices[0].text async for part in stream]) == SAID


@pytest.mark.parametrize("closing", ["completed", "incomplete", "failed"])
async def test_responses_stream(upstream: ScriptedUpstream, openai_sdk: openai.AsyncOpenAI, closing: str) -> None:
    """The SDK types every event; the closing one carries the usage."""
    upstream.next(responses_stream(4, closing=closing))
    stream = await openai_sdk.responses.create(model="m", input="hi", stream=True)
    seen = [part async for part in stream]
    assert "".join(part.delta for part in seen if part.type == "response.output_text.delta") == SAID
    last = seen[-1]
    assert isinstance(last, ResponseCompletedEvent | ResponseIncompleteEvent | ResponseFailedEvent)
    assert last.type == f"response.{closing}"
    assert last.response.usage is not None
    assert last.response.usage.output_tokens == RESPONSES_USAGE["output_tokens"]
    assert [part.sequence_number for part in seen] == list(range(len(seen)))


async def test_responses_answer(upstream: ScriptedUpstream, openai_sdk: openai.AsyncOpenAI) -> None:
    """The unary answer of the Responses API is what the SDK expects."""
    upstream.next(responses_answer("Hé"))
    response = await openai_sdk.responses.create(model="m", input="hi")
    assert response.output_text == "Hé"


async def test_openai_errors(upstream: ScriptedUpstream, openai_sdk: openai.AsyncOpenAI) -> None:
    """The SDK raises its own error for an error answer, and for an error event."""
    upstream.next(
        openai_error(429, ("Retry-After", "7")),
        event_stream(event(openai_error_doc("half way"))),
    )
    with pytest.raises(openai.RateLimitError) as refused:
        await openai_sdk.completions.create(model="m", prompt="hi")
    assert refused.value.response.headers["retry-after"] == "7"
    stream = await openai_sdk.completions.create(model="m", prompt="hi", stream=True)
    with pytest.raises(openai.APIError, match="half way"):
        _ = [part async for part in stream]


async def test_anthropic_stream(upstream: ScriptedUpstream, anthropic_sdk: anthropic.AsyncAnthropic) -> None:
    """The SDK builds the whole message, usage and stop reason, from the events."""
    upstream.next(anthropic_stream(4))
    async with anthropic_sdk.messages.stream(
        model="m", max_tokens=9, messages=[{"role": "user", "content": "hi"}]
    ) as stream:
        said = "".join([text async for text in stream.text_stream])
        message = await stream.get_final_message()
    assert said == SAID
    assert (message.usage.input_tokens, message.usage.output_tokens) == (11, 3)
    assert message.stop_reason == "end_turn"
    assert json.loads(upstream.requests[0].body)["stream"] is True


async def test_anthropic_answers(upstream: ScriptedUpstream, anthropic_sdk: anthropic.AsyncAnthropic) -> None:
    """The unary answer and the error are what the SDK expects."""
    upstream.next(anthropic_answer("Hé"), anthropic_error(500))
    message = await anthropic_sdk.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": "hi"}])
    assert [block.text for block in message.content if block.type == "text"] == ["Hé"]
    with pytest.raises(anthropic.InternalServerError):
        await anthropic_sdk.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": "hi"}])
