"""Limits of a tenant, its keys and its models, seen from outside: headers, refusals, and slots that come back."""

import asyncio

from tests.behaviour.conftest import FAST, MakeStage
from tests.behaviour.stage import CHAT, MESSAGES, Stage, hear, until_heard
from tests.provider_answers import ANTHROPIC_USAGE, OPENAI_USAGE, anthropic_answer, openai_answer, openai_chunk
from tests.upstream_script import CHUNKED, SSE, Script, event, head, reset, stall

WORD = event(openai_chunk({"content": "word"}))
BEGUN: Script = [head(200, SSE, CHUNKED), WORD, stall()]


async def limited(make_stage: MakeStage, limits: str) -> Stage:
    """A stage whose only tenant has these limits."""
    return await make_stage(FAST, tenant=f"limits: {limits}")


async def test_headers_and_refusals(make_stage: MakeStage) -> None:
    """Every answer says what is left, in OpenAI's words; the one too many is a 429 in the caller's dialect."""
    stage = await limited(make_stage, "{requests_per_minute: 60, burst: 2, tokens_per_minute: 60000}")
    stage.upstream.by(lambda request: anthropic_answer() if request.path == MESSAGES else openai_answer())
    first = await stage.answer(CHAT, max_tokens=10)
    assert first.status == 200
    assert first.head.get("x-ratelimit-limit-requests") == "60"
    assert first.head.get("x-ratelimit-remaining-requests") == "1"
    assert first.head.get("x-ratelimit-limit-tokens") == "60000"
    assert (await stage.answer(MESSAGES)).status == 200
    for path, kind in ((CHAT, "rate_limit_error"), (MESSAGES, "rate_limit_error")):
        refused = await stage.answer(path)
        assert (refused.status, refused.json()["error"]["type"]) == (429, kind)
        assert refused.head.get("retry-after") == "1"
        assert refused.head.get("x-ratelimit-remaining-requests") == "0"
        assert "The tenant `acme` may send 60 requests per minute" in refused.json()["error"]["message"]
    stage.clock.advance(1)
    assert (await stage.answer(CHAT)).status == 200
    assert stage.value("rate_limit_hits_total", tenant_id="acme") == 2
    assert stage.value("limit_rejections_total", limit="requests") == 2
    assert stage.ended_as("rate_limited") == 2
    assert len(stage.upstream.requests) == 3


async def test_tokens_go_by_what_was_used(make_stage: MakeStage) -> None:
    """A large estimate stops the next request while it runs, and no longer than that."""
    stage = await limited(make_stage, "{tokens_per_minute: 6000}")
    for _ in range(5):
        stage.upstream.next(openai_answer(usage=OPENAI_USAGE))
        assert (await stage.answer(CHAT, max_tokens=590)).status == 200
        stage.clock.advance(1)
    stage.upstream.next(BEGUN)
    client = await stage.ask(CHAT, max_tokens=590)
    await client.answer_head()
    await until_heard(client, b"word")
    refused = await (await stage.ask(CHAT, stream=False, max_tokens=590)).answer()
    assert (refused.status, refused.json()["error"]["code"]) == (429, "rate_limited")


async def test_slots_come_back_on_every_ending(make_stage: MakeStage) -> None:
    """Whole answers, broken streams, clients that leave in any phase, refusals of the provider: 0 leaked."""
    stage = await limited(make_stage, "{concurrent: 3}")
    endings: dict[str, Script] = {
        "whole": openai_answer(),
        "reset": [reset()],
        "broken": [head(200, SSE, CHUNKED), WORD, reset()],
        "silent": [stall()],
        "begun": BEGUN,
    }
    stage.upstream.by(lambda request: endings[request.header("openai-beta") or ""])
    for _ in range(4):
        assert (await stage.answer(CHAT, ("openai-beta", "whole"))).status == 200
        assert (await stage.answer(CHAT, ("openai-beta", "reset"))).status == 502
        await stage.hear(CHAT, ("openai-beta", "broken"))
        waiting = await stage.ask(CHAT, ("openai-beta", "silent"))
        streaming = await stage.ask(CHAT, ("openai-beta", "begun"))
        await streaming.answer_head()
        await until_heard(streaming, b"word")
        await waiting.reset()
        await streaming.reset()
        await stage.settled()
    running = [await stage.ask(CHAT, ("openai-beta", "begun")) for _ in range(3)]
    await asyncio.gather(*(client.answer_head() for client in running))
    refused = await (await stage.ask(CHAT, stream=False)).answer()
    assert (refused.status, refused.json()["error"]["code"]) == (429, "too_busy")
    assert refused.head.get("retry-after") == "1"


async def test_keys_and_models_have_limits_of_their_own(make_stage: MakeStage) -> None:
    """All that a request belongs to must agree, and the refusal names the one that does not."""
    stage = await make_stage(
        FAST,
        tenant='model_limits: {"g*": {requests_per_minute: 1}}',
        key="limits: {requests_per_minute: 2, burst: 2}",
    )
    stage.upstream.by(
        lambda request: anthropic_answer(usage=ANTHROPIC_USAGE) if request.path == MESSAGES else openai_answer()
    )
    assert (await stage.answer(CHAT)).status == 200
    of_model = await stage.answer(CHAT)
    assert "The model `gpt` for the tenant `acme` may send 1 requests" in of_model.json()["error"]["message"]
    assert (await stage.answer(MESSAGES)).status == 200
    of_key = await stage.answer(MESSAGES)
    assert "The key `web` may send 2 requests" in of_key.json()["error"]["message"]


async def test_streams_say_what_is_left_too(make_stage: MakeStage) -> None:
    """In their head."""
    stage = await limited(make_stage, "{requests_per_minute: 600}")
    stage.upstream.next([head(200, SSE, CHUNKED), WORD, reset()])
    heard = await hear(await stage.ask(CHAT))
    assert heard.head.get("x-ratelimit-remaining-requests") == "9"
