"""The composition root: a gateway that starts, listens, counts itself, and leaves nothing behind."""

import asyncio
import gc
import logging
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from gateway import app
from gateway.config import load
from tests.conftest import MakeGateway, with_database
from tests.provider_answers import openai_answer, openai_chunk, openai_stream
from tests.raw_client import RawClient
from tests.raw_connection import read_boundary
from tests.scripted_upstream import ScriptedUpstream
from tests.surface.front import ASK, BEARER, CHAT, open_front
from tests.upstream_script import CHUNKED, SSE, event, head, stall, wait

EMPTY = "server: {host: 127.0.0.1, port: 0}\nproviders: {}\nmodels: {}\ntenants: []\n"


def written(folder: Path) -> Path:
    """A configuration of nothing but addresses."""
    path = folder / "gateway.yaml"
    path.write_text(with_database(EMPTY, f"sqlite:///{folder}/gateway.db"))
    return path


async def connect_for_ever(url: str) -> None:
    """Until it is refused; whom nobody has taken in yet when the listener is closed is reset, which is no refusal."""
    while True:
        with suppress(ConnectionResetError):
            async with await RawClient.connect(url):
                pass


async def test_a_free_port_is_found_and_told(make_gateway: MakeGateway, upstream: ScriptedUpstream) -> None:
    """`url` is where clients reach it."""
    front = await open_front(make_gateway, upstream)
    assert front.url.startswith("http://127.0.0.1:")
    assert (await front.get("/health", credential=())).status == 200


async def test_ipv6_is_written_in_brackets(tmp_path: Path) -> None:
    """As URLs want it."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    gateway = await app.start(load(written(tmp_path), {}), host="::1", port=0, access_log=None)
    assert gateway.url.startswith("http://[::1]:")
    await gateway.close()


async def test_connections_are_opened_before_the_first_request(
    make_gateway: MakeGateway, upstream: ScriptedUpstream
) -> None:
    """`pool.warm`: the first request finds a connection that stands."""
    upstream.always(openai_answer())
    front = await open_front(make_gateway, upstream)
    await upstream.until_open(2)
    assert (await front.post(CHAT, ASK)).status == 200
    assert upstream.accepted_connections == 2


async def test_provider_that_cannot_be_reached_is_said_once(
    make_gateway: MakeGateway, upstream: ScriptedUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    """A warning at the start, and the gateway is there all the same."""
    await upstream.refuse()
    warned = asyncio.Event()

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            warned.set()

    logging.getLogger("gateway").addHandler(ear := Ear(logging.WARNING))
    front = await open_front(make_gateway, upstream)
    async with asyncio.timeout(10):
        await warned.wait()
    logging.getLogger("gateway").removeHandler(ear)
    assert "cannot be reached yet" in caplog.text
    assert (await front.get("/health", credential=())).status == 200


async def test_gauges_follow_what_is_open(make_gateway: MakeGateway, upstream: ScriptedUpstream) -> None:
    """Connections, streams and pools, read at the scrape."""
    upstream.always([head(200, SSE, CHUNKED), event(openai_chunk({"content": "a"})), stall()])
    front = await open_front(make_gateway, upstream)
    async with await RawClient.connect(front.url) as client:
        await client.post(CHAT, {**ASK, "stream": True}, *BEARER)
        await client.answer_head()
        scrape = await front.scrape()
        assert scrape.value("aigateway_active_connections") == 2
        assert scrape.value("aigateway_active_streams", provider="one") == 1
        assert scrape.value("aigateway_active_streams", provider="two") == 0
        assert scrape.value("aigateway_pool_connections", provider="one", state="in_use") == 1
    await upstream.closed(upstream.requests[0].connection)
    scrape = await front.scrape()
    assert scrape.value("aigateway_active_streams", provider="one") == 0
    assert scrape.value("aigateway_pool_connections", provider="one", state="in_use") == 0


async def test_closing_lets_a_running_stream_end(make_gateway: MakeGateway, upstream: ScriptedUpstream) -> None:
    """New connections are refused meanwhile, and the stream comes to its own end."""
    go = asyncio.Event()
    upstream.always([head(200, SSE, CHUNKED), event(openai_chunk({"content": "a"})), wait(go), *openai_stream()[1:]])
    front = await open_front(make_gateway, upstream)
    async with await RawClient.connect(front.url) as client:
        await client.post(CHAT, {**ASK, "stream": True}, *BEARER)
        await client.answer_head()
        closing = asyncio.create_task(front.gateway.close(grace_s=30))
        with pytest.raises(ConnectionRefusedError):
            await connect_for_ever(front.url)
        go.set()
        chunks = await client.chunks()
        assert b"[DONE]" in b"".join(chunk.payload for chunk in chunks)
        await closing


async def test_closing_ends_what_does_not_end_itself(make_gateway: MakeGateway, upstream: ScriptedUpstream) -> None:
    """After the grace the client is told, and the connections are closed, on both sides."""
    upstream.always([head(200, SSE, CHUNKED), event(openai_chunk({"content": "a"})), stall()])
    front = await open_front(make_gateway, upstream)
    async with await RawClient.connect(front.url) as client:
        await client.post(CHAT, {**ASK, "stream": True}, *BEARER)
        await client.answer_head()
        await front.gateway.close(grace_s=0.05)
        body = b"".join(chunk.payload for chunk in await client.chunks())
        assert await client.to_end() == b""
    assert b"[DONE]" not in body
    assert b'"code":"draining"' in body.rpartition(b"data: ")[2]
    await upstream.closed(upstream.requests[0].connection)
    assert front.access_log()[0]["outcome"] == "draining"


async def test_draining_takes_its_times_from_the_configuration(
    make_gateway: MakeGateway, upstream: ScriptedUpstream
) -> None:
    """`ready_grace_s`, in which new clients are served; then nothing runs, so `drain_s` need not pass."""
    front = await open_front(make_gateway, upstream, server="ready_grace_s: 0.2, drain_s: 1000")
    draining = asyncio.create_task(front.gateway.drain())
    assert (await front.get("/health/ready", credential=())).status == 503
    await draining
    with pytest.raises(ConnectionRefusedError):
        await RawClient.connect(front.url)


async def test_work_in_the_background_is_ended_and_waited_for(
    make_gateway: MakeGateway, upstream: ScriptedUpstream
) -> None:
    """What a gateway has started has come to its end, one way or the other, when it is closed."""
    front = await open_front(make_gateway, upstream)
    begun, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await read_boundary()
            ended.set()

    front.gateway._start(work())
    await begun.wait()
    await front.gateway.close()
    assert ended.is_set()


async def test_port_that_is_taken_is_an_os_error(make_gateway: MakeGateway, upstream: ScriptedUpstream) -> None:
    """Whoever starts it hears why, and nothing stays open."""
    front = await open_front(make_gateway, upstream)
    port = int(front.url.rpartition(":")[2])
    with pytest.raises(OSError, match="in use"):
        await app.start(front.gateway.config, host="127.0.0.1", port=port, access_log=None)
    # a session that nobody closed says so when it is collected
    gc.collect()


async def test_sockets_that_listen_already_are_used(tmp_path: Path) -> None:
    """In the place of any address, and they can be handed on."""
    sock = socket.create_server(("127.0.0.1", 0))
    gateway = await app.start(load(written(tmp_path), {}), access_log=None, sockets=[sock])
    assert gateway.descriptors == (sock.fileno(),)
    assert gateway.url == f"http://127.0.0.1:{sock.getsockname()[1]}"
    async with await RawClient.connect(gateway.url) as client:
        await client.send(b"GET /health/ready HTTP/1.1\r\nHost: g\r\n\r\n")
        assert (await client.answer()).status == 200
    await gateway.close()


async def test_configuration_s_own_address_is_used(tmp_path: Path) -> None:
    """Without `host` and `port` those of the file."""
    gateway = await app.start(load(written(tmp_path), {}), access_log=None)
    try:
        async with await RawClient.connect(gateway.url) as client:
            await client.send(b"GET /health HTTP/1.1\r\nHost: g\r\n\r\n")
            assert (await client.answer()).status == 200
    finally:
        await gateway.close()
