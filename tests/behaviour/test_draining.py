"""A gateway that leaves: it says goodbye in every answer, listens no more, and lets run what runs."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from tests.behaviour.conftest import FAST, WAYS, MakeStage, Way
from tests.behaviour.stage import CHAT, Stage, asking, hear, until_heard
from tests.provider_answers import openai_answer, openai_chunk, openai_stream
from tests.raw_client import RawClient, request_wire
from tests.raw_connection import read_boundary
from tests.upstream_script import CHUNKED, JSON, SSE, body_of, event, head, raw, reached, wait

BOTH_LOOPS = pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])
TCP = pytest.mark.parametrize("way", [FAST, WAYS[1]], ids=str)
OPEN = head(200, SSE, CHUNKED)
ROLE, WORD = event(openai_chunk({"role": "assistant", "content": ""})), event(openai_chunk({"content": "word"}))
HEALTH = request_wire("GET", "/health/live", ("Host", "x"))

IN_GRACE = "{ready_grace_s: 1000, drain_s: 1000}"
PAST_GRACE = "{ready_grace_s: 0, drain_s: 1000}"


@asynccontextmanager
async def draining(stage: Stage, *, handed_over: bool = False) -> AsyncIterator["asyncio.Task[None]"]:
    """The gateway has begun to leave; what is left of that is cut short in the end."""
    task = asyncio.create_task(stage.gateway.drain(handed_over=handed_over))
    await read_boundary()
    yield task
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def goodbye(client: RawClient) -> int:
    """Reads one answer that must be the last one on its connection; returns its status."""
    heard = await hear(client)
    assert (heard.whole, heard.head.get("connection")) == (True, "close")
    assert await client.to_end() == b""
    return heard.status


ASKED: tuple[tuple[bytes, int], ...] = (
    (asking(CHAT), 200),
    (asking(CHAT, stream=False), 200),
    (asking(CHAT, stream=False), 200),
    (asking(CHAT, model="none"), 404),
    (request_wire("POST", CHAT, ("Host", "x"), body=b"{}"), 401),
    (request_wire("GET", "/nowhere", ("Host", "x")), 404),
    (request_wire("GET", CHAT, ("Host", "x")), 405),
    (HEALTH, 200),
    (request_wire("GET", "/health/ready", ("Host", "x")), 503),
    (request_wire("GET", "/health", ("Host", "x")), 503),
    (request_wire("GET", "/metrics", ("Host", "x")), 200),
    (b"no HTTP\r\n\r\n", 400),
)


@TCP
@BOTH_LOOPS
@pytest.mark.parametrize("kept", [False, True], ids=["new", "kept"])
async def test_every_answer_is_the_last(make_stage: MakeStage, way: Way, kept: bool) -> None:
    """On new connections and on kept ones: streams, whole answers, large ones, refusals, pages, what is no HTTP."""
    stage = await make_stage(way, server=IN_GRACE)
    large = json.dumps({"object": "x", "data": "x" * 1_500_000}).encode()
    stage.upstream.next(
        openai_stream(), openai_answer(), [head(200, JSON, ("Content-Length", str(len(large)))), raw(large)]
    )
    clients = [await stage.client() for _ in ASKED]
    for client in clients if kept else ():
        await client.send(HEALTH)
        assert (await client.answer()).head.keeps_alive
    async with draining(stage):
        for client, (wire, status) in zip(clients, ASKED, strict=True):
            await client.send(wire)
            assert (wire[:40], await goodbye(client)) == (wire[:40], status)


@TCP
async def test_answer_that_has_not_begun_says_goodbye(make_stage: MakeStage, way: Way) -> None:
    """Asked before the signal, answered after it: a stream, and a whole answer."""
    stage = await make_stage(way, server=IN_GRACE)
    go, came = asyncio.Event(), asyncio.Event()
    stage.upstream.next([OPEN, reached(came), wait(go), *openai_stream()[1:]])
    streaming = await stage.ask()
    await came.wait()
    stage.upstream.next([reached(asyncio.Event()), wait(go), *openai_answer()])
    unary = await stage.ask(stream=False)
    await stage.upstream.request()
    async with draining(stage):
        go.set()
        assert [await goodbye(streaming), await goodbye(unary)] == [200, 200]


@BOTH_LOOPS
async def test_address_is_ready_where_another_process_serves_it(make_stage: MakeStage) -> None:
    """After a handover the listener is closed at once, live connections are served, and health asks no one to leave."""
    stage = await make_stage(server=IN_GRACE)
    client = await stage.client()
    await client.send(HEALTH)
    await client.answer()
    async with draining(stage, handed_over=True) as drain:
        with pytest.raises(OSError, match=r"refused|failed"):
            await stage.client()
        await client.send(request_wire("GET", "/health/ready", ("Host", "x")))
        assert await goodbye(client) == 200
        # nobody is left, so the grace is over
        await drain


@BOTH_LOOPS
async def test_after_the_grace_what_runs_runs_on(make_stage: MakeStage, way: Way) -> None:
    """New connections are refused, idle ones close; a stream comes to its own end, byte for byte, and that is all."""
    stage = await make_stage(way, server=PAST_GRACE)
    go = asyncio.Event()
    script = [*openai_stream()[:3], wait(go), *openai_stream()[3:]]
    stage.upstream.next(script)
    idle, running = await stage.client(), await stage.ask()
    await idle.send(HEALTH)
    await idle.answer()
    first = await until_heard(running, b"role") if (await running.answer_head()).keeps_alive else b""
    async with draining(stage) as drain:
        assert await idle.to_end() == b""
        with pytest.raises(OSError, match=r"refused|failed"):
            await stage.client()
        go.set()
        rest = b"".join(chunk.payload for chunk in await running.chunks())
        assert first + rest == body_of(openai_stream())
        await running.close()
        await drain
    assert stage.ended_as("success") == 1


async def test_stream_that_promised_more_keeps_its_word(make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its head went before the signal: the request that follows it at once is answered, and no further one."""
    monkeypatch.setattr("gateway.draining.LINGER_S", 1000.0)
    stage = await make_stage(server=PAST_GRACE)
    go = asyncio.Event()
    stage.upstream.next([OPEN, WORD, wait(go), *openai_stream()[2:]], openai_answer())
    client = await stage.ask()
    assert (await client.answer_head()).keeps_alive
    async with draining(stage) as drain:
        go.set()
        await client.chunks()
        await client.send(asking(CHAT, stream=False))
        assert await goodbye(client) == 200
        await drain
