"""Keep-alive comments: while a client would otherwise hear nothing, and only where one may stand."""

import asyncio
import json
from typing import Any

import pytest

from tests.behaviour.conftest import FAST, WAYS, MakeStage, Way
from tests.behaviour.stage import CHAT, MESSAGES, Stage, hear, until_heard
from tests.provider_answers import (
    anthropic_stream,
    openai_answer,
    openai_chunk,
    openai_error,
    openai_error_doc,
    openai_stream,
)
from tests.raw_client import RawClient
from tests.upstream_script import (
    CHUNKED,
    SSE,
    Script,
    Step,
    body_of,
    chunk,
    end,
    event,
    head,
    reached,
    reset,
    sse,
    stall,
    wait,
)

COMMENT = b": keep-alive\n\n"
OPEN = head(200, SSE, CHUNKED)
WORD = event(openai_chunk({"content": "word"}))
BOTH_LOOPS = pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])
KEEPALIVE = "{keepalive_s: 5}"


async def waiting(stage: Stage, path: str = CHAT, **options: Any) -> RawClient:
    """A client that has waited long enough to hear one comment, under an early head."""
    client = await stage.ask(path, **options)
    await stage.upstream.request()
    stage.sweep(ahead_s=6)
    early = await client.answer_head()
    assert early.status == 200
    assert early.get("x-gateway-provider") == "pending"
    assert early.get("content-type") == "text/event-stream; charset=utf-8"
    if early.chunked:
        assert (await client.chunk()).payload == COMMENT
    else:
        assert await client.exactly(len(COMMENT)) == COMMENT
    return client


async def rest(client: RawClient) -> bytes:
    """The payload of what is left of a whole body."""
    return b"".join(part.payload for part in await client.chunks())


@BOTH_LOOPS
@pytest.mark.parametrize("begun", [[], [OPEN], [OPEN, event(openai_chunk({"role": "assistant"}))]])
async def test_comments_before_the_first_content(make_stage: MakeStage, way: Way, begun: list[Step]) -> None:
    """The head leaves early and names nobody; the stream then follows in full, preamble included."""
    stage = await make_stage(way, server=KEEPALIVE)
    go = asyncio.Event()
    stage.upstream.next([*begun, wait(go), *openai_stream(2)[len(begun) :]])
    client = await waiting(stage)
    stage.sweep(ahead_s=2)
    stage.sweep(ahead_s=4)
    assert (await client.chunk()).payload == COMMENT
    go.set()
    assert await rest(client) == body_of([*begun, *openai_stream(2)[len(begun) :]])
    await stage.settled()
    assert stage.ended_as("success") == 1


@pytest.mark.parametrize("way", [FAST, WAYS[1]], ids=str)
async def test_comments_for_an_old_client(make_stage: MakeStage, way: Way) -> None:
    """HTTP/1.0: the same without chunks."""
    stage = await make_stage(way, server=KEEPALIVE)
    go = asyncio.Event()
    stage.upstream.next([wait(go), *openai_stream(2)])
    client = await waiting(stage, version="HTTP/1.0")
    go.set()
    assert await client.to_end() == body_of(openai_stream(2))


LATE_FAILURES: dict[str, tuple[Script, str]] = {
    "reset": ([reset()], "provider_error"),
    "reset after the role": ([OPEN, event(openai_chunk({"role": "assistant"})), reset()], "truncated"),
    "an error": (openai_error(500), "provider_error"),
    "throttled": (openai_error(429), "provider_throttled"),
    "a refusal": (openai_error(400), "invalid_request"),
    "an error event": ([OPEN, event(openai_error_doc("Secret.")), end()], "stream_error"),
    "a whole answer": (openai_answer(), "provider_error"),
}


async def test_failures_after_the_early_head_are_events(make_stage: MakeStage, way: Way) -> None:
    """The status is spent: whatever fails now is a typed event, the terminal chunk, and the end."""
    stage = await make_stage(way, server=KEEPALIVE)
    for name, (script, code) in LATE_FAILURES.items():
        go = asyncio.Event()
        stage.upstream.next([wait(go), *script])
        client = await waiting(stage)
        go.set()
        body = await rest(client)
        assert body.startswith(b"data: {")
        assert body.endswith(b"}\n\n")
        assert (name, json.loads(body[6:])["error"]["code"]) == (name, code)
        assert b"Secret" not in body
        assert await client.to_end() == b""
        await stage.settled()
    assert stage.value("requests_total") == len(LATE_FAILURES)
    assert stage.ended_as("success") == 0


async def test_late_errors_in_anthropics_dialect(make_stage: MakeStage) -> None:
    """The event has its name there."""
    stage = await make_stage(server=KEEPALIVE)
    go = asyncio.Event()
    stage.upstream.next([wait(go), reset()])
    client = await waiting(stage, MESSAGES)
    go.set()
    body = await rest(client)
    assert body.startswith(b'event: error\ndata: {"type":"error"')


@BOTH_LOOPS
async def test_moving_on_after_the_early_head(make_stage: MakeStage, way: Way) -> None:
    """Comments are no content: the second target may still answer."""
    stage = await make_stage(way, two=True, server=KEEPALIVE)
    assert stage.second is not None
    go = asyncio.Event()
    stage.upstream.next([OPEN, wait(go), reset()])
    stage.second.next(openai_stream(2))
    client = await waiting(stage)
    go.set()
    assert await rest(client) == body_of(openai_stream(2))
    await stage.settled()
    assert stage.value("requests_total", provider="two", status="success") == 1


@BOTH_LOOPS
async def test_comments_in_a_silence(make_stage: MakeStage, way: Way) -> None:
    """Mid-stream a comment stands between events, also where upstream has sent half of the next one."""
    stage = await make_stage(way, server=KEEPALIVE)
    here, go = asyncio.Event(), asyncio.Event()
    second = event(openai_chunk({"content": "second"}))
    payload = body_of([OPEN, second])
    after: list[Step] = [wait(go), chunk(payload[20:]), event("[DONE]"), end()]
    stage.upstream.next([OPEN, WORD, chunk(payload[:20]), reached(here), *after])
    client = await stage.ask()
    await here.wait()
    await client.answer_head()
    assert await until_heard(client, b"word") == body_of([OPEN, WORD])
    stage.sweep(ahead_s=6)
    assert (await client.chunk()).payload == COMMENT
    stage.sweep(ahead_s=6)
    assert (await client.chunk()).payload == COMMENT
    go.set()
    assert await rest(client) == payload + sse("[DONE]")


async def test_no_comment_within_an_event(make_stage: MakeStage, way: Way) -> None:
    """Where part of a huge event has gone, silence stays silent."""
    stage = await make_stage(way, server=KEEPALIVE)
    here, go = asyncio.Event(), asyncio.Event()
    huge = sse(openai_chunk({"content": "x" * 200_000}))
    script: list[Step] = [
        OPEN,
        WORD,
        chunk(huge[:150_000]),
        reached(here),
        wait(go),
        chunk(huge[150_000:]),
        event("[DONE]"),
        end(),
    ]
    stage.upstream.next(script)
    client = await stage.ask()
    await here.wait()
    await client.answer_head()
    body = await until_heard(client, b"x" * 1000)
    stage.sweep(ahead_s=6)
    stage.sweep(ahead_s=6)
    go.set()
    assert body + await rest(client) == body_of(script)


async def test_no_comment_while_words_come(make_stage: MakeStage, way: Way) -> None:
    """Silence is counted from the last byte, not from the last comment."""
    stage = await make_stage(way, server=KEEPALIVE)
    gates = [asyncio.Event() for _ in range(3)]
    words: list[Script] = [[wait(gate), WORD] for gate in gates]
    stage.upstream.next([OPEN, *words, event("[DONE]"), end()])
    client = await stage.ask()
    await stage.upstream.request()
    for gate in gates:
        gate.set()
        if gate is gates[0]:
            await client.answer_head()
        assert (await client.chunk()).payload == body_of([OPEN, WORD])
        stage.sweep(ahead_s=4)
    assert COMMENT not in await rest(client)


async def test_whole_answers_get_no_comments(make_stage: MakeStage) -> None:
    """Only a stream has comments; a waiting unary client gets its answer and nothing before."""
    stage = await make_stage(server=KEEPALIVE)
    go = asyncio.Event()
    stage.upstream.next([wait(go), *openai_answer()])
    client = await stage.ask(stream=False)
    await stage.upstream.request()
    stage.sweep(ahead_s=60)
    go.set()
    heard = await hear(client)
    assert (heard.status, heard.body) == (200, body_of(openai_answer()))


async def test_clients_that_left_are_sent_nothing(make_stage: MakeStage, way: Way) -> None:
    """A client that goes after the early head ends its request like any other."""
    stage = await make_stage(way, server=KEEPALIVE)
    stage.upstream.next([stall()])
    client = await waiting(stage)
    await client.reset()
    await stage.upstream.closed(0)
    await stage.settled()
    stage.sweep(ahead_s=6)
    assert stage.value("client_disconnects_total", phase="before_head") == 1


async def test_anthropic_streams_take_comments_too(make_stage: MakeStage, way: Way) -> None:
    """The same in the other dialect, byte for byte."""
    stage = await make_stage(way, server=KEEPALIVE)
    go = asyncio.Event()
    stage.upstream.next([wait(go), *anthropic_stream(3)])
    client = await waiting(stage, MESSAGES)
    go.set()
    assert await rest(client) == body_of(anthropic_stream(3))
