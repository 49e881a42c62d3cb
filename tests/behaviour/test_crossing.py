"""What crosses: headers by two short lists, bodies byte for byte, keys never."""

import json

import pytest

from tests.behaviour.conftest import MakeStage, Way
from tests.behaviour.stage import (
    CHAT,
    KEY,
    MESSAGES,
    PROVIDER_KEY,
    Stage,
    asked,
    raw_request,
)
from tests.provider_answers import (
    anthropic_answer,
    openai_answer,
    openai_stream,
)
from tests.upstream_script import (
    CHUNKED,
    JSON,
    Write,
    body_of,
    head,
    raw,
)

FROM_UPSTREAM = (
    ("Set-Cookie", "a=b"),
    ("Server", "cloud"),
    ("Via", "1.1 x"),
    ("openai-organization", "org"),
    ("openai-processing-ms", "12"),
    ("Strict-Transport-Security", "max-age=1"),
    ("Access-Control-Allow-Origin", "*"),
    ("x-gateway-provider", "forged"),
    ("x-ratelimit-remaining-tokens", "99"),
    ("anthropic-ratelimit-requests-limit", "5"),
    ("x-request-id", "req_theirs"),
    ("Retry-After", "1"),
    ("Authorization", f"Bearer {PROVIDER_KEY}"),
)
TO_CLIENT = {
    "server",
    "date",
    "content-type",
    "content-length",
    "x-request-id",
    "x-content-type-options",
    "x-gateway-provider",
    "x-gateway-model",
    "x-gateway-attempts",
    "x-gateway-cache",
    "x-provider-x-ratelimit-remaining-tokens",
    "x-provider-anthropic-ratelimit-requests-limit",
    "x-provider-request-id",
    "retry-after",
}
STREAM_ONLY = {"cache-control", "x-accel-buffering", "transfer-encoding"}


@pytest.mark.parametrize("stream", [False, True])
async def test_headers_that_cross_to_the_client(stage: Stage, stream: bool) -> None:
    """Exactly the listed ones, under the listed names; ours cannot be forged."""
    script = openai_stream(1) if stream else openai_answer()
    others, wire = script[1:], body_of(script)
    framing = CHUNKED if stream else ("Content-Length", str(len(wire)))
    kind = ("Content-Type", "text/event-stream") if stream else JSON
    stage.upstream.next([head(200, kind, framing, *FROM_UPSTREAM), *others])
    heard = await stage.hear(stream=stream)
    assert heard.body == wire
    names = {name.lower() for name, _ in heard.head.headers}
    assert names == (TO_CLIENT | STREAM_ONLY) - {"content-length"} if stream else names == TO_CLIENT
    assert heard.head.get("x-gateway-provider") == "one"
    assert heard.head.get("x-provider-request-id") == "req_theirs"
    assert heard.head.get("x-request-id") != "req_theirs"
    assert (heard.head.get("server") or "").startswith("aigateway/")


@pytest.mark.parametrize("stream", [False, True])
async def test_headers_of_any_bytes(stage: Stage, stream: bool) -> None:
    """A provider's header that is no ASCII does not get through, and breaks nothing."""
    wire = body_of(openai_stream(1) if stream else openai_answer())
    kind = "text/event-stream" if stream else "application/json"
    lines = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(wire)}\r\n".encode()
    odd = lines + b"x-request-id: \xff\xfe\r\nRetry-After: \xc3\xa4\r\n\r\n"
    stage.upstream.next([Write((odd,), 200), raw(wire)])
    heard = await stage.hear(stream=stream)
    assert (heard.status, heard.body) == (200, wire)
    assert (heard.head.get("x-provider-request-id"), heard.head.get("retry-after")) == (None, None)


FROM_CLIENT = (
    ("Accept", "application/json"),
    ("openai-beta", "assistants=v2"),
    ("anthropic-beta", "tools"),
    ("idempotency-key", "abc"),
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ("tracestate", "x=y"),
    ("Cookie", "secret=1"),
    ("User-Agent", "curl"),
    ("Accept-Encoding", "gzip"),
    ("X-Forwarded-For", "10.0.0.1"),
    ("OpenAI-Organization", "org"),
    ("X-Api-Base", "http://evil"),
    ("Connection", "keep-alive, x-secret"),
    ("x-secret", "1"),
    ("x-stainless-lang", "python"),
)


async def test_headers_that_cross_to_upstream(make_stage: MakeStage, way: Way) -> None:
    """Exactly the listed ones, the operator's, and the provider's key in the place of the client's."""
    stage = await make_stage(way, provider="headers: {X-Team: blue}, query: {api-version: 2024-10-21}")
    stage.upstream.next(openai_answer(), anthropic_answer())
    await stage.answer(CHAT, *FROM_CLIENT)
    await stage.answer(MESSAGES, *FROM_CLIENT, ("anthropic-version", "2024-01-01"))
    seen, claude = stage.upstream.requests
    names = {name.lower() for name, _ in seen.headers}
    ours = {"host", "content-type", "content-length", "user-agent", "accept-encoding", "authorization", "x-team"}
    assert names == ours | {"accept", "openai-beta", "anthropic-beta", "idempotency-key", "traceparent", "tracestate"}
    assert seen.header("authorization") == f"Bearer {PROVIDER_KEY}"
    assert seen.header("accept-encoding") == "identity"
    assert (seen.header("user-agent") or "").startswith("aigateway/")
    assert KEY not in seen.head.raw.decode()
    assert seen.path == "/v1/chat/completions?api-version=2024-10-21"
    assert claude.header("x-api-key") == PROVIDER_KEY
    assert claude.header("authorization") is None
    assert claude.header("anthropic-version") == "2024-01-01"


async def test_bodies_go_upstream_as_they_came(make_stage: MakeStage, way: Way) -> None:
    """Byte for byte, white space, order and spelling; only the model's name changes where the target has another."""
    stage = await make_stage(way, models='  alias: {targets: ["one/real/name"]}', server="{max_body_mb: 4}")
    stage.upstream.always(openai_answer())
    odd = b'{ "messages" : [{"role":"user","content":"h\\u00e9 \\ud83d\\ude42"}],\r\n "x":1.50e+3, "model": "%s" }'
    client = await stage.client()
    for model, sent in ((b"gpt", b"gpt"), (b"alias", b"real/name")):
        await client.send(raw_request(CHAT, odd % model))
        assert (await client.answer()).status == 200
        assert stage.upstream.requests[-1].body == odd % sent
    big = json.dumps(asked(CHAT, stream=False, messages=[{"role": "user", "content": "y" * 3_000_000}])).encode()
    await client.send(raw_request(CHAT, big))
    assert (await client.answer()).status == 200
    assert stage.upstream.requests[-1].body == big
