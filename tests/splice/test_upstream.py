"""Upstream connections: bodies that are taken over, given back or declined, and bytes that nobody asked for."""

import asyncio
from typing import cast

import aiohttp
import pytest
from yarl import URL

from gateway.splice import SplicingConnector, claim, decline, destination, pool_counts, send, unread, warm
from gateway.splice.upstream import HEAD_LIMIT_BYTES, SURPLUS_LIMIT_BYTES, StaleConnection
from tests.provider_answers import openai_stream, unary
from tests.raw_connection import read_boundary
from tests.scripted_upstream import ScriptedUpstream
from tests.splice.conftest import REQUEST, Ask
from tests.upstream_script import (
    CHUNKED,
    JSON,
    SSE,
    Script,
    Step,
    Write,
    body_of,
    chunk,
    close,
    end,
    head,
    raw,
    reset,
    split,
    stall,
    together,
    wire_of,
)

BOTH_LOOPS = pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])
STREAM = openai_stream(3)


class Reader(asyncio.Protocol):
    """Keeps what it is given, and tells when it has so much."""

    def __init__(self, size: int) -> None:
        self.data = b""
        self.enough = asyncio.Event()
        self.lost = asyncio.Event()
        self._size = size

    def data_received(self, data: bytes) -> None:
        self.data += data
        if len(self.data) >= self._size:
            self.enough.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()


@BOTH_LOOPS
async def test_a_body_is_taken_over_and_the_connection_given_back(upstream: ScriptedUpstream, ask: Ask) -> None:
    """The reader gets every byte behind the head; the connection then serves the next request."""
    upstream.always(STREAM)
    for _ in range(3):
        response = await ask()
        assert (response.status, response.content_type) == (200, "text/event-stream")
        splice = claim(response)
        assert splice is not None
        reader = Reader(len(wire_of(STREAM)))
        splice.start(reader)
        await reader.enough.wait()
        assert reader.data == wire_of(STREAM)
        splice.give_back()
        assert response.closed
    assert upstream.accepted_connections == 1


@BOTH_LOOPS
async def test_a_pause_does_not_outlive_its_stream(upstream: ScriptedUpstream, ask: Ask) -> None:
    """A connection that was paused for a slow client when its body ended is read again for the next request."""
    upstream.always([head(200, SSE, CHUNKED), raw(wire_of(STREAM))])
    for _ in range(2):
        response = await ask()
        splice = claim(response)
        assert splice is not None
        reader = Reader(len(wire_of(STREAM)))
        splice.start(reader)
        await reader.enough.wait()
        splice.pause_reading()
        splice.give_back()
    assert upstream.accepted_connections == 1


@BOTH_LOOPS
async def test_what_came_before_is_kept_in_bounds(upstream: ScriptedUpstream, ask: Ask) -> None:
    """Until somebody reads, reading pauses above the limit; then all of it is there, in order."""
    many = [chunk(b"x" * 65_536)] * 100
    upstream.next([head(200, SSE, CHUNKED), Write(tuple(step.wire for step in many)), end()])
    response = await ask()
    before = -1
    while before != (now := len(response.protocol.surplus or b"")):
        before = now
        await asyncio.sleep(0.02)  # timed: that reading has stopped is told by no event
    assert SURPLUS_LIMIT_BYTES < before < SURPLUS_LIMIT_BYTES + 300_000
    splice = claim(response)
    assert splice is not None
    reader = Reader(len(wire_of([*many, end()])))
    splice.start(reader)
    await reader.enough.wait()
    assert reader.data == wire_of([*many, end()])
    splice.give_back()


async def test_a_loss_before_the_reader_is_told_to_it(upstream: ScriptedUpstream, ask: Ask) -> None:
    """Bytes first, then the loss, though both were here before."""
    upstream.next([together(head(200, SSE, CHUNKED), chunk(b"last words")), reset()])
    response = await ask()
    while response.protocol.lost is None:
        await read_boundary()
    splice = claim(response)
    assert splice is not None
    reader = Reader(1)
    splice.start(reader)
    assert (reader.data, reader.lost.is_set()) == (chunk(b"last words").wire, True)
    splice.abort()


async def test_aborting_closes_at_once(upstream: ScriptedUpstream, ask: Ask) -> None:
    """The provider sees it; a second end of the same stream does nothing."""
    upstream.next([*STREAM[:-1], stall()])
    splice = claim(await ask())
    assert splice is not None
    splice.start(Reader(1))
    splice.abort()
    await upstream.closed(0)
    splice.abort()
    splice.give_back()
    splice.pause_reading()
    splice.resume_reading()


NOT_SPLICED: dict[str, list[Step]] = {
    "a length": [head(200, SSE, ("Content-Length", "4")), raw(b"body")],
    "another type": [head(200, JSON, CHUNKED), chunk(b"body"), end()],
    "a type that only begins so": [head(200, ("Content-Type", "text/event-streams"), CHUNKED), chunk(b"body"), end()],
    "another status": [head(500, SSE, CHUNKED), chunk(b"body"), end()],
    "a compressed body": [head(200, SSE, CHUNKED, ("Content-Encoding", "br-x")), chunk(b"body"), end()],
    "bare line feeds": [raw(b"HTTP/1.1 200 OK\nContent-Length: 4\n\nbody"), stall()],
}


async def test_other_bodies_are_left_to_aiohttp(upstream: ScriptedUpstream, ask: Ask) -> None:
    """Only chunked, plain, successful event streams are kept from its parser."""
    for name, script in NOT_SPLICED.items():
        upstream.next(script)
        response = await ask()
        assert claim(response) is None, name
        assert (name, await response.read()) == (name, b"body")


SPLICED_HEADS = [
    b"HTTP/1.1 200 OK\r\nCONTENT-TYPE:text/event-stream\r\nTRANSFER-ENCODING:Chunked\r\n\r\n",
    b"HTTP/1.1 200 \r\nTransfer-Encoding:   chunked  \r\nContent-Type:  text/event-stream ; charset=utf-8\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: identity\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n",
]


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_heads_of_any_spelling_in_any_reads(upstream: ScriptedUpstream, ask: Ask, size: int) -> None:
    """Letter case, blanks and cuts make no difference; 1xx heads before it are read over."""
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    for wire in SPLICED_HEADS:
        whole = early + wire + wire_of(STREAM)
        upstream.next([split(Write((whole,), 200), [size] * (len(whole) // size)), stall()])
        splice = claim(await ask())
        assert splice is not None, wire
        reader = Reader(len(wire_of(STREAM)))
        splice.start(reader)
        await reader.enough.wait()
        assert reader.data == wire_of(STREAM)
        splice.abort()


@pytest.mark.parametrize(
    "wire",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * HEAD_LIMIT_BYTES,
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ],
)
async def test_heads_that_are_none(upstream: ScriptedUpstream, ask: Ask, wire: bytes) -> None:
    """They raise what the pool knows how to name, and the connection closes."""
    upstream.next([raw(wire), stall()])
    with pytest.raises((aiohttp.ClientError, aiohttp.http_exceptions.HttpProcessingError)):
        await ask()
    await upstream.closed(0)


async def test_a_body_that_is_declined(upstream: ScriptedUpstream, ask: Ask) -> None:
    """What was kept goes to aiohttp's stream after all, however much it is, and the connection is free at its end."""
    for payload in (body_of(STREAM), b"z" * 2_000_000):
        upstream.next([head(200, SSE, CHUNKED), chunk(payload), end()])
        response = await ask()
        await read_boundary()
        decline(response)
        assert await response.read() == payload
        assert claim(response) is None
    assert upstream.accepted_connections == 1


async def test_what_nobody_had_read_when_it_broke(upstream: ScriptedUpstream) -> None:
    """aiohttp's reader raises, and keeps what had come: it is not lost. A reader of another make has nothing."""
    script: list[Step] = [head(200, JSON, CHUNKED), chunk(b"some"), chunk(b"more"), reset()]
    upstream.always(script)
    async with aiohttp.ClientSession() as session, session.post(upstream.url) as response:
        reading = response.content
        while reading.exception() is None:
            await read_boundary()
        with pytest.raises(aiohttp.ClientError):
            await reading.readany()
        assert unread(reading) == b"somemore"
        assert unread(reading) == b""
    assert unread(cast(aiohttp.StreamReader, object())) == b""


async def test_warming_and_counting(upstream: ScriptedUpstream, session: aiohttp.ClientSession) -> None:
    """Connections stand before they are needed, and where none can stand nothing is raised."""
    where = destination(session, URL(upstream.url))
    assert await warm(session, where, 3) == 3
    await upstream.until_open(3)
    connector = session.connector
    assert isinstance(connector, SplicingConnector)
    assert pool_counts(connector) == (0, 3)
    upstream.next([*STREAM[:-1], stall()])
    response = await send(session, where, REQUEST)
    assert pool_counts(connector) == (1, 2)
    response.close()
    assert pool_counts(connector) == (0, 2)
    await upstream.refuse()
    assert await warm(session, where, 3) == 2
    await session.close()
    assert await warm(session, where, 1) == 0
    with pytest.raises(aiohttp.ClientConnectionError):
        await send(session, where, REQUEST)


@BOTH_LOOPS
@pytest.mark.parametrize("gone", [[close()], [reset()]], ids=["closes", "resets"])
async def test_a_stale_connection_is_told_apart(
    upstream: ScriptedUpstream, session: aiohttp.ClientSession, gone: list[Step]
) -> None:
    """One that was kept, or warmed, and ended before a byte of the answer; not a fresh one, nor an answer begun."""
    where = destination(session, URL(upstream.url))
    upstream.next(gone, unary({}), gone, gone, unary({}), [raw(b"H"), *gone])
    with pytest.raises(aiohttp.ClientConnectionError) as fresh:
        await send(session, where, REQUEST)
    await (await send(session, where, REQUEST)).read()
    with pytest.raises(StaleConnection) as kept:
        await send(session, where, REQUEST)
    assert isinstance(kept.value.__cause__, aiohttp.ClientConnectionError)
    await warm(session, where, 1)
    with pytest.raises(StaleConnection):
        await send(session, where, REQUEST)
    await (await send(session, where, REQUEST)).read()
    with pytest.raises(aiohttp.ClientConnectionError) as begun:
        await send(session, where, REQUEST)
    assert not isinstance(fresh.value, StaleConnection)
    assert not isinstance(begun.value, StaleConnection)
    assert [request.connection for request in upstream.requests] == [0, 1, 1, 2, 3, 3]


async def test_refused_connections(upstream: ScriptedUpstream, ask: Ask) -> None:
    """A connection that cannot be had raises as aiohttp's client does."""
    await upstream.refuse()
    with pytest.raises(aiohttp.ClientConnectorError):
        await ask()


async def test_what_a_response_says(upstream: ScriptedUpstream, ask: Ask) -> None:
    """Type and length as declared; no length where it is none."""
    upstream.next(
        unary({}), [head(200, ("Content-Type", "Text/Plain; x=y"), CHUNKED), end()], [head(200, CHUNKED), end()]
    )
    whole, text, bare = [await ask() for _ in range(3)]
    assert (whole.content_type, whole.content_length) == ("application/json", 2)
    assert (text.content_type, text.content_length) == ("text/plain", None)
    assert bare.content_type == "application/octet-stream"
    assert await whole.read() == b"{}"
    for response in (whole, text, bare):
        response.close()


def _writes(script: Script) -> list[Write]:
    return [step for step in script if isinstance(step, Write)]
