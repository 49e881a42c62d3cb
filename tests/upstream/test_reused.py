"""The plain path's kept connections: what is told of their end, and that nobody stands in the way of their bytes."""

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp.client_proto import ResponseHandler

from gateway.splice.upstream import StaleConnection
from gateway.upstream.reused import WatchedResponse, WatchingConnector
from tests.provider_answers import unary
from tests.scripted_upstream import ScriptedUpstream
from tests.upstream_script import CHUNKED, JSON, Script, chunk, close, end, head, raw, reset

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A session that watches its kept connections."""
    async with aiohttp.ClientSession(connector=WatchingConnector(), response_class=WatchedResponse) as session:
        yield session


def the_kept_one(session: aiohttp.ClientSession) -> ResponseHandler:
    """The protocol of the only idle connection."""
    assert session.connector is not None
    (kept,) = [protocol for idle in session.connector._conns.values() for protocol, _ in idle]
    return kept


async def test_only_a_kept_connection_can_be_stale(upstream: ScriptedUpstream, session: aiohttp.ClientSession) -> None:
    """The end of a fresh one is what aiohttp says of it."""
    gone: Script = [close()]
    upstream.next(gone, unary(1), gone)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await session.post(upstream.url)
    async with session.post(upstream.url) as response:
        assert await response.read() == b"1"
    with pytest.raises(StaleConnection) as caught:
        await session.post(upstream.url)
    assert isinstance(caught.value.__cause__, aiohttp.ServerDisconnectedError)


@pytest.mark.parametrize("gone", [[close()], [reset()]], ids=["closes", "resets"])
async def test_a_byte_makes_it_aiohttps_own_again(
    upstream: ScriptedUpstream, session: aiohttp.ClientSession, gone: Script
) -> None:
    """From the first bytes on nothing stands between the transport and aiohttp, and what it says is left as it is."""
    upstream.next(unary(1), [head(200, JSON, CHUNKED), chunk(b"2"), end()], [raw(b"H"), *gone])
    for _ in range(2):
        async with session.post(upstream.url) as response:
            await response.read()
        kept = the_kept_one(session)
        assert kept.transport is not None
        assert kept.transport.get_protocol() is kept
    with pytest.raises(aiohttp.ClientConnectionError) as caught:
        await session.post(upstream.url)
    assert not isinstance(caught.value, StaleConnection)


async def test_an_upload_waits_for_a_slow_provider(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first byte of an answer too: the client is told when the connection is full, and when it is not."""
    read_on, size_bytes = asyncio.Event(), 8_000_000

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for size in (2, size_bytes):
            await reader.readuntil(b"\r\n\r\n")
            if size > 2:
                await read_on.wait()
            await reader.readexactly(size)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1")
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with session.post(url, data=b"{}") as response:
        await response.read()
    kept, told = the_kept_one(session), asyncio.Event()
    pause = kept.pause_writing

    def tell() -> None:
        pause()
        told.set()

    monkeypatch.setattr(kept, "pause_writing", tell)
    asking = asyncio.ensure_future(session.post(url, data=io.BytesIO(b"x" * size_bytes)))
    await told.wait()
    read_on.set()
    async with await asking as response:
        assert await response.read() == b"1"
    server.close()
