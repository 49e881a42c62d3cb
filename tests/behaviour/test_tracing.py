"""Traces from the collector's side: what real requests through a real gateway leave behind there."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.behaviour.conftest import MakeStage, Way
from tests.behaviour.stage import CHAT, KEY, MESSAGES, PROVIDER_KEY, RESPONSES, Stage, until_heard
from tests.otlp_collector import ERROR, UNSET, Collector, SeenSpan, collecting
from tests.provider_answers import (
    OPENAI_USAGE,
    anthropic_stream,
    openai_answer,
    openai_chunk,
    openai_error,
    openai_stream,
    responses_stream,
)
from tests.raw_client import request_wire
from tests.upstream_connection import SeenRequest
from tests.upstream_script import CHUNKED, SSE, end, event, head, stall

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID = "b7ad6b7169203331"
SAMPLED = ("traceparent", f"00-{TRACE_ID}-{PARENT_ID}-01")
NOT_SAMPLED = ("traceparent", f"00-{TRACE_ID}-{PARENT_ID}-00")


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    """On a free port of loopback; stopped after the test."""
    async with collecting() as started:
        yield started


async def traced(collector: Collector, make_stage: MakeStage, settings: str = "", **options: Any) -> Stage:
    """A stage whose traces go to the collector."""
    section = f'telemetry: {{otlp_endpoint: "{collector.url}"{settings}}}'
    return await make_stage(sections=section, **options)


def is_child(attempt: SeenSpan, request: SeenSpan) -> bool:
    """Whether one is the other's, and lies within it."""
    belongs = attempt.trace_id == request.trace_id and attempt.parent_id == request.span_id
    return belongs and request.start_ns <= attempt.start_ns <= attempt.end_ns <= request.end_ns


def context_of(request: SeenRequest) -> tuple[str, str, str]:
    """The trace, the span and the flags that a provider was given."""
    _, trace_id, span_id, flags = str(request.header("traceparent")).split("-")
    return trace_id, span_id, flags


async def test_a_stream(collector: Collector, make_stage: MakeStage, way: Way) -> None:
    """Two spans by the words of the conventions; the attempt's context is what the provider was given."""
    stage = await traced(collector, make_stage, way=way)
    stage.upstream.next(openai_stream(3, usage=OPENAI_USAGE, model="gpt-2026"))
    heard = await stage.hear(CHAT, max_tokens=99)
    request, (attempt,) = await collector.trace(2)
    assert (request.name, request.status, request.parent_id) == ("chat gpt", UNSET, "")
    assert 0 < float(request.attributes.pop("gen_ai.response.time_to_first_chunk")) < 60
    assert request.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt",
        "gen_ai.request.stream": True,
        "http.request.method": "POST",
        "http.route": CHAT,
        "url.path": CHAT,
        "http.response.status_code": 200,
        "aigateway.request.id": heard.head.get("x-request-id"),
        "aigateway.tenant.id": "acme",
        "aigateway.outcome": "success",
        "aigateway.attempts": 1,
        "aigateway.cost_nanousd": 11 * 1000 + 3 * 2000,
    }
    assert (attempt.name, attempt.status) == ("chat gpt", UNSET)
    assert is_child(attempt, request)
    assert 0 < float(attempt.attributes.pop("gen_ai.response.time_to_first_chunk")) < 60
    assert attempt.attributes.pop("gen_ai.response.id")
    assert attempt.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt",
        "gen_ai.request.stream": True,
        "gen_ai.request.max_tokens": 99,
        "gen_ai.response.model": "gpt-2026",
        "gen_ai.usage.input_tokens": 11,
        "gen_ai.usage.output_tokens": 3,
        "server.address": "127.0.0.1",
        "server.port": int(stage.upstream.url.rpartition(":")[2]),
        "aigateway.provider": "one",
        "aigateway.outcome": "success",
        "aigateway.usage.source": "reported",
    }
    (asked,) = stage.upstream.requests
    assert context_of(asked)[:2] == (attempt.trace_id, attempt.span_id)
    assert int(context_of(asked)[2], 16) & 1
    assert request.resource["service.name"] == "ai-gateway"


async def test_a_whole_answer(collector: Collector, make_stage: MakeStage) -> None:
    """The model and the id are what the answer says; there is no first chunk."""
    stage = await traced(collector, make_stage, ", service_name: edge, headers: {x-token: secret-1}")
    stage.upstream.next(openai_answer(usage=OPENAI_USAGE))
    answer = await stage.answer(CHAT)
    request, (attempt,) = await collector.trace(2)
    assert attempt.attributes["gen_ai.response.id"] == answer.json()["id"]
    assert attempt.attributes["gen_ai.response.model"] == answer.json()["model"]
    assert attempt.attributes["gen_ai.usage.output_tokens"] == 3
    seen = {**request.attributes, **attempt.attributes}
    assert not {"gen_ai.request.stream", "gen_ai.response.time_to_first_chunk"} & seen.keys()
    assert request.resource["service.name"] == "edge"
    assert collector.headers["x-token"] == "secret-1"


@pytest.mark.parametrize(
    ("path", "script", "provider"),
    [(MESSAGES, anthropic_stream(), "anthropic"), (RESPONSES, responses_stream(), "openai")],
    ids=["messages", "responses"],
)
async def test_other_streams(
    collector: Collector, make_stage: MakeStage, path: str, script: list[Any], provider: str
) -> None:
    """They too say in their first event who they are; both are what the conventions call chat."""
    stage = await traced(collector, make_stage)
    stage.upstream.next(script)
    await stage.hear(path)
    request, (attempt,) = await collector.trace(2)
    assert request.attributes["gen_ai.operation.name"] == "chat"
    assert attempt.attributes["gen_ai.provider.name"] == provider
    assert attempt.attributes["gen_ai.response.id"]
    assert attempt.attributes["gen_ai.response.model"]
    assert attempt.attributes["gen_ai.usage.output_tokens"] == 3


async def test_failing_over(collector: Collector, make_stage: MakeStage) -> None:
    """Each provider is given a context of its own; the first span has the error, the second the tokens."""
    stage = await traced(collector, make_stage, two=True)
    assert stage.second is not None
    stage.upstream.next(openai_error(500))
    stage.second.next(openai_stream(usage=OPENAI_USAGE))
    await stage.hear(CHAT)
    request, (first, second) = await collector.trace(3)
    assert (request.status, request.attributes["aigateway.attempts"]) == (UNSET, 2)
    assert (first.status, first.attributes["error.type"]) == (ERROR, "provider_error")
    assert "gen_ai.usage.output_tokens" not in first.attributes
    assert (second.status, second.attributes["gen_ai.usage.output_tokens"]) == (UNSET, 3)
    assert "error.type" not in second.attributes
    assert [span.attributes["aigateway.provider"] for span in (first, second)] == ["one", "two"]
    asked = [context_of(upstream.requests[0]) for upstream in (stage.upstream, stage.second)]
    assert [(trace_id, span_id) for trace_id, span_id, _ in asked] == [
        (request.trace_id, first.span_id),
        (request.trace_id, second.span_id),
    ]


async def test_a_client_that_leaves(collector: Collector, make_stage: MakeStage, way: Way) -> None:
    """That is an ending of its own, and no fault of the provider; what was relayed is counted."""
    stage = await traced(collector, make_stage, way=way)
    stage.upstream.next([head(200, SSE, CHUNKED), event(openai_chunk({"content": "word"})), stall()])
    client = await stage.ask(CHAT)
    await client.answer_head()
    await until_heard(client, b"word")
    await client.reset()
    request, (attempt,) = await collector.trace(2)
    for span in (request, attempt):
        assert (span.status, span.attributes["error.type"]) == (UNSET, "client_closed")
    assert attempt.attributes["aigateway.usage.source"] == "estimated"


async def test_a_broken_stream(collector: Collector, make_stage: MakeStage) -> None:
    """Its head said 200; both spans say that it failed."""
    stage = await traced(collector, make_stage)
    word = event(openai_chunk({"content": "word"}))
    stage.upstream.next([head(200, SSE, CHUNKED), word, event({"error": {"message": "no"}}), end()])
    await stage.hear(CHAT)
    request, (attempt,) = await collector.trace(2)
    for span in (request, attempt):
        assert (span.status, span.attributes["error.type"]) == (ERROR, "stream_error")
    assert request.attributes["http.response.status_code"] == 200


REFUSALS = {
    "unauthorized": (401, "", ("Authorization", "Bearer wrong")),
    "over_budget": (402, "budget: {usd: 0}", None),
    "rate_limited": (429, "limits: {requests_per_minute: 1, burst: 1}", None),
}


@pytest.mark.parametrize("code", REFUSALS)
async def test_refusals(collector: Collector, make_stage: MakeStage, code: str) -> None:
    """One span without children, under the client's own trace; the client's fault is no error of the server's."""
    status, tenant, key = REFUSALS[code]
    stage = await traced(collector, make_stage, tenant=tenant)
    if code == "rate_limited":
        stage.upstream.next(openai_answer())
        await stage.answer(CHAT, NOT_SAMPLED)
    if key is None:
        assert (await stage.answer(CHAT, SAMPLED)).status == status
    else:
        client = await stage.client()
        await client.send(request_wire("POST", CHAT, ("Host", "x"), key, SAMPLED, body=b"{}"))
        assert (await client.answer()).status == status
    request, attempts = await collector.trace(1)
    assert attempts == []
    assert (request.trace_id, request.parent_id, request.status) == (TRACE_ID, PARENT_ID, UNSET)
    assert request.attributes["http.response.status_code"] == status
    assert request.attributes["error.type"] == code
    assert ("aigateway.tenant.id" in request.attributes) == (key is None)


async def test_the_client_s_context(collector: Collector, make_stage: MakeStage) -> None:
    """It is the parent, whatever the share; its state goes on to the provider, with the attempt as the span."""
    stage = await traced(collector, make_stage, ", sample: 0")
    stage.upstream.next(openai_stream())
    await stage.hear(CHAT, SAMPLED, ("tracestate", "vendor=1"), ("tracestate", "other=2"))
    request, (attempt,) = await collector.trace(2)
    assert (request.trace_id, request.parent_id) == (TRACE_ID, PARENT_ID)
    (asked,) = stage.upstream.requests
    assert context_of(asked)[:2] == (TRACE_ID, attempt.span_id)
    assert [value for name, value in asked.headers if name.lower() == "tracestate"] == ["vendor=1,other=2"]
    assert request.state == "vendor=1,other=2"


@pytest.mark.parametrize(
    ("sample", "headers"), [("0", ()), ("1", (NOT_SAMPLED,))], ids=["by the share", "by the client"]
)
async def test_what_is_not_sampled(
    collector: Collector, make_stage: MakeStage, sample: str, headers: tuple[tuple[str, str], ...]
) -> None:
    """Nothing of it is sent; the provider learns that it is not, in the same trace. What is sampled comes after it."""
    stage = await traced(collector, make_stage, f", sample: {sample}")
    stage.upstream.always(openai_stream())
    await stage.hear(CHAT, *headers)
    (asked,) = stage.upstream.requests
    trace_id, span_id, flags = context_of(asked)
    assert not int(flags, 16) & 1
    assert (trace_id == TRACE_ID) == bool(headers)
    assert span_id != PARENT_ID
    await stage.hear(CHAT, ("traceparent", f"00-{'5' * 32}-{PARENT_ID}-01"))
    request, _ = await collector.trace(2)
    assert request.trace_id == "5" * 32


@pytest.mark.parametrize(
    "given",
    [
        (SAMPLED, ("traceparent", f"00-{'5' * 32}-{PARENT_ID}-01")),
        (("traceparent", f"00-{'0' * 32}-{PARENT_ID}-01"),),
        (("traceparent", "00-" + "a" * 4000),),
        (("traceparent", "ff" + SAMPLED[1][2:]),),
    ],
    ids=["two", "no trace", "endless", "version 255"],
)
async def test_a_context_that_is_none(
    collector: Collector, make_stage: MakeStage, given: tuple[tuple[str, str], ...]
) -> None:
    """A trace of our own begins, and nothing of what was sent goes on."""
    stage = await traced(collector, make_stage)
    stage.upstream.next(openai_stream())
    heard = await stage.hear(CHAT, *given, ("tracestate", "vendor=1"))
    assert heard.status == 200
    request, (attempt,) = await collector.trace(2)
    assert request.parent_id == ""
    assert request.trace_id not in {TRACE_ID, "5" * 32, "0" * 32}
    (asked,) = stage.upstream.requests
    assert context_of(asked)[:2] == (request.trace_id, attempt.span_id)
    assert asked.header("tracestate") is None


async def test_no_words_and_no_keys(collector: Collector, make_stage: MakeStage) -> None:
    """Nothing of what is asked and answered, and no credential of either side, is in what the collector gets."""
    stage = await traced(collector, make_stage)
    stage.upstream.next(openai_stream(), openai_error(400), openai_answer())
    await stage.hear(CHAT, user="user-of-the-client")
    await stage.hear(CHAT)
    await stage.answer(CHAT)
    await collector.until_asked(1)
    while len(collector.spans) < 6:
        await collector.until_asked(collector.asked + 1)
    for secret in ("Say something", "word", "tokén", "user-of-the-client", KEY, PROVIDER_KEY):
        assert secret.encode() not in collector.wire


async def test_pages_are_not_traced(collector: Collector, make_stage: MakeStage) -> None:
    """Neither what is no request for a model, nor what leads nowhere."""
    stage = await traced(collector, make_stage)
    for path in ("/v1/models", "/v1/nothing", "/health", "/metrics"):
        client = await stage.client()
        await client.send(request_wire("GET", path, ("Host", "x"), ("Authorization", f"Bearer {KEY}")))
        await client.answer()
    stage.upstream.next(openai_stream())
    await stage.hear(CHAT)
    await collector.trace(2)
