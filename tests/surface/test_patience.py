"""Clients that take their time: half a head, half a body, nothing at all, or too much at once."""

import asyncio
import json

import pytest

from tests.conftest import MakeGateway
from tests.provider_answers import openai_answer, openai_chunk, openai_stream
from tests.raw_client import RawClient, request_wire
from tests.raw_connection import EndedEarly
from tests.scripted_upstream import ScriptedUpstream
from tests.surface.front import ASK, BEARER, CHAT, JSON_TYPE, error_of, open_front
from tests.upstream_script import CHUNKED, SSE, event, head, stall, wait

SLOW_HEADS = 300
IMPATIENT = "head_timeout_s: 0.5, body_timeout_s: 0.5"
STREAM = {**ASK, "stream": True}


def chat_wire(document: object, *headers: tuple[str, str]) -> bytes:
    body = json.dumps(document).encode()
    return request_wire("POST", CHAT, ("Host", "gateway"), JSON_TYPE, *BEARER, *headers, body=body)


@pytest.mark.parametrize(
    "sent", [b"", b"P", b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nAuth"], ids=["nothing", "P", "half"]
)
async def test_head_that_does_not_come_ends_the_connection(
    make_gateway: MakeGateway, upstream: ScriptedUpstream, sent: bytes
) -> None:
    """Whoever connects has head_timeout_s for a whole head; no answer, for nothing was asked."""
    front = await open_front(make_gateway, upstream, server=IMPATIENT)
    async with await RawClient.connect(front.url) as client:
        if sent:
            await client.send(sent)
        assert await client.to_end() == b""


async def test_half_head_on_a_used_connection_ends_it(make_gateway: MakeGateway, upstream: ScriptedUpstream) -> None:
    """A good first request buys no patience for the second."""
    upstream.always(openai_answer())
    front = await open_front(make_gateway, upstream, server=IMPATIENT)
    async with await RawClient.connect(front.url) as client:
        await client.send(chat_wire(ASK))
        assert (await client.answer()).status == 200
        await client.send(b"POST /v1/chat/comp")
        assert await client.to_end() == b""


async def test_idle_connection_is_closed(make_gateway: MakeGateway, upstream: ScriptedUpstream) -> None:
    """Between requests a connection may wait for idle_timeout_s."""
    upstream.always(openai_answer())
    front = await open_front(make_gateway, upstream, server="idle_timeout_s: 0.1")
    async with await RawClient.connect(front.url) as client:
        await client.send(chat_wire(ASK))
        assert (await client.answer()).head.keeps_alive
        assert await client.to_end() == b""
        assert client.ending == "fin"


@pytest.mark.parametrize(
    "wire",
    [
        request_wire("POST", CHAT, ("Host", "g"), *BEARER, ("Content-Length", "100")) + b'{"model": ',
        request_wire("POST", CHAT, ("Host", "g"), *BEARER, ("Transfer-Encoding", "chunked")) + b'40\r\n{"model": ',
    ],
    ids=["length", "chunked"],
)
async def test_body_that_does_not_come_is_refused(
    make_gateway: MakeGateway, upstream: ScriptedUpstream, wire: bytes
) -> None:
    """408 after body_timeout_s."""
    front = await open_front(make_gateway, upstream, server=IMPATIENT)
    async with await RawClient.connect(front.url) as client:
        await client.send(wire)
        answer = await client.answer()
    assert (answer.status, answer.head.get("connection")) == (408, "close")
    assert error_of(answer)["code"] == "request_timeout"


async def test_slow_heads_do_not_hinder_good_requests(make_gateway: MakeGateway, upstream: ScriptedUpstream) -> None:
    """Three hundred half heads: good requests are answered meanwhile, then every one of the three hundred is gone."""
    upstream.always(openai_answer())
    front = await open_front(make_gateway, upstream, server="head_timeout_s: 1000")
    slow = await asyncio.gather(*(RawClient.connect(front.url) for _ in range(SLOW_HEADS)))
    for client in slow:
        client.transport.write(b"POST /v1/chat/completions HTTP/1.1\r\nX-A: ")
    answers = await asyncio.gather(*(front.post(CHAT, ASK) for _ in range(30)))
    assert {answer.status for answer in answers} == {200}
    assert (await front.scrape()).value("aigateway_active_connections") > SLOW_HEADS
    doorkeeper = front.gateway._doorkeeper
    patient = doorkeeper._loop_time
    doorkeeper._loop_time = lambda: patient() + 1001
    await asyncio.gather(*(client.to_end() for client in slow))
    doorkeeper._loop_time = patient
    for client in slow:
        await client.abort()
    while (await front.scrape()).value("aigateway_active_connections") != 1:
        pass


@pytest.mark.parametrize("size_bytes", [1_000, 300_000, 2_000_000])
async def test_long_stream_of_a_large_request_is_not_taken_for_a_slow_head(
    make_gateway: MakeGateway, upstream: ScriptedUpstream, size_bytes: int
) -> None:
    """However many reads a body takes, head_timeout_s has nothing to do with the answer's length."""
    go = asyncio.Event()
    rest = openai_stream()[1:]
    upstream.always([head(200, SSE, CHUNKED), event(openai_chunk({"content": "a"})), wait(go), *rest])
    front = await open_front(make_gateway, upstream, server="head_timeout_s: 0.5")
    prompt = [{"role": "user", "content": "x" * size_bytes}]
    async with await RawClient.connect(front.url) as client:
        client.transport.write(chat_wire({**STREAM, "messages": prompt}))
        assert (await client.answer_head()).status == 200
        await client.chunk()
        await asyncio.sleep(1.6)  # timed: the sweep over connections comes once per second, and must find nothing
        go.set()
        chunks = await client.chunks()
    assert b"[DONE]" in chunks[-2].payload


@pytest.mark.parametrize("requests", [2, 3, 33, 100])
async def test_pipelined_requests_get_one_answer(
    make_gateway: MakeGateway, upstream: ScriptedUpstream, requests: int
) -> None:
    """The first is answered and the connection closed: what comes behind it was never heard."""
    upstream.always(openai_answer())
    front = await open_front(make_gateway, upstream)
    async with await RawClient.connect(front.url) as client:
        await client.pipeline(*[chat_wire(ASK)] * requests)
        assert (await client.answer()).status == 200
        with pytest.raises(EndedEarly):
            await client.answer()
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("requests", [1, 2, 32, 33, 100])
async def test_client_that_pipelined_and_left_is_noticed(
    make_gateway: MakeGateway, upstream: ScriptedUpstream, requests: int
) -> None:
    """Requests in the queue do not hide that nobody waits for the answer: the provider's stream is closed."""
    upstream.always([head(200, SSE, CHUNKED), event(openai_chunk({"content": "a"})), stall()])
    front = await open_front(make_gateway, upstream)
    async with await RawClient.connect(front.url) as client:
        await client.pipeline(*[chat_wire(STREAM)] * requests)
        await client.answer_head()
        await client.reset()
    await upstream.closed(upstream.requests[0].connection)
