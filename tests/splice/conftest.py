"""Connections that can be spliced, to the scripted upstream."""

from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest
from yarl import URL

from gateway.splice import SplicedResponse, SplicingConnector, destination, send
from tests.raw_client import request_wire
from tests.scripted_upstream import ScriptedUpstream

REQUEST = request_wire("POST", "/", ("Host", "x"), body=b"{}")
Ask = Callable[[], Awaitable[SplicedResponse]]


@pytest.fixture
async def session(upstream: ScriptedUpstream) -> AsyncIterator[aiohttp.ClientSession]:
    """A session whose connections can be spliced."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
    async with aiohttp.ClientSession(connector=SplicingConnector(), timeout=timeout) as session:
        yield session


@pytest.fixture
async def ask(upstream: ScriptedUpstream, session: aiohttp.ClientSession) -> Ask:
    """Sends a request to the upstream."""
    where = destination(session, URL(upstream.url))
    return lambda: send(session, where, REQUEST)
