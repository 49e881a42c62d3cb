"""Kept connections that the provider has closed: the request goes out once more, on a fresh one, and nobody hears."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from yarl import URL

from gateway import splice
from gateway.core.errors import GatewayError
from gateway.upstream import pool as pool_module
from gateway.upstream.pool import Pool, RequestHead
from gateway.upstream.settings import PoolSettings, TlsSettings
from tests.provider_answers import openai_stream, unary
from tests.raw_connection import read_boundary
from tests.scripted_upstream import ScriptedUpstream
from tests.upstream_script import Script, close, raw, reset, stall, wire_of

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])

HEADERS = {"content-type": "application/json"}
GONE = pytest.mark.parametrize("gone", [[close()], [reset()]], ids=["closes", "resets"])


@pytest.fixture(params=["tcp", "tls"])
async def provider(
    request: pytest.FixtureRequest, upstream: ScriptedUpstream, tls_upstream: ScriptedUpstream
) -> ScriptedUpstream:
    """A scripted upstream, with TLS and without."""
    return tls_upstream if request.param == "tls" else upstream


@pytest.fixture(params=["spliced", "plain"])
def spliced(request: pytest.FixtureRequest) -> bool:
    """Both ways to send."""
    return bool(request.param == "spliced")


@pytest.fixture
async def pool(provider: ScriptedUpstream, spliced: bool, ca_file: Path) -> AsyncIterator[Pool]:
    """A pool to the provider, which warms three connections if asked to."""
    settings = PoolSettings(connections=4, warm=3)
    made = Pool("p", URL(provider.url), settings, TlsSettings(ca_file=str(ca_file)), spliced=spliced)
    yield made
    await made.close()
    assert (made.in_use(), made.idle()) == (0, 0)


@pytest.fixture
async def to(provider: ScriptedUpstream) -> RequestHead:
    """The head of requests to the provider."""
    return RequestHead(URL(provider.url + "/v1/x?y=z"), HEADERS)


async def ask(pool: Pool, to: RequestHead, body: bytes = b"{}") -> bytes:
    """An answer to its end, or the connection closed: what the line does with each."""
    response = await pool.post(to, {}, body)
    try:
        return await pool.read(response, 100)
    finally:
        response.close()


def connections(provider: ScriptedUpstream) -> list[int]:
    """The number of the connection that each request came on."""
    return [request.connection for request in provider.requests]


@GONE
async def test_a_request_is_sent_once_more(
    pool: Pool, to: RequestHead, provider: ScriptedUpstream, gone: Script
) -> None:
    """On a fresh connection, byte for byte; the requests after it find the pool as it was before."""
    provider.next(unary(1), gone, unary(2), unary(3), unary(4))
    assert await ask(pool, to) == b"1"
    assert await ask(pool, to, b'{"a": 1}') == b"2"
    lost, again = provider.requests[1:]
    assert (again.path, again.body, again.header("host")) == (lost.path, lost.body, lost.header("host"))
    assert (pool.stale_retries, pool.in_use()) == (1, 0)
    assert [await ask(pool, to) for _ in range(2)] == [b"3", b"4"]
    assert connections(provider) == [0, 0, 1, 2, 2]
    assert (pool.stale_retries, pool.in_use(), pool.idle()) == (1, 0, 1)


@GONE
async def test_a_warmed_connection_is_a_kept_one(
    pool: Pool, to: RequestHead, provider: ScriptedUpstream, gone: Script
) -> None:
    """It was idle, though nothing was ever asked on it; and no other idle one is tried in its place."""
    assert await pool.warm_up() == 3
    provider.next(gone, unary(1))
    assert await ask(pool, to) == b"1"
    assert connections(provider)[1] == 3
    assert (pool.stale_retries, pool.in_use(), pool.idle()) == (1, 0, 2)


async def test_an_end_that_was_seen_costs_nothing(pool: Pool, to: RequestHead, provider: ScriptedUpstream) -> None:
    """The pool itself passes over such connections."""
    provider.next(unary(1), unary(2))
    await ask(pool, to)
    await provider.requests[0].answered.wait()
    await provider.close_idle()
    (kept,) = [protocol for idle in pool._connectors[0]._conns.values() for protocol, _ in idle]
    while kept.is_connected():
        await read_boundary()
    assert await ask(pool, to) == b"2"
    assert (pool.stale_retries, connections(provider)) == (0, [0, 1])


@GONE
async def test_a_fresh_connection_is_not_tried_again(
    pool: Pool, to: RequestHead, provider: ScriptedUpstream, gone: Script
) -> None:
    """It was not idle: the provider broke off."""
    provider.next(gone)
    with pytest.raises(GatewayError, match="broke off"):
        await ask(pool, to)
    assert (pool.stale_retries, len(provider.requests), pool.in_use()) == (0, 1, 0)


@GONE
async def test_where_the_fresh_one_fails_too_it_is_told(
    pool: Pool, to: RequestHead, provider: ScriptedUpstream, gone: Script
) -> None:
    """As any failure is, after two tries and no third, though other kept connections are there."""
    await pool.warm_up()
    provider.next(gone, gone)
    with pytest.raises(GatewayError, match="broke off") as caught:
        await ask(pool, to)
    assert caught.value.code == "provider_error"
    assert (pool.stale_retries, len(provider.requests), pool.in_use()) == (1, 2, 0)


async def test_a_provider_that_went_away_meanwhile(pool: Pool, to: RequestHead, provider: ScriptedUpstream) -> None:
    """The fresh connection is refused: that is what is told."""
    provider.next(unary(1), [close()])
    await ask(pool, to)
    await provider.refuse()
    with pytest.raises(GatewayError, match="cannot be reached") as caught:
        await ask(pool, to)
    assert caught.value.code == "connect_failed"
    assert (pool.stale_retries, pool.in_use()) == (1, 0)


@GONE
@pytest.mark.parametrize(
    "begun",
    [b"H", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"],
    ids=["a byte", "half a head", "an early head"],
)
async def test_a_begun_answer_is_never_asked_for_again(
    pool: Pool, to: RequestHead, provider: ScriptedUpstream, begun: bytes, gone: Script
) -> None:
    """A single byte shows that the provider has read the request."""
    provider.next(unary(1), [raw(begun), *gone])
    await ask(pool, to)
    with pytest.raises(GatewayError, match="broke off"):
        await ask(pool, to)
    assert (pool.stale_retries, connections(provider), pool.in_use()) == (0, [0, 0], 0)


async def test_a_late_end_is_the_providers_failure(
    pool: Pool, to: RequestHead, provider: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has worked on the request for longer than the end of an idle connection takes to come."""
    monkeypatch.setattr(pool_module, "STALE_WITHIN_S", 0.0)
    provider.next(unary(1), [reset()])
    await ask(pool, to)
    with pytest.raises(GatewayError, match="broke off"):
        await ask(pool, to)
    assert (pool.stale_retries, connections(provider), pool.in_use()) == (0, [0, 0], 0)


async def test_a_client_that_leaves_during_the_second_try(
    pool: Pool, to: RequestHead, provider: ScriptedUpstream
) -> None:
    """Closes it; nothing is left in the pool."""
    provider.next(unary(1), [close()], [stall()])
    await ask(pool, to)
    asking = asyncio.create_task(ask(pool, to))
    for _ in range(3):
        await provider.request()
    assert pool.in_use() == 1
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await provider.closed(1)
    assert (pool.in_use(), pool.idle()) == (0, 0)


async def test_both_tries_have_one_deadline(pool: Pool, to: RequestHead, provider: ScriptedUpstream) -> None:
    """The caller's: over in the second try, it is a timeout as ever."""
    provider.next(unary(1), [reset()], [stall()])
    await ask(pool, to)
    deadline = asyncio.timeout(None)

    async def within() -> bytes:
        async with deadline:
            return await ask(pool, to)

    asking = asyncio.create_task(within())
    for _ in range(3):
        await provider.request()
    deadline.reschedule(asyncio.get_running_loop().time())
    with pytest.raises(TimeoutError):
        await asking
    await provider.closed(1)
    assert pool.in_use() == 0


class Taken(asyncio.Protocol):
    """Reads a body that was taken over, and tells when it has so much."""

    def __init__(self, size: int) -> None:
        self.data = b""
        self.enough = asyncio.Event()
        self._size = size

    def data_received(self, data: bytes) -> None:
        self.data += data
        if len(self.data) >= self._size:
            self.enough.set()


@pytest.mark.parametrize("spliced", [True])
async def test_a_stream_of_the_second_try_is_taken_over(
    pool: Pool, to: RequestHead, provider: ScriptedUpstream
) -> None:
    """As any other; its connection closes afterwards, for it belongs to no pool."""
    provider.next(unary(1), [close()], openai_stream(3))
    await ask(pool, to)
    response = await pool.post(to, {}, b"{}")
    assert isinstance(response, splice.SplicedResponse)
    taken, reader = splice.claim(response), Taken(len(wire_of(openai_stream(3))))
    assert taken is not None
    taken.start(reader)
    await reader.enough.wait()
    taken.give_back()
    assert reader.data == wire_of(openai_stream(3))
    await provider.closed(1)
    assert (pool.in_use(), pool.idle()) == (0, 0)


class BareProvider:
    """A provider on a bare socket: it closes at the very moment it is told to, and may leave bytes unread."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    async def answer(self, body: bytes, size: int) -> socket.socket:
        """Reads a request whose body has a size, on a new connection, and answers it; returns the connection."""
        loop, request = asyncio.get_running_loop(), b""
        connection, _ = await loop.sock_accept(self._listener)
        while len(request.partition(b"\r\n\r\n")[2]) < size:
            request += await loop.sock_recv(connection, 65536)
        await loop.sock_sendall(connection, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        return connection

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
async def bare() -> AsyncIterator[BareProvider]:
    """A provider on a bare socket, listening."""
    provider = BareProvider()
    yield provider
    provider.close()


@pytest.mark.parametrize("size", [2, 3_000_000])
@pytest.mark.parametrize("reads", [False, True])
async def test_the_end_and_the_request_cross(bare: BareProvider, spliced: bool, size: int, reads: bool) -> None:
    """The provider closes while the request is on its way, or with a part of it read: the connection is reset."""
    pool = Pool("p", URL(bare.url), PoolSettings(), TlsSettings(), spliced=spliced)
    to = RequestHead(URL(bare.url), HEADERS)
    try:
        answering = asyncio.create_task(bare.answer(b"1", 2))
        assert await ask(pool, to) == b"1"
        connection = await answering

        async def close_and_answer() -> socket.socket:
            if reads:
                await asyncio.get_running_loop().sock_recv(connection, 1)
                connection.close()
            return await bare.answer(b"2", size)

        answering = asyncio.create_task(close_and_answer())
        if not reads:
            # The request is written before the loop can hear of the end.
            connection.close()
        assert await ask(pool, to, b"x" * size) == b"2"
        (await answering).close()
        assert (pool.stale_retries, pool.in_use()) == (1, 0)
    finally:
        await pool.close()
