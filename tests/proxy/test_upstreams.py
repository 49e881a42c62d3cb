"""One attempt: the body that goes upstream, the key in turn, and the sentence that a client reads when it fails."""

import json
from typing import Any

import pytest

from gateway.upstream.credentials import FIRST_REST_S
from gateway.upstream.targets import MAX_REST_S
from tests.behaviour.stage import CHAT, MESSAGES, RESPONSES, Stage, StageClock, config
from tests.conftest import MakeGateway
from tests.provider_answers import (
    anthropic_stream,
    openai_answer,
    openai_chunk,
    openai_error,
    openai_stream,
    responses_stream,
)
from tests.scripted_upstream import ScriptedUpstream
from tests.upstream_script import CHUNKED, SSE, Script, end, event, head, raw, reset


async def staged(
    make_gateway: MakeGateway, upstream: ScriptedUpstream, keys: str = '["sk-provider-secret"]', **options: Any
) -> Stage:
    """A stage on the spliced way."""
    urls = {"one": upstream.openai_base, "claude": upstream.anthropic_base}
    text = config(urls, **options).replace('["sk-provider-secret"]', keys)
    clock = StageClock()
    return Stage(await make_gateway(text, start={"access_log": None, "clock": clock}), upstream, clock)


@pytest.mark.parametrize("usage", ["inject", "as_asked"])
async def test_usage_is_asked_for_where_the_provider_allows(
    make_gateway: MakeGateway, upstream: ScriptedUpstream, usage: str
) -> None:
    """In streams of the endpoints that do not tell by themselves, and nowhere else."""
    stage = await staged(make_gateway, upstream, provider=f"usage: {usage}")
    scripts: list[Script] = [openai_stream(1), openai_answer(), responses_stream(1), anthropic_stream(1)]
    upstream.next(*scripts)
    await stage.hear(CHAT)
    await stage.answer(CHAT)
    await stage.hear(RESPONSES)
    await stage.hear(MESSAGES)
    asked = ["stream_options" in request.json() for request in upstream.requests]
    assert asked == [usage == "inject", False, False, False]


async def test_usage_that_nobody_asked_for_stays(make_gateway: MakeGateway, upstream: ScriptedUpstream) -> None:
    """Where the gateway did not ask, the provider's usage event is the client's."""
    stage = await staged(make_gateway, upstream, provider="usage: as_asked")
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    upstream.next(openai_stream(1, usage=usage))
    assert b'"usage":{' in (await stage.hear()).body


async def test_keys_take_turns(make_gateway: MakeGateway, upstream: ScriptedUpstream) -> None:
    """Each request the next key."""
    stage = await staged(make_gateway, upstream, keys="[sk-1, sk-2]")
    upstream.always(openai_answer())
    for _ in range(3):
        await stage.answer()
    assert [request.header("authorization") for request in upstream.requests] == [f"Bearer sk-{n}" for n in (1, 2, 1)]


@pytest.mark.parametrize(
    ("status", "headers", "rest_s"),
    [
        (429, ("Retry-After", "40"), 40.0),
        (429, ("Retry-After", "86400"), MAX_REST_S),
        (401, ("x", "y"), FIRST_REST_S),
        (402, ("x", "y"), FIRST_REST_S),
    ],
)
async def test_a_key_that_is_not_taken_rests(
    make_gateway: MakeGateway, upstream: ScriptedUpstream, status: int, headers: tuple[str, str], rest_s: float
) -> None:
    """As long as the provider says and the rules allow; the others serve meanwhile."""
    stage = await staged(make_gateway, upstream, keys="[sk-1, sk-2]")
    upstream.by(
        lambda request: (
            openai_error(status, headers) if request.header("authorization") == "Bearer sk-1" else openai_answer()
        )
    )
    for advance_s, answered in ((0.0, {502, 429}), (0.0, {200}), (rest_s - 1, {200}), (0.0, {200}), (1.0, {502, 429})):
        stage.clock.advance(advance_s)
        assert (await stage.answer()).status in answered


@pytest.mark.parametrize(("said", "rest_s"), [("40", 40.0), ("86400", MAX_REST_S)])
@pytest.mark.parametrize("status", [503, 529])
async def test_a_target_that_is_overloaded_rests(
    make_gateway: MakeGateway, upstream: ScriptedUpstream, status: int, said: str, rest_s: float
) -> None:
    """Its provider's other models and keys do not; meanwhile the client is told when to come back."""
    stage = await staged(make_gateway, upstream, keys="[sk-1, sk-2]", models="  other: {targets: [one/other]}")
    body = b"overloaded"
    upstream.next([head(status, ("Retry-After", said), ("Content-Length", str(len(body))), reason="Busy"), raw(body)])
    upstream.always(openai_answer())
    assert (await stage.answer()).status == 429
    stage.clock.advance(rest_s - 10)
    resting = await stage.answer()
    assert (resting.status, resting.head.get("retry-after"), len(upstream.requests)) == (429, "10", 1)
    assert (await stage.answer(CHAT, model="other")).status == 200
    stage.clock.advance(10)
    assert (await stage.answer()).status == 200


ROLE = event(openai_chunk({"role": "assistant", "content": ""}))
OPEN = head(200, SSE, CHUNKED)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ([OPEN, ROLE, reset()], "The provider one ended its stream before any content."),
        ([OPEN, ROLE, end()], "The provider one ended its stream before any content."),
        ([OPEN, event({"error": {"message": "x"}}), end()], "The provider one answered with an error event."),
        ([OPEN, raw(b"zz\r\n"), reset()], "The provider one sent a stream that is not framed as HTTP says."),
        ([reset()], "The provider one broke off or answered something that is not HTTP."),
    ],
)
async def test_failed_attempts_in_one_sentence(
    make_gateway: MakeGateway, upstream: ScriptedUpstream, script: Script, words: str
) -> None:
    """Who failed and how, in the words of an operator."""
    stage = await staged(make_gateway, upstream)
    upstream.next(script)
    assert json.loads((await stage.hear()).body)["error"]["message"] == words


@pytest.mark.parametrize("value", [b"caf\xe9", b"\xff\xfe", "é".encode(), b"a\x01b", b"a\tb"])
async def test_client_headers_of_any_bytes(make_gateway: MakeGateway, upstream: ScriptedUpstream, value: bytes) -> None:
    """A header that crosses to upstream breaks nothing, whatever stands in it."""
    stage = await staged(make_gateway, upstream)
    upstream.always(openai_answer())
    client = await stage.ask(CHAT, ("openai-beta", value.decode("latin-1")), stream=False)
    assert (await client.answer()).status == (400 if b"\x01" in value else 200)
    await stage.leave()
