"""A server that ends in order: last answers say so, nothing that is on its way is dropped, the rest closes at once."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from gateway.splice import DownstreamServer, RawStreamResponse, connection_factory
from tests.raw_client import RawClient, request_wire
from tests.raw_connection import EndedEarly, read_boundary

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])

GET = request_wire("GET", "/", ("Host", "x"))
GET_STREAM = request_wire("GET", "/stream", ("Host", "x"))
ENOUGH_S = 20.0
"""For what comes by itself; only a fault lasts so long."""
LONG_S = 1000.0
"""For what must not happen by time."""


@dataclass
class Site:
    """A server, its address, and a stream that ends when the test says so."""

    server: DownstreamServer
    url: str
    go: asyncio.Event = field(default_factory=asyncio.Event)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    served: int = 0

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.served += 1
        if request.path != "/stream":
            return web.Response(text="ok")
        response = RawStreamResponse(headers={})
        await response.begin(request, b"1\r\na\r\n")
        self.begun.set()
        await self.go.wait()
        assert request.transport is not None
        request.transport.write(b"0\r\n\r\n")
        return response

    async def streaming(self, client: RawClient) -> None:
        """Has a client in the middle of an answer."""
        await client.send(GET_STREAM)
        await self.begun.wait()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """Listens on loopback; closes after the test."""
    async with _listening() as listening:
        yield listening


class _listening:
    def __init__(self, **options: Any) -> None:
        self._options = options

    async def __aenter__(self) -> Site:
        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            return await self._site.answer(request)

        server = DownstreamServer(answer, max_body_bytes=1024, **self._options)
        factory = connection_factory(server, lambda *_: web.Response(status=400))
        self._listener = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0)
        port = self._listener.sockets[0].getsockname()[1]
        self._site = Site(server, f"http://127.0.0.1:{port}")
        return self._site

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        self._site.server.abort()
        assert await self._site.server.emptied(ENOUGH_S)


async def test_last_answers_say_that_they_are(site: Site) -> None:
    """Before: the connection goes on. Then: each says close and closes, also one whose request came before."""
    async with await RawClient.connect(site.url) as client:
        await client.send(GET)
        assert (await client.answer()).head.keeps_alive
        site.server.draining = True
        await client.send(GET)
        answer = await client.answer()
        assert (answer.status, answer.head.get("connection")) == (200, "close")
        assert await client.to_end() == b""
    async with await RawClient.connect(site.url) as client:
        site.go.set()
        await client.send(GET_STREAM)
        assert (await client.answer()).head.get("connection") == "close"
        assert await client.to_end() == b""


async def test_idle_connections_close(site: Site) -> None:
    """At once, all of them; that is told to whoever waits for it."""
    clients = [await RawClient.connect(site.url) for _ in range(3)]
    for client in clients:
        await client.send(GET)
        await client.answer()
    await read_boundary()
    site.server.retire(LONG_S)
    assert await site.server.emptied(ENOUGH_S)
    for client in clients:
        assert await client.to_end() == b""
        await client.abort()


async def test_running_answer_is_waited_for(site: Site) -> None:
    """Its head promised more: a request that follows within the time is answered, and that answer is the last."""
    async with await RawClient.connect(site.url) as client:
        await site.streaming(client)
        site.server.retire(LONG_S)
        assert not await site.server.emptied(0.0)
        site.go.set()
        assert (await client.answer()).head.keeps_alive
        await read_boundary()
        await client.send(GET)
        assert (await client.answer()).head.get("connection") == "close"
        assert await client.to_end() == b""
    assert await site.server.emptied(ENOUGH_S)


async def test_promise_ends_with_its_time(site: Site) -> None:
    """After an answer that promised more, a client that asks nothing is left."""
    async with await RawClient.connect(site.url) as client:
        await site.streaming(client)
        site.server.retire(0.01)
        site.go.set()
        await client.answer()
        assert await client.to_end() == b""
    assert await site.server.emptied(ENOUGH_S)


async def test_new_connection_is_given_time(site: Site) -> None:
    """Who has just connected is about to ask; who does not, is closed after the time."""
    async with await RawClient.connect(site.url) as asking, await RawClient.connect(site.url) as silent:
        while len(site.server.connections) < 2:
            await read_boundary()
        site.server.retire(LONG_S)
        await read_boundary()
        await asking.send(GET)
        assert (await asking.answer()).head.get("connection") == "close"
        site.server.retire(0.0)
        assert await silent.to_end() == b""


async def test_connection_accepted_after_that_is_served_once(site: Site) -> None:
    """It was waiting to be accepted: its request is answered, and without one it is closed."""
    site.server.retire(LONG_S)
    async with await RawClient.connect(site.url) as asking:
        await asking.send(GET)
        assert (await asking.answer()).head.get("connection") == "close"
    site.server.retire(0.0)
    async with await RawClient.connect(site.url) as silent:
        assert await silent.to_end() == b""


async def test_arriving_request_is_answered(site: Site) -> None:
    """The first half of a head is enough, and so are bytes that only the kernel has seen."""
    async with await RawClient.connect(site.url) as half, await RawClient.connect(site.url) as unread:
        for client in (half, unread):
            await client.send(GET)
            await client.answer()
        await half.send(GET[:9])
        await read_boundary()
        unread.transport.write(GET)
        site.server.retire(0.0)
        assert (await unread.answer()).head.get("connection") == "close"
        await half.send(GET[9:])
        assert (await half.answer()).head.get("connection") == "close"
    assert site.served == 4


async def test_refused_body_is_read_to_its_end(site: Site) -> None:
    """While the rest of a body is thrown away, its sender can read the answer; then the connection closes."""
    async with await RawClient.connect(site.url) as client:
        await client.send(request_wire("POST", "/", ("Host", "x"), ("Content-Length", "9")) + b"1234")
        assert (await client.answer()).status == 200
        site.server.retire(0.0)
        await read_boundary()
        assert client.ending is None
        await client.send(b"56789")
        assert await client.to_end() == b""
    assert await site.server.emptied(ENOUGH_S)


async def test_waiting_ends_with_its_time(site: Site) -> None:
    """And with nobody there it does not begin."""
    assert await site.server.emptied(0.0)
    async with await RawClient.connect(site.url) as client:
        await site.streaming(client)
        assert not await site.server.emptied(0.01)


async def test_work_of_a_client_that_left_is_waited_for() -> None:
    """A connection is gone when what it asked for has ended, and not when its socket is closed."""
    ended = asyncio.Event()

    async def settle(request: web.BaseRequest) -> web.StreamResponse:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await read_boundary()
            ended.set()
        raise AssertionError

    begun = asyncio.Event()
    async with _listening() as site:
        site.answer = settle  # type: ignore[method-assign]
        async with await RawClient.connect(site.url) as client:
            await client.send(GET)
            await begun.wait()
        assert await site.server.emptied(ENOUGH_S)
        assert ended.is_set()


async def test_abort_ends_all(site: Site) -> None:
    """Running answers too; they are seen to be broken."""
    async with await RawClient.connect(site.url) as client:
        await site.streaming(client)
        site.server.retire(0.0)
        site.server.abort()
        assert await site.server.emptied(ENOUGH_S)
        with pytest.raises((EndedEarly, ConnectionResetError)):
            await client.answer()


async def test_other_options_are_for_new_connections() -> None:
    """How large a body may be, and how long a connection may be idle; those that stand keep what they began with."""
    async with _listening(keepalive_timeout=1000) as site:
        async with await RawClient.connect(site.url) as before:
            await before.send(request_wire("GET", "/whole", ("Host", "x")))
            await before.answer()
            site.server.configure(16, keepalive_timeout=2000)
            async with await RawClient.connect(site.url) as after:
                await after.send(request_wire("GET", "/whole", ("Host", "x")))
                await after.answer()
                connections: list[Any] = list(site.server.connections)
                told = {
                    (one._keepalive_timeout, one._request_factory.keywords["client_max_size"]) for one in connections
                }
        assert told == {(1000, 1024), (2000, 16)}
