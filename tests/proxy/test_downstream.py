"""Clients of a stream: who is written to directly, and how each kind is told, ended and broken."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.test_utils import make_mocked_request

from gateway.proxy.downstream import PlainDownstream, RawDownstream, downstream_of
from gateway.splice import DownstreamConnection
from tests.behaviour.stage import CHAT, Stage, StageClock, config, hear
from tests.conftest import MakeGateway
from tests.provider_answers import openai_stream
from tests.raw_connection import read_boundary
from tests.scripted_upstream import ScriptedUpstream
from tests.upstream.passing import HandClient
from tests.upstream_script import body_of


async def _nobody(request: web.BaseRequest) -> web.StreamResponse:
    raise AssertionError


@pytest.mark.parametrize(
    ("spliced", "version", "ours", "raw"),
    [
        (True, HttpVersion11, True, True),
        (False, HttpVersion11, True, False),
        (True, HttpVersion10, True, False),
        (True, HttpVersion11, False, False),
    ],
)
async def test_who_is_written_to_directly(spliced: bool, version: Any, ours: bool, raw: bool) -> None:
    """HTTP/1.1, on a connection of ours, with an aiohttp that passed its check: all three."""
    loop = asyncio.get_running_loop()
    connection = DownstreamConnection(web.Server(_nobody), on_bad_request=None, loop=loop) if ours else None
    request = SimpleNamespace(version=version, protocol=connection, transport=asyncio.Transport())
    chosen = downstream_of(cast(web.BaseRequest, request), spliced=spliced)
    assert isinstance(chosen, RawDownstream if raw else PlainDownstream)


async def test_a_raw_client_gets_chunks() -> None:
    """Each payload in a chunk of its own, then the last one; a client that is behind is waited for."""
    client = HandClient()
    downstream = RawDownstream(make_mocked_request("POST", "/"), client.connection, client.transport)
    assert not downstream.begun
    with pytest.raises(ValueError, match="head has not gone"):
        assert downstream.response
    await downstream.send(b"abc")
    client.full_from = 0
    sending = asyncio.ensure_future(downstream.send(b"d"))
    await read_boundary()
    assert (client.wire, sending.done()) == (b"3\r\nabc\r\n1\r\nd\r\n", False)
    client.reads_on()
    await sending
    await downstream.end()
    assert client.wire.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize(("version", "spliced"), [("HTTP/1.1", True), ("HTTP/1.1", False), ("HTTP/1.0", True)])
async def test_all_kinds_of_clients_hear_the_same(
    make_gateway: MakeGateway, upstream: ScriptedUpstream, version: str, spliced: bool
) -> None:
    """Head, body and end, in the framing that the client knows."""
    upstream.always(openai_stream(3))
    clock = StageClock()
    start = {"spliced": spliced, "access_log": None}
    stage = Stage(await make_gateway(config({"one": upstream.openai_base}), start=start), upstream, clock)
    heard = await hear(await stage.ask(CHAT, version=version))
    await stage.leave()
    assert (heard.status, heard.body, heard.whole) == (200, body_of(openai_stream(3)), True)
    assert heard.head.chunked == (version == "HTTP/1.1")
    assert heard.head.get("cache-control") == "no-cache"
