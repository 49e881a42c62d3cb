"""Client connections: heads that leave with their first bytes, no pipelining, errors that echo nothing."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from gateway.splice import DownstreamConnection, RawStreamResponse, connection_factory
from tests.raw_client import RawClient, request_wire
from tests.raw_connection import read_boundary

GET = request_wire("GET", "/", ("Host", "x"))
MANY = 1000
"""Writes of 64 KiB, more than any kernel takes for a client that does not read."""
Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def refuse(request: web.BaseRequest, status: int, cause: BaseException | None) -> web.Response:
    """Fixed words."""
    return web.Response(status=status, text="refused")


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Answer], Awaitable[str]]]:
    """Listens with connections of ours; closes them after the test."""
    servers: list[tuple[web.Server, asyncio.Server]] = []

    async def listen(answer: Answer) -> str:
        server = web.Server(answer, handler_cancellation=True, access_log=None)
        factory = connection_factory(server, refuse)
        listener = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0)
        servers.append((server, listener))
        return f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"

    yield listen
    for server, listener in servers:
        listener.close()
        await server.shutdown(0)


def connection_of(request: web.BaseRequest) -> DownstreamConnection:
    assert isinstance(request.protocol, DownstreamConnection)
    return request.protocol


@pytest.mark.parametrize("first", [b"3\r\nabc\r\n", b""])
async def test_the_head_leaves_with_the_first_bytes(serve: Any, first: bytes) -> None:
    """One write for both, and no framing of aiohttp's around it; with nothing to say yet, the head alone."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        response = RawStreamResponse(headers={"X-A": "b"})
        await response.begin(request, first)
        assert request.transport is not None
        request.transport.write(b"1\r\nd\r\n0\r\n\r\n")
        return response

    async with await RawClient.connect(await serve(answer)) as client:
        for _ in range(2):
            await client.send(GET)
            heard = await client.answer()
            assert heard.body == (b"abcd" if first else b"d")
            assert (heard.head.get("x-a"), heard.head.chunked) == ("b", True)


@pytest.mark.parametrize("together", [True, False])
async def test_a_second_request_in_flight_ends_the_connection(serve: Any, together: bool) -> None:
    """The first is answered; what was pipelined behind it is not, and the connection closes."""
    go, begun, served = asyncio.Event(), asyncio.Event(), []

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        served.append(request)
        begun.set()
        await go.wait()
        return web.Response(text="one")

    async with await RawClient.connect(await serve(answer)) as client:
        if together:
            await client.pipeline(GET, GET)
            await begun.wait()
            await client.send(GET)
        else:
            await client.send(GET)
            await begun.wait()
            await client.send(GET)
        go.set()
        assert (await client.answer()).body == b"one"
        assert await client.to_end() == b""
    assert len(served) == 1


async def test_congestion_is_told_and_ends(serve: Any) -> None:
    """A client that does not read makes its connection congested, once; reading on relieves it."""
    told, relieved = asyncio.Event(), asyncio.Event()

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        connection = connection_of(request)
        connection.on_congested = told.set
        response = RawStreamResponse(headers={})
        await response.begin(request, b"1\r\nx\r\n")
        assert request.transport is not None
        for _ in range(MANY):
            if told.is_set():
                break
            request.transport.write(b"10000\r\n" + b"y" * 65536 + b"\r\n")
            await read_boundary()
        assert connection.congested
        assert connection.congested_since > 0
        await connection.drained()
        relieved.set()
        connection.on_congested = None
        request.transport.write(b"0\r\n\r\n")
        return response

    async with await RawClient.connect(await serve(answer)) as client:
        await client.send(GET)
        await told.wait()
        assert not relieved.is_set()
        await client.answer()
        assert relieved.is_set()


@pytest.mark.parametrize(
    "wire",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization secret\r\n\r\n",
        b"\x16\x03\x01secret\r\n\r\n",
        b"GET / SECRET/1\r\n\r\n",
    ],
)
async def test_what_is_no_request_is_refused_in_fixed_words(
    serve: Any, wire: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing of the bytes comes back or is logged, and the connection closes."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        raise AssertionError

    async with await RawClient.connect(await serve(answer)) as client:
        await client.send(wire)
        heard = await client.answer()
        assert (heard.status, heard.body) == (400, b"refused")
        assert await client.to_end() == b""
    assert "ecret" not in caplog.text


async def test_half_heads_are_dated(serve: Any) -> None:
    """From the first byte of a head to its last; a request in work has none."""
    seen: list[DownstreamConnection] = []

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        seen.append(connection_of(request))
        return web.Response(text="ok")

    async with await RawClient.connect(await serve(answer)) as client:
        await client.send(GET)
        await client.answer()
        connection = seen[0]
        assert (connection.half_head_since, connection.awaits_first_request) == (0.0, False)
        await client.send(GET[:10])
        while not connection.half_head_since:
            await read_boundary()
        assert connection.half_head_since >= connection.connected_at
        since = connection.half_head_since
        await client.send(GET[10:14])
        assert connection.half_head_since == since
        await client.send(GET[14:])
        assert (await client.answer()).status == 200
        assert connection.half_head_since == 0.0


async def test_rest_of_a_refused_body_is_no_half_head(serve: Any) -> None:
    """It is read and thrown away; the connection then waits for a request like any other."""
    seen: list[DownstreamConnection] = []

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        seen.append(connection_of(request))
        return web.Response(text="no")

    async with await RawClient.connect(await serve(answer)) as client:
        await client.send(request_wire("POST", "/", ("Host", "x"), ("Content-Length", "9")) + b"1234")
        assert (await client.answer()).body == b"no"
        await client.send(b"56789")
        await read_boundary()
        assert seen[0].half_head_since == 0.0
        await client.send(GET)
        assert (await client.answer()).body == b"no"
