"""No key and no prompt in what the gateway says to anybody else: logs, metrics, errors, headers."""

import json
import logging
from collections.abc import Mapping
from typing import Any

import pytest

from tests.conftest import MakeGateway
from tests.provider_answers import openai_answer, openai_chunk, openai_error_doc, unary
from tests.raw_client import RawClient
from tests.scripted_upstream import ScriptedUpstream
from tests.surface.front import ASK, BEARER, CHAT, KEY, PROVIDER_KEY, Front, open_front
from tests.upstream_script import CHUNKED, SSE, Script, event, head, raw, reset, stall

PROMPT = "my-password-is-tr0ub4dor"
ANSWER = "the-answer-is-forty-two"
ASKED: Mapping[str, Any] = {**ASK, "messages": [{"role": "user", "content": PROMPT}]}
CONTENT = event(openai_chunk({"content": ANSWER}))

PROVIDERS: dict[str, Script] = {
    "answers": openai_answer(ANSWER),
    "refuses and quotes its key": unary(
        openai_error_doc(f"Bad key {PROVIDER_KEY}", "invalid_request_error"), status=400
    ),
    "rejects its key": unary(openai_error_doc(f"Incorrect API key: {PROVIDER_KEY}"), status=401),
    "fails and quotes its key": unary(openai_error_doc(f"Crashed with {PROVIDER_KEY}"), status=500),
    "answers in HTML": [
        head(200, ("Content-Type", "text/html"), ("Content-Length", str(len(PROVIDER_KEY)))),
        raw(PROVIDER_KEY.encode()),
    ],
    "answers with something else": unary([PROVIDER_KEY]),
    "breaks its head": [raw(f"HTTP/1.1 200 OK\r\nX-A: {PROVIDER_KEY}\0\r\n\r\n".encode()), reset()],
    "breaks off": [head(200, SSE, CHUNKED), CONTENT, reset()],
    "breaks its framing": [head(200, SSE, CHUNKED), CONTENT, raw(PROVIDER_KEY.encode() + b"\r\n"), stall()],
}


async def everything_said(front: Front, caplog: pytest.LogCaptureFixture) -> str:
    """Log, access log and metrics."""
    metrics = (await front.get("/metrics", credential=())).body.decode()
    return caplog.text + json.dumps(front.access_log()) + metrics


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("is_stream", [False, True])
async def test_secrets_stay_where_they_are(
    make_gateway: MakeGateway,
    upstream: ScriptedUpstream,
    caplog: pytest.LogCaptureFixture,
    provider: str,
    is_stream: bool,
) -> None:
    """However a provider behaves: its key reaches nobody, the prompt only it, the answer only the client."""
    caplog.set_level(logging.DEBUG)
    upstream.always(PROVIDERS[provider])
    front = await open_front(make_gateway, upstream, server="log_level: debug")
    async with await RawClient.connect(front.url) as client:
        await client.post(CHAT, {**ASKED, "stream": is_stream}, *BEARER, ("Cookie", "session=1"))
        told = (await client.answer_head()).raw
        told += await client.exactly(client.held_bytes)
    said = await everything_said(front, caplog)
    for secret in (PROMPT, ANSWER, KEY, PROVIDER_KEY):
        assert secret not in said
    for secret in (PROMPT, KEY, PROVIDER_KEY):
        assert secret.encode() not in told
    (request,) = upstream.requests
    assert request.header("authorization") == f"Bearer {PROVIDER_KEY}"
    assert {name.lower() for name, _ in request.headers} <= {
        *("host", "authorization", "content-type", "content-length", "accept", "accept-encoding", "user-agent"),
    }


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(ASKED)[:-1].encode(),
        json.dumps({**ASKED, "model": f"{PROMPT}!"}).encode(),
        json.dumps({**ASKED, "n": PROMPT}).encode(),
        json.dumps({**ASKED, PROMPT: 1})[:-1].encode() + f', "{PROMPT}": 2}}'.encode(),
        PROMPT.encode(),
        b"\xff" + PROMPT.encode(),
    ],
    ids=["cut", "model", "n", "key twice", "no JSON", "no UTF-8"],
)
async def test_refusals_quote_nothing(
    make_gateway: MakeGateway, upstream: ScriptedUpstream, caplog: pytest.LogCaptureFixture, body: bytes
) -> None:
    """What is wrong with a body is said without its words."""
    caplog.set_level(logging.DEBUG)
    front = await open_front(make_gateway, upstream)
    answer = await front.post(CHAT, body)
    assert answer.status == 400
    assert PROMPT not in answer.body.decode() + await everything_said(front, caplog)
