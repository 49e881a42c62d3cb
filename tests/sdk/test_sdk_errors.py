"""What application code sees of failures: the SDKs' own exception classes, with status, code and request id."""

from collections.abc import AsyncIterable
from typing import Any

import anthropic
import openai
import pytest

from gateway.config import DEMO_KEY
from gateway.tenancy.tenants import hash_key
from tests.conftest import MakeGateway
from tests.provider_answers import anthropic_stream, openai_stream, responses_stream
from tests.scripted_upstream import ScriptedUpstream
from tests.sdk.conftest import Demo
from tests.upstream_script import Script, close, event, raw, reset, stall

QUESTION: Any = [{"role": "user", "content": "Tell me about streams."}]

REFUSALS: list[tuple[str, type[openai.APIStatusError], type[anthropic.APIStatusError], int, str]] = [
    ("500", openai.InternalServerError, anthropic.InternalServerError, 502, "provider_error"),
    ("401", openai.InternalServerError, anthropic.InternalServerError, 502, "provider_auth"),
    ("429", openai.RateLimitError, anthropic.RateLimitError, 429, "provider_throttled"),
    ("503", openai.RateLimitError, anthropic.RateLimitError, 429, "provider_throttled"),
    ("529", openai.RateLimitError, anthropic.RateLimitError, 429, "provider_throttled"),
    ("html-200", openai.InternalServerError, anthropic.InternalServerError, 502, "provider_error"),
    ("reset-before-headers", openai.InternalServerError, anthropic.InternalServerError, 502, "provider_error"),
]


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(("behaviour", "kind", "_", "status", "code"), REFUSALS, ids=[row[0] for row in REFUSALS])
async def test_openai_sdk_raises_what_the_gateway_says(
    aopenai: openai.AsyncOpenAI,
    behaviour: str,
    kind: type[openai.APIStatusError],
    _: object,
    status: int,
    code: str,
    is_stream: bool,
) -> None:
    """The class that applications already catch, with our code and the id to ask support about."""
    with pytest.raises(kind) as raised:
        await aopenai.chat.completions.create(model=f"sim-{behaviour}", messages=QUESTION, stream=is_stream)
    error = raised.value
    assert (error.status_code, error.code) == (status, code)
    assert (error.request_id or "").startswith("req_")


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(("behaviour", "_", "kind", "status", "code"), REFUSALS, ids=[row[0] for row in REFUSALS])
async def test_anthropic_sdk_raises_what_the_gateway_says(
    aanthropic: anthropic.AsyncAnthropic,
    behaviour: str,
    _: object,
    kind: type[anthropic.APIStatusError],
    status: int,
    code: str,
    is_stream: bool,
) -> None:
    """The same in the other dialect."""
    with pytest.raises(kind) as raised:
        await aanthropic.messages.create(
            model=f"claude-sim-{behaviour}", max_tokens=100, messages=QUESTION, stream=is_stream
        )
    error = raised.value
    body: Any = error.body
    assert (error.status_code, body["error"]["code"]) == (status, code)
    assert error.request_id == body["request_id"]


async def test_refusal_of_the_provider_is_passed_on(
    aopenai: openai.AsyncOpenAI, aanthropic: anthropic.AsyncAnthropic
) -> None:
    """A 400 that the client can mend comes in the provider's own words."""
    with pytest.raises(openai.BadRequestError, match="temperature") as raised:
        await aopenai.chat.completions.create(model="sim-400", messages=QUESTION)
    assert (raised.value.code, raised.value.param) == ("invalid_value", "temperature")
    with pytest.raises(anthropic.BadRequestError, match="temperature"):
        await aanthropic.messages.create(model="claude-sim-400", max_tokens=9, messages=QUESTION)


async def test_gateway_s_own_refusals(served: Demo) -> None:
    """A wrong key, a forbidden model, a wrong field."""
    async with openai.AsyncOpenAI(base_url=served.openai_base, api_key="agw-wrong", max_retries=0) as stranger:
        with pytest.raises(openai.AuthenticationError) as unauthorized:
            await stranger.models.list()
        assert unauthorized.value.code == "unauthorized"
    async with openai.AsyncOpenAI(base_url=served.openai_base, api_key=DEMO_KEY, max_retries=0) as client:
        with pytest.raises(openai.PermissionDeniedError) as forbidden:
            await client.chat.completions.create(model="gpt-4o", messages=QUESTION)
        assert (forbidden.value.code, forbidden.value.param) == ("forbidden_model", "model")
        with pytest.raises(openai.BadRequestError) as invalid:
            await client.chat.completions.create(model="sim-chat", messages=QUESTION, n=0)
        assert invalid.value.param == "n"
        with pytest.raises(openai.NotFoundError) as missing:
            await client.moderations.create(input="x")
        assert missing.value.code == "not_found"


async def test_gateway_s_own_refusals_in_the_other_dialect(served: Demo) -> None:
    """The same of Anthropic's classes."""
    base = served.anthropic_base
    async with anthropic.AsyncAnthropic(base_url=base, api_key="agw-wrong", max_retries=0) as stranger:
        with pytest.raises(anthropic.AuthenticationError):
            await stranger.messages.create(model="claude-sim-chat", max_tokens=9, messages=QUESTION)
    async with anthropic.AsyncAnthropic(base_url=base, api_key=DEMO_KEY, max_retries=0) as client:
        with pytest.raises(anthropic.PermissionDeniedError):
            await client.messages.create(model="claude-x", max_tokens=9, messages=QUESTION)
        with pytest.raises(anthropic.BadRequestError, match="max_tokens"):
            await client.messages.create(model="claude-sim-chat", max_tokens=0, messages=QUESTION)
        with pytest.raises(anthropic.NotFoundError):
            await client.models.retrieve("nope")


async def collect(stream: AsyncIterable[Any], into: list[Any]) -> None:
    """Reads a stream to its end, keeping what came before an exception."""
    async for item in stream:
        into.append(item)


BROKEN = ["reset-mid-stream", "truncated", "error-mid-stream", "garbage"]


@pytest.mark.parametrize("behaviour", BROKEN)
async def test_broken_stream_raises_in_the_openai_sdk(
    aopenai: openai.AsyncOpenAI, served: Demo, behaviour: str
) -> None:
    """After some text an exception, never a short answer that looks whole."""
    stream = await aopenai.chat.completions.create(model=f"sim-{behaviour}", messages=QUESTION, stream=True)
    chunks: list[Any] = []
    with pytest.raises(openai.APIError):
        await collect(stream, chunks)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert {chunk.choices[0].finish_reason for chunk in chunks} == {None}
    assert served.access_log()[0]["outcome"] in ("truncated", "stream_error", "provider_error")


@pytest.mark.parametrize("behaviour", [name for name in BROKEN if name != "error-mid-stream"])
async def test_broken_response_raises_in_the_openai_sdk(aopenai: openai.AsyncOpenAI, behaviour: str) -> None:
    """The Responses endpoint too."""
    stream = await aopenai.responses.create(model=f"sim-{behaviour}", input="Tell me.", stream=True)
    events: list[Any] = []
    with pytest.raises(openai.APIError):
        await collect(stream, events)
    seen = {event_.type for event_ in events}
    assert "response.output_text.delta" in seen
    assert "response.completed" not in seen


async def test_provider_s_error_event_of_a_response_is_the_last(aopenai: openai.AsyncOpenAI) -> None:
    """The SDK hands that one over instead of raising it: nothing of ours follows it."""
    stream = await aopenai.responses.create(model="sim-error-mid-stream", input="Tell me.", stream=True)
    events: list[Any] = []
    await collect(stream, events)
    assert events[-1].type in ("error", "response.failed")
    assert "response.completed" not in {event_.type for event_ in events}


@pytest.mark.parametrize("behaviour", BROKEN)
async def test_broken_stream_raises_in_the_anthropic_sdk(aanthropic: anthropic.AsyncAnthropic, behaviour: str) -> None:
    """After some text an exception."""
    pieces: list[Any] = []
    async with aanthropic.messages.stream(model=f"claude-sim-{behaviour}", max_tokens=500, messages=QUESTION) as stream:
        with pytest.raises(anthropic.APIError):
            await collect(stream.text_stream, pieces)
    assert pieces


CONFIG = """
providers:
  one: {{dialect: openai, base_url: "{openai}", timeouts: {{stall_s: 0.05}}}}
  two: {{dialect: anthropic, base_url: "{anthropic}", timeouts: {{stall_s: 0.05}}}}
models:
  gpt: {{targets: [one/gpt], price: {{input: 1, output: 1}}}}
  claude: {{targets: [two/claude], price: {{input: 1, output: 1}}}}
tenants:
- {{id: demo, keys: [{{id: demo, hash: "{hash}"}}]}}
"""


@pytest.mark.parametrize("ending", ["reset", "close", "stall", "framing"])
async def test_every_way_to_break_raises_in_every_sdk(
    make_gateway: MakeGateway, upstream: ScriptedUpstream, ending: str
) -> None:
    """A provider that resets, ends early, falls silent or breaks its framing, in three stream formats."""
    endings: dict[str, Script] = {
        "reset": [reset()],
        "close": [close()],
        "stall": [stall()],
        "framing": [raw(b"zz\r\n"), stall()],
    }
    last = endings[ending]
    upstream.next(
        [openai_stream(3, done=False, finish=None, finished=False), last],
        [responses_stream(3, closing=None, finished=False), last],
        [anthropic_stream(3, stop=None, finished=False), last],
    )
    text = CONFIG.format(openai=upstream.openai_base, anthropic=upstream.anthropic_base, hash=hash_key(DEMO_KEY))
    gateway = await make_gateway(text, start={"access_log": None})
    base = f"{gateway.url}/v1"
    async with openai.AsyncOpenAI(base_url=base, api_key=DEMO_KEY, max_retries=0) as client:
        chunks = await client.chat.completions.create(model="gpt", messages=QUESTION, stream=True)
        with pytest.raises(openai.APIError) as raised:
            await collect(chunks, [])
        assert raised.value.code == {"stall": "stalled", "framing": "provider_error"}.get(ending, "truncated")
        events = await client.responses.create(model="gpt", input="Tell me.", stream=True)
        with pytest.raises(openai.APIError):
            await collect(events, [])
    async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key=DEMO_KEY, max_retries=0) as other:
        messages = await other.messages.create(model="claude", max_tokens=9, messages=QUESTION, stream=True)
        with pytest.raises(anthropic.APIStatusError) as status:
            await collect(messages, [])
        body: Any = status.value.body
        assert body["error"]["code"] == {"stall": "stalled", "framing": "provider_error"}.get(ending, "truncated")


async def test_provider_s_error_event_reaches_the_application(
    make_gateway: MakeGateway, upstream: ScriptedUpstream
) -> None:
    """In the provider's own words, once."""
    failure = event({"error": {"message": "The model crashed.", "type": "server_error", "code": "crashed"}})
    upstream.next([*openai_stream(3, done=False, finish=None, finished=False), failure, stall()])
    text = CONFIG.format(openai=upstream.openai_base, anthropic=upstream.anthropic_base, hash=hash_key(DEMO_KEY))
    gateway = await make_gateway(text, start={"access_log": None})
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=DEMO_KEY, max_retries=0) as client:
        chunks = await client.chat.completions.create(model="gpt", messages=QUESTION, stream=True)
        with pytest.raises(openai.APIError, match="The model crashed") as raised:
            await collect(chunks, [])
        assert raised.value.code == "crashed"
